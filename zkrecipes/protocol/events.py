"""What a connection tells its driver: values, in the past tense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import Request
from zkrecipes.enums import EventType
from zkrecipes.errors import ZooKeeperError, session_hex
from zkrecipes.protocol.requirement import Requirement

__all__ = [
    "Arriving",
    "Broken",
    "Challenged",
    "ClientEvent",
    "Connected",
    "Greeting",
    "Replied",
    "Ticket",
    "WatchEvent",
    "WatchFired",
]


@final
@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something happened to a watched znode.

    Attributes:
        type: what happened; `RESYNC` means that events may have been missed: read again what you care about.
        path: the znode's path, as seen under the client's chroot.
        zxid: the transaction that did it, or None where the server does not say (before 3.9).
    """

    type: EventType
    path: str
    zxid: int | None = None


class Ticket:
    """One request on its way: handed to `ClientSide.send`, handed back in `Replied`.

    Attributes:
        request: what is asked; its paths are full paths on the server.
        watcher: the owner of the watch that the request sets, or None where it sets none.
        xid: its number on the connection, 0 until it is sent.
        sent_at: when it was handed to the stream; NaN until then.
        is_dropped: nobody waits for it any longer: an unsent one is not sent.
        is_alone: it is sent when nothing is in flight, and nothing is sent until it is answered; urgent
            requests do not count.
        is_urgent: it goes before all others, whatever is in flight.
        requirement: what the server must have for it; None if every server has it.
        request_size: of its frame, in bytes; 0 until it is sent.
        reply_size: of the reply's, without the header; 0 where there is none.
    """

    __slots__ = (
        "is_alone",
        "is_dropped",
        "is_urgent",
        "reply_size",
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


@final
@dataclass(frozen=True, slots=True)
class Greeting:
    """What a connection says first.

    Attributes:
        timeout: the session timeout to ask for, in seconds.
        session_id: the session to resume; 0 for a new one.
        password: the session's password, 16 bytes.
        last_zxid: the newest transaction that the session has seen; 0 for a new session.
        read_only: a server without a quorum will do.
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


class Arriving(NamedTuple):
    """A reply whose end has not come."""

    ticket: Ticket
    """The request that it is for: the oldest in flight."""
    size: int
    """Of the whole reply, in bytes."""
    received: int
    """How many of them have come."""
    since: float
    """When the first of them came."""


class Challenged(NamedTuple):
    """The server has answered a token of the SASL exchange; answer with `ClientSide.respond`."""

    token: bytes | None
    """The server's; a secret."""

    def __repr__(self) -> str:
        return "Challenged()"


class Connected(NamedTuple):
    """The session is attached: authenticated, watches re-armed."""

    session_id: int
    password: bytes
    timeout: float
    """As negotiated, in seconds."""
    read_only: bool
    sent_at: float
    """When the greeting was sent."""

    def __repr__(self) -> str:
        session = f"session_id={session_hex(self.session_id)}"
        return f"Connected({session}, timeout={self.timeout}, read_only={self.read_only})"


class Replied(NamedTuple):
    """A request was answered."""

    ticket: Ticket
    reply: Record | None
    """None where there is an error."""
    error: ZooKeeperError | None
    zxid: int
    """The reply header's: of the transaction for a write, the last that the server had applied for a read."""


class WatchFired(NamedTuple):
    """A watch event arrived; the one-shot watches that it fired are gone from the table."""

    owners: list[Any]
    event: WatchEvent


class Broken(NamedTuple):
    """The connection is over; nothing follows.

    `error` says what that means for the session: `SessionExpiredError` and `AuthFailedError` end it, any
    other leaves it to be attached elsewhere.
    """

    error: ZooKeeperError


ClientEvent = Challenged | Connected | Replied | WatchFired | Broken
