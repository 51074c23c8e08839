"""The cost of proving holds: idle clients that each hold a lock, on a real server."""

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
"""The number of transactions; the default of the servers' `snapCount`."""
SETTINGS: Final = {"forceSync": "no", "maxClientCnxns": 0}


@dataclass
class HolderCost:
    """The cost of this many holders."""

    holders: int
    transactions: float
    """The transactions per second."""
    log_bytes: float
    """The bytes per second in the server's transaction log."""
    cpu: float
    """The CPU milliseconds per second of the clients' process."""

    @property
    def snapshots_a_day(self) -> float:
        return self.transactions * 86_400 / SNAPSHOT_EVERY


async def measure() -> list[HolderCost]:
    """Measure each number of holders on a fresh server."""
    return [await price_of(number) for number in HOLDERS]


async def price_of(holders: int) -> HolderCost:
    async with ApacheServer(settings=SETTINGS) as server, AsyncExitStack() as stack:
        options = {"session_timeout": SESSION_TIMEOUT, "connect_timeout": 60.0}
        observer = await stack.enter_async_context(zk.connect(server.connect_string, **options))
        for number in range(holders):
            client = await stack.enter_async_context(zk.connect(server.connect_string, **options))
            await stack.enter_async_context(zk.Mutex(client, f"/locks/{number}"))
        await anyio.sleep(SESSION_TIMEOUT / 8)  # so that the cost of acquiring is not measured
        started_at, zxid, written, cpu = (
            time.perf_counter(),
            await newest(observer),
            log_size(server),
            cpu_seconds(),
        )
        await anyio.sleep(FOR)
        cpu = cpu_seconds() - cpu
        seconds = time.perf_counter() - started_at
        transactions = await newest(observer) - zxid - 1  # that of the observer
        return HolderCost(
            holders,
            transactions / seconds,
            (log_size(server) - written) / seconds,
            1000 * cpu / seconds,
        )


async def newest(client: zk.Client) -> int:
    """Return the zxid of a transaction made now."""
    if await client.exists("/now") is None:
        await client.create("/now")
    return (await client.set("/now", b"")).mzxid


def log_size(server: ApacheServer) -> int:
    """Return the written size of the log files, which the server allocates in advance."""
    logs = Path(server.directory).rglob("log.*")
    return sum(len(log.read_bytes().rstrip(b"\0")) for log in logs)
