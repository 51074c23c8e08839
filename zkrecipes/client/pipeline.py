"""Many requests, one wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, Unpack, final

from zkrecipes.client.create_options import CreateOptions
from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations, check_alone
from zkrecipes.codec.records import ACL, Node, Stat
from zkrecipes.net.pending import Pending, PendingRequest

__all__ = ["Pipeline", "open_pipeline"]

T = TypeVar("T")


@final
class Pipeline:
    """Requests that are sent without waiting for each other; the end of the block waits for all of them.

    This is not atomic: each request succeeds or fails separately, and other requests may be executed between
    them. Requests leave immediately, in the order of the calls. The block ends when all of them are answered.
    Each call returns a `Pending` whose `result()` is available after the block: it returns the result or
    raises this request's error. `await pending.wait()` inside the block is also possible. Use `submit` for
    the calls that have no method here, such as `get_ephemerals`.
    """

    def __init__(
        self, operations: Operations, calls: Dispatcher, pendings: list[PendingRequest[Any]]
    ) -> None:
        self._operations = operations
        self._calls = calls
        self._pendings = pendings

    def create(self, path: str, data: bytes | None = b"", **options: Unpack[CreateOptions]) -> Pending[str]:
        """Create a znode, as `Client.create` does; the result is its path."""
        return self._add(self._operations.create(path, data, **options))

    def get(self, path: str) -> Pending[Node]:
        """Read a znode's data and stat."""
        return self._add(self._operations.get(path))

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's data; the result is its new stat."""
        return self._add(self._operations.set(path, data, version=version))

    def delete(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Delete a znode."""
        return self._add(self._operations.delete(path, version=version))

    def exists(self, path: str) -> Pending[Stat | None]:
        """Read a znode's stat; the result is None if the znode does not exist."""
        return self._add(self._operations.exists(path))

    def get_children(self, path: str) -> Pending[list[str]]:
        """List the names of a znode's children, in no particular order."""
        return self._add(self._operations.get_children(path))

    def get_children_with_stat(self, path: str) -> Pending[tuple[list[str], Stat]]:
        """List the names of a znode's children, in no particular order, and read its stat."""
        return self._add(self._operations.get_children_with_stat(path))

    def get_acl(self, path: str) -> Pending[tuple[list[ACL], Stat]]:
        """Read a znode's ACL and stat."""
        return self._add(self._operations.get_acl(path))

    def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's ACL; the result is the znode's stat."""
        return self._add(self._operations.set_acl(path, acl, version=version))

    def sync(self, path: str = "/") -> Pending[None]:
        """Wait until the server has caught up with its leader."""
        return self._add(self._operations.sync(path))

    async def submit(self, operation: Operation[T]) -> Pending[T]:
        """Send any operation that `client.operations` makes, including one that not every server knows.

        This is not a checkpoint. If the server is too old, the operation's result is `UnimplementedError`.

        Raises:
            ValueError: the operation is a check, or sets a watch.
        """
        return self._add(check_alone(operation))

    def _add(self, operation: Operation[T]) -> Pending[T]:
        pending = self._calls.submit(operation, survives_cancel=True)
        self._pendings.append(pending)
        return pending


@asynccontextmanager
async def open_pipeline(operations: Operations, calls: Dispatcher) -> AsyncIterator[Pipeline]:
    """Send requests in the block, and wait for all of them when it ends without an error.

    Otherwise those that were not sent are dropped.
    """
    pendings: list[PendingRequest[Any]] = []
    try:
        yield Pipeline(operations, calls, pendings)
        await _wait_all(pendings, calls)
    except BaseException:
        for pending in pendings:
            pending.drop()
        raise


async def _wait_all(pendings: list[PendingRequest[Any]], calls: Dispatcher) -> None:
    # The last one first: replies arrive in order, so one wake-up is usually enough.
    for pending in reversed(pendings):
        await pending.wait_done()
    for pending in pendings:
        if pending.error is not None:
            calls.explain(pending.error, pending.request)
