"""multi: collect operations, then apply all of them or none, once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, Unpack, final

from zkrecipes.client.batch import Batch, strictest
from zkrecipes.client.create_options import CreateOptions
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply, Request
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.codec.records import Stat
from zkrecipes.errors import (
    RuntimeInconsistencyError,
    ServerError,
    TransactionError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.net.pending import Pending

__all__ = ["Transaction", "as_transaction", "open_transaction"]

T = TypeVar("T")

Translation = Callable[[TransactionError], ZooKeeperError]
"""A function that turns the error of a transaction into the error that its caller gets."""


@final
class Transaction:
    """Operations that are applied together, in order, when the block ends without an error.

    Each call returns a `Pending` whose `result()` is available after the block; before that, it raises
    `RuntimeError`. Nothing is sent before the end of the block, and nothing at all if the block raises.
    """

    def __init__(self, operations: Operations, batch: Batch) -> None:
        self._operations = operations
        self._batch = batch

    def create(self, path: str, data: bytes | None = b"", **options: Unpack[CreateOptions]) -> Pending[str]:
        """Create a znode, as `Client.create` does; the result is its path."""
        return self._batch.collect(self._operations.create(path, data, **options))

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's data, as `Client.set` does; the result is its new stat."""
        return self._batch.collect(self._operations.set(path, data, version=version))

    def delete(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Delete a znode, as `Client.delete` does."""
        return self._batch.collect(self._operations.delete(path, version=version))

    def check(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Fail the whole transaction unless the znode exists and has this version (None: any)."""
        return self._batch.collect(self._operations.check(path, version=version))

    def __len__(self) -> int:
        return len(self._batch.pendings)


@asynccontextmanager
async def open_transaction(
    operations: Operations, calls: Dispatcher, translate: Translation | None = None
) -> AsyncIterator[Transaction]:
    """Collect operations in the block, and apply them when it ends without an error.

    Args:
        operations: makes the requests.
        calls: sends them.
        translate: turns the error of a rolled-back transaction into another one, for the block's end and for
            the result of each operation. None: the error stays.

    Raises:
        TransactionError: an operation failed, and none was applied.
        ConnectionLossError: it is unknown whether the operations were applied.
        ProtocolError: the same, because the server sent results of other operations.
    """
    batch = Batch("the transaction's block", calls.parking)
    try:
        yield Transaction(operations, batch)
    finally:
        batch.close()
    if batch.pendings:
        await _commit(batch, calls, translate)


async def _commit(batch: Batch, calls: Dispatcher, translate: Translation | None) -> None:
    requests = batch.requests
    operation = Operation(MultiRequest(requests), _itself, requirement=batch.requirement)
    try:
        sent = calls.submit(operation)
        reply = await sent.wait()
        _check_reply(reply, requests)
    except TransactionError as error:
        calls.explain(error.error, requests[error.index])
        outcome = error if translate is None else translate(error)
        batch.fail(outcome)
        if outcome is error:
            raise
        raise outcome from error
    except ZooKeeperError as error:
        batch.fail(error)
        raise
    for pending, result in zip(batch.pendings, reply.results, strict=True):
        pending.complete(result, None, sent.zxid)


def as_transaction(operations: Sequence[Operation[Any]]) -> Operation[list[Any]]:
    """Make one operation of several writes and checks: all are applied, or none.

    Its result is the list of their results. If one of them fails, the result raises `TransactionError`.
    """
    requests = tuple(operation.request for operation in operations)

    def convert(reply: MultiReply) -> list[Any]:
        _check_reply(reply, requests)
        results = zip(operations, reply.results, strict=True)
        return [operation.convert(result) for operation, result in results]

    requirement = strictest(operation.requirement for operation in operations)
    return Operation(MultiRequest(requests), convert, requirement=requirement)


def _itself(reply: MultiReply) -> MultiReply:
    return reply


def _check_reply(reply: MultiReply, requests: Sequence[Request[Any]]) -> None:
    """Check that every request was applied.

    Raises:
        TransactionError: one of them failed, and none was applied.
        ProtocolError: these are not the answers to these requests.
    """
    if ErrorReply in map(type, reply.results):
        reply.check_answers(requests, errors=True)
        error = _failure(reply.results, requests)
        if error is not None:
            raise error
    reply.check_answers(requests, errors=False)


def _failure(results: tuple[Record, ...], requests: Sequence[Request[Any]]) -> TransactionError | None:
    """Find the operation that failed: those before it have code 0, those after it RuntimeInconsistency."""
    failed = [
        (index, result.err)
        for index, result in enumerate(results)
        if isinstance(result, ErrorReply) and result.err != 0
    ]
    if not failed:
        return None
    index, code = next((each for each in failed if each[1] != RuntimeInconsistencyError.code), failed[0])
    error = error_from_code(code, requests[index].path)
    if not isinstance(error, ServerError):
        error = RuntimeInconsistencyError(detail=str(error))
    return TransactionError(index, error, len(requests))
