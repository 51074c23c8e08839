"""Steps that block run in threads: the loop continues, and no task waits for those that were given up."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import ClassVar

import anyio
import anyio.to_thread
import pytest

from tests.recipes.fault_sweep import real_time
from zkrecipes import AuthFailedError
from zkrecipes.net import sasl_steps

pytestmark = [pytest.mark.anyio, real_time]


class Slow:
    """An exchange whose KDC is slow."""

    blocks: ClassVar[bool] = True
    suspects: ClassVar[str] = ""

    def __init__(self) -> None:
        self.answered = threading.Event()

    def begin(self) -> bytes:
        self.answered.wait(10)
        return b"first"

    def respond(self, challenge: bytes | None) -> bytes | None:
        if challenge is None:
            return None
        raise AuthFailedError(reason="not you")


async def test_the_loop_continues_during_a_step() -> None:
    exchange = Slow()
    tokens = []

    async def begin() -> None:
        tokens.append(await sasl_steps.begin(exchange))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
        await anyio.sleep(0.02)
        assert tokens == []
        exchange.answered.set()
    assert tokens == [b"first"]


async def test_a_cancelled_caller_does_not_wait() -> None:
    exchange = Slow()
    with anyio.fail_after(5):
        with anyio.move_on_after(0.02) as scope:
            await sasl_steps.begin(exchange)
        assert scope.cancelled_caught
    exchange.answered.set()


async def test_unanswered_steps_do_not_pile_up() -> None:
    """They also take no thread that the caller's own work may need."""
    exchange = Slow()
    await _until_all_have_ended()
    for _ in range(8):
        with anyio.move_on_after(0.001):
            await sasl_steps.begin(exchange)
    with pytest.raises(ConnectionError, match="the KDC has not answered 8 earlier questions yet"):
        await sasl_steps.begin(exchange)
    assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    exchange.answered.set()
    await _until_all_have_ended()
    assert await sasl_steps.begin(exchange) == b"first"


async def _until_all_have_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "zkrecipes SASL":
            await anyio.to_thread.run_sync(thread.join)


SILENT_KDC = """
import time
import anyio
from zkrecipes.net import sasl_steps

class Silent:
    blocks = True
    def begin(self):
        time.sleep(60)

async def main():
    with anyio.move_on_after(0.05):
        await sasl_steps.begin(Silent())

anyio.run(main, backend="{}")
"""


async def test_a_process_ends_although_a_step_is_unanswered(anyio_backend_name: str) -> None:
    program = SILENT_KDC.format(anyio_backend_name)
    with anyio.fail_after(15):  # not 60
        await anyio.run_process([sys.executable, "-W", "error", "-c", program])


async def test_a_step_that_ends_after_its_loop_does_no_harm() -> None:
    exchange = Slow()

    async def give_up() -> None:
        with anyio.move_on_after(0.01):
            await sasl_steps.begin(exchange)

    for backend in ("trio", "asyncio"):
        await anyio.to_thread.run_sync(lambda name: anyio.run(give_up, backend=name), backend)
    exchange.answered.set()
    await _until_all_have_ended()


async def test_a_step_that_ends_with_its_loop_does_not_wait_for_it() -> None:
    """A loop that has stopped and is not closed yet accepts calls, and runs none of them."""
    exchange = Slow()

    async def give_up() -> None:
        with anyio.move_on_after(0.01):
            await sasl_steps.begin(exchange)

    loop = asyncio.new_event_loop()
    await anyio.to_thread.run_sync(loop.run_until_complete, give_up())
    exchange.answered.set()
    await _until_all_have_ended()
    loop.close()


async def test_the_result_or_error_of_a_step_reaches_its_caller() -> None:
    assert await sasl_steps.respond(Slow(), None) is None
    with pytest.raises(AuthFailedError, match="not you"):
        await sasl_steps.respond(Slow(), b"challenge")
