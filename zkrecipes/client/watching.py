"""Watches: a stream of events that outlives connections and sessions, and the one-shot forms.

Every watch is a context manager: leaving its block removes the watch (`watch_blocks`). The session calls the
owner of a watch (`fired`, `missed`, `ended`, `left`). The owner only notes the call; the user's task does the
rest when it wakes. Users see a handle, which has none of these methods.
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

__all__ = ["OneShotOwner", "OneShotWatch", "PersistentOwner", "WatchEvents"]


@final
class OneShotWatch:
    """The one event of a watch that a read has set."""

    __slots__ = ("__weakref__", "_owner")

    def __init__(self, owner: OneShotOwner) -> None:
        self._owner = owner

    async def wait(self) -> WatchEvent:
        """Wait until the result of the read may have changed, and return the event.

        Raises:
            SessionExpiredError: the session ended first, and the watch with it.
            ZooKeeperError: the client ended first.
            RuntimeError: the block of the watch was left first, perhaps by another task.
        """
        return await self._owner.wait()

    @property
    def has_fired(self) -> bool:
        """Whether `wait` would return or raise immediately."""
        return self._owner.has_fired


@final
class OneShotOwner:
    """The owner of a one-shot watch.

    Args:
        seen: turns a full path into the path as the caller sees it.
        on_missed: called on each new connection, or None.
    """

    def __init__(self, seen: Callable[[str], str], on_missed: Callable[[], None] | None = None) -> None:
        self.is_left: bool = False
        """Whether the block has been left."""
        self._seen = seen
        self._on_missed = on_missed
        self._happened = anyio.Event()
        self._event: WatchEvent | None = None
        self._error: ZooKeeperError | RuntimeError | None = None

    async def wait(self) -> WatchEvent:
        """Wait for the event, as `OneShotWatch.wait` does."""
        await self._happened.wait()
        if self._error is not None:
            raise copy.copy(self._error)
        assert self._event is not None
        return self._event

    @property
    def has_fired(self) -> bool:
        """Whether `wait` would return or raise immediately."""
        return self._happened.is_set()

    def fired(self, event: WatchEvent) -> None:
        """Note that the watch fired."""
        if not self._happened.is_set():
            self._event = WatchEvent(event.type, self._seen(event.path), event.zxid)
            self._happened.set()

    def missed(self) -> None:
        """Report a new connection, on which the server fires the watches that are due."""
        if self._on_missed is not None:
            self._on_missed()

    def ended(self, error: ZooKeeperError) -> None:
        """Note that the watch is over."""
        self._end(error)

    def left(self) -> None:
        """Note that the block has been left."""
        self.is_left = True
        self._end(RuntimeError("the block of this watch has been left: no event will arrive"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        if not self._happened.is_set():
            self._error = error
            self._happened.set()


@final
class WatchEvents:
    """The events of a persistent watch, as an async iterator. It ends only with the block or the client.

    After each reconnect, and in each new session, a `RESYNC` event precedes all others: a server does not
    replay the changes that the client missed, so read again what you depend on. Events that the task has not
    read yet are kept.

    One task iterates. A cancelled task may continue later: no event is lost.
    """

    __slots__ = ("__weakref__", "_owner")

    def __init__(self, owner: PersistentOwner) -> None:
        self._owner = owner

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """Wait for the next event.

        Raises:
            ZooKeeperError: the client has ended, and every event before that was returned.
            RuntimeError: the block of the watch has been left, perhaps by another task.
            anyio.BusyResourceError: another task is iterating.
        """
        return await self._owner.next()


@final
class PersistentOwner:
    """The owner of a persistent watch: a queue of events.

    Args:
        path: the path of the znode, as the caller sees it.
        seen: turns a full path into the path as the caller sees it.
    """

    def __init__(self, path: str, seen: Callable[[str], str]) -> None:
        self.is_left: bool = False
        """Whether the block has been left."""
        self._path = path
        self._seen = seen
        self._events: deque[WatchEvent] = deque()
        self._error: ZooKeeperError | RuntimeError | None = None
        self._changed = anyio.Event()
        self._is_waiting = False

    async def next(self) -> WatchEvent:
        """Wait for the next event, as `WatchEvents` does."""
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            await self._wait_until_nonempty()
        finally:
            self._is_waiting = False
        return self._events.popleft()

    async def _wait_until_nonempty(self) -> None:
        if self._events:
            await anyio.lowlevel.checkpoint()
        while not self._events:
            self.check()
            self._changed = anyio.Event()
            await self._changed.wait()

    def check(self) -> None:
        """Check that more events may arrive.

        Raises:
            ZooKeeperError: no more events will arrive.
        """
        if self._error is not None:
            raise copy.copy(self._error)

    def fired(self, event: WatchEvent) -> None:
        """Queue an event of the watch."""
        self._append(WatchEvent(event.type, self._seen(event.path), event.zxid))

    def missed(self) -> None:
        """Queue a `RESYNC`, because events may have been missed."""
        if not self._events or self._events[-1].type is not EventType.RESYNC:
            self._append(WatchEvent(EventType.RESYNC, self._path))

    def ended(self, error: ZooKeeperError) -> None:
        """Note that no more events will arrive."""
        self._end(error)

    def left(self) -> None:
        """Note that the block has been left, and drop the events that were not read."""
        self.is_left = True
        self._events.clear()
        self._end(RuntimeError(f"the block that watched {self._path} has been left: no more events arrive"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        self._error = error
        self._changed.set()

    def _append(self, event: WatchEvent) -> None:
        if not self.is_left:
            self._events.append(event)
            self._changed.set()
