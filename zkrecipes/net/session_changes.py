"""The feed of a client's session states, across sessions: iterators, callbacks, and waits for the next one.

`SessionChanges` is the iterator that users get. `SessionChangeFeed` belongs to the engine, which announces
each change and ends the feed with the client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, final

import anyio
import anyio.lowlevel

from zkrecipes.enums import SessionState

__all__ = ["SessionChange", "SessionChangeFeed", "SessionChanges"]


@final
@dataclass(frozen=True, slots=True)
class SessionChange:
    """A change of a session's state.

    Attributes:
        session_id: the session's id; 0 for one that has no id yet.
        state: the new state.
    """

    session_id: int
    state: SessionState


@final
class SessionChanges:
    """The changes of a client's state since its block was entered, as an async iterator.

    It ends with the client. No change is lost: unread ones are kept, and there are few.

    One task iterates. It may be cancelled and continue later.
    """

    def __init__(self, queue: _ChangeQueue) -> None:
        self._queue = queue

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionChange:
        """Wait for the next change and return it.

        Raises:
            StopAsyncIteration: the client has ended, and all changes were read.
            RuntimeError: the block has been left, perhaps by another task.
            anyio.BusyResourceError: another task is iterating.
        """
        change = await self._queue.next()
        if change is None:
            raise StopAsyncIteration
        return change


@final
class SessionChangeFeed:
    """The feed of a client's session states, for iterators, callbacks and waiting tasks.

    Attributes:
        observer: called first with each change; it must not raise.
    """

    def __init__(self) -> None:
        self.observer: Callable[[SessionChange], None] | None = None
        self._queues: list[_ChangeQueue] = []
        self._callbacks: dict[Callable[[SessionChange], None], None] = {}
        self._changed = anyio.Event()
        self._has_ended = False

    def announce(self, change: SessionChange) -> None:
        """Pass `change` to the observer, the callbacks and the iterators, and wake the waiting tasks."""
        if self.observer is not None:
            self.observer(change)
        for callback in tuple(self._callbacks):
            callback(change)
        for queue in self._queues:
            queue.put(change)
        self._wake_waiters()

    def end(self) -> None:
        """End every iterator after the changes that it has, and wake the waiting tasks."""
        self._has_ended = True
        for queue in self._queues:
            queue.end()
        self._queues.clear()
        self._wake_waiters()

    async def wait(self) -> None:
        """Wait for the next change, or the end."""
        await self._changed.wait()

    @contextmanager
    def follow(self) -> Iterator[SessionChanges]:
        """Yield an iterator of the changes from now on."""
        queue = _ChangeQueue()
        if self._has_ended:
            queue.end()
        else:
            self._queues.append(queue)
        try:
            yield SessionChanges(queue)
        finally:
            queue.close()
            if queue in self._queues:
                self._queues.remove(queue)

    @contextmanager
    def calling(self, callback: Callable[[SessionChange], None]) -> Iterator[None]:
        """Call `callback` with each change during the block, immediately; it must not raise."""
        self._callbacks[callback] = None
        try:
            yield
        finally:
            del self._callbacks[callback]

    def _wake_waiters(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@final
class _ChangeQueue:
    """The unread changes of one iterator."""

    def __init__(self) -> None:
        self._changes: deque[SessionChange] = deque()
        self._news = anyio.Event()
        self._has_ended = False
        self._is_closed = False
        self._is_waiting = False

    def put(self, change: SessionChange) -> None:
        """Add a change."""
        self._changes.append(change)
        self._news.set()

    def end(self) -> None:
        """End the iterator after the changes that it has."""
        self._has_ended = True
        self._news.set()

    def close(self) -> None:
        """Refuse every later read and fail one that waits, because the block has been left."""
        self._is_closed = True
        self._news.set()

    async def next(self) -> SessionChange | None:
        """Wait for the next change; None at the end."""
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            await self._wait()
        finally:
            self._is_waiting = False
        return self._changes.popleft() if self._changes else None

    async def _wait(self) -> None:
        self._check_not_closed()
        if self._changes or self._has_ended:
            await anyio.lowlevel.checkpoint()
        while not (self._changes or self._has_ended):
            self._news = anyio.Event()
            await self._news.wait()
            self._check_not_closed()

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise RuntimeError("the block of session_changes has been left: enter another one")
