"""One session on a blocking socket, which returns every frame in the order of arrival."""

from __future__ import annotations

import socket
import struct
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ConnectReply,
    ConnectRequest,
    PingRequest,
    ReplyHeader,
    Request,
    WatchEventMessage,
)
from zkrecipes.enums import SpecialXid

__all__ = ["CLOSED", "Closed", "Frame", "WireSession", "connect", "split_address"]

# A server answers within a millisecond, so after this time it will not answer.
_PATIENCE = 5.0
_SESSION_TIMEOUT_MS = 30_000
_LENGTH = struct.Struct("!i")
_REQUEST_HEADER = struct.Struct("!ii")


class Closed(NamedTuple):
    """The server has closed the connection."""


CLOSED = Closed()


class Frame(NamedTuple):
    """A reply or an event."""

    xid: int
    zxid: int
    err: int
    body: Record | bytes


@final
class WireSession:
    """A session and its connection.

    Attributes:
        greeting: the reply to the greeting; None if the server only closed the connection.
        id: the id of the session; 0 if there is no session.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        session_id: int = 0,
        password: bytes = bytes(16),
        zxid: int = 0,
        timeout_ms: int = _SESSION_TIMEOUT_MS,
    ) -> None:
        self.address = address
        self._socket = connect(address)
        self._received = b""
        self._xid = 0
        self._expected: deque[type[Record] | None] = deque()
        greeting = ConnectRequest(0, zxid, timeout_ms, session_id, password, False).encode()
        self._send(_LENGTH.pack(len(greeting)) + greeting)
        frame = self._frame()
        self.greeting = None if frame is None else ConnectReply.decode(frame)
        self.id = 0 if self.greeting is None else self.greeting.session_id
        self.password = b"" if self.greeting is None else self.greeting.password or b""

    def ask(self, *requests: Request[Any]) -> list[Frame | Closed]:
        """Send requests together, and return the frames until the last reply."""
        data = b""
        for request in requests:
            self._xid += 1
            data += request.encode_frame(self._xid)
            self._expected.append(type(request).reply)
        self._send(data)
        return self._until_answered()

    def ask_raw(self, opcode: int, body: bytes, reply: type[Record] | None = None) -> list[Frame | Closed]:
        """Send any bytes as a request. Without the class of the reply, the reply is returned as bytes."""
        self._xid += 1
        data = _REQUEST_HEADER.pack(self._xid, opcode) + body
        self._expected.append(reply)
        self._send(_LENGTH.pack(len(data)) + data)
        return self._until_answered()

    def ping(self) -> None:
        """Send a ping. `until_pong` must follow."""
        self._expected.append(PingRequest.reply)
        self._send(PingRequest().encode_frame(SpecialXid.PING))

    def until_pong(self) -> list[Frame | Closed]:
        """Return the frames until the reply to the ping, without that reply."""
        frames = self._until_answered()
        return [each for each in frames if isinstance(each, Closed) or each.xid != SpecialXid.PING]

    def rest(self) -> list[Frame | Closed]:
        """Return the frames until the server closes the connection."""
        self._expected.append(None)
        return self._until_answered()

    def close(self) -> None:
        """Close the connection. The session stays alive."""
        self._socket.close()

    def _until_answered(self) -> list[Frame | Closed]:
        frames: list[Frame | Closed] = []
        while self._expected:
            data = self._frame()
            if data is None:
                self._expected.clear()
                self._socket.close()
                frames.append(CLOSED)
            else:
                frames.append(self._read(data))
        return frames

    def _read(self, data: bytes) -> Frame:
        header = ReplyHeader.decode(data[:16])
        body = data[16:]
        if header.xid == SpecialXid.NOTIFICATION:
            return Frame(header.xid, header.zxid, header.err, _whole(WatchEventMessage, body))
        reply = self._expected.popleft()
        return Frame(
            header.xid,
            header.zxid,
            header.err,
            body if reply is None or header.err != 0 else _whole(reply, body),
        )

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # the frames that the server sent before it closed can still be read
            self._socket.sendall(data)

    def _frame(self) -> bytes | None:
        while len(self._received) < 4 or len(self._received) < 4 + self._length():
            try:
                chunk = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                chunk = b""
            if not chunk:
                return None
            self._received += chunk
        end = 4 + self._length()
        frame, self._received = self._received[4:end], self._received[end:]
        return frame

    def _length(self) -> int:
        return int(_LENGTH.unpack_from(self._received)[0])


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection without a greeting."""
    connection = socket.create_connection(address, _PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def split_address(connect_string: str) -> tuple[str, int]:
    """The host and the port."""
    host, _, port = connect_string.rpartition(":")
    return host, int(port)


def _whole(record_class: type[Record], body: bytes) -> Record:
    record, end = record_class.read(body, 0, len(body))
    assert end == len(body), f"{len(body) - end} bytes behind {record!r}"
    return record
