"""Parks the task of one request and wakes it with the answer; the only file that knows the backend.

An `anyio.Event` per request would cost 1 to 2 µs more for each, and a whole pass of the loop for one that is
set already. The native way takes thirty lines: trio's `wait_task_rescheduled`, asyncio's `Future`.
Both are imported only here, and only in a program that runs them.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import current_thread, get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, final

if TYPE_CHECKING:
    import asyncio

    import anyio
    import trio

__all__ = [
    "CallingTask",
    "Parking",
    "ParkingSlot",
    "callable_from_threads",
    "callable_from_threads_in_task",
    "current_parking",
    "is_on_trio",
    "wrong_loop_error",
]


class ParkingSlot(Protocol):
    """A place for at most one parked task: `parked` is None, or the object that the backend wakes."""

    parked: Any


class Parking(Protocol):
    """The way to park and wake tasks on one backend."""

    async def park(self, slot: ParkingSlot) -> Any:
        """Wait until `wake`, and return its value.

        Cancellation: the slot is free again; a wake-up in progress is lost.
        """

    def wake(self, slot: ParkingSlot, value: object = None) -> None:
        """Let the task parked in `slot` continue with `value`. A task must be parked there."""

    def is_here(self) -> bool:
        """Whether the caller runs in this loop, and not in another loop or thread."""

    def current_time(self) -> float:
        """Return the time as `anyio.current_time()`, which looks for its backend at each call."""


@final
class _TrioParking:
    def __init__(self) -> None:
        import outcome
        import trio

        self._lowlevel = trio.lowlevel
        self._in_trio_run = trio.lowlevel.in_trio_run
        self._thread = get_ident()
        self._succeeded = trio.lowlevel.Abort.SUCCEEDED
        self._value = outcome.Value
        self.current_time: Callable[[], float] = trio.current_time

    async def park(self, slot: ParkingSlot) -> Any:
        slot.parked = self._lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            slot.parked = None
            return self._succeeded

        return await self._lowlevel.wait_task_rescheduled(leave)

    def is_here(self) -> bool:
        # As a guest, trio shares its thread with a host loop.
        return get_ident() == self._thread and self._in_trio_run()

    def wake(self, slot: ParkingSlot, value: object = None) -> None:
        task, slot.parked = slot.parked, None
        # An outcome, so that trio need not build one from None and hand over the value in a second step.
        self._lowlevel.reschedule(task, self._value(value))


@final
class _AsyncioParking:
    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self.current_time: Callable[[], float] = self._loop.time

    async def park(self, slot: ParkingSlot) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        slot.parked = future
        try:
            return await future
        finally:
            if slot.parked is future:
                slot.parked = None

    def is_here(self) -> bool:
        # A thread runs one loop at a time. `get_running_loop` would be a system call up to Python 3.11.
        return get_ident() == self._thread and self._loop.is_running()

    def wake(self, slot: ParkingSlot, value: object = None) -> None:
        future, slot.parked = slot.parked, None
        if not future.done():  # cancelled in this pass of the loop
            future.set_result(value)


@final
class CallingTask:
    """A handle on the task that creates it: it recognises the task later, and reports its end.

    A task's id is not enough, because a later task may have the same one. The task is not kept alive.

    Attributes:
        number: the task's id, for tables; check an entry found there with `is_current`.
    """

    __slots__ = ("_task", "number")

    def __init__(self) -> None:
        task = _current_task()
        self.number: int = id(task)
        self._task = weakref.ref(task)

    @property
    def is_current(self) -> bool:
        """Whether this is the calling task."""
        return self._task() is _current_task()

    @property
    def has_ended(self) -> bool:
        """Whether the task has run to its end, so that nothing in it can be cancelled."""
        task = self._task()
        return task is None or (
            inspect.iscoroutine(coro := _coroutine_of(task))
            and inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
        )

    def call_at_end(self, func: Callable[[], object], scope: anyio.CancelScope) -> Callable[[], object]:
        """Call `func` if the task ends within `scope`, and leave the scope then; return how to undo this.

        trio does not report the end, and need not: a trio scope has no effect once its task has ended.
        """
        task = self._task()
        if task is None or is_on_trio():
            return _nothing

        scopes = _open_scopes.get(task)
        if scopes is None:
            scopes = _open_scopes[task] = {}
            task.add_done_callback(_leave_open_scopes)
        scopes[scope] = partial(self._end, func, scope)
        return partial(_forget_scope, self._task, scope)

    def _end(self, func: Callable[[], object], scope: anyio.CancelScope) -> None:
        func()
        self.leave_scope(scope)

    def leave_scope(self, scope: anyio.CancelScope) -> None:
        """Leave `scope` on behalf of the task, which entered it and will not leave it or has ended.

        On asyncio only. Otherwise anyio would refuse to leave the scopes around it. It would also keep a task
        that has ended forever, and the task's result, which may be a hold (`wait_for` around entering, up to
        Python 3.11). If the task is in further scopes within, nothing happens, as on trio.
        """
        task = self._task()
        if task is None or is_on_trio():
            return
        import asyncio

        loop, caller = asyncio.get_running_loop(), asyncio.current_task()
        # asyncio's hooks for task implementations ("Extending" in its documentation).
        if caller is not None:
            asyncio._leave_task(loop, caller)  # noqa: SLF001
        asyncio._enter_task(loop, task)  # noqa: SLF001
        try:
            with suppress(RuntimeError):
                scope.__exit__(None, None, None)
        finally:
            asyncio._leave_task(loop, task)  # noqa: SLF001
            if caller is not None:
                asyncio._enter_task(loop, caller)  # noqa: SLF001


def _nothing() -> None:
    pass


# On asyncio: the calls that leave the scopes in which a task may end, by task, in the order of entering.
_open_scopes: Final[weakref.WeakKeyDictionary[Any, dict[anyio.CancelScope, Callable[[], None]]]] = (
    weakref.WeakKeyDictionary()
)


def _leave_open_scopes(task: object) -> None:
    for leave in reversed(_open_scopes.pop(task, {}).values()):
        leave()


def _forget_scope(task: weakref.ref[Any], scope: anyio.CancelScope) -> None:
    alive = task()
    scopes = None if alive is None else _open_scopes.get(alive)
    if alive is None or scopes is None:
        return
    scopes.pop(scope, None)
    if not scopes:
        del _open_scopes[alive]
        alive.remove_done_callback(_leave_open_scopes)


def _coroutine_of(task: Any) -> object:
    return task.get_coro() if hasattr(task, "get_coro") else task.coro


def _current_task() -> Any:
    if is_on_trio():
        import trio

        return trio.lowlevel.current_task()
    import asyncio

    return asyncio.current_task()


def current_parking() -> Parking:
    """Return the parking of the loop that runs the calling task.

    Raises:
        RuntimeError: neither trio nor asyncio runs it.
    """
    return _TrioParking() if is_on_trio() else _AsyncioParking()


def callable_from_threads(func: Callable[[], object]) -> Callable[[], None]:
    """Return a function with which any thread lets the calling task's loop run `func` soon.

    The function does not wait, because a loop that is about to end may never run `func`, and it does not
    raise if the loop has ended. `func` does not run in a task; see `callable_from_threads_in_task`.
    """
    run_soon: Callable[[Callable[[], object]], object]
    if is_on_trio():
        import trio

        run_soon = trio.lowlevel.current_trio_token().run_sync_soon
    else:
        import asyncio

        run_soon = asyncio.get_running_loop().call_soon_threadsafe

    def call() -> None:
        with suppress(RuntimeError):  # the loop has ended
            run_soon(func)

    return call


def callable_from_threads_in_task(func: Callable[[], object]) -> Callable[[], None]:
    """Return a function as `callable_from_threads` does, but run `func` in a task, which may start tasks."""
    if is_on_trio():
        return callable_from_threads(func)  # trio runs it in a task
    import asyncio

    loop = asyncio.get_running_loop()
    started: set[asyncio.Task[None]] = set()  # a loop keeps no task alive

    async def run() -> None:
        func()

    def start() -> None:
        task = loop.create_task(run())
        started.add(task)
        task.add_done_callback(started.discard)

    return callable_from_threads(start)


def is_on_trio() -> bool:
    """Whether trio runs the calling task, and not asyncio."""
    trio_loaded = sys.modules.get("trio")
    return trio_loaded is not None and trio_loaded.lowlevel.in_trio_run()


def wrong_loop_error(home: str) -> RuntimeError:
    """Return the error for a client that is used from another loop than its own, which could not be woken.

    Args:
        home: the name of the thread in which the client was opened.
    """
    return RuntimeError(
        f"this client belongs to the event loop in which it was opened (thread {home!r}), and is used from "
        f"another loop or thread ({current_thread().name!r}). Use it in its own loop, through "
        "anyio.from_thread.run or asyncio.run_coroutine_threadsafe, or open another client here"
    )
