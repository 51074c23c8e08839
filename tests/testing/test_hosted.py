"""A hosted manager is entered and left in one task, and its errors are raised at the end of the block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest
import trio
from trio.testing import MockClock

from zkrecipes.testing import hosted

pytestmark = pytest.mark.anyio


async def _checkpoint() -> bool:
    await anyio.lowlevel.checkpoint()
    return True


@asynccontextmanager
async def _recorded(tasks: list[int]) -> AsyncIterator[str]:
    async with anyio.create_task_group():
        tasks.append(anyio.get_current_task().id)
        yield "value"
        tasks.append(anyio.get_current_task().id)


async def test_it_is_entered_and_left_in_one_task_that_is_not_the_callers() -> None:
    tasks: list[int] = []
    block = hosted(_recorded(tasks))
    assert await block.__aenter__() == "value"
    async with anyio.create_task_group() as group:
        # This task is not the one that entered, as in pytest-asyncio.
        group.start_soon(block.__aexit__, None, None, None)
    assert tasks[0] == tasks[1] != anyio.get_current_task().id


async def test_an_error_of_entering_is_raised() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        if await _checkpoint():
            raise OSError("no")
        yield

    with pytest.raises(OSError, match="no"):
        async with hosted(failing()):
            pytest.fail("it was not entered")


async def test_an_error_that_ends_it_early_is_raised_at_the_end_of_the_block() -> None:
    must_fail = anyio.Event()

    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        async def fail() -> None:
            await must_fail.wait()
            raise OSError("broken")

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    block = hosted(failing())
    await block.__aenter__()
    must_fail.set()
    await anyio.wait_all_tasks_blocked()  # nothing interrupts it
    with pytest.raises(ExceptionGroup) as caught:
        await block.__aexit__(None, None, None)
    assert caught.group_contains(OSError, match="broken")


async def test_an_error_of_the_block_comes_out_and_the_manager_is_left() -> None:
    tasks: list[int] = []
    with pytest.raises(KeyError):
        async with hosted(_recorded(tasks)):
            raise KeyError
    assert len(tasks) == 2


async def test_a_cancel_while_entering_cancels_the_manager() -> None:
    ended = False

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        nonlocal ended
        try:
            await anyio.sleep_forever()
            yield
        finally:
            ended = True

    with anyio.move_on_after(0) as scope:
        async with hosted(slow()):
            pytest.fail("it was not entered")
    assert scope.cancelled_caught
    assert ended


async def test_a_cancelled_block_still_leaves_in_order() -> None:
    tasks: list[int] = []
    with anyio.CancelScope() as scope:
        async with hosted(_recorded(tasks)):
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert len(tasks) == 2


def test_a_hosted_manager_ends_with_the_loop(anyio_backend: str) -> None:
    ended = []

    @asynccontextmanager
    async def kept() -> AsyncIterator[None]:
        try:
            yield
        finally:
            ended.append(True)

    async def enter() -> None:
        blocks.append(hosted(kept()))
        await blocks[0].__aenter__()

    blocks: list[AbstractAsyncContextManager[None]] = []
    trio.run(enter, clock=MockClock())
    assert ended == [True]
