"""The server's clock, which can stand still or jump while real time passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import anyio

__all__ = ["ServerClock", "ServerTime"]


class ServerTime(NamedTuple):
    """One reading of a server's clock."""

    now: float
    """Seconds on the monotonic clock that sessions expire by."""
    time_ms: int
    """Milliseconds since 1970, as stored in a Stat."""


@final
class ServerClock:
    """A monotonic clock and a calendar, both of which stand still while paused.

    Args:
        source: the underlying clock, in seconds.
        started_at: the initial calendar time, in seconds since 1970.
    """

    def __init__(self, source: Callable[[], float], started_at: float) -> None:
        self._source = source
        self._started_at = started_at
        self._offset = 0.0
        self._first = source()
        self._paused_at: float | None = None
        self._jumped = anyio.Event()

    @property
    def is_paused(self) -> bool:
        """Whether the clock stands still."""
        return self._paused_at is not None

    def now(self) -> float:
        """Monotonic seconds; only differences are meaningful."""
        reading = self._source() if self._paused_at is None else self._paused_at
        return reading + self._offset

    def time(self) -> float:
        """Return the calendar time, in seconds since 1970."""
        return self._started_at + self.now() - self._first

    def read(self) -> ServerTime:
        """Return the current time, in the form that the processor takes."""
        now = self.now()
        return ServerTime(now, int((self._started_at + now - self._first) * 1000))

    def pause(self) -> None:
        """Stop the clock."""
        if self._paused_at is None:
            self._paused_at = self._source()
            self._resumed = anyio.Event()

    def resume(self) -> None:
        """Continue from where the clock stopped."""
        if self._paused_at is not None:
            self._offset -= self._source() - self._paused_at
            self._paused_at = None
            self._resumed.set()

    def jump(self, seconds: float) -> None:
        """Advance the clock by this many seconds at once."""
        self._offset += seconds
        self._jumped.set()
        self._jumped = anyio.Event()

    async def sleep_until(self, due: float) -> None:
        """Wait until about `due`. Check the clock afterwards: a jump or a pause may have changed it."""
        with anyio.move_on_after(due - self.now()):
            await self._jumped.wait()

    async def wait_while_paused(self) -> None:
        """Wait until the clock runs. Not a checkpoint if it runs: called for each chunk of bytes."""
        while self._paused_at is not None:
            await self._resumed.wait()
