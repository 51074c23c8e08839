"""The connections of a server: one task reads from each, and at most one at a time sends on it.

The reading task processes a received chunk as a whole and sends the replies in one go. A writer task sends
events that other clients cause, and large replies: a real server continues to read requests, and to touch the
session, while replies still wait to be written (`NIOServerCnxn`). Each connection keeps its writer task,
because waking a task costs much less than starting one, and an event may go to thousands of connections.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, final

import anyio
from anyio.abc import TaskGroup

from zkrecipes.codec.records import Id
from zkrecipes.devserver.four_letter.status import ConnectionStatus
from zkrecipes.devserver.packet_stats import PacketStats
from zkrecipes.devserver.server_clock import ServerClock
from zkrecipes.devserver.server_connection import QUEUED_MAX, ServerConnection, ServerServices
from zkrecipes.errors import session_hex

__all__ = ["CLOSING_TIME_MAX", "GREETING_TIME_MAX", "ByteStream", "Connections"]

GREETING_TIME_MAX = 10.0
"""The seconds in which a connection must request a session (`zookeeper.nio.sessionlessCnxnTimeout`)."""

CLOSING_TIME_MAX = 10.0
"""The seconds in which a client must read the last bytes before its connection is closed."""

_SENT_BY_READER_MAX = 16 * 1024
"""The most bytes that the reading task sends: any client that reads takes these soon."""

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")


class ByteStream(Protocol):
    """The part of `zkrecipes.net.transport.network.Stream` that a connection needs."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`, or raise `OSError`."""

    async def receive(self) -> bytes:
        """Receive the next bytes, `b""` at the end, or raise `OSError`."""

    async def aclose(self) -> None:
        """Close at once."""


@final
class _Channel:
    """The stream of one connection, and the tasks that use it."""

    __slots__ = ("is_sending", "sent", "stream", "wake")

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.is_sending = False
        """Whether a task sends, or is about to. That task also sends all output queued before it ends."""
        self.wake = anyio.Event()
        """Wakes the writer task."""
        self.sent: anyio.Event | None = None
        """Wakes the reading task, if it waits until output has been sent."""

    def wake_reader(self) -> None:
        """Wake the reading task if it waits. Call it after sending or discarding output."""
        if self.sent is not None:
            self.sent.set()


