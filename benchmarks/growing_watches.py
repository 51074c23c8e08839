"""Very many persistent watches of one client: one task enters them, a reconnect sets them again, they end."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel

import zkrecipes as zk
from benchmarks.growth import Figures, Growth

__all__ = ["GROWTHS"]

SIZES: Final = (12_500, 25_000, 50_000, 100_000)


@asynccontextmanager
async def phase(name: str, figures: Figures) -> AsyncIterator[None]:
    """Measure a phase: its seconds, and the CPU time of the longest pass of the loop in milliseconds.

    Garbage collection is not counted, because it stops the loop for all objects of the program.
    """
    longest = 0.0

    async def heart() -> None:
        nonlocal longest
        while True:
            started_at = time.thread_time()
            await anyio.lowlevel.checkpoint()
            longest = max(longest, time.thread_time() - started_at)

    gc.collect()
    gc.disable()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heart)
        started_at = time.perf_counter()
        yield
        figures[f"{name} s"] = time.perf_counter() - started_at
        tasks.cancel_scope.cancel()
    gc.enable()
    figures[f"{name}, longest pass ms"] = longest * 1000


async def watches(connect_string: str, size: int) -> Figures:
    """Enter `size` watches, lose the connection, leave them; each phase ends when the server has finished."""
    figures: Figures = {}
    async with zk.connect(connect_string, session_timeout=30.0, create_chroot=True) as client:
        await client.whoami()
        stack = AsyncExitStack()
        async with phase("set", figures):
            entered = [await stack.enter_async_context(client.watch(f"/n{number}")) for number in range(size)]
        async with phase("set again", figures):
            await lose_connection(client)
            for events in entered:
                assert (await anext(events)).type is zk.EventType.RESYNC
            await client.sync()
        async with phase("removed", figures):
            await stack.aclose()
            while client.stats().outstanding or await client.check_watches("/n0"):  # noqa: ASYNC110
                await anyio.sleep(0.01)
    return figures


async def lose_connection(client: zk.Client) -> None:
    connection = client._engine.connection  # noqa: SLF001 - no public method cuts only this connection
    assert connection is not None
    connection.side.lose("cut by the benchmark")
    connection.hurry(float("-inf"))
    await anyio.lowlevel.checkpoint()


def run(backend: str, connect_string: str, size: int) -> Figures:
    return anyio.run(watches, connect_string, size, backend=backend)


GROWTHS: Final = {
    "watches": Growth(
        description="persistent watches of as many znodes, entered by one task",
        sizes=SIZES,
        subjects={"trio": partial(run, "trio"), "asyncio": partial(run, "asyncio")},
    )
}
