"""The expiry of sessions, which the leader alone decides (`SessionTrackerImpl`, `ExpiryQueue`, 3.9)."""

from __future__ import annotations

import math
from typing import final

__all__ = ["LeaderSessions"]


@final
class LeaderSessions:
    """The sessions of one leader's term.

    Each expires at the first tick at which its last touch is more than a timeout old.

    Args:
        tick_time: the length of a tick, in seconds.
    """

    def __init__(self, tick_time: float) -> None:
        self.owners: dict[int, int] = {}
        """The replica at which each session was attached last, if that was in this term."""
        self.touched_at: dict[int, float] = {}
        self._tick_time = tick_time
        self._timeouts: dict[int, float] = {}
        self._ends: dict[int, float] = {}

    def __contains__(self, session_id: int) -> bool:
        return session_id in self._timeouts

    def add(self, session_id: int, timeout: float, now: float) -> None:
        """Track a new session, or one that an earlier leader knew, for a full timeout from now on."""
        self._timeouts[session_id] = timeout
        self.touch(session_id, now)

    def touch(self, session_id: int, now: float) -> bool:
        """Extend a session to a full timeout from now; return False if it has ended."""
        timeout = self._timeouts.get(session_id)
        if timeout is None:
            return False
        self.touched_at[session_id] = now
        self._ends[session_id] = (math.floor((now + timeout) / self._tick_time) + 1) * self._tick_time
        return True

    def end(self, session_id: int) -> bool:
        """Stop tracking a session, so that later touches fail; return False if it had ended already."""
        self._ends.pop(session_id, None)
        return self._timeouts.pop(session_id, None) is not None

    def expired(self, now: float) -> list[int]:
        """Return the sessions whose time is up. After calling this, `end` each."""
        return [session_id for session_id, end in self._ends.items() if end <= now]

    def next_end(self) -> float | None:
        """Return when `expired` will next return a session; None while there are no sessions."""
        return min(self._ends.values(), default=None)
