"""Many requests, one wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, final

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations, check_alone
from zkrecipes.codec.records import ACL, Node, Stat
from zkrecipes.net.pending import Pending, PendingRequest

__all__ = ["Pipeline"]

T = TypeVar("T")


@final
class Pipeline:
    """Not atomic: each request succeeds or fails on its own, and others may come between.

    Requests leave at once, in the order of the calls, without waiting for each other; the block ends when all
    are answered. Each call returns a `Pending` whose `result()` is there after the block: the result, or the
    error in its place. `await pending.wait()` inside the block is possible too. What has no call here, as
    containers and `get_ephemerals` have none, goes through `submit`.
    """

    def __init__(self, operations: Operations, calls: Dispatcher) -> None:
        self._operations = operations
        self._calls = calls
        self._pending: list[PendingRequest[Any]] = []

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> Pending[str]:
        """Make a znode; the result is its path."""
        return self._add(
            self._operations.create(path, data, ephemeral=ephemeral, sequential=sequential, acl=acl)
        )

    def get(self, path: str) -> Pending[Node]:
        """A znode's data and stat."""
        return self._add(self._operations.get(path))

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's data; the result is its new stat."""
        return self._add(self._operations.set(path, data, version=version))

    def delete(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Remove a znode."""
        return self._add(self._operations.delete(path, version=version))

    def exists(self, path: str) -> Pending[Stat | None]:
        """A znode's stat, or None where there is none."""
        return self._add(self._operations.exists(path))

    def get_children(self, path: str) -> Pending[list[str]]:
        """The names of a znode's children, in no order."""
        return self._add(self._operations.get_children(path))

    def get_children_with_stat(self, path: str) -> Pending[tuple[list[str], Stat]]:
        """The names of a znode's children, in no order, and its stat."""
        return self._add(self._operations.get_children_with_stat(path))

    def get_acl(self, path: str) -> Pending[tuple[list[ACL], Stat]]:
        """A znode's ACL and stat."""
        return self._add(self._operations.get_acl(path))

    def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's ACL; the result is its stat."""
        return self._add(self._operations.set_acl(path, acl, version=version))

    def sync(self, path: str = "/") -> Pending[None]:
        """Wait until the server has caught up with its leader."""
        return self._add(self._operations.sync(path))

    async def submit(self, operation: Operation[T]) -> PendingRequest[T]:
        """Send any operation that `client.operations` makes, also one that not every server knows.

        This is no checkpoint. If the server is too old, `UnimplementedError` is in the result's place.

        Raises:
            ValueError: the operation is a check, or sets a watch.
        """
        pending = self._calls.submit(check_alone(operation), survives_cancel=True)
        self._pending.append(pending)
        return pending

    def _add(self, operation: Operation[T]) -> PendingRequest[T]:
        pending = self._calls.submit(operation, survives_cancel=True)
        self._pending.append(pending)
        return pending

    async def wait_all(self) -> None:
        """Wait until every request is answered, one way or the other, and explain the errors."""
        # The last first: replies come in order, so mostly one wake-up is all it takes.
        for pending in reversed(self._pending):
            await pending.wait_done()
        for pending in self._pending:
            if pending.error is not None:
                self._calls.explain(pending.error, pending.request)

    def drop(self) -> None:
        """Nobody waits for the results any longer: what was not sent need not be."""
        for pending in self._pending:
            pending.drop()
