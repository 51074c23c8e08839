"""Steps that last are taken in a thread: the loop goes on, and whoever is cancelled does not wait."""

from __future__ import annotations

import threading
from typing import ClassVar

import anyio
import pytest

from tests.recipes.hurting import real_time
from zkrecipes import AuthFailedError
from zkrecipes.net import sasl_steps

pytestmark = [pytest.mark.anyio, real_time]


class Slow:
    """An exchange that asks somebody who takes his time."""

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


async def test_the_loop_goes_on_meanwhile() -> None:
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


async def test_whoever_is_cancelled_does_not_wait() -> None:
    exchange = Slow()
    with anyio.fail_after(5):
        with anyio.move_on_after(0.02) as scope:
            await sasl_steps.begin(exchange)
        assert scope.cancelled_caught
    exchange.answered.set()


async def test_what_a_step_says_or_raises_comes_out() -> None:
    assert await sasl_steps.respond(Slow(), None) is None
    with pytest.raises(AuthFailedError, match="not you"):
        await sasl_steps.respond(Slow(), b"challenge")
