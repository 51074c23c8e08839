"""The sessions that are alive, and when they expire. Pure: the caller passes the time and random bytes.

As in a real server, sessions expire in ticks: each deadline is rounded up to the next tick, and the sessions
of one tick expire together (`SessionTrackerImpl.java`, `ExpiryQueue.java`, 3.9).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

__all__ = ["PASSWORD_SIZE", "Session", "SessionTracker", "first_session_id"]

PASSWORD_SIZE = 16

# The id of a server that is not part of an ensemble (`createSessionTrackerServerId`).
_SERVER_ID = 1


@final
class Session:
    """One session. Only `SessionTracker` changes it."""

    __slots__ = ("id", "last_tick", "password", "timeout")

    def __init__(self, session_id: int, timeout: float, password: bytes) -> None:
        self.id: int = session_id
        self.timeout: float = timeout
        """The timeout negotiated when the session was last attached, in seconds."""
        self.password: bytes = password
        self.last_tick: int = 0
        """The tick at which it expires unless it is touched before."""

    def __repr__(self) -> str:
        return f"<Session 0x{self.id:x}, timeout {self.timeout:g}>"


@final
class SessionTracker:
    """The sessions of one server. Times are seconds on a monotonic clock.

    Args:
        tick_time: the length of a tick in seconds.
        timeout_min: the shortest session timeout; None means two ticks.
        timeout_max: the longest session timeout; None means twenty ticks.
        first_id: the id of the first new session; `first_session_id` derives it from the time.

    Raises:
        ValueError: a time is not above 0, or the shortest timeout is longer than the longest.
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
                f"tick_time must be above 0, and 0 < timeout_min <= timeout_max must hold: {tick_time=}, "
                f"timeout_min={self.timeout_min}, timeout_max={self.timeout_max}"
            )
        self._sessions: dict[int, Session] = {}
        self._ticks: dict[int, dict[Session, None]] = {}
        self._next_id = first_id
        self.changed_ids: dict[int, None] | None = None
        """The ids of sessions changed since they were last saved; None if nothing is saved."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def find(self, session_id: int) -> Session | None:
        """Return the session, or None if it has ended or never existed."""
        return self._sessions.get(session_id)

    @property
    def next_id(self) -> int:
        """The id that the next new session gets."""
        return self._next_id

    def create(self, timeout: float, password: bytes, now: float) -> Session:
        """Start a session.

        Args:
            timeout: the timeout that the client requests, in seconds; it gets the nearest allowed one.
            password: 16 random bytes.
            now: the current time.
        """
        session = Session(self._next_id, self.negotiated(timeout), password)
        self._next_id += 1
        self._sessions[session.id] = session
        self._record_change(session.id)
        self.touch(session, now)
        return session

    def resume(self, session_id: int, password: bytes | None, timeout: float, now: float) -> Session | None:
        """Attach a session again, and return it; None if it has ended or the password is wrong."""
        session = self._sessions.get(session_id)
        if session is None or password != session.password:
            return None
        session.timeout = self.negotiated(timeout)
        self._record_change(session.id)
        self.touch(session, now)
        return session

    def restore(self, session: Session, now: float) -> None:
        """Restore a saved session. It stays alive for a whole timeout from now."""
        self._sessions[session.id] = session
        self.touch(session, now)

    def touch(self, session: Session, now: float) -> None:
        """Extend a session to a whole timeout from now, unless it has ended."""
        tick = math.floor((now + session.timeout) / self.tick_time) + 1
        last = session.last_tick
        if tick == last or self._sessions.get(session.id) is not session:
            return
        self._leave_tick(session)
        session.last_tick = tick
        self._ticks.setdefault(tick, {})[session] = None

    def touch_all(self, now: float) -> None:
        """Extend every session to a whole timeout from now, as after a restart of the server."""
        for session in self:
            self.touch(session, now)

    def end(self, session_id: int) -> None:
        """End a session."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._leave_tick(session)
            self._record_change(session_id)

    def next_expiry(self) -> float | None:
        """Return the time at which the next session expires; None without sessions."""
        # There are at most as many entries as ticks in the longest timeout, so sorting them would gain
        # nothing.
        return min(self._ticks) * self.tick_time if self._ticks else None

    def expired(self, now: float) -> list[Session]:
        """Return the sessions whose timeout has passed. After calling this, `end` each."""
        due = sorted(tick for tick in self._ticks if tick * self.tick_time <= now)
        return [session for tick in due for session in self._ticks[tick]]

    def negotiated(self, timeout: float) -> float:
        """Return the timeout that a client gets if it requests `timeout`."""
        return min(max(timeout, self.timeout_min), self.timeout_max)

    def _record_change(self, session_id: int) -> None:
        if self.changed_ids is not None:
            self.changed_ids[session_id] = None

    def _leave_tick(self, session: Session) -> None:
        sessions = self._ticks.get(session.last_tick)
        if sessions is not None:
            sessions.pop(session, None)
            if not sessions:
                del self._ticks[session.last_tick]


def first_session_id(started_at: float) -> int:
    """Return the first session id of a server that started at this time; two starts share no ids.

    The bits are those of `SessionTrackerImpl.initializeNextSessionId` (3.9).

    Args:
        started_at: seconds since 1970.
    """
    ms = int(started_at * 1000)
    return (((ms << 24) & 0xFFFFFFFFFFFFFFFF) >> 8) | (_SERVER_ID << 56)
