"""Mutex: one holder at a time, in order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import check_client, recipe_api
from zkrecipes.errors import LockLostError, NoNodeError, SessionExpiredError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.locking.acquisition import Acquisition, EnteredDirectly
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
)
from zkrecipes.recipes.locking.hold import REVOCATION, Hold
from zkrecipes.recipes.locking.lock_layouts import MUTEXES, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.lock_use import LockUse
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.queue_order import in_order
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["Mutex", "queue_key"]


@final
class Mutex(EnteredDirectly[Hold]):
    """A lock that one contender holds at a time, first come first served, across processes and machines.

        mutex = zk.Mutex(client, "/locks/job")
        async with mutex as hold:
            ...  # cancelled if the lock can no longer be proven; leaving raises LockLostError then

    Creating the object does no I/O, and tasks may share it. It contends with kazoo's `Lock`, or
    with Curator's `InterProcessMutex`, on the same path.

    Args:
        client: the client whose session holds the lock.
        path: a directory for this lock alone, created if it is missing; no other data belongs there.
        identifier: the contender's name in `contenders`; host and process id by default.
        layout: the names of the contenders' znodes: those of kazoo's `Lock` (`"kazoo"`, the default) or of
            Curator's `InterProcessMutex` (`"curator"`). All contenders on a path must use the same layout.
        acl: the ACL of the contenders' znodes; it must give their owner READ. None: the client's default.
        reentrant: let a task that holds this object enter it again immediately, under the same hold; leaving
            the outermost block releases the lock. A child task counts as another task, and waits. By default
            the second time is a `RuntimeError`, because it may be a mistake.

    Attributes:
        path: the same as the argument.
        identifier: the contender's name.

    Raises:
        ValueError: the path, the identifier, the layout or the ACL is not valid.
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
        super().__init__()
        check_client(client)
        self.path: str = check_path(path)
        self.identifier: str = check_identifier(identifier)
        acl = check_contender(client, path, self.identifier.encode(), acl)
        self._queue = LockQueue(client, path, choose_layout(layout, MUTEXES), acl)
        self._reentrant = reentrant
        self._recipe = object()

    @takes_wait
    def acquire(self, *, wait: float | None = None) -> Acquisition:
        """Enter the result to hold the lock: `async with mutex.acquire(wait=3) as hold`.

        Without a limit of the wait, `async with mutex as hold` is the same.

        Args:
            wait: the maximal wait in seconds, from entering to the first statement of the block; the block
                itself is not limited. With 0 it is one try: entering raises as soon as it sees a contender in
                front, and immediately while the client has no connection. None: no limit.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises:
            AcquireTimeoutError: `wait` seconds were not enough. The contender's znode is being removed; the
                caller has waited for this for at most an eighth of the session timeout.
            RuntimeError: this task already holds a lock on the same path, or waits for one, through this
                object (unless it is reentrant) or another object of the client: it would wait for itself.
            LockLostError: this task already holds the lock, and has lost it.
            NoAuthError: the ACL of the directory, or that of the contender before this one, lacks a
                permission that this client needs.
            PacketTooLargeError: the directory has too many children to be listed.
            ZooKeeperError: the client has ended.

        Leaving raises:
            LockLostError: the lock was lost while the block ran; the block was cancelled.
            RuntimeError: the block was left in another task than the one that entered it. The lock is
                released.

        Cancellation: no znode is left behind at any point; the removal continues in the background.
        """
        return Acquisition(self._new_use(wait))

    def _new_use(self, wait: float | None = None) -> LockUse:
        return LockUse(
            self._queue,
            self.identifier.encode(),
            lost=LockLostError,
            wait=wait,
            what=repr(self),
            recipe=self._recipe,
            reentrant=self._reentrant,
        )

    async def contenders(self) -> list[Contender]:
        """Return the contenders in order; the first one holds the lock, or is about to."""
        return await list_contenders(self._queue)

    async def revoke(self) -> bool:
        """Ask the holder to release the lock, as Curator's `Revoker` does.

        A holder notices the request only if it waits for one: our holders in `Hold.wait_revocation`,
        Curator's by `makeRevocable`; kazoo's never do. The request replaces the data of the holder's znode,
        so `contenders` shows it instead of the holder's identifier from then on.

        Returns:
            Whether there was a holder to ask.

        Raises:
            NoAuthError: the ACL of the directory or of the holder's znode lacks a permission that this client
                needs.
            ZooKeeperError: the client has ended.

        Cancellation: the request may have been made, or may still be made.
        """
        queue, api = self._queue, recipe_api(self._queue.client)
        retries = api.retries()
        while True:
            try:
                children = await queue.client.get_children(queue.directory)
            except NoNodeError:
                return False
            contenders = in_order(children, queue.layout)
            if not contenders:
                return False
            request = api.operations.set(join(queue.directory, contenders[0].name), REVOCATION)
            try:
                # The znode's name is never used again, so it does no harm if the write is applied twice.
                await api.submit(request, is_idempotent=True).wait()
            except NoNodeError:
                continue  # it has released the lock, and another contender may hold it now
            except SessionExpiredError as error:
                await retries.wait_after(error)
            else:
                return True

    def __repr__(self) -> str:
        return f"<Mutex {self.path} {self.identifier}>"


def queue_key(mutex: Mutex) -> tuple[object, str]:
    """Return a key that is equal for two mutexes of one client, or of its views, on one path."""
    api = recipe_api(mutex._queue.client)  # noqa: SLF001 - of this module's class
    return api.root, api.full_path(mutex.path)
