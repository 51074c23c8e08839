"""TCP that can be cut like a pulled cable, without closing connections.

Neither end is notified. Until the network is healed, everything sent is dropped in both directions, and new
connections are not established.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import final

import anyio
import anyio.lowlevel

from zkrecipes.net.transport.network import Address, Handler, Stream, TcpNetwork

__all__ = ["SeverableNetwork"]


@final
class SeverableNetwork:
    """A `Network` for `connect(network=…)` that can be cut and healed."""

    def __init__(self) -> None:
        self._tcp = TcpNetwork()
        self._healed = anyio.Event()
        self._healed.set()
        self._streams: list[_SeverableStream] = []

    @property
    def is_cut(self) -> bool:
        """Whether the network is cut."""
        return not self._healed.is_set()

    def cut(self) -> None:
        """Drop everything from now on. Existing connections stay dead even after `heal`."""
        if not self.is_cut:
            self._healed = anyio.Event()
        for stream in self._streams:
            stream.is_cut = True
        self._streams.clear()

    def heal(self) -> None:
        """Allow new connections."""
        self._healed.set()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """See `Network.resolve`. It also works during a cut, because name servers are on another network."""
        return await self._tcp.resolve(host, port)

    async def connect(self, host: str, port: int) -> Stream:
        """See `Network.connect`. It waits during a cut."""
        await self._healed.wait()
        stream = _SeverableStream(await self._tcp.connect(host, port))
        self._streams.append(stream)
        return stream

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        """See `Network.serve`. A cut does not affect servers."""
        return self._tcp.serve(host, port, handler)


@final
class _SeverableStream:
    def __init__(self, stream: Stream) -> None:
        self.is_cut = False
        self._stream = stream

    @property
    def peer(self) -> Address:
        return self._stream.peer

    async def send(self, data: bytes) -> None:
        if self.is_cut:
            await anyio.lowlevel.checkpoint()
        else:
            await self._stream.send(data)

    async def receive(self) -> bytes:
        data = await self._stream.receive()
        if self.is_cut:
            await anyio.sleep_forever()  # the reader gives up after its own timeout
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
