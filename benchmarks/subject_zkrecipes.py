"""Run one workload in zkrecipes, on trio or on asyncio."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

import zkrecipes as zk
from benchmarks.measuring import FIRINGS, Measured, arguments, resident_kib
from benchmarks.workloads import DATA, LOCK_PATH, MADE_PATH, READ_PATH, WATCHED_PATHS, WIDE_PATH


async def sequential_get(client: zk.Client, given: argparse.Namespace) -> Measured:
    for _ in range(200):
        await client.get(READ_PATH)
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times):
            started_at = time.perf_counter()
            await client.get(READ_PATH)
            measured.samples.append(time.perf_counter() - started_at)
    return measured


async def pipelined_get(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await pipelined(given, lambda: client.get(READ_PATH))


async def pipelined_create(client: zk.Client, given: argparse.Namespace) -> Measured:
    async def create() -> None:
        await client.create(f"{MADE_PATH}/m-", DATA, ephemeral=True, sequential=True)

    return await pipelined(given, create)


async def multi_of_10(client: zk.Client, given: argparse.Namespace) -> Measured:
    async def commit() -> None:
        async with client.transaction() as transaction:
            for _ in range(10):
                transaction.create(f"{MADE_PATH}/m-", DATA, ephemeral=True, sequential=True)

    return await pipelined(given, commit)


async def children_of_1000(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await pipelined(given, lambda: client.get_children(WIDE_PATH))


async def pipelined(given: argparse.Namespace, send_and_receive: Callable[[], Awaitable[object]]) -> Measured:
    """Run one task for each slot of the window, each awaiting its own calls, like concurrent code."""

    async def get_many(times: int) -> None:
        for _ in range(times):
            await send_and_receive()

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
    return await in_blocks(client, given, lambda pipe: pipe.get(READ_PATH))


async def pipelined_create_block(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await in_blocks(
        client, given, lambda pipe: pipe.create(f"{MADE_PATH}/m-", DATA, ephemeral=True, sequential=True)
    )


async def children_of_1000_block(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await in_blocks(client, given, lambda pipe: pipe.get_children(WIDE_PATH))


async def in_blocks(
    client: zk.Client, given: argparse.Namespace, send_and_receive: Callable[[zk.Pipeline], object]
) -> Measured:
    """Run one task with `pipeline()` blocks of one window each."""

    async def one_block() -> None:
        async with client.pipeline() as pipe:
            for _ in range(given.window):
                send_and_receive(pipe)

    await one_block()
    measured = Measured(given.times)
    with measured.running():
        for _ in range(given.times // given.window):
            await one_block()
    return measured


async def watches_1000(client: zk.Client, given: argparse.Namespace) -> Measured:
    async def change() -> None:
        async with client.pipeline() as pipe:
            for path in WATCHED_PATHS:
                pipe.set(path, b"v")

    return await fire(given, [(client, path) for path in WATCHED_PATHS], change)


async def watches_200_clients(client: zk.Client, given: argparse.Namespace) -> Measured:
    async def change() -> None:
        await client.set(READ_PATH, DATA)

    async with several_clients(given) as clients:
        return await fire(given, [(each, READ_PATH) for each in clients], change)


async def fire(
    given: argparse.Namespace, watched: list[tuple[zk.Client, str]], change: Callable[[], Awaitable[None]]
) -> Measured:
    """Fire all watches several times."""
    measured = Measured(FIRINGS * given.times)

    async def once() -> None:
        left = len(watched)
        ready, all_seen = anyio.Event(), anyio.Event()

        async def watch(client: zk.Client, path: str) -> None:
            nonlocal left
            async with client.get_and_watch(path) as (_, changed):
                left -= 1
                if not left:
                    ready.set()
                await changed.wait()
                left += 1
                if left == len(watched):
                    all_seen.set()

        async with anyio.create_task_group() as tasks:
            for each in watched:
                tasks.start_soon(watch, *each)
            await ready.wait()
            started_at = time.perf_counter()
            tasks.start_soon(change)
            await all_seen.wait()
            measured.samples.append(time.perf_counter() - started_at)

    await once()
    measured.samples.clear()
    with measured.running():
        for _ in range(FIRINGS):
            await once()
    return measured


async def idle_clients(_: zk.Client, given: argparse.Namespace) -> Measured:
    measured = Measured(given.times)
    before = resident_kib()
    with measured.running():
        async with several_clients(given):
            measured.kib_each = (resident_kib() - before) / given.times
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
    async with several_clients(given) as clients:
        return await contend(clients, given)


async def lock_hand_off(client: zk.Client, given: argparse.Namespace) -> Measured:
    return await lock_16_clients(client, given)


@asynccontextmanager
async def several_clients(given: argparse.Namespace) -> AsyncIterator[list[zk.Client]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(zk.connect(given.connect, session_timeout=10.0))
            for _ in range(given.window)
        ]


async def contend(clients: list[zk.Client], given: argparse.Namespace) -> Measured:
    """Let all clients (or tasks that share one) take the lock equally often."""
    measured = Measured(given.times)

    async def take_turns(client: zk.Client, times: int) -> None:
        mutex = zk.Mutex(client, f"{LOCK_PATH}/zkrecipes-many")
        for _ in range(times):
            async with mutex:
                measured.record_acquired()
                measured.record_release()

    async def all_take_turns(times: int) -> None:
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(take_turns, client, times // len(clients))

    await all_take_turns(2 * len(clients))
    measured.samples.clear()
    with measured.running():
        await all_take_turns(given.times)
    return measured


WORKLOAD_BY_NAME = {
    "sequential_get": sequential_get,
    "pipelined_get": pipelined_get,
    "pipelined_get_block": pipelined_get_block,
    "pipelined_create": pipelined_create,
    "pipelined_create_block": pipelined_create_block,
    "multi_of_10": multi_of_10,
    "children_of_1000": children_of_1000,
    "children_of_1000_block": children_of_1000_block,
    "watches_1000": watches_1000,
    "watches_200_clients": watches_200_clients,
    "idle_clients": idle_clients,
    "lock_uncontended": lock_uncontended,
    "lock_16_contenders": lock_16_contenders,
    "lock_16_clients": lock_16_clients,
    "lock_hand_off": lock_hand_off,
}


async def main(given: argparse.Namespace) -> None:
    name = given.workload
    if given.backend.endswith("-block"):
        name += "_block"
    async with zk.connect(given.connect, session_timeout=10.0) as client:
        measured = await WORKLOAD_BY_NAME[name](client, given)
    measured.print()


if __name__ == "__main__":
    chosen = arguments("zkrecipes", backends=("trio", "asyncio", "trio-block", "asyncio-block"))
    anyio.run(main, chosen, backend=chosen.backend.removesuffix("-block"))
