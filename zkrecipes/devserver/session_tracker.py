"""Who is alive, and until when. Pure: told the time, given its random bytes.

As in a real server sessions expire in ticks: each deadline is rounded up to the next tick, and all that fall
into one tick expire together (`SessionTrackerImpl.java`, `ExpiryQueue.java`, 3.9).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

__all__ = ["PASSWORD_SIZE", "Session", "SessionTracker", "first_session_id"]

PASSWORD_SIZE = 16

# A server that is not part of an ensemble has this id (`createSessionTrackerServerId`).
_SERVER_ID = 1


@final
class Session:
    """One session. Outside `SessionTracker` it is only read."""

    __slots__ = ("id", "last_tick", "password", "timeout")

    def __init__(self, session_id: int, timeout: float, password: bytes) -> None:
        self.id: int = session_id
        self.timeout: float = timeout
        """As negotiated when the session was last attached, in seconds."""
        self.password: bytes = password
        self.last_tick: int = 0
        """The tick at which it expires unless it is touched."""

    def __repr__(self) -> str:
        return f"<Session 0x{self.id:x}, timeout {self.timeout:g}>"


@final
class SessionTracker:
    """The sessions of one server. Times are seconds on one clock that never goes back.

    Args:
        tick_time: the length of a tick in seconds.
        timeout_min: shortest session timeout that a client gets; None is two ticks.
        timeout_max: longest session timeout that a client gets; None is twenty ticks.
        first_id: the id of the first session that is made; `first_session_id` makes one from the time.

    Raises:
        ValueError: a time is not above zero, or the shortest timeout is longer than the longest.
    """

    def __init__(
        self,
        *,
        tick_time: float,
        timeout_min: float | None = None,
        timeout_max: float | None = None,
        first_id: int,
    ) -> None:
        self.tick_time = tick_time
        self.timeout_min: float = 2 * tick_time if timeout_min is None else timeout_min
        self.timeout_max: float = 20 * tick_time if timeout_max is None else timeout_max
        if not (tick_time > 0 and 0 < self.timeout_min <= self.timeout_max):
            raise ValueError(
                f"times must be above 0 and the minimum not above the maximum: {tick_time=}, "
                f"timeout_min={self.timeout_min}, timeout_max={self.timeout_max}"
            )
        self._sessions: dict[int, Session] = {}
        self._ticks: dict[int, dict[Session, None]] = {}
        self._next_id = first_id
        self.touched: dict[int, None] | None = None
        """The ids of what began, ended or changed since whoever saves it looked; None if nobody does."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def find(self, session_id: int) -> Session | None:
        """The session, or None where it never was or has ended."""
        return self._sessions.get(session_id)

    @property
    def next_id(self) -> int:
        """The id that the next new session gets."""
        return self._next_id

    def create(self, timeout: float, password: bytes, now: float) -> Session:
        """Start a session.

        Args:
            timeout: what the client asks for in seconds; it gets the nearest that is allowed.
            password: 16 random bytes.
            now: the time.
        """
        session = Session(self._next_id, self.negotiated(timeout), password)
        self._next_id += 1
        self._sessions[session.id] = session
        self._note(session.id)
        self.touch(session, now)
        return session

    def resume(self, session_id: int, password: bytes | None, timeout: float, now: float) -> Session | None:
        """Attach to a session again: it, or None where it has ended or the password is wrong."""
        session = self._sessions.get(session_id)
        if session is None or password != session.password:
            return None
        session.timeout = self.negotiated(timeout)
        self._note(session.id)
        self.touch(session, now)
        return session

    def put(self, session: Session, now: float) -> None:
        """Take in a session that was saved; it lives for a whole timeout from now."""
        self._sessions[session.id] = session
        self.touch(session, now)

    def touch(self, session: Session, now: float) -> None:
        """The session lives for a whole timeout from now; nothing happens to one that has ended."""
        tick = math.floor((now + session.timeout) / self.tick_time) + 1
        last = session.last_tick
        if tick == last or self._sessions.get(session.id) is not session:
            return
        self._leave_tick(session)
        session.last_tick = tick
        self._ticks.setdefault(tick, {})[session] = None

    def touch_all(self, now: float) -> None:
        """Every session lives for a whole timeout from now, as after a restart of the server."""
        for session in self:
            self.touch(session, now)

    def end(self, session_id: int) -> None:
        """The session is over."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._leave_tick(session)
            self._note(session_id)

    def next_expiry(self) -> float | None:
        """When `expired` has something to tell; None while there are no sessions."""
        # As many entries as a timeout has ticks, so there is nothing to win by keeping them in order.
        return min(self._ticks) * self.tick_time if self._ticks else None

    def expired(self, now: float) -> list[Session]:
        """The sessions whose time is up. After calling this, `end` each."""
        due = sorted(tick for tick in self._ticks if tick * self.tick_time <= now)
        return [session for tick in due for session in self._ticks[tick]]

    def negotiated(self, timeout: float) -> float:
        """The timeout that a client gets when it asks for `timeout`."""
        return min(max(timeout, self.timeout_min), self.timeout_max)

    def _note(self, session_id: int) -> None:
        if self.touched is not None:
            self.touched[session_id] = None

    def _leave_tick(self, session: Session) -> None:
        sessions = self._ticks.get(session.last_tick)
        if sessions is not None:
            sessions.pop(session, None)
            if not sessions:
                del self._ticks[session.last_tick]


def first_session_id(started_at: float) -> int:
    """The first id of a server that started at this time, so that no two starts share ids.

    As in `SessionTrackerImpl.initializeNextSessionId` (3.9).

    Args:
        started_at: seconds since 1970.
    """
    ms = int(started_at * 1000)
    return (((ms << 24) & 0xFFFFFFFFFFFFFFFF) >> 8) | (_SERVER_ID << 56)
