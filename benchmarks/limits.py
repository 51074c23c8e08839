"""The limits of one client and of one process: the time and memory of each, on a real server."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import anyio

import zkrecipes as zk
from benchmarks.measuring import resident_kib
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.ensemble import ApacheServer

OUTSTANDING: Final = 10_000
WATCHES: Final = 100_000
CLIENTS: Final = 2_000
CHILDREN: Final = 100_000
LARGEST: Final = 1024 * 1024 - 1
# The server's own limit is for the whole request, and the last limit needs a little more.
PROPERTIES: Final = {"jute.maxbuffer": 4 * 1024 * 1024}
SETTINGS: Final = {"forceSync": "no", "maxClientCnxns": 0, "maxSessionTimeout": 120_000}


Limit = Callable[[str, Callable[[], None]], Coroutine[Any, Any, None]]


@dataclass
class Tried:
    """The result of one limit: the total time, and the largest memory of the client's process."""

    seconds: float
    mib: float


async def outstanding(connect_string: str, moment: Callable[[], None]) -> None:
    """10 000 requests of one client in flight at once."""
    async with a_client(connect_string) as client:
        await client.create("/read", b"x" * 100)
        moment()
        async with client.pipeline() as pipe:
            for _ in range(OUTSTANDING):
                pipe.get("/read")
            moment()


async def watches(connect_string: str, moment: Callable[[], None]) -> None:
    """100 000 watches of one client, each on a different znode, and all fire."""
    async with a_client(connect_string) as client:
        await make_children(client, "/watched", WATCHES)
        api = recipe_api(client)
        moment()
        async with api.changed_paths() as changed:
            for number in range(WATCHES):
                path = f"/watched/n{number:09}"
                read = changed.submit(api.operations.exists(path, watch=True))
                if number % 1000 == 999:  # else requests are measured, not watches
                    await read.wait_done()
            moment()
            await client.delete("/watched", recursive=True)
            seen = 0
            while seen < WATCHES:
                seen += len(await changed.wait())


async def clients(connect_string: str, moment: Callable[[], None]) -> None:
    """2 000 clients in one process, each with its own session."""
    moment()
    async with AsyncExitStack() as stack:
        for _ in range(CLIENTS):
            await stack.enter_async_context(a_client(connect_string))
        moment()


async def children(connect_string: str, moment: Callable[[], None]) -> None:
    """100 000 children of one znode, listed at once."""
    async with a_client(connect_string) as client:
        await make_children(client, "/wide", CHILDREN)
        moment()
        names = await client.get_children("/wide")
        assert len(names) == CHILDREN
        moment()


async def largest(connect_string: str, moment: Callable[[], None]) -> None:
    """Write and read a znode of 1 MiB less a byte."""
    async with a_client(connect_string) as client:
        moment()
        await client.create("/large", b"x" * LARGEST)
        data, _ = await client.get("/large")
        assert len(data or b"") == LARGEST
        moment()


LIMITS: Final[dict[str, Limit]] = {
    limit.__name__: limit for limit in (outstanding, watches, clients, children, largest)
}


@asynccontextmanager
async def a_client(connect_string: str) -> AsyncIterator[zk.Client]:
    async with zk.connect(connect_string, session_timeout=60.0, connect_timeout=60.0) as client:
        yield client


async def make_children(client: zk.Client, path: str, number: int) -> None:
    await client.create(path)
    creations = (client.operations.create(f"{path}/n{each:09}") for each in range(number))
    async with client.stream(creations) as replies:
        async for reply in replies:
            assert reply.error is None


def measure(backend: str) -> dict[str, Tried]:
    """Measure each limit in a separate process, because freed memory would be used again."""
    results: dict[str, Tried] = {}
    for name, limit in LIMITS.items():
        command = [sys.executable, "-m", "benchmarks.limits", name, backend]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[limit.__doc__ or name] = Tried(**json.loads(done.stdout.splitlines()[-1]))
    return results


async def try_limit(limit: Limit) -> Tried:
    """Measure one limit, which calls back twice: before the measurement, and at the largest memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * CLIENTS)), hard))
    memory: list[float] = []

    def moment() -> None:
        gc.collect()
        memory.append(resident_kib())

    async with ApacheServer(settings=SETTINGS, properties=PROPERTIES) as server:
        started_at = time.perf_counter()
        await limit(server.connect_string, moment)
    before, widest = memory
    return Tried(time.perf_counter() - started_at, (widest - before) / 1024)


if __name__ == "__main__":
    print(json.dumps(asdict(anyio.run(try_limit, LIMITS[sys.argv[1]], backend=sys.argv[2]))))
