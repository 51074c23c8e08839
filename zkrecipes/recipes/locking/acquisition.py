"""The objects that a user enters: the result of `acquire()`, and a recipe object itself.

Both are small handles. A `SingleUse`, which users never see, does the work of one acquisition.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, final

from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.single_use import SingleUse

__all__ = ["Acquisition", "AcquisitionHandle", "EnteredByCalls", "EnteredDirectly", "mark_entered"]

H = TypeVar("H")


class AcquisitionHandle(Generic[H]):
    """One acquisition, to be entered once with `async with`.

    Awaiting it is an error, and dropping it unentered is a warning: both would silently leave the caller
    without a lock.
    """

    def __init__(self, use: SingleUse[H]) -> None:
        self._use = use
        self._is_entered = False

    async def __aenter__(self) -> H:
        return await mark_entered(self).enter()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._use.exit(error)

    if not TYPE_CHECKING:  # without this method, a type checker reports that it cannot be awaited

        def __await__(self) -> NoReturn:
            self._is_entered = True  # this error reports it, so `__del__` does not warn
            raise TypeError(f"{self._use.what} must be entered, not awaited: `async with … as hold:`")

    def __del__(self) -> None:
        if not self._is_entered:
            message = f"an acquisition of {self._use.what} was never entered: nothing is held"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)


@final
class Acquisition(AcquisitionHandle[Hold]):
    """One acquisition of a lock, of permits or of a leadership: enter it with `async with`, once.

    Entering gives a `Hold`. `Mutex.acquire`, `Semaphore.acquire`, `ReadWriteLock.read`, `ReadWriteLock.write`
    and `Election.lead` return it.
    """


def mark_entered(acquisition: AcquisitionHandle[H]) -> SingleUse[H]:
    """Return the use of an acquisition, and count the acquisition as entered.

    Raises:
        RuntimeError: the acquisition was entered before.
    """
    use = acquisition._use  # noqa: SLF001 - of this module's class
    if acquisition._is_entered:  # noqa: SLF001
        raise RuntimeError(f"an acquisition of {use.what} can be entered only once; ask for another one")
    acquisition._is_entered = True  # noqa: SLF001
    return use


class EnteredDirectly(ABC, Generic[H]):
    """A recipe object that is entered itself: `async with mutex as hold`.

    `__aexit__` receives only the object, which several tasks may share, and in which one task may have
    several nested blocks: each task leaves the block that it entered last.
    """

    def __init__(self) -> None:
        # These uses can be left through the object, so it keeps them alive.
        self._uses: list[SingleUse[H]] = []

    @abstractmethod
    def _new_use(self) -> SingleUse[H]:
        """Return a use for the calling task to enter."""

    if not TYPE_CHECKING:  # without this method, a type checker reports that it cannot be awaited

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self!r} must be entered, not awaited: `async with … as hold:`")

    async def __aenter__(self) -> H:
        use = self._new_use()
        hold = await use.enter()
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
        await use.exit(error)

    def _last_use(self) -> SingleUse[H]:
        """Return the last use of the calling task; otherwise one whose task has ended; otherwise any."""
        for use in reversed(self._uses):
            if use.task.is_current:
                return use
        if not self._uses:
            raise RuntimeError(f"{self!r} cannot be left: no task has entered it")
        left_behind = (use for use in reversed(self._uses) if use.task.has_ended)
        return next(left_behind, self._uses[-1])


class EnteredByCalls:
    """A recipe object that cannot be entered itself; users enter the results of its calls."""

    _calls: str
    """The calls whose results users enter, for the error message."""

    if not TYPE_CHECKING:  # without these methods, a type checker reports that it cannot be entered

        async def __aenter__(self) -> NoReturn:
            raise TypeError(f"{self!r} cannot be entered itself: use {self._calls}")

        async def __aexit__(self, *_: object) -> None: ...
