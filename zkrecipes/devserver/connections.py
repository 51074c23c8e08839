"""The connections of a server: one task reads each, and one at a time sends on it.

A chunk that was received is processed whole, and its replies leave in one send by the task that reads. Events
that others cause and large replies leave in a task of their own: a real server reads requests, and touches
the session, whatever it still has to write (`NIOServerCnxn`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, final

import anyio
from anyio.abc import TaskGroup

from zkrecipes.codec.records import Id
from zkrecipes.devserver.four_letter.answers import ConnectionStatus
from zkrecipes.devserver.packet_stats import PacketStats
from zkrecipes.devserver.server_clock import ServerClock
from zkrecipes.devserver.server_connection import QUEUED_MAX, ServerConnection, ServerServices
from zkrecipes.errors import session_hex

__all__ = ["CLOSING_TIME_MAX", "GREETING_TIME_MAX", "ByteStream", "Connections"]

GREETING_TIME_MAX = 10.0
"""How long a connection may be without a session, in seconds (`zookeeper.nio.sessionlessCnxnTimeout`)."""

CLOSING_TIME_MAX = 10.0
"""How long a connection that is to be closed may take to take its last bytes, in seconds."""

_SENT_WITHOUT_TASK_MAX = 16 * 1024
"""So many bytes leave without a task of their own: a client that reads at all takes them soon."""

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")


class ByteStream(Protocol):
    """What is needed of a stream; see `zkrecipes.net.transport.network.Stream`."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`, or raise `OSError`."""

    async def receive(self) -> bytes:
        """The next bytes, `b""` at the end, or raise `OSError`."""

    async def aclose(self) -> None:
        """Close at once."""


