"""From the queue to the hold and back: what entering and leaving a lock or a leadership takes.

A recipe says where to queue (`Queue`), what the hold is (`make_hold`) and which error its loss is; the rest
is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar, final

import anyio
import anyio.lowlevel

from zkrecipes.client.recipe_api import Guard, recipe_api
from zkrecipes.errors import HoldLostError, NoAuthError
from zkrecipes.recipes.contender import Place, Queue
from zkrecipes.recipes.entered_once import EnteredOnce
from zkrecipes.recipes.hold import Hold, HoldBlock

__all__ = ["Acquisition", "HeldByTask", "is_proven", "task_id"]

H = TypeVar("H", bound=Hold)


@final
class HeldByTask(Generic[H]):
    """Which task has which acquisition of one recipe object, so that no task waits for itself."""

    def __init__(self) -> None:
        self._by_task: dict[int, Acquisition[H]] = {}

    def add(self, acquisition: Acquisition[H]) -> int:
        """The calling task begins to acquire; its id.

        Raises:
            RuntimeError: it has done so already.
        """
        task = task_id()
        if task in self._by_task:
            raise RuntimeError(
                f"this task has {acquisition.what} already, or waits for it: it would wait for itself"
            )
        self._by_task[task] = acquisition
        return task

    def remove(self, task: int) -> None:
        """The task has no acquisition any longer."""
        self._by_task.pop(task, None)

    def replace(self, one: Acquisition[H], other: Acquisition[H]) -> None:
        """The calling task enters `other` within `one`, or goes back from one to the other."""
        task = task_id()
        if self._by_task.get(task) is one:
            self._by_task[task] = other

    def of_this_task(self) -> Acquisition[H] | None:
        """What the calling task has entered last, or None. A child task is another task."""
        return self._by_task.get(task_id())


@final
class Acquisition(EnteredOnce, Generic[H]):
    """One acquisition, to be entered once with `async with`; what it gives is the hold.

    Args:
        queue: where to stand in line.
        data: what the contender's znode holds.
        held: the acquisitions of the same recipe object.
        make_hold: what entering gives, of a guard and a place.
        lost: what leaving raises when the hold was lost.
        blocking: whether to wait for one's turn.
        what: how messages name the recipe object.
        reentrant: whether a task that is inside already enters at once, under the hold that it has.
    """

    def __init__(
        self,
        queue: Queue,
        data: bytes,
        held: HeldByTask[H],
        make_hold: Callable[[Guard, Place], H],
        *,
        lost: type[HoldLostError],
        blocking: bool,
        what: str,
        reentrant: bool = False,
    ) -> None:
        super().__init__(what)
        self.queue = queue
        self._held = held
        self._make_hold = make_hold
        self._lost = lost
        self._blocking = blocking
        self._reentrant = reentrant
        self._outer: Acquisition[H] | None = None
        self._place = Place(queue, data)
        self._task = 0
        self._block: HoldBlock
        self._guard: Guard
        self._hold: H

    async def __aenter__(self) -> H:
        self.enter_once()
        outer = self._held.of_this_task()
        if self._reentrant and outer is not None:
            return await self._enter_again(outer)
        self._task = self._held.add(self)
        try:
            self._guard = await self._acquire()
        except BaseException:
            self._held.remove(self._task)
            await self._place.leave()
            raise
        self._block = HoldBlock(self._guard, self._place.path, self._lost)
        self._block.enter()
        self._hold = self._make_hold(self._guard, self._place)
        return self._hold

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outer is not None:
            outcome = self._block.exit_inner(error)
            self._held.replace(self, self._outer)
        else:
            outcome = self._block.exit(error_type, error, traceback)
            self._held.remove(self._task)
            refusal = await self._place.leave()
            outcome = refusal if outcome is None else outcome
        if outcome is not None and outcome is not error:
            raise outcome

    async def move_to(self, queue: Queue) -> None:
        """Take the same place under the names of another layout, with nobody in between.

        Raises:
            HoldLostError: the hold is lost.
        """
        self._hold.check()

        def moved() -> None:
            path = self._place.path
            self._guard.move_to(recipe_api(queue.client).operations.full(path))
            self.queue, self._hold.path, self._block.path = queue, path, path

        if not await self._place.move_to(queue, moved):
            raise self._lost(self._place.path, reason="its znode is gone")

    @property
    def outermost(self) -> Acquisition[H]:
        """The one that stands in the queue: this one, unless it was entered within another."""
        return self if self._outer is None else self._outer.outermost

    async def _enter_again(self, outer: Acquisition[H]) -> H:
        """Enter under the hold of a block further out; its scope is around this one, too.

        Raises:
            RuntimeError: that one shares the lock with others, and this one wants it alone.
        """
        held = outer.outermost.queue.layout
        if not set(self.queue.layout.blocked_by) <= set(held.blocked_by):
            raise RuntimeError(f"this task reads under {self.what}: to write it would wait for itself")
        await anyio.lowlevel.checkpoint()
        self._block, self._hold = outer._block, outer._hold
        self._hold.check()
        self._outer = outer
        self._held.replace(outer, self)
        return self._hold

    async def _acquire(self) -> Guard:
        """Queue up until it is our turn and the hold is proven."""
        place = self._place
        while True:
            children = await place.take()
            if not self._blocking and place.is_blocked(children):
                raise anyio.WouldBlock
            if await place.wait_turn(children):
                api = recipe_api(self.queue.client)
                guard = api.guard(place.path, place.session, made=place.made)
                if await is_proven(guard, place.path):
                    return guard
            # The znode is gone, with its session or by somebody's hand, or is about to go: again.
            refusal = await place.leave()
            if refusal is not None:
                raise refusal  # this client would wait for its own znode


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


def task_id() -> int:
    """The calling task's identity, for as long as it runs."""
    return anyio.get_current_task().id
