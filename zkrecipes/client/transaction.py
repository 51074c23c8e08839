"""multi: collect operations, then apply all of them or none, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, final

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply, Request
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.codec.records import ACL, Stat
from zkrecipes.errors import (
    RuntimeInconsistencyError,
    ServerError,
    TransactionError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.net.pending import Pending, PendingRequest
from zkrecipes.net.wakeup import Parking

__all__ = ["Transaction", "as_transaction"]

T = TypeVar("T")


@final
class Transaction:
    """Operations that are applied together, in order, when the block ends without an error.

    Each call returns a `Pending` whose `result()` is there after the block; before that it raises
    `RuntimeError`. Nothing is sent before the end of the block, and nothing at all if it raises.
    """

    def __init__(self, operations: Operations, parking: Parking) -> None:
        self._operations = operations
        self._parking = parking
        self._collected: list[PendingRequest[Any]] = []
        self._is_over = False

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> Pending[str]:
        """Make a znode, as `Client.create` does; the result is its path."""
        return self._collect(
            self._operations.create(
                path,
                data,
                ephemeral=ephemeral,
                sequential=sequential,
                container=container,
                ttl=ttl,
                acl=acl,
            )
        )

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's data, as `Client.set` does; the result is its new stat."""
        return self._collect(self._operations.set(path, data, version=version))

    def delete(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Remove a znode, as `Client.delete` does."""
        return self._collect(self._operations.delete(path, version=version))

    def check(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Fail the whole transaction unless the znode exists and has this version (None: any)."""
        return self._collect(self._operations.check(path, version=version))

    def __len__(self) -> int:
        return len(self._collected)

    def _collect(self, operation: Operation[T]) -> Pending[T]:
        if self._is_over:
            raise RuntimeError("the transaction's block has ended: begin another one")
        pending = PendingRequest(operation.request, operation.convert, self._parking)
        self._collected.append(pending)
        return pending

    def close(self) -> None:
        """The block has ended: no more operations."""
        self._is_over = True

    async def commit(self, calls: Dispatcher) -> None:
        """Apply the operations, and give each its result or the error that all of them have.

        Raises:
            TransactionError: an operation failed, and none was applied.
            ConnectionLossError: it is unknown whether they were applied.
            ProtocolError: the same, for the server sent other results than it was asked for.
        """
        if not self._collected:
            return
        operation = Operation(MultiRequest(tuple(each.request for each in self._collected)), _itself)
        try:
            pending = calls.submit(operation)
            self._take_reply(await pending.wait(), pending.zxid)
        except ZooKeeperError as error:
            self.fail(error)
            if isinstance(error, TransactionError):
                calls.explain(error.error, self._collected[error.index].request)
            raise

    def fail(self, error: ZooKeeperError) -> None:
        """The transaction was not applied, or nobody knows; also said by who knows better why."""
        for pending in self._collected:
            pending.complete(None, error)

    def _take_reply(self, reply: MultiReply, zxid: int) -> None:
        requests = [each.request for each in self._collected]
        _check_reply(reply, requests)
        for pending, result in zip(self._collected, reply.results, strict=True):
            pending.complete(result, None, zxid)


def as_transaction(operations: Sequence[Operation[Any]]) -> Operation[list[Any]]:
    """Make one operation of several writes and checks: all are applied, or none.

    Its result is the list of theirs; where one failed, the result raises `TransactionError`.
    """
    requests = tuple(operation.request for operation in operations)

    def convert(reply: MultiReply) -> list[Any]:
        _check_reply(reply, requests)
        results = zip(operations, reply.results, strict=True)
        return [operation.convert(result) for operation, result in results]

    return Operation(MultiRequest(requests), convert)


def _itself(reply: MultiReply) -> MultiReply:
    return reply


def _check_reply(reply: MultiReply, requests: Sequence[Request[Any]]) -> None:
    """Return if every request was applied.

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
    """The operation that failed: those before it have code 0, those after it RuntimeInconsistency."""
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
