"""One use of a semaphore, from the queue to the permits, their hold and its release."""

from __future__ import annotations

from functools import partial
from typing import final

import anyio

from zkrecipes.client.recipe_api import ChangedPaths, Guard, Pending
from zkrecipes.errors import ConnectionLossError, LockLostError, NoAuthError, NoNodeError, ZooKeeperError
from zkrecipes.paths import join
from zkrecipes.recipes.locking.contenders import Holder, leave_and_read_holder, to_contender
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.hold_block import HoldBlock
from zkrecipes.recipes.locking.lock_use import wait_proven
from zkrecipes.recipes.locking.permits import PermitPool, Permits
from zkrecipes.recipes.locking.queue import QueueNode
from zkrecipes.recipes.locking.semaphore_limit import LimitState
from zkrecipes.recipes.locking.single_use import GuardedUse
from zkrecipes.recipes.locking.task_stack import StackEntry
from zkrecipes.recipes.znodes.clean_up import together
from zkrecipes.recipes.znodes.delete_permission import check_probe, probe_unless_known

__all__ = ["SemaphoreUse"]


@final
class SemaphoreUse(GuardedUse[Hold]):
    """One use of a semaphore, with all its permits.

    Args:
        path: the semaphore's path.
        pool: the directory of the permits.
        limit_state: the limit, as the semaphore object knows it.
        count: how many permits to take.
        data: the data of the contender's znodes.
        wait: the limit of the wait, as `WaitLimit`.
        what: the name of the semaphore object in messages.
    """

    def __init__(
        self,
        path: str,
        pool: PermitPool,
        limit_state: LimitState,
        count: int,
        data: bytes,
        *,
        wait: float | None,
        what: str,
    ) -> None:
        node = QueueNode(pool.queue, data, is_one_try=wait == 0)
        permits = Permits(pool, count, data)
        remove = partial(_leave, permits, node)
        super().__init__(pool.client, path, what=what, lost=LockLostError, wait=wait, remove=remove)
        self.count = count
        self._pool = pool
        self._limit_state = limit_state
        self._node = node
        self._permits = permits
        self._has_given_up = False

    @property
    def _hold_path(self) -> str:
        return self._permits.paths[0]

    def _make_hold(self, block: HoldBlock) -> Hold:
        path, *others = self._permits.paths
        return Hold(self._pool.client, block, path, self._permits.token, LockLostError, also=others)

    async def _enter_within(self, outer: StackEntry) -> Hold:
        use = outer.use
        if isinstance(use, SemaphoreUse):
            raise RuntimeError(
                f"this task awaits or already has {_permits(use.count)} of {self.what}, so it could wait "
                f"for itself. Request all permits together: acquire(permits={use.count + self.count})"
            )
        return await super()._enter_within(outer)

    async def _take(self) -> Guard | None:
        """Wait for the turn in the queue, for free permits to take, and for the first proof."""
        node, permits, limit = self._node, self._permits, self._limit
        limit.waiting_for = "connection"
        await self._limit_state.agree()
        await self._pool.remove_leftovers()
        while True:
            limit.waiting_for = "connection"
            # sent in the round trip of `enqueue`, and not after the wait for the turn
            probe = probe_unless_known(self._api, self._pool.directory, self._pool.acl)
            await node.enqueue()
            if probe is not None:
                await check_probe(probe)
            limit.waiting_for = "turn"
            if limit.is_one_try and node.is_blocked:
                return None
            if await node.wait_turn() and await self._take_permits():
                limit.waiting_for = "proof"
                path, *others = permits.paths
                guard = self._api.guard(path, permits.session, also=others)
                if await wait_proven(guard, path):
                    return guard
            if self._has_given_up:
                return None
            # The session ended, or a znode was deleted or is about to be: queue up again.
            refusal = await self._remove()
            if refusal is not None:
                raise refusal  # otherwise this client would wait for its own znode

    async def _remove_and_read_holder(self) -> Holder | None:
        """Remove every znode; return the contender in front or, if there is none, a holder of permits."""
        node, api, pool = self._node, self._api, self._pool
        deadline = anyio.current_time() + api.session.timeout / 8
        listing: Pending[list[str]] | None = None
        if node.first == node.path and api.is_connected:
            listing = api.submit(api.operations.get_children(pool.directory))
        in_front: Holder | None = None

        async def leave_queue() -> None:
            nonlocal in_front
            in_front = await leave_and_read_holder(node)

        await together(self._permits.leave, leave_queue)
        if listing is None or not listing.is_done or listing.error is not None:
            return in_front
        with anyio.CancelScope(deadline=deadline, shield=True):
            return await _read_first(self._pool, listing.result())
        return None

    async def _take_permits(self) -> bool:
        """Wait, as first in the queue, until the permits are free, and take them.

        Returns:
            False if the znode in the queue is lost, or this contender has given up.
        """
        node, pool, api = self._node, self._pool, self._api
        async with api.changed_paths() as changed:
            is_watching = False
            retries = api.retries()
            while not node.session.state.is_final:
                try:
                    taken = await self._look_and_take(changed if is_watching else None)
                    if taken is not None:
                        return taken
                    is_watching = True  # a contender sets watches only if it has to wait
                except NoNodeError:
                    assert self._limit_state.limit is not None  # `agree` has set the limit
                    await pool.create_directory(self._limit_state.limit)
                except ConnectionLossError:
                    raise  # this was tried again: the transaction is probably too large for the server
                except ZooKeeperError as error:
                    await retries.wait_after(error)
        return False

    async def _look_and_take(self, changed: ChangedPaths | None) -> bool | None:
        """Take the permits if enough are free, or wait for a change.

        Returns:
            True if they are taken, False if the znode in the queue is lost or this contender has given up,
            None to call it again.
        """
        node, pool = self._node, self._pool
        state = await pool.read_state(changed)
        if self._limit_state.is_free(state, self.count):
            if await self._permits.take(node, state):
                return True
            if await pool.client.exists(node.path) is None:
                return False
        elif self._limit.is_one_try:
            self._has_given_up = True
            return False
        elif changed is not None:
            await changed.wait()
        return None


def _permits(count: int) -> str:
    return "1 permit" if count == 1 else f"{count} permits"


async def _leave(permits: Permits, node: QueueNode) -> NoAuthError | None:
    if not node.may_exist:  # the usual case: the transaction that created the permits removed it
        return await permits.leave()
    return await together(permits.leave, node.leave)


async def _read_first(pool: PermitPool, names: list[str]) -> Holder | None:
    """Return the holder of the permit with the lowest name, or None if there are no permits."""
    if not names:
        return None
    path = join(pool.directory, min(names))
    try:
        node = await pool.client.get(path)
    except ZooKeeperError:
        return Holder(path, None)  # the holder has left, or this client may not read its znode
    return Holder(path, to_contender(path, node).identifier)