@final
class Connections:
    """All connections of one server.

    Args:
        services: the server.
        clock: the server's clock; while it is paused, nothing is read, processed or sent.
        tasks: the task group for the sending tasks.
        frame_size_max: the largest request in bytes.
        per_address_max: the most connections that one address may have at once; 0 means any number.
        wait_saved: waits until the state is on disk, before each send; None if the state is only in memory.
    """

    def __init__(
        self,
        services: ServerServices,
        clock: ServerClock,
        tasks: TaskGroup,
        *,
        frame_size_max: int,
        per_address_max: int = 0,
        wait_saved: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.stats: PacketStats = PacketStats(established_ms=clock.read().time_ms)
        """The statistics of all connections since the start."""
        self.rejected_count: int = 0
        """The number of connections beyond the limit for their address."""
        self.sessionless_count: int = 0
        """The number of connections closed because they did not request a session in time."""
        self._per_address_max = per_address_max
        self._wait_saved = wait_saved
        self._count_by_address: Counter[str] = Counter()
        self._services = services
        self._clock = clock
        self._tasks = tasks
        self._frame_size_max = frame_size_max
        self._channels: dict[ServerConnection, _Channel] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[ServerConnection]:
        return iter(list(self._channels))

    def statuses(self) -> list[ConnectionStatus]:
        """Return the status of each connection."""
        return [ConnectionStatus(connection, connection.stats) for connection in self._channels]

    async def serve(
        self, stream: ByteStream, address: str, port: int, certificate_id: Id | None = None
    ) -> None:
        """Serve one connection until it ends, and close its stream.

        Args:
            stream: the connection.
            address: the client's IP address.
            port: the client's port.
            certificate_id: the identity in the client's certificate.
        """
        if 0 < self._per_address_max <= self._count_by_address[address]:
            self.rejected_count += 1
            logger.warning(
                "closing a new connection from %s: this address may have at most %d connections",
                address,
                self._per_address_max,
            )
            await stream.aclose()
            return
        peer, established_ms = f"/{address}:{port}", self._clock.read().time_ms
        connection = ServerConnection(
            self._services,
            address,
            self._send_soon,
            stats=PacketStats(self.stats, peer=peer, established_ms=established_ms),
            frame_size_max=self._frame_size_max,
            certificate_id=certificate_id,
        )
        channel = self._channels[connection] = _Channel(stream)
        self._count_by_address[address] += 1
        self._tasks.start_soon(self._write, connection, channel)
        processor = self._services.processor
        try:
            await self._read(connection, channel)
        except OSError as error:
            _log_broken(connection, error)
        except Exception:
            # An error in our code ends only this connection.
            logger.exception(
                "session %s: closing its connection after an internal error",
                session_hex(connection.session_id),
            )
        finally:
            processor.detach(connection)
            del self._channels[connection]
            channel.wake.set()  # the writer ends
            self._count_by_address[address] -= 1
            if not self._count_by_address[address]:
                del self._count_by_address[address]
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    def send_all(self) -> None:
        """Send everything queued on any connection. Call it when replies are no longer held back."""
        for connection in self._channels:
            self._send_soon(connection)

    async def _read(self, connection: ServerConnection, channel: _Channel) -> None:
        greeting_deadline = anyio.current_time() + GREETING_TIME_MAX
        while not connection.is_closing:
            data = await self._receive(connection, channel.stream, greeting_deadline)
            if not data:
                break
            await self._clock.wait_while_paused()
            time = self._clock.read()
            connection.stats.arrived_ms = time.time_ms
            connection.receive(data, time)
            if connection.due is not None or channel.is_sending or connection.queued > _SENT_BY_READER_MAX:
                # A delayed reply or a client that reads slowly must not delay the next requests, which keep
                # the session alive.
                self._send_soon(connection)
            else:
                channel.is_sending = True
                await self._send(connection, channel)
            while _must_wait(connection):
                channel.sent = anyio.Event()
                await channel.sent.wait()
                channel.sent = None

    async def _receive(
        self, connection: ServerConnection, stream: ByteStream, greeting_deadline: float
    ) -> bytes:
        """Receive the next bytes; `b""` if the connection has ended, or did not request a session in time."""
        if connection.session is not None:
            return await stream.receive()
        with anyio.CancelScope(deadline=greeting_deadline):
            return await stream.receive()
        await self._clock.wait_while_paused()
        self.sessionless_count += 1
        reason = f"it did not ask for a session within {GREETING_TIME_MAX:g} seconds"
        connection.close(reason, level=logging.WARNING)
        return b""

    def _send_soon(self, connection: ServerConnection) -> None:
        """Let the writer task send what is queued, or close the connection."""
        channel = self._channels.get(connection)
        if channel is None:
            return  # the connection has ended
        if connection.is_aborted:
            self._tasks.start_soon(self._close, connection, channel)
        elif not channel.is_sending:
            channel.is_sending = True
            channel.wake.set()
        elif connection.is_closing:
            self._tasks.start_soon(self._close_late, connection, channel)

    async def _write(self, connection: ServerConnection, channel: _Channel) -> None:
        """Send what is queued whenever `_send_soon` wakes this task, until the connection ends."""
        while True:
            await channel.wake.wait()
            if connection not in self._channels:
                return
            channel.wake = anyio.Event()
            await self._send(connection, channel)

    async def _send(self, connection: ServerConnection, channel: _Channel) -> None:
        """Send everything queued. The caller has set `is_sending`."""
        stream = channel.stream
        try:
            while not connection.is_aborted:
                await self._clock.wait_while_paused()
                if self._services.fault_injector.are_replies_held(connection.session_id):
                    return
                time = self._clock.read()
                data = connection.data_to_send(time.now)
                if data:
                    if self._wait_saved is not None:
                        await self._wait_saved()
                        time = self._clock.read()
                    connection.stats.count_departure(time.time_ms)
                    if connection.is_closing:
                        with anyio.fail_after(CLOSING_TIME_MAX):
                            await stream.send(data)
                    else:
                        await stream.send(data)
                elif connection.due is None:
                    break
                else:
                    await self._clock.sleep_until(connection.due)
            if connection.is_closing:
                await self._close(connection, channel)
        except OSError as error:
            _log_broken(connection, error)
            await self._close(connection, channel)
        finally:
            channel.is_sending = False
            channel.wake_reader()

    async def _close_late(self, connection: ServerConnection, channel: _Channel) -> None:
        """Close a closing connection even if its client does not read the last bytes."""
        await anyio.sleep(CLOSING_TIME_MAX)
        await self._clock.wait_while_paused()
        if connection.due is None:
            await self._close(connection, channel)

    async def _close(self, connection: ServerConnection, channel: _Channel) -> None:
        connection.discard_output()
        channel.wake_reader()
        if connection in self._channels:
            await channel.stream.aclose()


def _must_wait(connection: ServerConnection) -> bool:
    """Whether the reading task must wait before it reads more. Only held replies stay queued.

    The queue must not grow without limit, and the connection must not close before its last reply is sent.
    """
    if connection.is_aborted:
        return False
    return connection.queued > (0 if connection.is_closing else QUEUED_MAX)


def _log_broken(connection: ServerConnection, error: OSError) -> None:
    """Log that a connection broke."""
    logger.debug("session %s: its connection broke: %s", session_hex(connection.session_id), error)