@final
class Connections:
    """All connections of one server.

    Args:
        host: the server, which conversations ask.
        clock: while it stands, nothing is read, processed or sent.
        tasks: where the tasks run.
        frame_size_max: how large a request may be.
        per_address_max: how many connections one address may have at once; 0 is any number.
        settled: waits until what happened so far is on disk, before anybody is told; None where nothing is.
    """

    def __init__(
        self,
        host: ServerServices,
        clock: ServerClock,
        tasks: TaskGroup,
        *,
        frame_size_max: int,
        per_address_max: int = 0,
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.traffic: PacketStats = PacketStats(established_ms=clock.read().time_ms)
        """Of all connections since the start."""
        self.refused: int = 0
        """How many were one too many from their address."""
        self.cut_off: int = 0
        """How many did not say in time who they are."""
        self._per_address_max = per_address_max
        self._settled = settled
        self._from_address: Counter[str] = Counter()
        self._host = host
        self._clock = clock
        self._tasks = tasks
        self._frame_size_max = frame_size_max
        self._streams: dict[ServerConnection, ByteStream] = {}
        self._sending: set[ServerConnection] = set()
        self._waiting: dict[ServerConnection, anyio.Event] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[ServerConnection]:
        return iter(list(self._streams))

    def clients(self) -> list[ConnectionStatus]:
        """Each connection with its figures."""
        return [ConnectionStatus(connection, connection.traffic) for connection in self._streams]

    async def serve(self, stream: ByteStream, address: str, port: int, certified: Id | None = None) -> None:
        """Serve one connection until it ends; the stream is closed then.

        Args:
            stream: the connection.
            address: the client's IP address.
            port: its port.
            certified: who its certificate says that it is.
        """
        if 0 < self._per_address_max <= self._from_address[address]:
            self.refused += 1
            logger.warning("too many connections from %s: at most %d", address, self._per_address_max)
            await stream.aclose()
            return
        peer, since = f"/{address}:{port}", self._clock.read().time_ms
        connection = ServerConnection(
            self._host,
            address,
            self._send_soon,
            traffic=PacketStats(self.traffic, peer=peer, established_ms=since),
            frame_size_max=self._frame_size_max,
            certified=certified,
        )
        self._streams[connection] = stream
        self._from_address[address] += 1
        processor = self._host.processor
        try:
            await self._read(connection, stream)
        except OSError as error:
            logger.debug("session %s: its connection broke: %s", session_hex(connection.session_id), error)
        except Exception:
            # A fault of ours ends this connection and no other.
            logger.exception("session %s: closing its connection", session_hex(connection.session_id))
        finally:
            processor.leave(connection)
            del self._streams[connection]
            self._from_address[address] -= 1
            if not self._from_address[address]:
                del self._from_address[address]
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    def send_all(self) -> None:
        """Send what is queued anywhere, as nothing holds it back any more."""
        for connection in self._streams:
            self._send_soon(connection)

    async def _read(self, connection: ServerConnection, stream: ByteStream) -> None:
        greeted_by = anyio.current_time() + GREETING_TIME_MAX
        while not connection.is_closing:
            data = await self._receive(connection, stream, greeted_by)
            if not data:
                break
            await self._clock.wait_while_paused()
            moment = self._clock.read()
            connection.traffic.arrived_ms = moment.time_ms
            connection.receive(data, moment)
            if (
                connection.due is not None
                or connection in self._sending
                or connection.queued > _SENT_WITHOUT_TASK_MAX
            ):
                # Neither a late reply nor a client that reads slowly keeps the next requests waiting: the
                # session lives as long as those arrive.
                self._send_soon(connection)
            else:
                self._sending.add(connection)
                await self._send(connection)
            while _must_wait(connection):
                sent = self._waiting[connection] = anyio.Event()
                try:
                    await sent.wait()
                finally:
                    del self._waiting[connection]

    async def _receive(self, connection: ServerConnection, stream: ByteStream, greeted_by: float) -> bytes:
        """The next bytes; none where the connection has ended, or has no session when it should."""
        if connection.session is not None:
            return await stream.receive()
        with anyio.CancelScope(deadline=greeted_by):
            return await stream.receive()
        await self._clock.wait_while_paused()
        self.cut_off += 1
        seconds = f"{GREETING_TIME_MAX:g} seconds"
        connection.close(f"it did not ask for a session within {seconds}", level=logging.WARNING)
        return b""

    def _send_soon(self, connection: ServerConnection) -> None:
        if connection.is_aborted:
            self._tasks.start_soon(self._close, connection)
        elif connection not in self._sending:
            self._sending.add(connection)
            self._tasks.start_soon(self._send, connection)
        elif connection.is_closing:
            self._tasks.start_soon(self._close_at_last, connection)

    async def _send(self, connection: ServerConnection) -> None:
        """Send all that is queued; the caller has put the conversation among those that send."""
        stream = self._streams.get(connection)
        try:
            while stream is not None and not connection.is_aborted:
                await self._clock.wait_while_paused()
                if self._host.faults.are_replies_held(connection.session_id):
                    return
                moment = self._clock.read()
                data = connection.data_to_send(moment.now)
                if data:
                    if self._settled is not None:
                        await self._settled()
                        moment = self._clock.read()
                    connection.traffic.departs(moment.time_ms)
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
                await self._close(connection)
        except OSError as error:
            logger.debug("session %s: its connection broke: %s", session_hex(connection.session_id), error)
            await self._close(connection)
        finally:
            self._sending.discard(connection)
            self._wake_reader(connection)

    async def _close_at_last(self, connection: ServerConnection) -> None:
        """Close what is to be closed, though its client does not take what was sent before."""
        await anyio.sleep(CLOSING_TIME_MAX)
        await self._clock.wait_while_paused()
        if connection.due is None:
            await self._close(connection)

    async def _close(self, connection: ServerConnection) -> None:
        connection.give_up()
        self._wake_reader(connection)
        stream = self._streams.get(connection)
        if stream is not None:
            await stream.aclose()

    def _wake_reader(self, connection: ServerConnection) -> None:
        sent = self._waiting.get(connection)
        if sent is not None:
            sent.set()


def _must_wait(connection: ServerConnection) -> bool:
    """Whether nothing more may be read. Only where replies are held back does anything stay queued.

    Then it must not grow without end, nor may the connection be closed before its last reply was sent.
    """
    if connection.is_aborted:
        return False
    return connection.queued > (0 if connection.is_closing else QUEUED_MAX)
