"""Parks the task of one request and wakes it with the answer; the only file that knows the backend.

An `anyio.Event` per request would do, at 1 to 2 µs more for each and a whole pass of the loop for one that is
set already. The native way is thirty lines: trio's `wait_task_rescheduled`, asyncio's `Future`. Both are
imported only here, and only in a program that runs them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    import asyncio

    import trio

__all__ = ["Parking", "Spot", "callable_from_threads", "current_parking", "is_on_trio"]


class Spot(Protocol):
    """Where at most one task is parked: None, or what the backend needs to wake it."""

    parked: Any


class Parking(Protocol):
    """How tasks wait on this backend."""

    async def park(self, spot: Spot) -> Any:
        """Wait until `wake`, and return what it was given.

        Cancellation: the spot is free again; a wake-up that was under way is lost.
        """

    def wake(self, spot: Spot, value: object = None) -> None:
        """Let the task parked at `spot` go on with `value`. There must be one."""

    def current_time(self) -> float:
        """The time on `anyio.current_time()`'s clock, which looks for its backend at each call."""


@final
class _TrioParking:
    def __init__(self) -> None:
        import outcome
        import trio

        self._lowlevel = trio.lowlevel
        self._succeeded = trio.lowlevel.Abort.SUCCEEDED
        self._value = outcome.Value
        self.current_time: Callable[[], float] = trio.current_time

    async def park(self, spot: Spot) -> Any:
        spot.parked = self._lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            spot.parked = None
            return self._succeeded

        return await self._lowlevel.wait_task_rescheduled(leave)

    def wake(self, spot: Spot, value: object = None) -> None:
        task, spot.parked = spot.parked, None
        # The outcome itself: trio would build one from None, and a second hand-over would follow.
        self._lowlevel.reschedule(task, self._value(value))


@final
class _AsyncioParking:
    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self.current_time: Callable[[], float] = self._loop.time

    async def park(self, spot: Spot) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        spot.parked = future
        try:
            return await future
        finally:
            if spot.parked is future:
                spot.parked = None

    def wake(self, spot: Spot, value: object = None) -> None:
        future, spot.parked = spot.parked, None
        if not future.done():  # cancelled in this very pass
            future.set_result(value)


def current_parking() -> Parking:
    """The parking of the loop that runs the calling task.

    Raises:
        RuntimeError: neither trio nor asyncio runs it.
    """
    return _TrioParking() if is_on_trio() else _AsyncioParking()


def callable_from_threads(func: Callable[[], object]) -> Callable[[], None]:
    """What any thread may call to have `func` run soon by the loop that runs the calling task.

    It does not wait, for a loop that is about to end may never come to it, and it does not raise where the
    loop has ended.
    """
    run_soon: Callable[[Callable[[], object]], object]
    if is_on_trio():
        import trio

        run_soon = trio.lowlevel.current_trio_token().run_sync_soon
    else:
        import asyncio

        run_soon = asyncio.get_running_loop().call_soon_threadsafe

    def call() -> None:
        with suppress(RuntimeError):  # the loop is over
            run_soon(func)

    return call


def is_on_trio() -> bool:
    """Whether it is trio that runs the calling task, and not asyncio."""
    trio_loaded = sys.modules.get("trio")
    return trio_loaded is not None and trio_loaded.lowlevel.in_trio_run()
