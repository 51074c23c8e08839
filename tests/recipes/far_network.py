"""A network whose servers are far away: every chunk of bytes arrives later, and nothing is ever lost."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from tests.recipes.fault_sweep import World
from zkrecipes.net.transport.network import Address, Handler, Stream

__all__ = ["FarNetwork", "far_network"]


class FarNetwork:
    """The world's network, with a round trip that takes this many seconds."""

    def __init__(self, there: World, round_trip: float, tasks: TaskGroup) -> None:
        self.round_trip = round_trip
        self._network = there.network
        self._tasks = tasks
        self.resolve = there.network.resolve

    async def connect(self, host: str, port: int) -> Stream:
        await anyio.sleep(self.round_trip)
        return _FarStream(await self._network.connect_from("far", host, port), self, self._tasks)

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        raise NotImplementedError


@asynccontextmanager
async def far_network(there: World, round_trip: float) -> AsyncIterator[FarNetwork]:
    """A network for clients of that world, for as long as the block runs."""
    async with anyio.create_task_group() as tasks:
        yield FarNetwork(there, round_trip, tasks)
        tasks.cancel_scope.cancel()


class _Line:
    """Bytes in one direction, each chunk with the time at which it arrives."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._has_more = anyio.Event()

    def put(self, arrives_at: float, data: bytes) -> None:
        self._chunks.append((arrives_at, data))
        self._has_more.set()

    async def get(self) -> bytes:
        """Wait for the next chunk. After a cancellation the chunk is still there."""
        while not self._chunks:
            self._has_more = anyio.Event()
            await self._has_more.wait()
        await anyio.sleep_until(self._chunks[0][0])
        return self._chunks.popleft()[1]


class _FarStream:
    def __init__(self, stream: Stream, network: FarNetwork, tasks: TaskGroup) -> None:
        self._stream = stream
        self._network = network
        self._out, self._in = _Line(), _Line()
        tasks.start_soon(self._carry_out)
        tasks.start_soon(self._carry_in)

    @property
    def peer(self) -> Address:
        return self._stream.peer

    @property
    def _arrives_at(self) -> float:
        return anyio.current_time() + self._network.round_trip / 2

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        self._out.put(self._arrives_at, bytes(data))

    async def receive(self) -> bytes:
        return await self._in.get()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _carry_out(self) -> None:
        with suppress(OSError):
            while True:
                await self._stream.send(await self._out.get())

    async def _carry_in(self) -> None:
        data = b"?"
        while data:
            try:
                data = await self._stream.receive()
            except OSError:
                data = b""
            self._in.put(self._arrives_at, data)
