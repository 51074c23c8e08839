"""Two streams that are the ends of one connection in memory, and what can be done to the wire between them.

It keeps TCP's rules where they matter to a client: bytes come in order, a sender waits when the buffer is
full, what was sent before a close still arrives, and while the wire is held nothing arrives, not even the
news that the other end has closed.
"""

from __future__ import annotations

import errno
import os
from typing import final

import anyio
import anyio.lowlevel

from zkrecipes.net.transport.network import Address

__all__ = ["Direction", "Link", "MemoryStream"]

# The buffers of two sockets, roughly; a sender waits when so many bytes were not received.
_CAPACITY = 256 * 1024
_RECEIVE_SIZE = 64 * 1024


@final
class Direction:
    """The bytes on their way from one end to the other.

    Args:
        chunk_size: how many bytes a receive gets at most.
        record: whether `recorded` is kept.
    """

    def __init__(self, *, chunk_size: int | None, record: bool) -> None:
        self.chunk_size = chunk_size
        """How many bytes a receive gets at most; 1 splits every byte, None is as many as are there."""
        self.is_cut = False
        """Whether the network is cut here."""
        self._recorded: bytearray | None = bytearray() if record else None
        # The rest is for the two streams alone.
        self._is_held = False
        self.buffer: bytearray = bytearray()
        self.has_ended = False
        self.is_broken: bool = False
        self.changed: anyio.Event = anyio.Event()

    @property
    def recorded(self) -> bytes:
        """All that was ever sent this way.

        Raises:
            RuntimeError: the network does not record.
        """
        if self._recorded is None:
            raise RuntimeError("nothing was recorded: make the network with record=True")
        return bytes(self._recorded)

    @property
    def waiting(self) -> int:
        """How many bytes were sent and not received."""
        return len(self.buffer)

    @property
    def is_held(self) -> bool:
        """Whether nothing arrives at the moment, for one reason or another."""
        return self._is_held or self.is_cut

    def hold(self) -> None:
        """From now on nothing arrives; the sender goes on until the buffer is full."""
        self._is_held = True

    def release(self) -> None:
        """Let arrive what was held, and all that follows."""
        self._is_held = False
        self.wake()

    def discard(self) -> None:
        """Throw away what was sent and has not been received."""
        self.buffer.clear()
        self.wake()

    def append(self, data: memoryview) -> memoryview:
        """Put as much into the buffer as there is room for; the rest."""
        room = max(0, _CAPACITY - len(self.buffer))
        if room:
            if self._recorded is not None:
                self._recorded += data[:room]
            self.buffer += data[:room]
            self.wake()
        return data[room:]

    def take(self) -> bytes:
        """The next bytes; none if none may be received now."""
        if self.is_held or not self.buffer:
            return b""
        size = min(self.chunk_size or _RECEIVE_SIZE, _RECEIVE_SIZE)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.wake()
        return data

    def break_off(self) -> None:
        """The connection is reset: both ends are told at once, and what is buffered is lost."""
        self.is_broken = True
        self.discard()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self.changed.set()
        self.changed = anyio.Event()


def _reset() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


@final
class Link:
    """One connection as the network sees it.

    Args:
        source: the name of the view that it was opened from; empty for the network itself.
        client: the client's address.
        server: the address that it was opened to.
        chunk_size: see `Direction`.
        record: see `Direction`.
    """

    def __init__(
        self, source: str, client: Address, server: Address, *, chunk_size: int | None, record: bool
    ) -> None:
        self.source = source
        self.server = server
        self.to_server: Direction = Direction(chunk_size=chunk_size, record=record)
        """The client's bytes on their way."""
        self.to_client: Direction = Direction(chunk_size=chunk_size, record=record)
        """The server's bytes on their way."""
        self.client_end: MemoryStream = MemoryStream(server, self.to_server, self.to_client)
        self.server_end: MemoryStream = MemoryStream(client, self.to_client, self.to_server)

    @property
    def is_open(self) -> bool:
        """Whether it was neither reset nor closed at both ends."""
        return not self.to_server.is_broken and not (self.client_end.is_closed and self.server_end.is_closed)

    def hold(self) -> None:
        """Nothing arrives in either direction."""
        self.to_server.hold()
        self.to_client.hold()

    def release(self) -> None:
        """Let arrive what was held, in both directions."""
        self.to_server.release()
        self.to_client.release()

    @property
    def is_cut(self) -> bool:
        """Whether the network is cut here."""
        return self.to_server.is_cut

    def set_cut(self, is_cut: bool) -> None:
        """Cut, or heal; what `hold` holds stays held."""
        for direction in (self.to_server, self.to_client):
            direction.is_cut = is_cut
            direction.wake()

    def reset(self) -> None:
        """Break the connection; both ends learn it at once."""
        self.to_server.break_off()
        self.to_client.break_off()


@final
class MemoryStream:
    """One end of a `Link`: a `zkrecipes.net.transport.network.Stream`."""

    def __init__(self, peer: Address, out: Direction, back: Direction) -> None:
        self.is_closed: bool = False
        self._peer = peer
        self._out = out
        self._back = back

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
            if self._back.has_ended and not self._back.is_held:
                raise _reset()
            rest = self._out.append(rest)
            if not rest:
                return
            await self._out.changed.wait()

    async def receive(self) -> bytes:
        """The next bytes; see `Stream.receive`."""
        await anyio.lowlevel.checkpoint()
        back = self._back
        while True:
            self._check_open()
            data = back.take()
            if data or (back.has_ended and not back.is_held):
                return data
            await back.changed.wait()

    async def aclose(self) -> None:
        """Close this end; see `Stream.aclose`."""
        if not self.is_closed:
            self.is_closed = True
            self._out.has_ended = True
            self._out.wake()
            self._back.wake()
        await anyio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the connection was closed here")
        if self._out.is_broken:
            raise _reset()
