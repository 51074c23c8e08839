"""Entering and leaving: what every lock, election and barrier does, whatever is entered.

`SingleUse` is what `acquire()` returns. `GuardedUse` is one that waits for a hold and runs its block only
while that is proven. `EnteredDirectly` is for the recipe object itself: `async with mutex as hold`.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NamedTuple, NoReturn, TypeVar

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import (
    CallingTask,
    Guard,
    RecipeApi,
    callable_from_threads_in_task,
    recipe_api,
)
from zkrecipes.errors import AcquireTimeoutError, NoAuthError
from zkrecipes.recipes.locking.hold import HoldBlock, LossType
from zkrecipes.recipes.locking.task_stack import Entered, task_stack
from zkrecipes.recipes.locking.wait_limit import WaitLimit

__all__ = ["EnteredDirectly", "GuardedUse", "Holder", "SingleUse"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

H = TypeVar("H")
Removal = Callable[[], Awaitable[NoAuthError | None]]
"""Removes znodes, in a task of the client's; the caller waits an eighth of a timeout at most. A refusal is
returned, and raised unless there is another error."""


class Holder(NamedTuple):
    """The contender that stood in the way of one that has given up."""

    path: str
    identifier: str | None
    """None if it could not be read."""


class SingleUse(ABC, Generic[H]):
    """One use of a recipe object, entered once with `async with`. No caller gets a silent non-lock.

    Args:
        what: how messages name the recipe object.
    """

    _is_entered = True  # nothing to warn of, if a subclass refuses an argument before it is made

    def __init__(self, what: str) -> None:
        self._is_entered = False
        self.what = what
        self.task: CallingTask

    def enter_once(self) -> None:
        """Note that the calling task enters it now.

        Raises:
            RuntimeError: it was entered before.
        """
        if self._is_entered:
            raise RuntimeError(f"an acquisition of {self.what} is entered once; ask for another one")
        self._is_entered = True
        self.task = CallingTask()

    @abstractmethod
    async def __aenter__(self) -> H:
        """Enter; call `enter_once` first."""

    @abstractmethod
    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave, from whichever task."""

    if not TYPE_CHECKING:  # to a checker, awaiting it is an error without more ado

        def __await__(self) -> NoReturn:
            self._is_entered = True  # reported here, so `__del__` need not
            raise TypeError(f"{self.what} is entered, not awaited: `async with … as hold:`")

    def __del__(self) -> None:
        if not self._is_entered:
            message = f"an acquisition of {self.what} was never entered: nothing is held"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)


