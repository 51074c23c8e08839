"""One session: its id, its timeout, its state.

`Session` is the handle that users get; after a renewal there is a new one, and the old one stays in its final
state. `SessionRecord` is the engine's: its state changes in one place, `SessionRecord.apply`, by the table of
`protocol.states`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import anyio

from zkrecipes.codec.secret import SecretBytes
from zkrecipes.enums import SessionState
from zkrecipes.errors import ZooKeeperError, session_hex
from zkrecipes.protocol.events import Connected
from zkrecipes.protocol.states import GIVE_UP_AFTER, SessionEvent, next_state

__all__ = ["Session", "SessionKey", "SessionOptions", "SessionRecord", "plain_reason"]

logger: logging.Logger = logging.getLogger("zkrecipes.session")


@final
@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The caller's options for the sessions of a client; see `connect()`."""

    session_timeout: float
    read_only: bool
    renew: bool
    tick_time: float | None
    packet_size_max: int
    keep_session: bool = False
    connect_timeout: float | None = None
    """The seconds that `connect()` waits for the first session; None for no limit."""


@final
class SessionKey(NamedTuple):
    """The key with which another client resumes a session: `connect(resume=client.session.key)`.

    It is a secret, and `repr` does not show it: its holder controls the session and may delete its ephemeral
    znodes.
    """

    id: int
    """The session's 64-bit id."""
    password: bytes
    """The 16 bytes that prove to a server that the session is the caller's."""
    timeout: float
    """In seconds, as negotiated. A session is never resumed with a longer one, because the ensemble may keep
    the original timeout without reporting it."""

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield "id", session_hex(self.id)  # `rich` would show a tuple item by item
        yield "timeout", self.timeout

    def __repr__(self) -> str:
        return f"SessionKey(id={session_hex(self.id)}, timeout={self.timeout})"


@final
class Session:
    """A session with a ZooKeeper ensemble.

    Attributes:
        resumed_zxid: a transaction between the last of an earlier client and the first of this one, if this
            client has resumed the session; otherwise 0. Znodes of later transactions are this client's.
    """

    def __init__(self, record: SessionRecord) -> None:
        self.resumed_zxid: int = 0
        self._record = record

    @property
    def id(self) -> int:
        """The session's 64-bit id, positive or negative; 0 until a server has created the session."""
        return self._record.id

    @property
    def timeout(self) -> float:
        """The session timeout in seconds: as negotiated, or as requested until there is a session."""
        return self._record.timeout

    @property
    def state(self) -> SessionState:
        """The session's state."""
        return self._record.state

    @property
    def last_zxid(self) -> int:
        """The newest transaction that this session has seen, as of the last connection that ended."""
        return self._record.last_zxid

    @property
    def password(self) -> bytes:
        """The 16 bytes that prove to a server that the session is ours; a secret."""
        return self._record.password

    @property
    def key(self) -> SessionKey:
        """The key with which another client resumes this session, once it has an id; a secret."""
        return SessionKey(self.id, self.password, self.timeout)

    @property
    def gives_up_at(self) -> float:
        """The time at which the client gives the session up if no server answers, on `anyio.current_time()`.

        It is one timeout after the later of two moments: the send of the newest answered request, and the
        last byte from a connection that had the session attached. It bounds the client's patience and proves
        nothing.
        """
        return self._record.gives_up_at

    async def wait_closed(self) -> None:
        """Wait until the session is in a final state."""
        await self._record.closed.wait()

    def __repr__(self) -> str:
        return f"<Session {session_hex(self.id)} {self.state.value}>"


@final
class SessionRecord:
    """The engine's record of one session.

    Attributes:
        handle: the session for users.
        id: see `Session.id`.
        state: see `Session.state`; `apply` changes it.
        password: see `Session.password`.
        timeout: see `Session.timeout`.
        timeout_requested: the timeout in seconds that each connection requests.
        last_zxid: the newest transaction that the session has seen.
        answered_sent_at: the time at which the newest answered request of earlier connections was sent;
            `-inf` before any.
        closed: set when the state is final.
    """

    def __init__(self, timeout: float) -> None:
        self.handle: Session = Session(self)
        self.id: int = 0
        self.state: SessionState = SessionState.CONNECTING
        self.password: bytes = bytes(16)
        self.timeout: float = timeout
        self.timeout_requested: float = timeout
        self.last_zxid: int = 0
        self.answered_sent_at: float = float("-inf")
        self.closed: anyio.Event = anyio.Event()
        self._heard_at = float("-inf")

    @classmethod
    def resumed(cls, key: SessionKey, timeout: float, now: float) -> SessionRecord:
        """The session of an earlier client, given up unless a server answers within its timeout from now."""
        session = cls(min(timeout, key.timeout))
        session.id, session.password = key.id, SecretBytes(key.password)
        session.answered_sent_at = now
        return session

    @property
    def gives_up_at(self) -> float:
        """See `Session.gives_up_at`."""
        if self.id == 0:
            return float("inf")
        return max(self.answered_sent_at, self._heard_at) + GIVE_UP_AFTER * self.timeout

    def attach(self, connected: Connected) -> None:
        """Note the answer of a server that attached the session."""
        self.id = connected.session_id
        self.password = connected.password
        self.timeout = connected.timeout
        self.note_progress(self.last_zxid, connected.sent_at, connected.sent_at)

    def note_progress(self, last_zxid: int, answered_sent_at: float, heard_at: float) -> None:
        """Note a connection's progress: its newest zxid and answered request, and its last byte's time."""
        self.last_zxid = last_zxid
        self.answered_sent_at = max(self.answered_sent_at, answered_sent_at)
        self._heard_at = max(self._heard_at, heard_at)

    def suspended(self, seconds: float) -> None:
        """Count the time during which the loop's clock stood still."""
        self.answered_sent_at -= seconds
        self._heard_at -= seconds

    def apply(self, event: SessionEvent, reason: str = "") -> bool:
        """Enter and log the state that follows from `event`; return whether the state has changed."""
        old, self.state = self.state, next_state(self.state, event)
        if old is self.state:
            return False
        level = logging.WARNING if event is SessionEvent.EXPIRED else logging.INFO
        logger.log(
            level,
            "session %s is %s%s",
            session_hex(self.id),
            self.state.value,
            f": {reason}" if reason else "",
            extra={"session_id": self.id, "session_state": self.state.value},
        )
        if self.state.is_final:
            self.closed.set()
        return True


def plain_reason(error: ZooKeeperError) -> str:
    """Return the reason that `error` gives; its whole text if it gives none."""
    return str(getattr(error, "reason", "") or error)
