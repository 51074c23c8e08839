"""From the queue to the hold and back: what entering and leaving a lock or a leadership takes.

A recipe says where to queue (`LockQueue`) and which error reports the loss of the hold; the rest is the
same for all recipes.
"""

from __future__ import annotations

from typing import final

import anyio.lowlevel

from zkrecipes.client.recipe_api import Guard, recipe_api
from zkrecipes.errors import HoldLostError, NoAuthError
from zkrecipes.recipes.locking.contenders import leave_and_see
from zkrecipes.recipes.locking.hold import Hold, HoldBlock
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.locking.single_use import GuardedUse, Holder
from zkrecipes.recipes.locking.task_stack import Entered

__all__ = ["Acquisition", "is_proven"]


@final
class Acquisition(GuardedUse[Hold]):
    """One acquisition, to be entered once with `async with`; entering it gives the hold.

    Args:
        queue: where to stand in line.
        data: the data of the contender's znode.
        lost: what leaving raises when the hold was lost.
        wait: the limit of the wait, in seconds; 0 for one try, None for no limit.
        what: how messages name the recipe object.
        recipe: what all acquisitions of one recipe object have in common, which does not keep that alive.
        reentrant: whether a task that is inside through the same recipe object enters again at once, under
            the hold that it has.
    """

    def __init__(
        self,
        queue: LockQueue,
        data: bytes,
        *,
        lost: type[HoldLostError],
        wait: float | None,
        what: str,
        recipe: object,
        reentrant: bool = False,
    ) -> None:
        place = QueueNode(queue, data, is_one_try=wait == 0)
        super().__init__(queue.client, queue.directory, what=what, lost=lost, wait=wait, remove=place.leave)
        self.queue = queue
        self.recipe = recipe
        self._hold_lost = lost
        self._reentrant = reentrant
        self._outer: Acquisition | None = None
        self._place = place
        self._hold: Hold

    @property
    def outermost(self) -> Acquisition:
        """The one that stands in the queue: this one, unless it was entered within another."""
        return self if self._outer is None else self._outer.outermost

    @property
    def _hold_path(self) -> str:
        return self._place.path

    def _make_hold(self, block: HoldBlock) -> Hold:
        place = self._place
        self._hold = Hold(self.queue.client, block, place.path, place.token, self._hold_lost)
        return self._hold

    async def _take(self) -> Guard | None:
        place, limit = self._place, self._limit
        while True:
            limit.waiting_for = "connection"
            await place.take()
            limit.waiting_for = "turn"
            if limit.is_one_try and place.is_blocked:
                return None
            if await place.wait_turn():
                limit.waiting_for = "proof"
                guard = self._api.guard(place.path, place.session, made=place.made)
                if await is_proven(guard, place.path):
                    return guard
            # The znode is gone, with its session or by another client's hand, or is about to go: again.
            refusal = await place.leave()
            if refusal is not None:
                raise refusal  # this client would wait for its own znode

    async def _remove_and_see(self) -> Holder | None:
        return await leave_and_see(self._place)

    async def _enter_within(self, outer: Entered) -> Hold:
        """Enter under the hold of a block further out, whose scope is around this one, too.

        Raises:
            RuntimeError: this one is not reentrant, or the task entered the path through another object; or
                that one shares the lock with others, and this one wants it alone.
        """
        use = outer.use
        if not (self._reentrant and isinstance(use, Acquisition) and use.recipe is self.recipe):
            return await super()._enter_within(outer)
        if not set(self.queue.layout.blocked_by) <= set(use.outermost.queue.layout.blocked_by):
            raise RuntimeError(f"this task reads under {self.what}: to write it would wait for itself")
        await anyio.lowlevel.checkpoint()
        self._block, self._hold = use._block, use._hold  # noqa: SLF001 - of its own class
        self._hold.check()
        self._outer = use
        self._entered = Entered(outer.path, self.task, self)
        self._stack.push(self._entered)
        return self._hold

    def _end_block(self, error: BaseException | None) -> BaseException | None:
        if self._outer is None:
            return super()._end_block(error)
        self._stack.remove(self._entered)
        return self._block.exit_inner(error)

    async def _leave(self, outcome: BaseException | None) -> NoAuthError | None:
        return None if self._outer is not None else await super()._leave(outcome)

    async def move_to(self, queue: LockQueue) -> None:
        """Take the same place under the names of another layout, so that no contender gets in between.

        Raises:
            HoldLostError: the hold is lost.
        """
        self._hold.check()

        def moved() -> None:
            path = self._place.path
            self._block.guard.move_to(recipe_api(queue.client).operations.full(path))
            self.queue, self._hold.path, self._block.path = queue, path, path

        if not await self._place.move_to(queue, moved):
            raise self._hold_lost(self._place.path, reason="its znode is gone")


async def is_proven(guard: Guard, path: str) -> bool:
    """Wait until the hold is proven for the first time; False if its znode is gone, or about to go.

    Args:
        guard: it is released if that is not waited for.
        path: of the hold's znode, for the message.

    Raises:
        NoAuthError: its owner may not read it.
    """
    try:
        if await guard.wait_proven():
            return True
    except BaseException:
        guard.release()
        raise
    if guard.is_unreadable:
        raise NoAuthError(path, detail="the ACL of a lock must give its owner READ")
    return False
