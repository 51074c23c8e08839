"""Mutex: one holder at a time, in order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import check_client, recipe_api
from zkrecipes.errors import LockLostError, NoNodeError, SessionExpiredError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.locking.acquisition import Acquisition
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
)
from zkrecipes.recipes.locking.hold import REVOCATION, Hold
from zkrecipes.recipes.locking.layouts import MUTEXES, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.queue_order import in_order
from zkrecipes.recipes.locking.single_use import EnteredDirectly
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["Mutex"]


@final
class Mutex(EnteredDirectly[Hold]):
    """A lock that one contender holds at a time, first come first served, across processes and machines.

        mutex = zk.Mutex(client, "/locks/job")
        async with mutex as hold:
            ...  # cancelled if the lock can no longer be proven; leaving raises LockLostError then

    Building it does no I/O, and tasks may share it. It contends with kazoo's `Lock`, or
    with Curator's `InterProcessMutex`, on the same path.

    Args:
        client: whose session holds the lock; an attribute, too, as `path` and `identifier` are.
        path: a directory of its own, made when it is missing; no other data belongs there.
        identifier: what `contenders` shows of this one; host and process id by default.
        layout: how the contenders' znodes are named: `"kazoo"`, as kazoo's `Lock` does it, or `"curator"`, as
            Curator's `InterProcessMutex` does it. All contenders on a path must use the same.
        acl: of the contenders' znodes; it must give their owner READ. None: the client's default.
        reentrant: let a task that holds this object enter it again at once, under the same hold; the lock is
            released when the outermost block is left. A child task is another task, and waits. By default
            the second time is a `RuntimeError`, as it may not be meant.

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
        super().__init__()
        self.client = client
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

        For no limit of the wait `async with mutex as hold` is the same.

        Args:
            wait: how many seconds to wait at most, from entering to the first statement of the block; the
                block itself is not limited. With 0 it is one try: entering raises as soon as it sees a
                contender in front, and immediately while the client has no connection. None: no limit.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises:
            AcquireTimeoutError: the lock could not be had within `wait` seconds. Its place in the queue is
                being removed; the caller has waited for that for an eighth of the session timeout at most.
            RuntimeError: this task holds or waits for a lock on the same path already, through whichever
                object of the client, and would wait for itself, unless it is this object and reentrant.
            LockLostError: this task has it already, and it is lost.
            NoAuthError: the ACL of the directory does not let this client in, or that of the contender before
                it does not let it read and watch.
            PacketTooLargeError: the directory has too many children to be listed.
            ZooKeeperError: the client is over.

        Leaving raises:
            LockLostError: the lock was lost while the block ran; the block was cancelled.
            RuntimeError: another task left the block than the one that entered it. The lock is released.

        Cancellation: no znode is left behind, whatever was under way; the removal goes on in the background.
        """
        return Acquisition(
            self._queue,
            self.identifier.encode(),
            lost=LockLostError,
            wait=wait,
            what=repr(self),
            recipe=self._recipe,
            reentrant=self._reentrant,
        )

    def _new_use(self) -> Acquisition:
        return self.acquire()

    async def contenders(self) -> list[Contender]:
        """Who holds the lock and who waits for it, in order; the first one holds it, or is about to."""
        return await list_contenders(self._queue)

    async def revoke(self) -> bool:
        """Ask whoever holds the lock to release it, as Curator's `Revoker` does.

        It is a request. Holders notice that wait for it: ours in `Hold.wait_revocation`, Curator's by
        `makeRevocable`; kazoo's do not. It is written into the holder's znode, so `contenders` shows it in
        place of the holder's identifier from then on.

        Returns:
            Whether there was anybody to ask.

        Raises:
            NoAuthError: the ACL of the directory or of the holder's znode does not let this client.
            ZooKeeperError: the client is over.

        Cancellation: the request may have been made, or may still be.
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
                # Nobody else ever uses this name, so twice is the same as once.
                await api.submit(request, is_idempotent=True).wait()
            except NoNodeError:
                continue  # it has released the lock meanwhile: somebody else may hold it
            except SessionExpiredError as error:
                await retries.wait_after(error)
            else:
                return True

    def __repr__(self) -> str:
        return f"<Mutex {self.path} {self.identifier}>"
