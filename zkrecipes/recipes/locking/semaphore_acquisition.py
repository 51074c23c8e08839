"""Some permits of a semaphore, from the queue to the hold and back."""

from __future__ import annotations

from functools import partial
from typing import final

import anyio

from zkrecipes.client.recipe_api import ChangedPaths, Guard, Pending
from zkrecipes.errors import (
    ConnectionLossError,
    LockLostError,
    NoAuthError,
    NoNodeError,
    ZooKeeperError,
)
from zkrecipes.paths import join
from zkrecipes.recipes.locking.acquisition import is_proven
from zkrecipes.recipes.locking.contenders import contender_at, leave_and_see
from zkrecipes.recipes.locking.hold import Hold, HoldBlock
from zkrecipes.recipes.locking.permits import PermitPool, Permits
from zkrecipes.recipes.locking.queue import QueueNode
from zkrecipes.recipes.locking.semaphore_limit import LimitState
from zkrecipes.recipes.locking.single_use import GuardedUse, Holder
from zkrecipes.recipes.locking.task_stack import Entered
from zkrecipes.recipes.znodes.clean_up import together
from zkrecipes.recipes.znodes.delete_permission import check_probe, probe_unless_known

__all__ = ["SemaphoreAcquisition"]


@final
class SemaphoreAcquisition(GuardedUse[Hold]):
    """Some permits of a semaphore, to be entered once with `async with`; entering it gives the hold."""

    def __init__(
        self,
        path: str,
        pool: PermitPool,
        terms: LimitState,
        count: int,
        data: bytes,
        *,
        wait: float | None,
        what: str,
    ) -> None:
        place = QueueNode(pool.queue, data, is_one_try=wait == 0)
        permits = Permits(pool, count, data)
        remove = partial(_leave, permits, place)
        super().__init__(pool.client, path, what=what, lost=LockLostError, wait=wait, remove=remove)
        self.count = count
        self._pool = pool
        self._terms = terms
        self._place = place
        self._permits = permits
        self._has_given_up = False

    @property
    def _hold_path(self) -> str:
        return self._permits.paths[0]

    def _make_hold(self, block: HoldBlock) -> Hold:
        path, *others = self._permits.paths
        return Hold(self._pool.client, block, path, self._permits.token, LockLostError, also=others)

    async def _enter_within(self, outer: Entered) -> Hold:
        use = outer.use
        if isinstance(use, SemaphoreAcquisition):
            raise RuntimeError(
                f"this task has {_permits(use.count)} of {self.what} already, or waits for them: if it asks "
                f"for more, it can wait for itself. Ask for all together: "
                f"acquire(permits={use.count + self.count})"
            )
        return await super()._enter_within(outer)

    async def _take(self) -> Guard | None:
        """Queue up until it is our turn, there is room, and the hold is proven."""
        place, permits, limit = self._place, self._permits, self._limit
        limit.waiting_for = "connection"
        await self._terms.agree()
        await self._pool.remove_leftovers()
        while True:
            limit.waiting_for = "connection"
            # asked now, in the round trip of the place, and not when it has waited for its turn
            probe = probe_unless_known(self._api, self._pool.directory, self._pool.acl)
            await place.take()
            if probe is not None:
                await check_probe(probe)
            limit.waiting_for = "turn"
            if limit.is_one_try and place.is_blocked:
                return None
            if await place.wait_turn() and await self._take_permits():
                limit.waiting_for = "proof"
                path, *others = permits.paths
                guard = self._api.guard(path, permits.session, also=others)
                if await is_proven(guard, path):
                    return guard
            if self._has_given_up:
                return None
            # The znodes are gone, with their session or by another client's hand, or are about to go: again.
            refusal = await self._remove()
            if refusal is not None:
                raise refusal  # this client would wait for its own znode

    async def _remove_and_see(self) -> Holder | None:
        """Remove every znode, and return the contender in front, or else one that has permits."""
        place, api, pool = self._place, self._api, self._pool
        deadline = anyio.current_time() + api.session.timeout / 8
        listing: Pending[list[str]] | None = None
        if place.first == place.path and api.is_connected:
            listing = api.submit(api.operations.get_children(pool.directory))
        in_front: Holder | None = None

        async def leave_place() -> None:
            nonlocal in_front
            in_front = await leave_and_see(place)

        await together(self._permits.leave, leave_place)
        if listing is None or not listing.is_done or listing.error is not None:
            return in_front
        with anyio.CancelScope(deadline=deadline, shield=True):
            return await _read_first(self._pool, listing.result())
        return None

    async def _take_permits(self) -> bool:
        """First in the queue: wait for room and take the permits; False if the place is lost, or given up."""
        place, pool, api = self._place, self._pool, self._api
        async with api.changed_paths() as changed:
            is_watching = False
            retries = api.retries()
            while not place.session.state.is_final:
                try:
                    taken = await self._look_and_take(changed if is_watching else None)
                    if taken is not None:
                        return taken
                    is_watching = True  # watches are for those that have to wait
                except NoNodeError:
                    assert self._terms.limit is not None  # from `agree` on
                    await pool.make(self._terms.limit)
                except ConnectionLossError:
                    raise  # tried again already: the transaction is probably too large for the server
                except ZooKeeperError as error:
                    await retries.wait_after(error)
        return False

    async def _look_and_take(self, changed: ChangedPaths | None) -> bool | None:
        """Take the permits, or wait for a change if there is no room.

        Returns:
            True if they are taken, False if the place is lost or given up, None to look again.
        """
        place, pool = self._place, self._pool
        room = await pool.look(changed)
        if self._terms.admit(room, self.count):
            if await self._permits.take(place, room):
                return True
            if await pool.client.exists(place.path) is None:
                return False
        elif self._limit.is_one_try:
            self._has_given_up = True
            return False
        elif changed is not None:
            await changed.wait()
        return None


def _permits(count: int) -> str:
    return "1 permit" if count == 1 else f"{count} permits"


async def _leave(permits: Permits, place: QueueNode) -> NoAuthError | None:
    if not place.may_exist:  # as usual: it went when the permits were taken
        return await permits.leave()
    return await together(permits.leave, place.leave)


async def _read_first(pool: PermitPool, names: list[str]) -> Holder | None:
    """One that has permits, if any has; any of them is as good."""
    if not names:
        return None
    path = join(pool.directory, min(names))
    try:
        node = await pool.client.get(path)
    except ZooKeeperError:
        return Holder(path, None)  # it has left, or may not be read
    return Holder(path, contender_at(path, node).identifier)
