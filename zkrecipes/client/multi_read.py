"""multiRead: collect reads, then ask for all of them in one request."""

from __future__ import annotations

from typing import Any, TypeVar, final

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply
from zkrecipes.codec.multi import MultiReadRequest, MultiReply
from zkrecipes.codec.records import Node
from zkrecipes.errors import ZooKeeperError, error_from_code
from zkrecipes.net.pending import Pending, PendingRequest
from zkrecipes.net.wakeup import Parking

__all__ = ["MultiRead"]

T = TypeVar("T")


@final
class MultiRead:
    """Reads that are asked for together, in one request, when the block ends without an error.

    Each call returns a `Pending` whose `result()` is there after the block: the result, or the error in its
    place; before that it raises `RuntimeError`. Nothing is sent before the end of the block, and nothing at
    all if it raises.
    """

    def __init__(self, operations: Operations, parking: Parking) -> None:
        self._operations = operations
        self._parking = parking
        self._collected: list[PendingRequest[Any]] = []
        self._is_over = False

    def get(self, path: str) -> Pending[Node]:
        """A znode's data and stat, as `Client.get` returns them."""
        return self._collect(self._operations.get(path))

    def get_children(self, path: str) -> Pending[list[str]]:
        """The names of a znode's children, in no order."""
        return self._collect(self._operations.get_children(path))

    def __len__(self) -> int:
        return len(self._collected)

    def _collect(self, operation: Operation[T]) -> Pending[T]:
        if self._is_over:
            raise RuntimeError("the block of this multi_read has ended: begin another one")
        pending = PendingRequest(operation.request, operation.convert, self._parking)
        self._collected.append(pending)
        return pending

    def close(self) -> None:
        """The block has ended: no more reads."""
        self._is_over = True

    async def ask(self, calls: Dispatcher) -> None:
        """Ask for all of them, and give each its result or its own error.

        Raises:
            UnimplementedError: the server is too old; nothing was sent.
            ProtocolError: the server sent other results than it was asked for.
        """
        if not self._collected:
            return
        request = MultiReadRequest(tuple(each.request for each in self._collected))
        try:
            self._take_reply(await calls.run(Operation(request, _itself)))
        except ZooKeeperError as error:
            for each in self._collected:
                each.complete(None, error)
            raise
        for each in self._collected:
            calls.explain(each.error, each.request)

    def _take_reply(self, reply: MultiReply) -> None:
        reply.check_answers([each.request for each in self._collected], errors=True)
        for pending, result in zip(self._collected, reply.results, strict=True):
            pending.complete(result, _error_in(result, pending))


def _itself(reply: MultiReply) -> MultiReply:
    return reply


def _error_in(result: Record, pending: PendingRequest[Any]) -> ZooKeeperError | None:
    if not isinstance(result, ErrorReply):
        return None
    return error_from_code(result.err, pending.request.path)
