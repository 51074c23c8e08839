"""Workloads on trees and groups whose cost must not grow faster than their contents."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
from kazoo.recipe.cache import TreeCache, TreeEvent

import zkrecipes as zk
from benchmarks.growing_locks import connected, kazoo_client, on_trio
from benchmarks.growth import Figures, Growth
from benchmarks.measuring import cpu_seconds, resident_kib

__all__ = ["GROWTHS"]

CHANGES: Final = 50
IN_A_FOLDER: Final = 1000


async def plant(connect: str, size: int) -> None:
    """Create a tree of `size` znodes, a thousand below each folder, through a client that is not measured."""
    async with connected(connect) as client:
        for folder in range(max(1, size // IN_A_FOLDER)):
            await client.ensure_path(f"/tree/{folder}")
            async with client.pipeline() as pipe:
                for number in range(min(size, IN_A_FOLDER) - 1):
                    pipe.create(f"/tree/{folder}/{number}", b"x" * 20)


async def _tree(connect: str, size: int) -> Figures:
    await plant(connect, size)
    async with connected(connect) as client:
        before, cpu = resident_kib(), cpu_seconds()
        async with zk.ConfigTree(client, "/tree").changes() as changes:
            await anext(changes)
            first, memory = cpu_seconds() - cpu, resident_kib() - before
            cpu = cpu_seconds()
            for number in range(CHANGES):
                await client.set("/tree/0/1", b"%d" % number)
                await anext(changes)
            each = cpu_seconds() - cpu
        return {
            "first view, CPU s": first,
            "first view, MiB": memory / 1024,
            "a change, CPU ms": 1000 * each / CHANGES,
        }


async def _group(connect: str, size: int) -> Figures:
    async with connected(connect) as others, connected(connect) as client:
        await others.ensure_path("/group")
        async with others.pipeline() as pipe:
            for number in range(size):
                pipe.create(f"/group/member-{number}", b"x" * 20, ephemeral=True)
        async with zk.Group(client, "/group").changes() as changes:
            assert len((await anext(changes)).members) == size
            cpu = cpu_seconds()
            for number in range(CHANGES):
                await others.create(f"/group/late-{number}", b"", ephemeral=True)
                while f"late-{number}" not in (await anext(changes)).members:
                    pass
            each = cpu_seconds() - cpu
    return {"a join, CPU ms": 1000 * each / CHANGES}


async def _deletion(connect: str, size: int) -> Figures:
    await plant(connect, size)
    async with connected(connect) as client:
        cpu = cpu_seconds()
        await client.delete("/tree", recursive=True)
        return {"CPU s": cpu_seconds() - cpu}


# --- kazoo -----------------------------------------------------------------------------------------------


def planted(workload: Callable[[Any], Figures], connect: str, size: int) -> Figures:
    anyio.run(plant, connect, size)
    client = kazoo_client(connect)
    try:
        return workload(client)
    finally:
        client.stop()


def kazoo_tree(client: Any) -> Figures:
    before, cpu = resident_kib(), cpu_seconds()
    cache, news = TreeCache(client, "/tree"), threading.Semaphore(0)
    is_whole = threading.Event()

    def listen(event: Any) -> None:
        if event.event_type == TreeEvent.INITIALIZED:
            is_whole.set()
        elif event.event_type == TreeEvent.NODE_UPDATED:
            news.release()

    cache.listen(listen)
    cache.start()
    is_whole.wait()
    first, memory = cpu_seconds() - cpu, resident_kib() - before
    cpu = cpu_seconds()
    for number in range(CHANGES):
        client.set("/tree/0/1", b"%d" % number)
        news.acquire()
    each = cpu_seconds() - cpu
    cache.close()
    return {
        "first view, CPU s": first,
        "first view, MiB": memory / 1024,
        "a change, CPU ms": 1000 * each / CHANGES,
    }


def kazoo_group(connect: str, size: int) -> Figures:
    client = kazoo_client(connect)
    client.ensure_path("/group")
    made = [client.create_async(f"/group/member-{number}", ephemeral=True) for number in range(size)]
    for each in made:
        each.get()
    news = threading.Semaphore(0)
    client.ChildrenWatch("/group", lambda _: news.release())
    news.acquire()
    cpu = cpu_seconds()
    for number in range(CHANGES):
        client.create(f"/group/late-{number}", ephemeral=True)
        news.acquire()
    cpu = cpu_seconds() - cpu
    client.stop()
    return {"a join, CPU ms": 1000 * cpu / CHANGES}


def kazoo_deletion(client: Any) -> Figures:
    cpu = cpu_seconds()
    client.delete("/tree", recursive=True)
    return {"CPU s": cpu_seconds() - cpu}


def subjects(
    ours: Callable[[str, int], Awaitable[Figures]], kazoo: Callable[[str, int], Figures]
) -> dict[str, Callable[[str, int], Figures]]:
    return {"zkrecipes": partial(on_trio, ours), "kazoo": kazoo}


GROWTHS: Final = {
    "tree": Growth(
        "this many znodes are read for a first view, and then one of them changes",
        (4000, 8000, 16_000, 32_000),
        subjects(_tree, partial(planted, kazoo_tree)),
    ),
    "group": Growth(
        "one member joins a group of this many members, which a follower watches",
        (1000, 2000, 4000, 8000),
        subjects(_group, kazoo_group),
    ),
    "deletion": Growth(
        "this many znodes are deleted recursively",
        (4000, 8000, 16_000),
        subjects(_deletion, partial(planted, kazoo_deletion)),
    ),
}
