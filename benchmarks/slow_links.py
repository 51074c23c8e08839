"""Whether a session lives through slow links, large replies and long queues of requests, on a real server."""

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

Work = Callable[[zk.Client], Coroutine[Any, Any, int]]


@dataclass
class Lived:
    """How a client came through one work.

    Attributes:
        done: how many requests were answered with a result.
        asked: how many were asked.
        seconds: how long it took.
        connections: how many the client had.
        is_same_session: whether it ended in the session in which it began.
        is_hold_kept: whether the hold is valid at the end; None if there was none.
    """

    done: int
    asked: int
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
            if number % 10_000 == 0:  # or the submission alone blocks the loop for seconds
                await anyio.lowlevel.checkpoint()
    return sum(write.error is None for write in writes)


async def a_million(client: zk.Client) -> int:
    """1 000 000 requests by stream()."""
    return await _streamed(client, (client.operations.exists("/small") for _ in range(1_000_000)))


# Each work, how much it asks, and the bytes a second at which the client receives.
_WORKS: Final[list[tuple[Work, int, float]]] = [
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


async def measure() -> list[tuple[str, Lived]]:
    """Each work without and with a hold: what it is, and how the client came through."""
    results = []
    async with ApacheServer(settings=_SETTINGS, properties=_PROPERTIES) as server:
        async with zk.connect(server.connect_string, max_packet_size=PACKET_SIZE_MAX) as other:
            for path, size in (("/small", 1), ("/data", 100_000), ("/large", 7_000_000)):
                await other.create(path, b"x" * size)
        for work, asked, rate in _WORKS:
            for has_hold in (False, True):
                async with slow_link(server.port, rate) as port:
                    lived = await _live_through(work, asked, f"127.0.0.1:{port}", has_hold=has_hold)
                results.append((work.__doc__ or work.__name__, lived))
    return results


async def _live_through(work: Work, asked: int, connect_string: str, *, has_hold: bool) -> Lived:
    options: dict[str, Any] = {"session_timeout": SESSION_TIMEOUT, "max_packet_size": PACKET_SIZE_MAX}
    async with zk.connect(connect_string, **options) as client:
        if not has_hold:
            return await _measured(work, asked, client)
        async with zk.Mutex(client, "/lock") as hold:
            lived = await _measured(work, asked, client)
            lived.is_hold_kept = hold.remaining() > 0
            return lived


async def _measured(work: Work, asked: int, client: zk.Client) -> Lived:
    session, begun = client.session, time.perf_counter()
    done = await work(client)
    seconds = time.perf_counter() - begun
    return Lived(done, asked, seconds, client.stats().connections, client.session is session, None)


@asynccontextmanager
async def slow_link(port: int, rate: float) -> AsyncIterator[int]:
    """A port that leads to another one, and sends at most `rate` bytes a second back."""

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
