"""A server's own clock: it can stand still while the world's goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import anyio

from zkrecipes.devserver.peer import Moment

__all__ = ["ServerClock"]


@final
class ServerClock:
    """Seconds since the start and milliseconds since 1970, both of which stand while paused.

    Args:
        read: the clock that it goes by, in seconds.
        started_at: what its calendar shows at first, in seconds since 1970.
    """

    def __init__(self, read: Callable[[], float], started_at: float) -> None:
        self._read = read
        self._started_at = started_at
        self._behind = 0.0
        self._first = read()
        self._paused_at: float | None = None
        self._jumped = anyio.Event()

    @property
    def is_paused(self) -> bool:
        """Whether it stands."""
        return self._paused_at is not None

    def now(self) -> float:
        """Seconds; only differences mean something."""
        read = self._read() if self._paused_at is None else self._paused_at
        return read - self._behind

    def time(self) -> float:
        """Seconds since 1970."""
        return self._started_at + self.now() - self._first

    def moment(self) -> Moment:
        """The present, for the processor."""
        now = self.now()
        return Moment(now, int((self._started_at + now - self._first) * 1000))

    def pause(self) -> None:
        """Stand still."""
        if self._paused_at is None:
            self._paused_at = self._read()
            self._resumed = anyio.Event()

    def resume(self) -> None:
        """Go on from where it stood."""
        if self._paused_at is not None:
            self._behind += self._read() - self._paused_at
            self._paused_at = None
            self._resumed.set()

    def jump(self, seconds: float) -> None:
        """Be so much later at once."""
        self._behind -= seconds
        self._jumped.set()
        self._jumped = anyio.Event()

    async def sleep_until(self, due: float) -> None:
        """Wait until it shows `due`. Look again then: it may have jumped not far enough, or stood."""
        with anyio.move_on_after(due - self.now()):
            await self._jumped.wait()

    async def until_it_goes(self) -> None:
        """Wait while it stands. No checkpoint where it does not: this is asked for each chunk of bytes."""
        while self._paused_at is not None:
            await self._resumed.wait()
