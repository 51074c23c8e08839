"""Connections in memory, as tests see and control them.

The network makes a `Connection` for each connect. Tests get its `link`, which can hold, release and reset it
but not cut it: a cut belongs to the network, which heals it.
"""

from __future__ import annotations

from typing import final

from zkrecipes.net.transport.network import Address
from zkrecipes.testing.memory_stream import ByteQueue, MemoryStream

__all__ = ["Connection", "Direction", "Link"]


@final
class Direction:
    """The bytes in transit from one end of a `Link` to the other."""

    def __init__(self, queue: ByteQueue) -> None:
        self._queue = queue

    @property
    def chunk_size(self) -> int | None:
        """The size limit of a receive in bytes: 1 delivers single bytes, None as many as there are."""
        return self._queue.chunk_size

    @chunk_size.setter
    def chunk_size(self, chunk_size: int | None) -> None:
        self._queue.chunk_size = chunk_size

    @property
    def is_cut(self) -> bool:
        """Whether the network is cut here."""
        return self._queue.is_cut

    @property
    def is_held(self) -> bool:
        """Whether nothing arrives, because of `hold` or a cut."""
        return self._queue.is_held

    @property
    def recorded(self) -> bytes:
        """All bytes that were ever sent in this direction.

        Raises:
            RuntimeError: the network does not record.
        """
        if self._queue.recorded is None:
            raise RuntimeError("nothing was recorded: create the network with record=True")
        return bytes(self._queue.recorded)

    @property
    def waiting(self) -> int:
        """The number of bytes that were sent and not received."""
        return len(self._queue)

    def hold(self) -> None:
        """Let nothing arrive from now on. The sender can continue until the buffer is full."""
        self._queue.is_held_by_test = True

    def release(self) -> None:
        """Deliver the held bytes, and all that follow."""
        self._queue.is_held_by_test = False
        self._queue.wake()

    def discard(self) -> None:
        """Drop all bytes that were sent and not received."""
        self._queue.discard()


@final
class Link:
    """One connection of a `MemoryNetwork`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.source: str = connection.source
        """The name of the view that opened the connection; empty for the network itself."""
        self.server: Address = connection.server
        """The address that the client connected to."""
        self.to_server: Direction = Direction(connection.to_server)
        """The client's bytes in transit."""
        self.to_client: Direction = Direction(connection.to_client)
        """The server's bytes in transit."""
        self.client_end: MemoryStream = connection.client_end
        self.server_end: MemoryStream = connection.server_end

    @property
    def is_open(self) -> bool:
        """Whether the connection was neither reset nor closed at both ends."""
        return self._connection.is_open

    @property
    def is_cut(self) -> bool:
        """Whether the network is cut here."""
        return self._connection.is_cut

    def hold(self) -> None:
        """Let nothing arrive in either direction."""
        self.to_server.hold()
        self.to_client.hold()

    def release(self) -> None:
        """Deliver the held bytes in both directions, and all that follow."""
        self.to_server.release()
        self.to_client.release()

    def reset(self) -> None:
        """Break the connection; both ends are notified at once."""
        self._connection.reset()


@final
class Connection:
    """One connection in memory, as the network controls it.

    Args:
        source: the name of the view that opened it; empty for the network itself.
        client: the client's address.
        server: the address that the client connected to.
        chunk_size: see `Direction`.
        record: whether to record both directions.
    """

    def __init__(
        self, source: str, client: Address, server: Address, *, chunk_size: int | None, record: bool
    ) -> None:
        self.source = source
        self.server = server
        self.to_server: ByteQueue = ByteQueue(chunk_size=chunk_size, record=record)
        self.to_client: ByteQueue = ByteQueue(chunk_size=chunk_size, record=record)
        self.client_end: MemoryStream = MemoryStream(server, self.to_server, self.to_client)
        self.server_end: MemoryStream = MemoryStream(client, self.to_client, self.to_server)
        self.link: Link = Link(self)
        """The connection for tests."""

    @property
    def is_open(self) -> bool:
        """Whether the connection was neither reset nor closed at both ends."""
        return not self.to_server.is_reset and not (self.client_end.is_closed and self.server_end.is_closed)

    @property
    def is_cut(self) -> bool:
        """Whether the network is cut here."""
        return self.to_server.is_cut

    def set_cut(self, is_cut: bool) -> None:
        """Cut or heal the connection; a test's `Link.hold` is independent of that."""
        for queue in (self.to_server, self.to_client):
            queue.is_cut = is_cut
            queue.wake()

    def reset(self) -> None:
        """Break the connection and notify both ends at once."""
        self.to_server.reset()
        self.to_client.reset()
