"""zkrecipes does one work, on trio or on asyncio."""

from __future__ import annotations

import argparse
import time
from contextlib import AsyncExitStack

import anyio

import zkrecipes as zk
from benchmarks.measuring import Measured, arguments
from benchmarks.works import LOCK_PATH, READ_PATH


async def sequential_get(client: zk.Client, given: argparse.Namespace) -> Measured:
    for _ in range(200):
        await client.get(READ_PATH)
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            begun = time.perf_counter()
            await client.get(READ_PATH)
            measured.samples.append(time.perf_counter() - begun)
    return measured


async def pipelined_get(client: zk.Client, given: argparse.Namespace) -> Measured:
    """A thousand tasks, each awaiting its own gets: what concurrent code does by itself."""

    async def get_many(times: int) -> None:
        for _ in range(times):
            await client.get(READ_PATH)

    async def all_tasks(times: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(given.window):
                tasks.start_soon(get_many, times // given.window)

    await all_tasks(2 * given.window)
    measured = Measured(given.times)
    with measured.running():
        await all_tasks(given.times)
    return measured


async def pipelined_get_block(client: zk.Client, given: argparse.Namespace) -> Measured:
    """One task, `pipeline()` blocks of one window each."""

    async def one_block() -> None:
        async with client.pipeline() as pipe:
            for _ in range(given.window):
                pipe.get(READ_PATH)

    await one_block()
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times // given.window):
            await one_block()
    return measured


async def lock_uncontended(client: zk.Client, given: argparse.Namespace) -> Measured:
    mutex = zk.Mutex(client, f"{LOCK_PATH}/zkrecipes-alone")
    for _ in range(20):
        async with mutex:
            pass
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            async with mutex:
                pass
    return measured


async def lock_16_contenders(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await contend([client] * given.window, given)


async def lock_16_clients(_: zk.Client, given: argparse.Namespace) -> Measured:
    async with AsyncExitStack() as stack:
        return await contend([await a_client(stack, given) for _ in range(given.window)], given)


async def lock_hand_off(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await lock_16_clients(client, given)


async def a_client(stack: AsyncExitStack, given: argparse.Namespace) -> zk.Client:
    return await stack.enter_async_context(zk.connect(given.connect, session_timeout=10.0))


async def contend(clients: list[zk.Client], given: argparse.Namespace) -> Measured:
    """All clients (or tasks that share one) take the lock equally often."""
    measured = Measured(given.times)

    async def take_turns(client: zk.Client, times: int) -> None:
        mutex = zk.Mutex(client, f"{LOCK_PATH}/zkrecipes-many")
        for _ in range(times):
            async with mutex:
                measured.is_in()
                measured.lets_go()

    async def all_take_turns(times: int) -> None:
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(take_turns, client, times // len(clients))

    await all_take_turns(2 * len(clients))
    measured.samples.clear()
    with measured.running():
        await all_take_turns(given.times)
    return measured


WORK_BY_NAME = {
    "sequential_get": sequential_get,
    "pipelined_get": pipelined_get,
    "pipelined_get_block": pipelined_get_block,
    "lock_uncontended": lock_uncontended,
    "lock_16_contenders": lock_16_contenders,
    "lock_16_clients": lock_16_clients,
    "lock_hand_off": lock_hand_off,
}


async def main(given: argparse.Namespace) -> None:
    name = given.work
    if given.backend.endswith("-block"):
        name += "_block"
    async with zk.connect(given.connect, session_timeout=10.0) as client:
        measured = await WORK_BY_NAME[name](client, given)
    measured.print()


if __name__ == "__main__":
    chosen = arguments("zkrecipes", backends=("trio", "asyncio", "trio-block", "asyncio-block"))
    anyio.run(main, chosen, backend=chosen.backend.removesuffix("-block"))
