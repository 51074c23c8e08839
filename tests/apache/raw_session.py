"""A session without a client, byte by byte, that sends only the frames of the test.

It uses no code of zkrecipes, so that our bugs cannot hide themselves.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import anyio
from anyio.abc import SocketStream

_GREETING = struct.Struct("!iqiqi16s?")
_GREETING_REPLY = struct.Struct("!iiqi16s")
_REPLY_HEADER = struct.Struct("!iqi")
_PING, _CREATE, _CLOSE_SESSION = 11, 1, -11
_PING_XID = -2
_ALL, _EPHEMERAL = 31, 1


@final
class RawSession:
    """A session on one connection, which never moves to another.

    Attributes:
        id: the session's id; 0 if the server does not know the session.
        timeout: the negotiated timeout in seconds.
    """

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._received = b""
        self.id = 0
        self.timeout = 0.0

    async def greet(self, session_timeout: float) -> None:
        await self._stream.send(_greeting(session_timeout, 0, bytes(16)))
        self.take_greeting(await self._frame())

    def take_greeting(self, frame: bytes) -> None:
        _, timeout_ms, session_id, *_ = _GREETING_REPLY.unpack_from(frame)
        self.timeout = timeout_ms / 1000
        self.id = session_id if timeout_ms > 0 else 0

    async def ping(self) -> None:
        """Return once a ping has been answered.

        Raises:
            anyio.EndOfStream, anyio.BrokenResourceError: the connection ended without an answer.
        """
        await self._stream.send(_frame(struct.pack("!ii", _PING_XID, _PING)))
        xid, *_ = _REPLY_HEADER.unpack_from(await self._frame())
        assert xid == _PING_XID

    async def create_ephemeral(self, path: str) -> None:
        """Create an ephemeral znode with an open ACL."""
        body = struct.pack("!ii", 1, _CREATE) + _text(path) + struct.pack("!i", 0)
        body += struct.pack("!ii", 1, _ALL) + _text("world") + _text("anyone")
        await self._stream.send(_frame(body + struct.pack("!i", _EPHEMERAL)))
        _, _, code = _REPLY_HEADER.unpack_from(await self._frame())
        assert code == 0

    async def _frame(self) -> bytes:
        while not (frames := _frames(self._received)):
            self._received += await self._stream.receive()
        self._received = self._received[4 + len(frames[0]) :]
        return frames[0]


@asynccontextmanager
async def raw_session(address: str, *, session_timeout: float) -> AsyncIterator[RawSession]:
    """Open a new session on the server at `host:port`, which will expire later."""
    async with await _connect(address) as stream:
        session = RawSession(stream)
        await session.greet(session_timeout)
        yield session


async def end_session(address: str, session_id: int, password: bytes) -> None:
    """End a client's session from outside: attach it to another connection, and close it.

    Attaching it here takes it from its client, which may take it back before the server reads the close
    request. Therefore this repeats until the close is answered or the session has ended.
    """
    goodbye = _frame(struct.pack("!ii", 1, _CLOSE_SESSION))
    while True:
        answer = b""
        async with await _connect(address) as stream:
            try:
                await stream.send(_greeting(10.0, session_id, password) + goodbye)
                async for chunk in stream:
                    answer += chunk
            except anyio.BrokenResourceError:
                pass
            session = RawSession(stream)
        frames = _frames(answer)
        if frames:
            session.take_greeting(frames[0])
            if session.id == 0 or len(frames) > 1:
                return


async def _connect(address: str) -> SocketStream:
    host, _, port = address.rpartition(":")
    return await anyio.connect_tcp(host, int(port))


def _greeting(timeout: float, session_id: int, password: bytes) -> bytes:
    return _frame(_GREETING.pack(0, 0, round(timeout * 1000), session_id, 16, password, False))


def _frame(body: bytes) -> bytes:
    return struct.pack("!i", len(body)) + body


def _text(text: str) -> bytes:
    return struct.pack("!i", len(text)) + text.encode("ascii")


def _frames(data: bytes) -> list[bytes]:
    """Return the whole frames at the start of `data`."""
    frames = []
    while len(data) >= 4:
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < end:
            break
        frames.append(data[4:end])
        data = data[end:]
    return frames
