"""The two ends of a connection in memory, and the queues of bytes between them.

They follow the rules of TCP that matter to a client: bytes arrive in order, a sender waits while the buffer
is full, and bytes sent before a close still arrive. While a queue is held nothing arrives, not even the
notice that the other end has closed. Tests control the queues through `memory_link`.
"""

from __future__ import annotations

import errno
import os
from typing import final

import anyio
import anyio.lowlevel

from zkrecipes.net.transport.network import Address

__all__ = ["ByteQueue", "MemoryStream"]

# The buffers of two sockets, roughly; a sender waits while this many bytes have not been received.
_CAPACITY = 256 * 1024
_RECEIVE_SIZE = 64 * 1024


@final
class ByteQueue:
    """The bytes in transit from one end to the other.

    Args:
        chunk_size: the size limit of a receive in bytes; None for no limit besides the buffer's.
        record: whether to keep all bytes in `recorded`.
    """

    def __init__(self, *, chunk_size: int | None, record: bool) -> None:
        self.chunk_size = chunk_size
        self.recorded: bytearray | None = bytearray() if record else None
        self.is_held_by_test: bool = False
        self.is_cut: bool = False
        self.is_reset: bool = False
        self.has_ended: bool = False
        """Whether the sender has closed its end."""
        self.changed: anyio.Event = anyio.Event()
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def is_held(self) -> bool:
        """Whether nothing arrives: a test holds the queue, or the network is cut."""
        return self.is_held_by_test or self.is_cut

    def append(self, data: memoryview) -> memoryview:
        """Append as many bytes as there is room for, and return the rest."""
        room = max(0, _CAPACITY - len(self._buffer))
        if room:
            if self.recorded is not None:
                self.recorded += data[:room]
            self._buffer += data[:room]
            self.wake()
        return data[room:]

    def take(self) -> bytes:
        """Remove and return the next bytes; none if the queue is held or empty."""
        if self.is_held or not self._buffer:
            return b""
        size = min(self.chunk_size or _RECEIVE_SIZE, _RECEIVE_SIZE)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.wake()
        return data

    def discard(self) -> None:
        """Drop all bytes that have not been received."""
        self._buffer.clear()
        self.wake()

    def reset(self) -> None:
        """Reset the connection: drop the bytes in transit and notify both ends at once."""
        self.is_reset = True
        self.discard()

    def end(self) -> None:
        """Mark the end of the bytes, because the sender has closed."""
        self.has_ended = True
        self.wake()

    def wake(self) -> None:
        """Let waiting senders and receivers check the queue again. Call it after a change of attributes."""
        self.changed.set()
        self.changed = anyio.Event()


def _reset_error() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


@final
class MemoryStream:
    """One end of a connection in memory: a `zkrecipes.net.transport.network.Stream`."""

    def __init__(self, peer: Address, outgoing: ByteQueue, incoming: ByteQueue) -> None:
        self.is_closed: bool = False
        self._peer = peer
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def peer(self) -> Address:
        """The address of the other end."""
        return self._peer

    async def send(self, data: bytes) -> None:
        """Send all of `data`; see `Stream.send`."""
        await anyio.lowlevel.checkpoint()
        rest = memoryview(data)
        while True:
            self._check_open()
            if self._incoming.has_ended and not self._incoming.is_held:
                raise _reset_error()
            rest = self._outgoing.append(rest)
            if not rest:
                return
            await self._outgoing.changed.wait()

    async def receive(self) -> bytes:
        """Receive the next bytes; see `Stream.receive`."""
        await anyio.lowlevel.checkpoint()
        incoming = self._incoming
        while True:
            self._check_open()
            data = incoming.take()
            if data or (incoming.has_ended and not incoming.is_held):
                return data
            await incoming.changed.wait()

    async def aclose(self) -> None:
        """Close this end; see `Stream.aclose`."""
        if not self.is_closed:
            self.is_closed = True
            self._outgoing.end()
            self._incoming.wake()
        await anyio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the connection was closed here")
        if self._outgoing.is_reset:
            raise _reset_error()
