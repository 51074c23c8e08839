"""Workloads on locks whose cost must not grow faster than their number: holds, waiters, readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Final
from uuid import uuid4

import anyio
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionClosedError

import zkrecipes as zk
from benchmarks.growth import Figures, Growth
from benchmarks.measuring import cpu_seconds, resident_kib

__all__ = ["GROWTHS"]

SESSION_TIMEOUT: Final = 30.0
CYCLES: Final = 50


def on_trio(workload: Callable[[str, int], Awaitable[Figures]], connect: str, size: int) -> Figures:
    return anyio.run(workload, connect, size, backend="trio")


def connected(connect: str) -> Any:
    return zk.connect(connect, session_timeout=SESSION_TIMEOUT, create_chroot=True)


# --- one acquire beside many holds -----------------------------------------------------------------------


async def _holds(connect: str, size: int) -> Figures:
    async with connected(connect) as client, AsyncExitStack() as stack:
        for number in range(size):
            await stack.enter_async_context(zk.Mutex(client, f"/held/{number}"))
        mutex = await cycles(zk.Mutex(client, "/extra"))
        semaphore = await cycles(zk.Semaphore(client, "/semaphore", limit=1))
        sent = client.stats().bytes_sent
        await cycles(zk.Semaphore(client, "/semaphore", limit=1))
        sent = client.stats().bytes_sent - sent
        idle = cpu_seconds()
        await anyio.sleep(SESSION_TIMEOUT / 8)
        idle = cpu_seconds() - idle
        return {
            "mutex, CPU ms each": mutex,
            "semaphore, CPU ms each": semaphore,
            "semaphore, bytes sent each": sent / CYCLES,
            "idle, CPU ms a second": 1000 * idle / (SESSION_TIMEOUT / 8),
        }


async def cycles(lock: Any) -> float:
    """Acquire and release repeatedly, and return the CPU milliseconds of each cycle."""
    started_at = cpu_seconds()
    for _ in range(CYCLES):
        async with lock:
            pass
    return 1000 * (cpu_seconds() - started_at) / CYCLES


# --- waiters of one client -------------------------------------------------------------------------------


async def _waiters(connect: str, size: int) -> Figures:
    async with connected(connect) as client, anyio.create_task_group() as tasks, zk.Mutex(client, "/lock"):

        async def wait() -> None:
            async with zk.Mutex(client, "/lock"):
                pass

        before = resident_kib()
        for _ in range(size):
            tasks.start_soon(wait)
        await until(lambda: client.stats().watches >= size)
        took = resident_kib() - before
        tasks.cancel_scope.cancel()
    return {"MiB in all": took / 1024}


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until the condition is true and its effects have settled."""
    while not is_so():  # noqa: ASYNC110 - nothing announces a change of these figures
        await anyio.sleep(0.05)
    await anyio.sleep(0.5)


# --- readers of one client behind a writer ---------------------------------------------------------------


async def _readers(connect: str, size: int) -> Figures:
    async with connected(connect) as client:
        lock = zk.ReadWriteLock(client, "/lock")
        inside = 0
        all_inside = anyio.Event()

        async def read() -> None:
            nonlocal inside
            async with lock.read():
                inside += 1
                if inside == size:
                    all_inside.set()
                await all_inside.wait()

        async with anyio.create_task_group() as tasks:
            async with lock.write():
                before = resident_kib()
                for _ in range(size):
                    tasks.start_soon(read)
                await until(lambda: client.stats().watches >= 1 and client.stats().outstanding == 0)
                took = resident_kib() - before
                cpu = cpu_seconds()
            await all_inside.wait()
            cpu = cpu_seconds() - cpu
        return {"MiB while they wait": took / 1024, "CPU s to let them in": cpu}


# --- one try behind many contenders ----------------------------------------------------------------------