class GuardedUse(SingleUse[H]):
    """One use whose block runs only while its hold is proven.

    Args:
        client: whose session holds it.
        path: what the calling task may have or wait for only once.
        what: how messages name the recipe object.
        lost: what leaving raises when the hold was lost.
        wait: the limit of the wait, as `WaitLimit`.
        remove: removes every znode of this use, whatever is known of them; it must not refer to this object,
            because it is called when this object was forgotten.
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
        self._entered: Entered
        self._block: HoldBlock

    @abstractmethod
    async def _take(self) -> Guard | None:
        """Wait until the hold is proven, and return its guard; None for one try without success.

        Set `_limit.waiting_for` on the way. Cancellation, errors: `_remove` follows.
        """

    @property
    @abstractmethod
    def _hold_path(self) -> str:
        """The hold's own znode, once `_take` has returned."""

    @abstractmethod
    def _make_hold(self, block: HoldBlock) -> H:
        """Make what entering gives."""

    async def _remove_and_see(self) -> Holder | None:
        """Remove every znode of this use, and return the contender that stood in the way, if it is known."""
        await self._remove()
        return None

    async def _enter_within(self, outer: Entered) -> H:
        """Enter although the calling task has entered the same path already, or refuse to.

        Raises:
            RuntimeError: the task would wait for itself.
        """
        raise RuntimeError(
            f"this task has entered {outer.what} already, or waits for it: "
            f"it would wait for itself at {self.what}"
        )

    async def __aenter__(self) -> H:
        self.enter_once()
        full_path = self._api.operations.full(self.path)
        outer = self._stack.innermost(full_path, self.task)
        if outer is not None:
            return await self._enter_within(outer)
        self._entered = Entered(full_path, self.task, self)
        self._stack.push(self._entered)
        try:
            guard = await self._limit.run(self._api, self._take)
        except BaseException:
            self._stack.remove(self._entered)
            await self._remove()
            raise
        if guard is None:
            self._stack.remove(self._entered)
            raise await self._time_is_over()
        return self._make_hold(self._begin_block(guard))

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = self._end_block(error)
        refusal = await self._leave(outcome)
        outcome = refusal if outcome is None else outcome
        if outcome is not None and outcome is not error:
            raise outcome

    def _end_block(self, error: BaseException | None) -> BaseException | None:
        """End the block, and return what is to be raised. `_leave` must follow."""
        self._stack.remove(self._entered)
        return self._block.exit(error)

    async def _leave(self, outcome: BaseException | None) -> NoAuthError | None:
        """Give the hold back when the block has ended with `outcome`; return the server's refusal, if any."""
        del outcome
        return await self._remove()

    def _begin_block(self, guard: Guard) -> HoldBlock:
        block = self._block = HoldBlock(guard, self._hold_path, self._lost, self.what)
        block.enter(self.task)
        # None of these may refer to this object, or it would never be forgotten.
        forget = partial(self._stack.remove, self._entered)
        release = partial(
            _release_forgotten,
            self.what,
            api=self._api,
            guard=guard,
            task=self.task,
            remove=self._remove,
            forget=forget,
        )
        block.when_forgotten(callable_from_threads_in_task(release))
        return block

    async def _time_is_over(self) -> AcquireTimeoutError:
        waited = self._limit.waited()
        waiting_for = self._limit.waiting_for if self._api.is_connected else "connection"
        holder = await self._remove_and_see()
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
    forget: Callable[[], None],
) -> None:
    """Release a hold whose block can never be left, because nothing refers to it any longer."""
    if api.is_over:
        return
    logger.warning(
        "%s: its block was entered and never left, and nothing refers to its hold any longer: it is "
        "released. Leave what you enter: `async with`, an AsyncExitStack that is closed, "
        "`contextlib.aclosing` around an async generator",
        what,
        extra={"path": guard.paths[0]},
    )
    forget()
    scope = guard.drop_scope()
    if scope is not None:
        task.leave_scope(scope)
    guard.release()
    api.start_clean_up(remove)


class EnteredDirectly(ABC, Generic[H]):
    """A recipe object that is entered itself: `async with mutex as hold`.

    Leaving such a block names only the object. Tasks share it, and one task may be in several of its blocks,
    one within the other: each leaves the one that it entered last.
    """

    def __init__(self) -> None:
        # These references keep alive what is entered, for as long as the object, which can leave it, is.
        self._uses: list[SingleUse[H]] = []

    @abstractmethod
    def _new_use(self) -> SingleUse[H]:
        """Return a use for the calling task to enter."""

    if not TYPE_CHECKING:  # to a checker, awaiting it is an error without more ado

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} is entered, not awaited: `async with … as hold:`")

    async def __aenter__(self) -> H:
        use = self._new_use()
        hold = await use.__aenter__()
        self._uses.append(use)
        return hold

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        use = self._last_use()
        self._uses.remove(use)
        await use.__aexit__(error_type, error, traceback)

    def _last_use(self) -> SingleUse[H]:
        """Return what the calling task entered last; else what was left behind by a task, or is another's."""
        for use in reversed(self._uses):
            if use.task.is_current:
                return use
        if not self._uses:
            raise RuntimeError(f"{self!r} is left, and no task has entered it")
        left_behind = (use for use in reversed(self._uses) if use.task.has_ended)
        return next(left_behind, self._uses[-1])
