"""Sessions on slow links, with large replies and long queues of requests, on a real server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketStream

import zkrecipes as zk
from zkrecipes.ensemble import ApacheServer

SESSION_TIMEOUT: Final = 4.0
PACKET_SIZE_MAX: Final = 16 * 1024 * 1024
_PROPERTIES: Final = {"jute.maxbuffer": PACKET_SIZE_MAX}
_SETTINGS: Final = {"forceSync": "no", "tickTime": 500, "maxSessionTimeout": 60_000}

Workload = Callable[[zk.Client], Coroutine[Any, Any, int]]


@dataclass
class Outcome:
    """The outcome of one workload for a client.

        Attributes:
    done: the number of requests that were answered with a result.
            request_count: the number of requests.
    seconds: the duration.
    connections: the number of the client's connections.
    is_same_session: whether the client still had its first session at the end.
    is_hold_kept: whether the hold was valid at the end; None without a hold.
    """

    answered_count: int
    request_count: int
    seconds: float
    connections: int
    is_same_session: bool
    is_hold_kept: bool | None


async def many_replies(client: zk.Client) -> int:
    """400 znodes of 100 KB, by stream(), over 5 MB/s."""
    return await _streamed(client, (client.operations.get("/data") for _ in range(400)))


async def one_reply(client: zk.Client) -> int:
    """One reply of 7 MB over 1 MB/s."""
    try:
        await client.get("/large")
    except zk.ReplyTooSlowError:
        return 0
    return 1


async def many_writes(client: zk.Client) -> int:
    """150 000 writes in one pipeline()."""
    async with client.pipeline() as pipe:
        writes = []
        for number in range(150_000):
            writes.append(pipe.set("/small", b"x"))
            if number % 10_000 == 0:  # else the submission alone blocks the loop for seconds
                await anyio.lowlevel.checkpoint()
    return sum(write.error is None for write in writes)


async def a_million(client: zk.Client) -> int:
    """1 000 000 requests by stream()."""
    return await _streamed(client, (client.operations.exists("/small") for _ in range(1_000_000)))


# Each workload, its number of requests, and the bytes per second at which the client receives.
_WORKLOADS: Final[list[tuple[Workload, int, float]]] = [
    (many_replies, 400, 5e6),
    (one_reply, 1, 1e6),
    (many_writes, 150_000, float("inf")),
    (a_million, 1_000_000, float("inf")),
]


async def _streamed(client: zk.Client, requests: Any) -> int:
    done = 0
    async with client.stream(requests) as replies:
        async for reply in replies:
            done += reply.error is None
    return done


async def measure() -> list[tuple[str, Outcome]]:
    """Run each workload without and with a hold; return the descriptions and outcomes."""
    results = []
    async with ApacheServer(settings=_SETTINGS, properties=_PROPERTIES) as server:
        async with zk.connect(server.connect_string, max_packet_size=PACKET_SIZE_MAX) as other:
            for path, size in (("/small", 1), ("/data", 100_000), ("/large", 7_000_000)):
                await other.create(path, b"x" * size)
        for workload, request_count, rate in _WORKLOADS:
            for has_hold in (False, True):
                async with slow_link(server.port, rate) as port:
                    outcome = await _run_workload(
                        workload, request_count, f"127.0.0.1:{port}", has_hold=has_hold
                    )
                results.append((workload.__doc__ or workload.__name__, outcome))
    return results


async def _run_workload(
    workload: Workload, request_count: int, connect_string: str, *, has_hold: bool
) -> Outcome:
    options: dict[str, Any] = {"session_timeout": SESSION_TIMEOUT, "max_packet_size": PACKET_SIZE_MAX}
    async with zk.connect(connect_string, **options) as client:
        if not has_hold:
            return await _measured(workload, request_count, client)
        async with zk.Mutex(client, "/lock") as hold:
            outcome = await _measured(workload, request_count, client)
            outcome.is_hold_kept = hold.remaining() > 0
            return outcome


async def _measured(workload: Workload, request_count: int, client: zk.Client) -> Outcome:
    session, started_at = client.session, time.perf_counter()
    done = await workload(client)
    seconds = time.perf_counter() - started_at
    return Outcome(done, request_count, seconds, client.stats().connections, client.session is session, None)


@asynccontextmanager
async def slow_link(port: int, rate: float) -> AsyncIterator[int]:
    """Relay a port to another one, with at most `rate` bytes per second to the client."""

    if rate == float("inf"):
        yield port
        return

    async def relay(client: SocketStream) -> None:
        server = await anyio.connect_tcp("127.0.0.1", port)
        async with client, server, anyio.create_task_group() as tasks:
            tasks.start_soon(_pump, client, server, float("inf"), tasks.cancel_scope)
            tasks.start_soon(_pump, server, client, rate, tasks.cancel_scope)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, relay)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def _pump(source: ByteStream, target: ByteStream, rate: float, scope: anyio.CancelScope) -> None:
    try:
        while True:
            data = await source.receive()
            await anyio.sleep(len(data) / rate)
            await target.send(data)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        scope.cancel()
