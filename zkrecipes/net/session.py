"""One session, as users see it: its id, its timeout, its state.

After a renewal there is a new object; the old one stays in its final state. The state changes in one place,
`Session.move`, by the table of `protocol.states`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple, final

import anyio

from zkrecipes.codec.secret import SecretBytes
from zkrecipes.enums import SessionState
from zkrecipes.errors import session_hex
from zkrecipes.protocol.events import Connected
from zkrecipes.protocol.states import GIVE_UP_AFTER, SessionEvent, next_state

__all__ = ["Session", "SessionKey"]

logger: logging.Logger = logging.getLogger("zkrecipes.session")


@final
class SessionKey(NamedTuple):
    """What it takes to go on with a session in another client: `connect(resume=client.session.key)`.

    Whoever has it has the session and may delete its ephemeral znodes: it is a secret, and does not show it.
    """

    id: int
    """The session's 64-bit id."""
    password: bytes
    """What proves to a server that the session is the caller's: 16 bytes."""
    timeout: float
    """In seconds, as negotiated. A session is never resumed with a longer one: the ensemble may go on with
    the one that it was made with, and nobody tells."""

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield "id", session_hex(self.id)  # `rich` would show a tuple item by item
        yield "timeout", self.timeout

    def __repr__(self) -> str:
        return f"SessionKey(id={session_hex(self.id)}, timeout={self.timeout})"


@final
class Session:
    """A session with a ZooKeeper ensemble.

    Attributes:
        timeout: in seconds, as negotiated; before there is a session, as asked for.
        asked_timeout: in seconds, what each connection asks for.
        resumed_zxid: a transaction between those of an earlier client and those of this one, if this one has
            resumed the session; otherwise 0. What the session owns of a later transaction is this client's.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout: float = timeout
        self.asked_timeout: float = timeout
        self.resumed_zxid: int = 0
        self._id = 0
        self._state = SessionState.CONNECTING
        self._password: bytes = bytes(16)
        self._last_zxid = 0
        self._answered_sent_at = self._heard_at = float("-inf")
        self._closed = anyio.Event()

    @classmethod
    def resumed(cls, key: SessionKey, timeout: float, now: float) -> Session:
        """A session of an earlier client's; given up unless a server answers within its timeout from now."""
        session = cls(min(timeout, key.timeout))
        session._id, session._password = key.id, SecretBytes(key.password)
        session._answered_sent_at = now
        return session

    @property
    def id(self) -> int:
        """The session's 64-bit id, positive or negative; 0 while there is none yet."""
        return self._id

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def last_zxid(self) -> int:
        """The newest transaction that this session has seen."""
        return self._last_zxid

    @property
    def answered_sent_at(self) -> float:
        """When the newest answered request was sent, as earlier connections tell; `-inf` before any."""
        return self._answered_sent_at

    @property
    def password(self) -> bytes:
        """What proves to a server that the session is ours: 16 bytes, a secret."""
        return self._password

    @property
    def key(self) -> SessionKey:
        """What another client needs to go on with this session, a secret; of use once there is an id."""
        return SessionKey(self._id, self._password, self.timeout)

    @property
    def gives_up_at(self) -> float:
        """When the client gives the session up unless it is answered, on `anyio.current_time()`'s clock.

        One timeout after the later of two moments: the send of the newest answered request, and the last
        byte from a connection that had the session attached. It bounds the client's patience, and proves
        nothing.
        """
        if self._id == 0:
            return float("inf")
        return max(self._answered_sent_at, self._heard_at) + GIVE_UP_AFTER * self.timeout

    async def wait_closed(self) -> None:
        """Wait until the session is in a final state."""
        await self._closed.wait()

    def adopt(self, connected: Connected) -> None:
        """A server has attached the session."""
        self._id = connected.session_id
        self._password = connected.password
        self.timeout = connected.timeout
        self.saw(self._last_zxid, connected.sent_at, connected.sent_at)

    def saw(self, last_zxid: int, answered_sent_at: float, heard_at: float) -> None:
        """Note what a connection that had the session attached has seen, and when it last heard a byte."""
        self._last_zxid = last_zxid
        self._answered_sent_at = max(self._answered_sent_at, answered_sent_at)
        self._heard_at = max(self._heard_at, heard_at)

    def suspended(self, seconds: float) -> None:
        """So much time has passed that the loop's clock has not counted."""
        self._answered_sent_at -= seconds
        self._heard_at -= seconds

    def move(self, event: SessionEvent, reason: str = "") -> bool:
        """Something happened; whether the state is another one now."""
        old, self._state = self._state, next_state(self._state, event)
        if old is self._state:
            return False
        level = logging.WARNING if event is SessionEvent.EXPIRED else logging.INFO
        logger.log(
            level,
            "session %s is %s%s",
            session_hex(self._id),
            self._state.value,
            f": {reason}" if reason else "",
            extra={"session_id": self._id, "session_state": self._state.value},
        )
        if self._state.is_final:
            self._closed.set()
        return True

    def __repr__(self) -> str:
        return f"<Session {session_hex(self._id)} {self._state.value}>"
