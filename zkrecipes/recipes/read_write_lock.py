"""ReadWriteLock: many readers or one writer, in order of arrival, so that neither starves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import CallingTask, check_client, recipe_api
from zkrecipes.errors import LockLostError
from zkrecipes.paths import check_path
from zkrecipes.recipes.locking.acquisition import Acquisition, EnteredByCalls
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
)
from zkrecipes.recipes.locking.lock_layouts import READERS, WRITERS, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.lock_use import LockUse
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.task_stack import task_stack
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["ReadWriteLock"]


@final
class ReadWriteLock(EnteredByCalls):
    """A lock that many readers or one writer hold at a time, across processes and machines.

        lock = zk.ReadWriteLock(client, "/locks/table")
        async with lock.read() as hold: ...
        async with lock.write() as hold: ...

    First come, first served: a writer waits for all contenders that came before it, a reader for the writers
    that came before it. So a stream of readers does not keep a writer out. Creating the object does no I/O,
    and tasks may share it.

    Args:
        client: the client whose session holds the lock.
        path: a directory for this lock alone, created if it is missing; no other data belongs there.
        identifier: the contender's name in `contenders`; host and process id by default.
        layout: the names of the contenders' znodes: those of kazoo's `ReadLock` and `WriteLock` (`"kazoo"`,
            the default) or of Curator's `InterProcessReadWriteLock` (`"curator"`). All contenders on a path
            must use the same layout.
        acl: the ACL of the contenders' znodes; it must give their owner READ. None: the client's default.
        reentrant: let a task that holds this object enter it again immediately, under the same hold: to read,
            or to write if it writes already. Leaving the outermost block releases the lock. A child task
            counts as another task, and waits. By default the second time is a `RuntimeError`.

    Attributes:
        path: the same as the argument.
        identifier: the contender's name.

    Raises:
        ValueError: the path, the identifier, the layout or the ACL is not valid.
    """

    _calls = "`async with lock.read()` or `async with lock.write()`"

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
            wait: the maximal wait in seconds, as for `Mutex.acquire`.

        Entering and leaving raise the errors of `Mutex.acquire`; entering raises a `RuntimeError` if this
        task already reads or writes, unless the lock is reentrant.
        """
        return self._acquisition(self._readers, wait)

    @takes_wait
    def write(self, *, wait: float | None = None) -> Acquisition:
        """Hold the lock alone: `async with lock.write() as hold`; arguments and errors as for `read`.

        Entering raises a `RuntimeError` if this task reads, even if the lock is reentrant: it would wait for
        itself.
        """
        return self._acquisition(self._writers, wait)

    async def contenders(self) -> list[Contender]:
        """Return the holders and the contenders that wait, readers and writers, in order of arrival."""
        return await list_contenders(self._readers)

    async def downgrade(self) -> None:
        """Turn the write lock that this task holds into a read lock, with no writer in between.

        The block of `write()` continues with the same hold and fencing token. From now on it shares the lock
        with the readers that came before the next writer, and it ends as before. `hold.path` changes.

        Raises:
            RuntimeError: this task does not hold the write lock; or it is in a reentrant inner block, which
                may rely on the write lock.
            LockLostError: the lock is lost.
            NoAuthError: the directory's ACL lacks a permission that this client needs; the lock is still a
                write lock.

        Cancellation: it is still a write lock, or already a read lock; leaving the block releases either.
        """
        api = recipe_api(self._readers.client)
        entry = task_stack(api).innermost(api.full_path(self.path), CallingTask())
        use = None if entry is None else entry.use
        if (
            not isinstance(use, LockUse)
            or use.recipe is not self._recipe
            or use.outermost.queue is not self._writers
        ):
            raise RuntimeError(
                f"this task does not hold {self!r} for writing: enter write() before downgrade()"
            )
        if use is not use.outermost:
            raise RuntimeError(f"leave the inner blocks of {self!r} before you downgrade it")
        await use.switch_to(self._readers)

    def _acquisition(self, queue: LockQueue, wait: float | None) -> Acquisition:
        use = LockUse(
            queue,
            self.identifier.encode(),
            lost=LockLostError,
            wait=wait,
            what=repr(self),
            recipe=self._recipe,
            reentrant=self._reentrant,
        )
        return Acquisition(use)

    def __repr__(self) -> str:
        return f"<ReadWriteLock {self.path} {self.identifier}>"
