"""Requests collected in a block, which travel together in one request when the block ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, final

from zkrecipes.client.operations import Operation
from zkrecipes.codec.messages import Request
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending, PendingRequest
from zkrecipes.net.wakeup import Parking
from zkrecipes.protocol.server_requirement import Requirement

__all__ = ["Batch", "strictest"]

T = TypeVar("T")


@final
class Batch:
    """The requests of a `Transaction` or a `MultiRead`, which are the handles that users see.

    Args:
        block: the block's name in errors.
        parking: parks tasks that wait for a result.
    """

    def __init__(self, block: str, parking: Parking) -> None:
        self.pendings: list[PendingRequest[Any]] = []
        self._block = block
        self._parking = parking
        self._is_over = False

    @property
    def requests(self) -> tuple[Request[Any], ...]:
        """The requests, in the order of the calls."""
        return tuple(each.request for each in self.pendings)

    @property
    def requirement(self) -> Requirement | None:
        """The feature that the server must have to execute all requests, or None."""
        return strictest(each.requirement for each in self.pendings)

    def collect(self, operation: Operation[T]) -> Pending[T]:
        """Add an operation.

        Raises:
            RuntimeError: the block has ended.
        """
        if self._is_over:
            raise RuntimeError(f"{self._block} has ended: start another one")
        pending = PendingRequest(operation.request, operation.convert, self._parking)
        pending.requirement = operation.requirement
        self.pendings.append(pending)
        return pending

    def close(self) -> None:
        """Refuse further operations: the block has ended."""
        self._is_over = True

    def fail(self, error: ZooKeeperError) -> None:
        """Give every operation the same error as its result."""
        for pending in self.pendings:
            pending.complete(None, error)


def strictest(requirements: Iterable[Requirement | None]) -> Requirement | None:
    """Return the requirement that the fewest servers meet, or None if there is no requirement."""
    needed = [each for each in requirements if each is not None]
    return max(needed, key=_version_of, default=None)


def _version_of(requirement: Requirement) -> int:
    return requirement.version
