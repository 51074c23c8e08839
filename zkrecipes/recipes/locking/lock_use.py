"""One use of a lock or a leadership, from the queue to the hold and its release.

A recipe states where to queue up (`LockQueue`) and which error reports the loss of the hold; everything else
is the same for mutexes, read-write locks and elections.
"""

from __future__ import annotations

from typing import final

import anyio.lowlevel

from zkrecipes.client.recipe_api import Guard, recipe_api
from zkrecipes.errors import HoldLostError, NoAuthError
from zkrecipes.recipes.locking.contenders import Holder, leave_and_read_holder
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.hold_block import HoldBlock
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.locking.single_use import GuardedUse
from zkrecipes.recipes.locking.task_stack import StackEntry

__all__ = ["LockUse", "wait_proven"]


@final
class LockUse(GuardedUse[Hold]):
    """One use of a lock or a leadership.

    Args:
        queue: where to queue up.
        data: the data of the contender's znode.
        lost: the error for the loss of the hold.
        wait: the limit of the wait, in seconds; 0 for one try, None for no limit.
        what: the name of the recipe object in messages.
        recipe: an object shared by all uses of one recipe object; it does not keep the recipe object alive.
        reentrant: whether a task that is already inside through the same recipe object enters again
            immediately, under the same hold.

    Attributes:
        queue: the queue of the contender, which `switch_to` changes.
        recipe: the same as the argument.
        hold: the hold, once the block was entered.
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
        node = QueueNode(queue, data, is_one_try=wait == 0)
        super().__init__(queue.client, queue.directory, what=what, lost=lost, wait=wait, remove=node.leave)
        self.queue = queue
        self.recipe = recipe
        self._hold_lost = lost
        self._reentrant = reentrant
        self._outer: LockUse | None = None
        self._node = node
        self.hold: Hold

    @property
    def outermost(self) -> LockUse:
        """The use that is in the queue: this one, unless it was entered within another."""
        return self if self._outer is None else self._outer.outermost

    @property
    def _hold_path(self) -> str:
        return self._node.path

    def _make_hold(self, block: HoldBlock) -> Hold:
        node = self._node
        self.hold = Hold(self.queue.client, block, node.path, node.token, self._hold_lost)
        return self.hold

    async def _take(self) -> Guard | None:
        node, limit = self._node, self._limit
        while True:
            limit.waiting_for = "connection"
            await node.enqueue()
            limit.waiting_for = "turn"
            if limit.is_one_try and node.is_blocked:
                return None
            if await node.wait_turn():
                limit.waiting_for = "proof"
                guard = self._api.guard(node.path, node.session, made=node.creation)
                if await wait_proven(guard, node.path):
                    return guard
            # The session ended, or the znode was deleted or is about to be: queue up again.
            refusal = await node.leave()
            if refusal is not None:
                raise refusal  # otherwise this client would wait for its own znode

    async def _remove_and_read_holder(self) -> Holder | None:
        return await leave_and_read_holder(self._node)

    async def _enter_within(self, outer: StackEntry) -> Hold:
        """Enter under the hold of an outer block, whose cancel scope is also around this block.

        Raises:
            RuntimeError: this use is not reentrant, or the task entered the path through another object; or
                the outer block shares the lock with other holders, whom this use would exclude.
        """
        use = outer.use
        if not (self._reentrant and isinstance(use, LockUse) and use.recipe is self.recipe):
            return await super()._enter_within(outer)
        if not set(self.queue.layout.blocked_by) <= set(use.outermost.queue.layout.blocked_by):
            raise RuntimeError(
                f"this task reads under {self.what}, so write() would wait for itself: "
                f"leave the block of read() first, or enter write() instead of read()"
            )
        await anyio.lowlevel.checkpoint()
        self.block: HoldBlock = use.block
        self.hold = use.hold
        self.hold.check()
        self._outer = use
        self._entry = StackEntry(outer.path, self.task, self)
        self._stack.push(self._entry)
        return self.hold

    def end_block(self, error: BaseException | None) -> BaseException | None:
        """End the block; an inner block does not end the hold."""
        if self._outer is None:
            return super().end_block(error)
        self._stack.remove(self._entry)
        return self.block.exit_inner(error)

    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        """Give the hold back, unless the block was an inner one."""
        return None if self._outer is not None else await super().release(outcome)

    def mark_removed(self) -> None:
        """Note that a transaction has removed the contender's znode, so that `release` does nothing."""
        self._node.mark_removed()

    async def switch_to(self, queue: LockQueue) -> None:
        """Replace the contender's znode by one of another layout; no contender can enter in between.

        Raises:
            HoldLostError: the hold is lost.
        """
        self.hold.check()

        def on_switched() -> None:
            path = self._node.path
            self.block.guard.move_to(recipe_api(queue.client).full_path(path))
            self.queue, self.hold.path, self.block.path = queue, path, path

        if not await self._node.switch_to(queue, on_switched):
            raise self._hold_lost(self._node.path, reason="its znode was deleted")


async def wait_proven(guard: Guard, path: str) -> bool:
    """Wait for the first proof of the hold; return False if its znode was deleted or is about to be.

    Args:
        guard: the guard of the hold. This function releases it if the wait is cancelled.
        path: the hold's znode, for the message.

    Raises:
        NoAuthError: the ACL does not let the owner read the znode.
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
