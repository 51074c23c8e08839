"""Whole conversations in bytes, for behaviour that no request of a session can show."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

from tests.devserver.differential.wire_session import connect
from zkrecipes.codec.messages import (
    AuthRequest,
    ConnectReply,
    ConnectRequest,
    PingRequest,
    ReplyHeader,
    Request,
)

__all__ = ["Heard", "ask", "auth", "frame", "greeting", "listen", "multi", "ping", "raw"]

Address = tuple[str, int]
_LENGTH = struct.Struct("!i")
_OPERATION = struct.Struct("!i?i")
_PING_XID = -2


class Heard(NamedTuple):
    """Everything that a server sent, and whether it then closed the connection."""

    frames: tuple[object, ...]
    closed: bool


def greeting(
    *,
    session_id: int = 0,
    password: bytes | None = bytes(16),
    timeout_ms: int = 10_000,
    zxid: int = 0,
    version: int = 0,
    read_only: bool | None = False,
) -> bytes:
    """A greeting's frame."""
    return frame(ConnectRequest(version, zxid, timeout_ms, session_id, password, read_only).encode())


def frame(body: bytes) -> bytes:
    """A body after its length."""
    return _LENGTH.pack(len(body)) + body


def ask(request: Request[Any], xid: int = 1) -> bytes:
    """A request's frame."""
    return request.encode_frame(xid)


def raw(xid: int, opcode: int, body: bytes = b"") -> bytes:
    """A frame with any body, which need not be a request."""
    return frame(struct.pack("!ii", xid, opcode) + body)


def multi(xid: int, opcode: int, *requests: Request[Any]) -> bytes:
    """The frame of a multi of any requests, including those that no multi accepts."""
    parts = [_OPERATION.pack(each.opcode, False, -1) + each.encode() for each in requests]
    return raw(xid, opcode, b"".join(parts) + _OPERATION.pack(-1, True, -1))


def auth(scheme: str, token: bytes | None) -> bytes:
    """An auth packet's frame."""
    return ask(AuthRequest(0, scheme, token), -4)


def ping(xid: int = _PING_XID) -> bytes:
    """A ping's frame."""
    return ask(PingRequest(), xid)


def listen(address: Address, hello: bytes, *said: bytes, until_closed: bool = False) -> Heard:
    """Send a greeting, after its reply the rest, and a ping unless the server must close the connection.

    Returns:
        The replies until the ping's, or until the end of the connection. The reply to the greeting is without
        the parts that differ between servers; other replies are their headers without the zxid.
    """
    rest = b"".join(said) + (b"" if until_closed else ping())
    heard: list[object] = []
    with closing(connect(address)) as connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(hello)
        for body in _frames(connection.recv):
            if heard:
                heard.append(_header(body))
                if not until_closed and ReplyHeader.decode(body[:16]).xid == _PING_XID:
                    return Heard(tuple(heard), closed=False)
            else:
                heard.append(_plain(ConnectReply.decode(body)))
                connection.sendall(rest)
    return Heard(tuple(heard), closed=True)


def _plain(reply: ConnectReply) -> object:
    return {
        "version": reply.protocol_version,
        "timeout": reply.timeout_ms,
        "has a session": reply.session_id != 0,
        "has a password": reply.password not in (None, b"", bytes(16)),
        "password size": len(reply.password or b""),
        "read only": reply.read_only,
    }


def _header(body: bytes) -> object:
    header = ReplyHeader.decode(body[:16])
    return (header.xid, header.err, len(body) - 16)


def _frames(receive: Callable[[int], bytes]) -> Iterator[bytes]:
    data = b""
    while True:
        while len(data) >= 4 and len(data) >= 4 + (size := _LENGTH.unpack_from(data)[0]):
            yield data[4 : 4 + size]
            data = data[4 + size :]
        chunk = receive(1 << 16)
        if not chunk:
            return
        data += chunk
