"""ReadWriteLock: many readers or one writer, in order of arrival, so that neither starves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import CallingTask, check_client, recipe_api
from zkrecipes.errors import LockLostError
from zkrecipes.paths import check_path
from zkrecipes.recipes.locking.acquisition import Acquisition
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
)
from zkrecipes.recipes.locking.layouts import READERS, WRITERS, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.task_stack import task_stack
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["ReadWriteLock"]


@final
class ReadWriteLock:
    """A lock that many readers or one writer hold at a time, across processes and machines.

        lock = zk.ReadWriteLock(client, "/locks/table")
        async with lock.read() as hold: ...
        async with lock.write() as hold: ...

    First come, first served: a writer waits for all who came before it, a reader for the writers who came
    before it. So a stream of readers does not keep a writer out. Building it does no I/O, and tasks may
    share it.

    Args:
        client: whose session holds the lock.
        path: a directory of its own, made when it is missing; no other data belongs there.
        identifier: what `contenders` shows of this one; host and process id by default.
        layout: how the contenders' znodes are named: `"kazoo"`, as kazoo's `ReadLock` and `WriteLock` do it,
            or `"curator"`, as Curator's `InterProcessReadWriteLock` does it.
        acl: of the contenders' znodes; it must give their owner READ. None: the client's default.
        reentrant: let a task that holds this object enter it again at once, under the same hold: to read, and
            to write if it writes already. The lock is released when the outermost block is left. A child task
            is another task, and waits. By default the second time is a `RuntimeError`.

    Raises:
        ValueError: the path, the identifier, the layout or the ACL cannot be right.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        identifier: str | None = None,
        layout: LockLayoutName = "kazoo",
        acl: Sequence[ACL] | None = None,
        reentrant: bool = False,
    ) -> None:
        check_client(client)
        self.path: str = check_path(path)
        self.identifier: str = check_identifier(identifier)
        acl = check_contender(client, path, self.identifier.encode(), acl)
        self._readers = LockQueue(client, path, choose_layout(layout, READERS), acl)
        self._writers = self._readers._replace(layout=choose_layout(layout, WRITERS))
        self._reentrant = reentrant
        self._recipe = object()

    @takes_wait
    def read(self, *, wait: float | None = None) -> Acquisition:
        """Hold the lock with other readers: `async with lock.read() as hold`.

        Args:
            wait: how many seconds to wait at most, as for `Mutex.acquire`.

        Entering and leaving raise what `Mutex.acquire` says; entering raises a `RuntimeError` if this task
        has the lock in either way, unless it is reentrant.
        """
        return self._acquisition(self._readers, wait)

    @takes_wait
    def write(self, *, wait: float | None = None) -> Acquisition:
        """Hold the lock alone: `async with lock.write() as hold`; arguments and errors as for `read`.

        Entering raises a `RuntimeError` if this task reads, reentrant or not: it would wait for itself.
        """
        return self._acquisition(self._writers, wait)

    async def contenders(self) -> list[Contender]:
        """Who holds the lock and who waits for it, readers and writers, in order of arrival."""
        return await list_contenders(self._readers)

    async def downgrade(self) -> None:
        """Turn the write lock that this task holds into a read lock, with no writer in between.

        The block of `write()` goes on with the same hold and fencing token: from now on it shares the lock
        with the readers that came before the next writer, and it ends as before. `hold.path` is another.

        Raises:
            RuntimeError: this task does not hold the write lock (any longer), or is in a block within the one
                that does: that may rely on it.
            LockLostError: the lock is lost.
            NoAuthError: the directory's ACL does not let this client in any longer; it is a write lock still.

        Cancellation: it is a write lock still, or a read lock already; leaving the block releases either.
        """
        api = recipe_api(self._readers.client)
        entered = task_stack(api).innermost(api.operations.full(self.path), CallingTask())
        acquisition = None if entered is None else entered.use
        if (
            not isinstance(acquisition, Acquisition)
            or acquisition.recipe is not self._recipe
            or acquisition.outermost.queue is not self._writers
        ):
            raise RuntimeError(f"this task does not hold {self!r} for writing: there is nothing to downgrade")
        if acquisition is not acquisition.outermost:
            raise RuntimeError(f"{self!r} is downgraded in the outermost block, when those within are left")
        await acquisition.move_to(self._readers)

    def _acquisition(self, queue: LockQueue, wait: float | None) -> Acquisition:
        return Acquisition(
            queue,
            self.identifier.encode(),
            lost=LockLostError,
            wait=wait,
            what=repr(self),
            recipe=self._recipe,
            reentrant=self._reentrant,
        )

    def __repr__(self) -> str:
        return f"<ReadWriteLock {self.path} {self.identifier}>"
