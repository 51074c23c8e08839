"""multiRead: collect reads, then ask for all of them in one request."""

from __future__ import annotations

from typing import Any, TypeVar, final

from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply
from zkrecipes.codec.multi import MultiReadRequest, MultiReply
from zkrecipes.codec.records import Node
from zkrecipes.errors import NoNodeError, ProtocolError, ZooKeeperError, error_from_code
from zkrecipes.net.pending import Pending
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
        self._collected: list[Pending[Any]] = []
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
        pending = Pending(operation.request, operation.convert, self._parking)
        self._collected.append(pending)
        return pending

    def close(self) -> MultiReadRequest | None:
        """No more reads: the request to send, or None where there is nothing to read."""
        self._is_over = True
        if not self._collected:
            return None
        return MultiReadRequest(tuple(pending.request for pending in self._collected))

    def take_reply(self, reply: MultiReply) -> list[NoNodeError]:
        """Give each read its result or its error, and return those errors that a chroot may explain.

        Raises:
            ProtocolError: the server sent more or fewer results than it was asked for.
        """
        if len(reply.results) != len(self._collected):
            raise ProtocolError(f"{len(self._collected)} reads were answered by {len(reply.results)} results")
        for pending, result in zip(self._collected, reply.results, strict=True):
            pending.complete(result, _error_in(result, pending))
        return [each.error for each in self._collected if isinstance(each.error, NoNodeError)]

    def fail(self, error: ZooKeeperError) -> None:
        """There is no answer to any of them."""
        for pending in self._collected:
            pending.complete(None, error)


def _error_in(result: Record, pending: Pending[Any]) -> ZooKeeperError | None:
    if not isinstance(result, ErrorReply):
        return None
    return error_from_code(result.err, pending.request.path)  # type: ignore[attr-defined]  # both reads have one
