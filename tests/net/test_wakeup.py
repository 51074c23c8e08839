"""Parking a task and waking it with a value, on both loops."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import sniffio

from zkrecipes.net.wakeup import current_parking


class Spot:
    def __init__(self) -> None:
        self.parked: Any = None


@pytest.mark.anyio
async def test_a_parked_task_goes_on_with_the_value() -> None:
    parking, spot, got = current_parking(), Spot(), []

    async def wait() -> None:
        got.append(await parking.park(spot))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert spot.parked is not None
        parking.wake(spot, "value")
        assert spot.parked is None
    assert got == ["value"]


@pytest.mark.anyio
async def test_a_cancelled_wait_leaves_the_spot_free() -> None:
    parking, spot = current_parking(), Spot()
    with anyio.move_on_after(0):
        await parking.park(spot)
    assert spot.parked is None


@pytest.mark.anyio
async def test_the_spot_can_be_used_again() -> None:
    parking, spot, got = current_parking(), Spot(), []

    async def wait() -> None:
        got.extend([await parking.park(spot) for _ in range(3)])

    with anyio.move_on_after(0):
        await parking.park(spot)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for value in range(3):
            await anyio.wait_all_tasks_blocked()
            parking.wake(spot, value)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_task_that_was_cancelled_in_the_same_pass_may_be_woken_all_the_same() -> None:
    parking, spot = current_parking(), Spot()
    task = asyncio.ensure_future(parking.park(spot))
    await asyncio.sleep(0)
    task.cancel()
    parking.wake(spot, 1)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_the_running_loop_decides_how_to_park() -> None:
    assert sniffio.current_async_library() in type(current_parking()).__name__.lower()


def test_without_a_loop_there_is_no_parking() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        current_parking()
