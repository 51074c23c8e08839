"""One use of a recipe object by one task: the way into a block and out of it.

`SingleUse` is any use. `GuardedUse` waits for a hold and runs its block only while the hold is proven; each
lock, election and barrier defines in a subclass how to take and release the hold.

A program may enter a block and never leave it, for example in a generator that is not closed. Then nothing
refers to the block's `HoldBlock`, its finalizer runs, and the hold is released with a warning. So no object
that lives longer may refer to the use or the block: the task's stack has a weak reference, and the finalizer
gets only the parts that it needs.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import (
    CallingTask,
    Guard,
    RecipeApi,
    callable_from_threads_in_task,
    recipe_api,
)
from zkrecipes.errors import AcquireTimeoutError, NoAuthError
from zkrecipes.recipes.locking.contenders import Holder
from zkrecipes.recipes.locking.hold_block import HoldBlock, LossType
from zkrecipes.recipes.locking.task_stack import StackEntry, task_stack
from zkrecipes.recipes.locking.wait_limit import WaitLimit

__all__ = ["GuardedUse", "SingleUse"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

H = TypeVar("H")
Removal = Callable[[], Awaitable[NoAuthError | None]]
"""Removes znodes in a task of the client; the caller waits at most an eighth of a timeout. It returns the
server's refusal, which the caller raises unless there is another error."""


class SingleUse(ABC, Generic[H]):
    """One use of a recipe object, entered once.

    Args:
        what: the name of the recipe object in messages.

    Attributes:
        what: the same.
        task: the task that has entered it.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.task: CallingTask

    async def enter(self) -> H:
        """Enter in the calling task. Call it once."""
        self.task = CallingTask()
        return await self._enter()

    @abstractmethod
    async def _enter(self) -> H:
        """Enter, and return the object that the block gets."""

    @abstractmethod
    def end_block(self, error: BaseException | None) -> BaseException | None:
        """End the block, which ended with `error` (None: without); return the outcome to raise, or None.

        `release` must follow.
        """

    @abstractmethod
    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        """Release the hold after a block with this outcome; return the server's refusal, if any."""

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave the block, in any task, and return the outcome to raise, or None."""
        outcome = self.end_block(error)
        refusal = await self.release(outcome)
        return refusal if outcome is None else outcome

    async def exit(self, error: BaseException | None) -> None:
        """Leave the block, in any task; raise the outcome unless it is `error` itself."""
        outcome = await self.leave(error)
        if outcome is not None and outcome is not error:
            raise outcome


class GuardedUse(SingleUse[H]):
    """One use whose block runs only while its hold is proven.

    Args:
        client: the client whose session holds it.
        path: the path that a task may enter or wait for only once.
        what: the name of the recipe object in messages.
        lost: the error for the loss of the hold.
        wait: the limit of the wait, as `WaitLimit`.
        remove: removes every znode that this use has created or may have created. It must not refer to this
            object.

    Attributes:
        path: the same as the argument.
        block: the block, from the time when it is entered.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        what: str,
        lost: LossType,
        wait: float | None,
        remove: Removal,
    ) -> None:
        self._limit = WaitLimit(wait)
        super().__init__(what)
        self.path = path
        self._api: RecipeApi = recipe_api(client)
        self._stack = task_stack(self._api)
        self._remove = remove
        self._lost = lost
        self._entry: StackEntry
        self.block: HoldBlock

    @abstractmethod
    async def _take(self) -> Guard | None:
        """Wait until the hold is proven, and return its guard; return None if a single try had no success.

        Keep `_limit.waiting_for` up to date. After cancellation or an error, `_remove` follows.
        """

    @property
    @abstractmethod
    def _hold_path(self) -> str:
        """The hold's own znode, once `_take` has returned."""

    @abstractmethod
    def _make_hold(self, block: HoldBlock) -> H:
        """Make the object that the block gets."""

    async def _remove_and_read_holder(self) -> Holder | None:
        """Remove every znode of this use; return the contender in front, if it is known."""
        await self._remove()
        return None

    async def _enter_within(self, outer: StackEntry) -> H:
        """Enter although the calling task has already entered the same path, or raise an error.

        Raises:
            RuntimeError: the task would wait for itself.
        """
        raise RuntimeError(
            f"this task has already entered {outer.what} or waits for it: "
            f"it would wait for itself at {self.what}"
        )

    async def _enter(self) -> H:
        full_path = self._api.full_path(self.path)
        outer = self._stack.innermost(full_path, self.task)
        if outer is not None:
            return await self._enter_within(outer)
        self._entry = StackEntry(full_path, self.task, self)
        self._stack.push(self._entry)
        try:
            guard = await self._limit.run(self._api, self._take)
        except BaseException:
            self._stack.remove(self._entry)
            await self._remove()
            raise
        if guard is None:
            self._stack.remove(self._entry)
            raise await self._timeout_error()
        return self._make_hold(self._begin_block(guard))

    def end_block(self, error: BaseException | None) -> BaseException | None:
        """End the block, and let the task enter the path again."""
        self._stack.remove(self._entry)
        return self.block.exit(error)

    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        """Remove every znode of this use."""
        del outcome
        return await self._remove()

    def _begin_block(self, guard: Guard) -> HoldBlock:
        block = self.block = HoldBlock(guard, self._hold_path, self._lost, self.what)
        block.enter(self.task)
        # None of these may refer to this object, or it would never be garbage-collected.
        release = partial(
            _release_forgotten,
            self.what,
            api=self._api,
            guard=guard,
            task=self.task,
            remove=self._remove,
            remove_entry=partial(self._stack.remove, self._entry),
        )
        block.when_forgotten(callable_from_threads_in_task(release))
        return block

    async def _timeout_error(self) -> AcquireTimeoutError:
        waited = self._limit.waited()
        waiting_for = self._limit.waiting_for if self._api.is_connected else "connection"
        holder = await self._remove_and_read_holder()
        assert self._limit.wait is not None
        return AcquireTimeoutError(
            self.what,
            path=self.path,
            wait=self._limit.wait,
            waited=waited,
            waiting_for=waiting_for,
            holder=None if holder is None else holder.identifier,
            holder_path=None if holder is None else holder.path,
        )


def _release_forgotten(
    what: str,
    *,
    api: RecipeApi,
    guard: Guard,
    task: CallingTask,
    remove: Removal,
    remove_entry: Callable[[], None],
) -> None:
    """Release a hold whose block can no longer be left, because nothing refers to it."""
    if api.is_over:
        return
    logger.warning(
        "%s: the block was entered and never left, and nothing refers to the hold, so it is released now. "
        "Leave what you enter: `async with`, an AsyncExitStack that is closed, `contextlib.aclosing` around "
        "an async generator",
        what,
        extra={"path": guard.paths[0]},
    )
    remove_entry()
    scope = guard.drop_scope()
    if scope is not None:
        task.leave_scope(scope)
    guard.release()
    api.start_clean_up(remove)
