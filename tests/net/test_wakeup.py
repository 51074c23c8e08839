"""Parking a task and waking it with a value, on both loops."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sniffio

from zkrecipes.net.wakeup import CallingTask, callable_from_threads_in_task, current_parking


class ParkingSlot:
    def __init__(self) -> None:
        self.parked: Any = None


@pytest.mark.anyio
async def test_a_parked_task_continues_with_the_value() -> None:
    parking, slot, got = current_parking(), ParkingSlot(), []

    async def wait() -> None:
        got.append(await parking.park(slot))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert slot.parked is not None
        parking.wake(slot, "value")
        assert slot.parked is None
    assert got == ["value"]


@pytest.mark.anyio
async def test_a_cancelled_wait_leaves_the_spot_free() -> None:
    parking, slot = current_parking(), ParkingSlot()
    with anyio.move_on_after(0):
        await parking.park(slot)
    assert slot.parked is None


@pytest.mark.anyio
async def test_the_spot_can_be_used_again() -> None:
    parking, slot, got = current_parking(), ParkingSlot(), []

    async def wait() -> None:
        got.extend([await parking.park(slot) for _ in range(3)])

    with anyio.move_on_after(0):
        await parking.park(slot)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for value in range(3):
            await anyio.wait_all_tasks_blocked()
            parking.wake(slot, value)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_task_that_was_cancelled_in_the_same_pass_may_be_woken_all_the_same() -> None:
    parking, slot = current_parking(), ParkingSlot()
    task = asyncio.ensure_future(parking.park(slot))
    await asyncio.sleep(0)
    task.cancel()
    parking.wake(slot, 1)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_the_running_loop_decides_how_to_park() -> None:
    assert sniffio.current_async_library() in type(current_parking()).__name__.lower()


def test_without_a_loop_there_is_no_parking() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        current_parking()


# --- tasks ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_task_recognises_itself_and_no_other_task() -> None:
    task, others = CallingTask(), []

    async def look() -> None:
        others.append(CallingTask())
        assert not task.is_current
        assert others[0].is_current

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
    assert task.is_current
    assert not others[0].is_current
    assert not task.has_ended
    assert others[0].has_ended


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_the_end_of_a_task_within_scopes_is_reported_innermost_first() -> None:
    ended: list[int] = []
    alive: list[weakref.ref[Any]] = []

    async def work() -> None:
        for number in range(3):
            scope = anyio.CancelScope()
            scope.__enter__()
            take_back = CallingTask().call_at_end(partial(ended.append, number), scope)
            if number == 1:
                take_back()
                scope.__exit__(None, None, None)

    task = asyncio.create_task(work())
    alive.append(weakref.ref(task))
    await task
    await asyncio.sleep(0)
    assert ended == [2, 0]
    del task
    gc.collect()
    assert alive[0]() is None  # anyio keeps the task of a scope that is not left


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_scope_is_left_on_behalf_of_a_living_task() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    found: list[Any] = []

    async def work() -> None:
        with anyio.CancelScope():
            scope = anyio.CancelScope()
            scope.__enter__()
            found.extend((CallingTask(), scope))
            entered.set()
            await leave.wait()

    task = asyncio.create_task(work())
    await entered.wait()
    calling_task, scope = found
    calling_task.leave_scope(scope)
    assert asyncio.current_task() is not task
    scope.cancel()  # it has no effect on the task
    leave.set()
    await task  # which can leave the scope around it


@pytest.mark.anyio
async def test_a_thread_has_a_task_started() -> None:
    async with anyio.create_task_group() as tasks:
        ran = anyio.Event()

        async def run() -> None:
            ran.set()

        start = callable_from_threads_in_task(lambda: tasks.start_soon(run))
        await anyio.to_thread.run_sync(start)
        await ran.wait()
