"""What the proof of holds costs: clients that do nothing but hold a lock each, on a real server."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

import zkrecipes as zk
from benchmarks.measuring import cpu_seconds
from zkrecipes.ensemble import ApacheServer

HOLDERS: Final = (1, 100, 1000)
SESSION_TIMEOUT: Final = 10.0
FOR: Final = 20.0
SNAPSHOT_EVERY: Final = 100_000
"""Transactions; the servers' `snapCount`, by default."""
SETTINGS: Final = {"forceSync": "no", "maxClientCnxns": 0}


@dataclass
class Price:
    """What so many holders cost."""

    holders: int
    transactions: float
    """A second."""
    log_bytes: float
    """A second, in the server's transaction log."""
    cpu: float
    """Milliseconds a second, of the clients' process."""

    @property
    def snapshots_a_day(self) -> float:
        return self.transactions * 86_400 / SNAPSHOT_EVERY


async def measure() -> list[Price]:
    """Each number of holders, on a server of its own."""
    return [await price_of(number) for number in HOLDERS]


async def price_of(holders: int) -> Price:
    async with ApacheServer(settings=SETTINGS) as server, AsyncExitStack() as stack:
        options = {"session_timeout": SESSION_TIMEOUT, "connect_timeout": 60.0}
        observer = await stack.enter_async_context(zk.connect(server.connect_string, **options))
        for number in range(holders):
            client = await stack.enter_async_context(zk.connect(server.connect_string, **options))
            await stack.enter_async_context(zk.Mutex(client, f"/locks/{number}"))
        await anyio.sleep(SESSION_TIMEOUT / 8)  # no longer what taking them has cost
        begun, zxid, written, cpu = (
            time.perf_counter(),
            await newest(observer),
            log_size(server),
            cpu_seconds(),
        )
        await anyio.sleep(FOR)
        cpu = cpu_seconds() - cpu
        seconds = time.perf_counter() - begun
        transactions = await newest(observer) - zxid - 1  # the one that asks
        return Price(
            holders,
            transactions / seconds,
            (log_size(server) - written) / seconds,
            1000 * cpu / seconds,
        )


async def newest(client: zk.Client) -> int:
    """The zxid of a transaction made now."""
    if await client.exists("/now") is None:
        await client.create("/now")
    return (await client.set("/now", b"")).mzxid


def log_size(server: ApacheServer) -> int:
    """How much of the log files, which are made long beforehand, is written."""
    logs = Path(server.directory).rglob("log.*")
    return sum(len(log.read_bytes().rstrip(b"\0")) for log in logs)
