"""A client that sends and receives single frames, for tests of the server."""

from __future__ import annotations

import struct
from typing import Any

from zkrecipes.codec.framing import FrameBuffer
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ConnectReply,
    ConnectRequest,
    PingRequest,
    ReplyHeader,
    Request,
    WatchEventMessage,
)
from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver import DevServer
from zkrecipes.net.transport.network import Network, Stream
from zkrecipes.testing import MemoryNetwork

OPEN = [ACL(31, Id("world", "anyone"))]


async def ask_word(server: DevServer, network: MemoryNetwork, word: str) -> str:
    """Ask a four-letter word on a separate connection, which counts as one of the server's connections."""
    stream = await network.view("monitor").connect(server.host, server.port)
    await stream.send(word.encode())
    answer = b""
    while data := await stream.receive():
        answer += data
    await stream.aclose()
    return answer.decode()


class ClosedError(Exception):
    """The server closed the connection."""


class Answer:
    """A reply: its header, and its record if there is one."""

    def __init__(self, header: ReplyHeader, record: Record | None) -> None:
        self.xid, self.zxid, self.err = header
        self.record: Any = record

    def __repr__(self) -> str:
        return f"<{self.xid=} {self.zxid=} {self.err=} {self.record}>"


class RawClient:
    """One connection. `events` contains the events that arrived before a reply, in order."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[tuple[int, int, str]] = []
        """The zxid, type and path of each event."""
        self._frames = FrameBuffer(1 << 22)
        self._xid = 0
        self._sent: list[tuple[int, type[Record]]] = []

    @classmethod
    async def greet(
        cls,
        server: DevServer,
        network: Network,
        *,
        session_timeout: float = 10.0,
        session_id: int = 0,
        password: bytes = bytes(16),
        zxid: int = 0,
    ) -> tuple[RawClient, ConnectReply]:
        """Connect, and send a greeting."""
        client = cls(await network.connect(server.host, server.port))
        return client, await client.attach(session_timeout, session_id, password, zxid)

    async def attach(
        self,
        session_timeout: float = 10.0,
        session_id: int = 0,
        password: bytes = bytes(16),
        zxid: int = 0,
    ) -> ConnectReply:
        """Send a greeting, and return the reply."""
        greeting = ConnectRequest(
            0, zxid, round(session_timeout * 1000), session_id, password, False
        ).encode()
        await self.stream.send(struct.pack("!i", len(greeting)) + greeting)
        return ConnectReply.decode(await self.frame())

    async def send(self, *requests: Request[Any], xid: int | None = None) -> None:
        """Send requests in one go, without waiting for replies.

        Raises:
            ClosedError: the connection was closed.
        """
        data = b""
        for request in requests:
            if xid is None:
                self._xid += 1
            data += request.encode_frame(self._xid if xid is None else xid)
            self._sent.append((self._xid if xid is None else xid, type(request).reply))
        try:
            await self.stream.send(data)
        except ConnectionError as error:
            raise ClosedError from error

    async def receive(self) -> Answer:
        """Receive the next reply. Events before it are added to `events`."""
        while True:
            frame = await self.frame()
            header = ReplyHeader.decode(frame)
            if header.xid == -1:
                event = WatchEventMessage.decode(frame[16:])
                self.events.append((header.zxid, event.type, event.path))
                continue
            xid, reply_class = self._sent.pop(0)
            assert header.xid == xid, "replies out of order"
            if header.err != 0:
                assert len(frame) == 16, "an error has no body"
                return Answer(header, None)
            record, end = reply_class.read(frame, 16, len(frame))
            assert end == len(frame), "bytes behind the reply"
            return Answer(header, record)

    async def call(self, request: Request[Any]) -> Answer:
        """Send one request, and return the reply."""
        await self.send(request)
        return await self.receive()

    async def ok(self, request: Request[Any]) -> Any:
        """Send one request that must succeed, and return its record."""
        answer = await self.call(request)
        assert answer.err == 0, answer
        return answer.record

    async def ping(self) -> Answer:
        """Send a ping, and return the reply."""
        await self.send(PingRequest(), xid=-2)
        return await self.receive()

    async def seen(self) -> list[tuple[int, str]]:
        """Return the type and path of each event so far, and forget the events."""
        await self.ping()
        events, self.events = self.events, []
        return [(kind, path) for _, kind, path in events]

    async def frame(self) -> bytes:
        """Receive the next frame.

        Raises:
            ClosedError: the connection was closed.
        """
        while (found := self._frames.next_frame()) is None:
            try:
                data = await self.stream.receive()
            except ConnectionError as error:
                raise ClosedError from error
            if not data:
                raise ClosedError
            self._frames.feed(data)
        buffer, start, end = found
        return buffer[start:end]

    async def is_closed(self) -> bool:
        """Wait for the end of the connection. Return whether only events arrived before it."""
        try:
            while True:
                if ReplyHeader.decode(await self.frame()).xid != -1:
                    return False
        except ClosedError:
            await self.stream.aclose()
            return True
