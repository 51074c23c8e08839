"""A client that one task enters and another leaves: pytest-asyncio's fixtures, a notebook's cells."""

from __future__ import annotations

import asyncio

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import asyncio_only, virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


@asyncio_only  # trio does not let a task end in a nursery
async def test_the_session_is_closed_and_the_error_names_the_remedy() -> None:
    async with world() as there, there.connect("observer") as observer:
        block = there.connect("a")
        entered: list[zk.Client] = []

        async def enter() -> None:
            entered.append(await block.__aenter__())

        await asyncio.create_task(enter())
        (client,) = entered
        await client.create("/mine", ephemeral=True)
        with pytest.raises(RuntimeError, match="must be left by the task that entered it"):
            await block.__aexit__(None, None, None)
        assert await observer.exists("/mine") is None
        assert client.state is zk.SessionState.CLOSED
