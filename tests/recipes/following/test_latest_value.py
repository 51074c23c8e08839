"""LatestValue: no reader misses the last value, and no reader waits for another reader."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from tests.recipes.fault_sweep import virtual_time
from zkrecipes.recipes.following.latest_value import LatestReader, LatestValue

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_a_reader_starts_with_the_current_value() -> None:
    latest: LatestValue[int] = LatestValue()
    latest.put(1)
    latest.put(2)
    assert await anext(latest.reader()) == 2


async def test_a_reader_waits_for_the_first_value() -> None:
    latest: LatestValue[str | None] = LatestValue()
    async with anyio.create_task_group() as tasks:

        async def put_later() -> None:
            await anyio.sleep(5)
            latest.put(None)

        tasks.start_soon(put_later)
        assert await anext(latest.reader()) is None
        assert anyio.current_time() >= 5


async def test_a_slow_reader_skips_and_never_misses_the_last() -> None:
    latest: LatestValue[int] = LatestValue()
    quick: list[int] = []
    slow: list[int] = []

    async def read(reader: LatestReader[int], into: list[int], pause: float) -> None:
        async for value in reader:
            into.append(value)
            await anyio.sleep(pause)
            if value == 100:
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, latest.reader(), quick, 0)
        tasks.start_soon(read, latest.reader(), slow, 7)
        for value in range(1, 101):
            latest.put(value)
            await anyio.sleep(1)
    assert quick == list(range(1, 101))
    assert slow == sorted(set(slow))
    assert len(slow) == 16


async def test_each_reader_gets_a_copy_of_the_error_after_the_newest_value() -> None:
    latest: LatestValue[int] = LatestValue()
    error = ValueError("mine")
    latest.put(1)
    latest.fail(error)
    latest.fail(KeyError("later"))
    caught = []
    for reader in (latest.reader(), latest.reader()):
        assert await anext(reader) == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="mine") as info:
                await anext(reader)
            caught.append(info.value)
    assert error not in caught
    assert len(set(map(id, caught))) == 4


async def test_an_error_wakes_waiting_readers() -> None:
    latest: LatestValue[int] = LatestValue()
    async with anyio.create_task_group() as tasks:

        async def fail_later() -> None:
            await anyio.sleep(5)
            latest.fail(ValueError("mine"))

        tasks.start_soon(fail_later)
        with pytest.raises(ValueError, match="mine"):
            await anext(latest.reader())


async def test_a_cancelled_wait_loses_nothing() -> None:
    latest: LatestValue[int] = LatestValue()
    reader = latest.reader()
    with anyio.move_on_after(1):
        await anext(reader)
    latest.put(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(reader)
    assert scope.cancelled_caught
    assert await anext(reader) == 1
