"""Watches: a stream of events that outlives connections and sessions, and the one-shot forms.

Whatever watches is a context manager first: leaving it removes the watch. What the session tells (`fired`,
`missed`, `ended`) only sets or appends something; the user's task does the rest when it wakes.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Self, final

import anyio
import anyio.lowlevel

from zkrecipes.enums import EventType
from zkrecipes.errors import ZooKeeperError
from zkrecipes.protocol.events import WatchEvent

__all__ = ["OneShotWatch", "WatchEvents"]


@final
class OneShotWatch:
    """The one event of a watch that was set by a read."""

    def __init__(self, seen: Callable[[str], str], on_missed: Callable[[], None] | None = None) -> None:
        self._seen = seen
        self._on_missed = on_missed
        self._happened = anyio.Event()
        self._event: WatchEvent | None = None
        self._error: ZooKeeperError | RuntimeError | None = None
        self._is_left = False

    async def wait(self) -> WatchEvent:
        """Wait until what was read may have changed, and return the event.

        Raises:
            SessionExpiredError: the session ended first, and the watch with it.
            ZooKeeperError: the client ended first.
            RuntimeError: the block of the watch was left first, perhaps by another task.
        """
        await self._happened.wait()
        if self._error is not None:
            raise copy.copy(self._error)
        assert self._event is not None
        return self._event

    @property
    def has_fired(self) -> bool:
        """Whether `wait` would return or raise at once."""
        return self._happened.is_set()

    def fired(self, event: WatchEvent) -> None:
        """The session's call: the watch fired."""
        if not self._happened.is_set():
            self._event = WatchEvent(event.type, self._seen(event.path), event.zxid)
            self._happened.set()

    def missed(self) -> None:
        """The session's call: a new connection. The server fires what is due when the watch is set again."""
        if self._on_missed is not None:
            self._on_missed()

    def ended(self, error: ZooKeeperError) -> None:
        """The session's call: the watch is over."""
        self._end(error)

    def left(self) -> None:
        """The session's call: the block has been left."""
        self._is_left = True
        self._end(RuntimeError("the block of this watch has been left: no event will come"))

    @property
    def is_left(self) -> bool:
        """Whether the block has been left."""
        return self._is_left

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        if not self._happened.is_set():
            self._error = error
            self._happened.set()


@final
class WatchEvents:
    """The events of a persistent watch, as an async iterator; it ends only with the block or the client.

    After each reconnect, and in each new session, a `RESYNC` event comes before any other: a server does not
    replay what happened meanwhile, so read again what you care about. Events that were not yet read are kept.

    One task iterates. It may be cancelled and go on later: no event is lost.
    """

    def __init__(self, path: str, seen: Callable[[str], str]) -> None:
        self._path = path
        self._seen = seen
        self._events: deque[WatchEvent] = deque()
        self._error: ZooKeeperError | RuntimeError | None = None
        self._is_left = False
        self._news = anyio.Event()
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """The next event.

        Raises:
            ZooKeeperError: the client is over; all events before that were handed out.
            RuntimeError: the block of the watch has been left, perhaps by another task.
            anyio.BusyResourceError: another task is iterating.
        """
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            await self._until_there_is_one()
        finally:
            self._is_waiting = False
        return self._events.popleft()

    async def _until_there_is_one(self) -> None:
        if self._events:
            await anyio.lowlevel.checkpoint()
        while not self._events:
            self.check()
            self._news = anyio.Event()
            await self._news.wait()

    def check(self) -> None:
        """Return while events may come.

        Raises:
            ZooKeeperError: no more will.
        """
        if self._error is not None:
            raise copy.copy(self._error)

    def fired(self, event: WatchEvent) -> None:
        """The session's call: the watch fired."""
        self._append(WatchEvent(event.type, self._seen(event.path), event.zxid))

    def missed(self) -> None:
        """The session's call: events may have been missed."""
        if not self._events or self._events[-1].type is not EventType.RESYNC:
            self._append(WatchEvent(EventType.RESYNC, self._path))

    def ended(self, error: ZooKeeperError) -> None:
        """The session's call: no more events will come."""
        self._end(error)

    def left(self) -> None:
        """The session's call: the block has been left, and what was not read is dropped."""
        self._is_left = True
        self._events.clear()
        self._end(RuntimeError(f"the block that watched {self._path} has been left: no more events come"))

    @property
    def is_left(self) -> bool:
        """Whether the block has been left."""
        return self._is_left

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        self._error = error
        self._news.set()

    def _append(self, event: WatchEvent) -> None:
        if not self._is_left:
            self._events.append(event)
            self._news.set()
