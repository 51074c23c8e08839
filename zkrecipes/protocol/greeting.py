"""The first message each way: what a client says, and what a server's answer means for the session.

Both are bare records in a frame, without the headers that every later message has.
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
    """The greeting as it goes over the wire."""
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
    """Why the answer does not attach the session that was asked for, or None where it does."""
    asked = greeting.session_id
    if asked == 0:
        if reply.timeout_ms <= 0 or reply.session_id == 0:
            # Not an expiry, after which the next session would be asked for at once, and so for ever.
            return ProtocolError("the server answered the greeting without making a session")
        return None
    if reply.timeout_ms <= 0:
        return SessionExpiredError(asked, reason="the server does not know it")
    if reply.session_id == 0:
        return ProtocolError("the server answered the greeting with the session id 0")
    if reply.session_id != asked:
        return SessionExpiredError(asked, reason="the server answered with another session")
    return None
