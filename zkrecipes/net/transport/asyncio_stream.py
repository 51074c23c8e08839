"""A client's TCP stream on asyncio, directly on the loop's transport.

Reading as trio's streams do would stop and start the transport's reading at every receive, which costs system
calls. Here the transport keeps reading, into one buffer per thread, unless the client does not take the data.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final, cast, final

from zkrecipes.net.transport.address import Address
from zkrecipes.net.transport.read_buffer import read_buffer

__all__ = ["AsyncioStream"]

_CHUNKS_MAX: Final = 4
"""The number of untaken reads at which the transport stops reading."""


@final
class AsyncioStream(asyncio.BufferedProtocol):
    """`Stream` on asyncio, and the protocol that its transport calls.

    A send or a receive that need not wait is not a checkpoint; after at most four receives one waits.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_is_closed",
        "_is_ended",
        "_is_full",
        "_is_lost",
        "_is_paused",
        "_loop",
        "_reader",
        "_transport",
        "_writer",
        "peer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: Address) -> None:
        self.peer: Address = peer
        self._loop = loop
        self._transport: asyncio.Transport
        self._chunks: list[bytes] = []
        self._is_closed = self._is_ended = self._is_lost = self._is_paused = self._is_full = False
        self._error: Exception | None = None
        """The reason why the connection is lost, if the system has reported it."""
        self._reader: asyncio.Future[None] | None = None
        """The future of the task that waits for data."""
        self._writer: asyncio.Future[None] | None = None
        """The future of the task that waits until the system has taken what was sent."""

    @classmethod
    async def connect(cls, host: str, port: int) -> AsyncioStream:
        """Open a connection; see `Network.connect`."""
        loop = asyncio.get_running_loop()
        address = Address(host, port)
        _, stream = await loop.create_connection(lambda: cls(loop, address), host, port)
        return stream

    async def send(self, data: bytes) -> None:
        """See `Stream.send`."""
        await self._wait_until_taken()  # data that a cancelled send has left
        self._transport.write(data)
        await self._wait_until_taken()

    async def _wait_until_taken(self) -> None:
        while self._is_full and not self._is_lost:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self._is_closed or self._is_lost or self._transport.is_closing():
            raise self._failure()

    async def receive(self) -> bytes:
        """See `Stream.receive`."""
        while not self._chunks:
            if self._is_closed or self._error is not None:
                raise self._failure()
            if self._is_ended:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._is_paused and not self._is_lost:
            self._is_paused = False
            self._transport.resume_reading()
        return self._chunks.pop(0)

    async def aclose(self) -> None:
        """See `Stream.aclose`."""
        self._is_closed = True
        self._transport.abort()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next pass

    def _failure(self) -> OSError:
        if self._is_closed:
            return ConnectionAbortedError(errno.ECONNABORTED, "the connection was closed here")
        if isinstance(self._error, OSError):
            return self._error
        return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    # --- what the transport calls --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport of the new connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # a send waits until the system has taken all

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return the buffer to read into."""
        return read_buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        """Process the `nbytes` that were read."""
        self._chunks.append(bytes(read_buffer.view[:nbytes]))
        if len(self._chunks) >= _CHUNKS_MAX:
            self._is_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Note that the peer has ended its direction; ours stays open."""
        self._is_ended = True
        _wake(self._reader)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the socket is closed."""
        self._is_ended = self._is_lost = True
        self._error = exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Let sends wait, because the system takes no more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Let sends continue, because the system has taken all."""
        self._is_full = False
        _wake(self._writer)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
