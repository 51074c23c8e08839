"""The values that a connection exchanges with its caller: tickets go in, events come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import Request
from zkrecipes.enums import EventType
from zkrecipes.errors import ZooKeeperError, session_hex
from zkrecipes.protocol.server_requirement import Requirement

__all__ = [
    "Broken",
    "Challenged",
    "ClientEvent",
    "Connected",
    "Greeting",
    "PartialReply",
    "Replied",
    "Ticket",
    "WatchEvent",
    "WatchFired",
]


@final
@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change of a watched znode.

    Attributes:
        type: the type of change; `RESYNC` means that events may have been missed: read again what you need.
        path: the znode's path, as seen under the client's chroot.
        zxid: the transaction that made the change, or None if the server does not report it (before 3.9).
    """

    type: EventType
    path: str
    zxid: int | None = None


class Ticket:
    """One request on its way: passed to `ClientSide.send`, returned in `Replied`.

    Attributes:
        request: the request; its paths are full paths on the server.
        watcher: the owner of the watch that the request sets, or None if it sets none.
        xid: the request's number on the connection, 0 until it is sent.
        sent_at: the time when it was passed to the stream; NaN until then.
        is_dropped: whether no caller waits for it; such a request is not sent if it is still queued.
        is_alone: whether it is sent only when nothing is in flight, and nothing is sent until it is answered;
            urgent requests do not count.
        is_urgent: whether it goes before all others, whatever is in flight.
        requirement: the server version that it needs; None if every server has the operation.
        request_size: the bytes of its frame; 0 until it is sent.
        reply_size: the bytes of the reply, without the header; 0 until the reply arrives.
        reply_size_max: the size of reply to accept although it exceeds the connection's limit; 0 for none.
    """

    __slots__ = (
        "is_alone",
        "is_dropped",
        "is_urgent",
        "reply_size",
        "reply_size_max",
        "request",
        "request_size",
        "requirement",
        "sent_at",
        "watcher",
        "xid",
    )

    def __init__(self, request: Request[Any], watcher: Any = None) -> None:
        self.request: Request[Any] = request
        self.watcher: Any = watcher
        self.xid: int = 0
        self.sent_at: float = float("nan")
        self.is_dropped: bool = False
        self.is_alone: bool = False
        self.is_urgent: bool = False
        self.requirement: Requirement | None = None
        self.request_size: int = 0
        self.reply_size: int = 0
        self.reply_size_max: int = 0


@final
@dataclass(frozen=True, slots=True)
class Greeting:
    """The first message of a connection.

    Attributes:
        timeout: the requested session timeout, in seconds.
        session_id: the session to resume; 0 for a new one.
        password: the session's password, 16 bytes.
        last_zxid: the newest transaction that the session has seen; 0 for a new session.
        read_only: whether a server without a quorum is acceptable.
        credentials: (scheme, credential) pairs to authenticate with before anything else.
    """

    timeout: float
    session_id: int = 0
    password: bytes = bytes(16)
    last_zxid: int = 0
    read_only: bool = False
    credentials: Sequence[tuple[str, bytes]] = ()

    def __repr__(self) -> str:
        return f"Greeting(session_id={session_hex(self.session_id)}, last_zxid=0x{self.last_zxid:x})"


class PartialReply(NamedTuple):
    """A reply that has not arrived completely."""

    ticket: Ticket
    """The request that it answers: the oldest in flight."""
    size: int
    """The bytes of the whole reply."""
    received: int
    """The number of bytes received."""
    since: float
    """The time when the first of them arrived."""


class Challenged(NamedTuple):
    """The server answered a token of the SASL exchange; answer with `ClientSide.respond`."""

    token: bytes | None
    """The server's token; a secret."""

    def __repr__(self) -> str:
        return "Challenged()"


class Connected(NamedTuple):
    """The session is attached: the client is authenticated and its watches are restored."""

    session_id: int
    password: bytes
    timeout: float
    """The negotiated timeout, in seconds."""
    read_only: bool
    sent_at: float
    """The time when the greeting was sent."""

    def __repr__(self) -> str:
        session = f"session_id={session_hex(self.session_id)}"
        return f"Connected({session}, timeout={self.timeout}, read_only={self.read_only})"


class Replied(NamedTuple):
    """The server answered a request."""

    ticket: Ticket
    reply: Record | None
    """None if there is an error."""
    error: ZooKeeperError | None
    zxid: int
    """The zxid in the reply's header: a write's transaction, or the last one that the server had applied."""


class WatchFired(NamedTuple):
    """A watch event arrived; the one-shot watches that it fired have left the table."""

    owners: list[Any]
    event: WatchEvent


class Broken(NamedTuple):
    """The connection has ended; no event follows.

    `error` decides the session's fate: `SessionExpiredError` and `AuthFailedError` end it; after any other
    error, the session can be attached to another connection.
    """

    error: ZooKeeperError


ClientEvent = Challenged | Connected | Replied | WatchFired | Broken
