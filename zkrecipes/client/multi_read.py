"""multiRead: collect reads, then send all of them in one request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

from zkrecipes.client.batch import Batch
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply
from zkrecipes.codec.multi import MultiReadRequest, MultiReply
from zkrecipes.codec.records import Node
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import ZooKeeperError, error_from_code
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.server_requirement import Requirement

__all__ = ["MultiRead", "open_multi_read"]

_MULTI_READ: Final = Requirement("multi_read", ServerVersion.V3_6)


@final
class MultiRead:
    """Reads that are sent together, in one request, when the block ends without an error.

    Each call returns a `Pending` whose `result()` is available after the block: it returns the result or
    raises this read's error. Before the end of the block it raises `RuntimeError`. Nothing is sent before the
    end of the block, and nothing at all if the block raises.
    """

    def __init__(self, operations: Operations, batch: Batch) -> None:
        self._operations = operations
        self._batch = batch

    def get(self, path: str) -> Pending[Node]:
        """Read a znode's data and stat, as `Client.get` does."""
        return self._batch.collect(self._operations.get(path))

    def get_children(self, path: str) -> Pending[list[str]]:
        """List the names of a znode's children, in no particular order."""
        return self._batch.collect(self._operations.get_children(path))

    def __len__(self) -> int:
        return len(self._batch.pendings)


@asynccontextmanager
async def open_multi_read(operations: Operations, calls: Dispatcher) -> AsyncIterator[MultiRead]:
    """Collect reads in the block, and send them when it ends without an error.

    Raises:
        UnimplementedError: the server is too old; nothing was sent.
        ProtocolError: the server sent results of other reads.
    """
    batch = Batch("the block of this multi_read", calls.parking)
    try:
        yield MultiRead(operations, batch)
    finally:
        batch.close()
    if batch.pendings:
        await _send(batch, calls)


async def _send(batch: Batch, calls: Dispatcher) -> None:
    requests = batch.requests
    try:
        reply = await calls.run(Operation(MultiReadRequest(requests), _itself, requirement=_MULTI_READ))
        reply.check_answers(requests, errors=True)
    except ZooKeeperError as error:
        batch.fail(error)
        raise
    for pending, result in zip(batch.pendings, reply.results, strict=True):
        refusal = _error_in(result, pending.request.path)
        calls.explain(refusal, pending.request)
        pending.complete(result, refusal)


def _itself(reply: MultiReply) -> MultiReply:
    return reply


def _error_in(result: Record, path: str | None) -> ZooKeeperError | None:
    return error_from_code(result.err, path) if isinstance(result, ErrorReply) else None
