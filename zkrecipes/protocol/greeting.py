"""The first message of each side: the client's greeting, and what the server's answer means for the session.

Both are records in a frame, without the headers of every later message.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from zkrecipes.codec.messages import ConnectReply, ConnectRequest
from zkrecipes.errors import ProtocolError, SessionExpiredError, ZooKeeperError
from zkrecipes.protocol.events import Greeting

__all__ = ["greeting_frame", "why_refused"]

_LENGTH: Final = Struct("!i")


def greeting_frame(greeting: Greeting) -> bytes:
    """Return the frame of the greeting."""
    body = ConnectRequest(
        protocol_version=0,
        last_zxid_seen=greeting.last_zxid,
        timeout_ms=round(greeting.timeout * 1000),
        session_id=greeting.session_id,
        password=greeting.password,
        read_only=greeting.read_only,
    ).encode()
    return _LENGTH.pack(len(body)) + body


def why_refused(greeting: Greeting, reply: ConnectReply) -> ZooKeeperError | None:
    """Return the error if the answer does not attach the requested session, or None if it does."""
    requested = greeting.session_id
    if requested == 0:
        if reply.timeout_ms <= 0 or reply.session_id == 0:
            # This is not an expiry: after an expiry, the client would request the next session immediately,
            # again and again.
            return ProtocolError("the server answered the greeting without making a session")
        return None
    if reply.timeout_ms <= 0:
        return SessionExpiredError(requested, reason="the server does not know it")
    if reply.session_id == 0:
        return ProtocolError("the server answered the greeting with the session id 0")
    if reply.session_id != requested:
        return SessionExpiredError(requested, reason="the server answered with another session")
    return None