async def _tries(connect: str, size: int) -> Figures:
    async with connected(connect) as client:
        await client.ensure_path("/lock")
        async with client.pipeline() as pipe:
            for _ in range(size):
                pipe.create(f"/lock/{uuid4().hex}__lock__", ephemeral=True, sequential=True)
        mutex = zk.Mutex(client, "/lock")
        started_at = cpu_seconds()
        for _ in range(20):
            try:
                async with mutex.acquire(wait=0):
                    raise AssertionError("others were there before")
            except zk.AcquireTimeoutError:
                pass
        return {"CPU ms each": 1000 * (cpu_seconds() - started_at) / 20}


# --- kazoo -----------------------------------------------------------------------------------------------


def kazoo_client(connect: str) -> Any:
    hosts, _, chroot = connect.partition("/")
    client = KazooClient(hosts, timeout=SESSION_TIMEOUT)
    client.start()
    client.ensure_path("/" + chroot)
    client.chroot = "/" + chroot
    return client


def kazoo_holds(connect: str, size: int) -> Figures:
    client = kazoo_client(connect)
    for number in range(size):
        client.Lock(f"/held/{number}").acquire()
    started_at = cpu_seconds()
    for _ in range(CYCLES):
        with client.Lock("/extra"):
            pass
    mutex = cpu_seconds() - started_at
    client.stop()
    return {"mutex, CPU ms each": 1000 * mutex / CYCLES}


def kazoo_waiters(connect: str, size: int) -> Figures:
    client = kazoo_client(connect)
    with client.Lock("/lock"):
        before = resident_kib()
        for _ in range(size):
            threading.Thread(target=kazoo_wait, args=(client,), daemon=True).start()
        while len(client.get_children("/lock")) <= size:
            time.sleep(0.5)
        time.sleep(2)
        took = resident_kib() - before
    client.stop()
    return {"MiB in all": took / 1024}


def kazoo_wait(client: Any) -> None:
    with suppress(ConnectionClosedError):  # it never gets its turn
        client.Lock("/lock").acquire()


# --- one multi-lock --------------------------------------------------------------------------------------


async def _multi(connect: str, size: int) -> Figures:
    async with connected(connect) as client:
        locks = [zk.Mutex(client, f"/several/{number}") for number in range(size)]
        started_at = cpu_seconds()
        multi = zk.MultiLock(locks)
        figures = {"build, CPU ms": 1000 * (cpu_seconds() - started_at)}
        started_at = cpu_seconds()
        async with multi as hold:
            figures["enter, CPU ms"] = 1000 * (cpu_seconds() - started_at)
            started_at, sent = cpu_seconds(), client.stats().bytes_sent
            await hold.confirm()
            figures["confirm, CPU ms"] = 1000 * (cpu_seconds() - started_at)
            figures["confirm, bytes sent"] = client.stats().bytes_sent - sent
            started_at, began = cpu_seconds(), time.monotonic()
        figures["leave, CPU ms"] = 1000 * (cpu_seconds() - started_at)
        figures["leave, ms"] = 1000 * (time.monotonic() - began)
        return figures


DOUBLED: Final = (250, 500, 1000, 2000)
GROWTHS: Final = {
    "holds": Growth(
        "an acquire and release by a client that already has this many holds",
        DOUBLED,
        {"zkrecipes": partial(on_trio, _holds), "kazoo": kazoo_holds},
    ),
    "waiters": Growth(
        "this many tasks of one client wait for a mutex",
        DOUBLED,
        {"zkrecipes": partial(on_trio, _waiters), "kazoo": kazoo_waiters},
    ),
    "readers": Growth(
        "this many tasks of one client wait behind a writer, and are let in together",
        DOUBLED,
        {"zkrecipes": partial(on_trio, _readers)},
    ),
    "multi": Growth(
        "one multi-lock over this many mutexes",
        (200, 400, 800, 1600),
        {"zkrecipes": partial(on_trio, _multi)},
    ),
    "tries": Growth(
        "a try without waiting, behind this many contenders",
        (1000, 2000, 4000, 8000),
        {"zkrecipes": partial(on_trio, _tries)},
    ),
}
