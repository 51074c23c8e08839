"""Follows a client's state across sessions: each change, in order, for as long as the block runs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Self, final

import anyio
import anyio.lowlevel

from zkrecipes.enums import SessionState

__all__ = ["SessionChange", "SessionChanges"]


@final
@dataclass(frozen=True, slots=True)
class SessionChange:
    """A session has come to another state.

    Attributes:
        session_id: whose; 0 for one that has no id yet.
        state: the new state.
    """

    session_id: int
    state: SessionState


@final
class SessionChanges:
    """The changes of a client's state since its block was entered, as an async iterator.

    It ends when the client is over. No change is lost: those not yet read are kept, and there are few.

    One task iterates. It may be cancelled and continue later.
    """

    def __init__(self) -> None:
        self._changes: deque[SessionChange] = deque()
        self._news = anyio.Event()
        self._has_ended = False
        self._is_left = False
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionChange:
        """Wait for the next change and return it.

        Raises:
            StopAsyncIteration: the client is over, and all changes were read.
            RuntimeError: the block has been left, perhaps by another task.
            anyio.BusyResourceError: another task is iterating.
        """
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            await self._until_there_is_one()
        finally:
            self._is_waiting = False
        if not self._changes:
            raise StopAsyncIteration
        return self._changes.popleft()

    async def _until_there_is_one(self) -> None:
        self._check_not_left()
        if self._changes or self._has_ended:
            await anyio.lowlevel.checkpoint()
        while not (self._changes or self._has_ended):
            self._news = anyio.Event()
            await self._news.wait()
            self._check_not_left()

    def _check_not_left(self) -> None:
        if self._is_left:
            raise RuntimeError("the block of session_changes has been left: enter another one")

    def tell(self, change: SessionChange) -> None:
        """Add a change. The session calls it."""
        self._changes.append(change)
        self._news.set()

    def end(self) -> None:
        """Let the iterator end after the changes that it has. Called when the client is over."""
        self._has_ended = True
        self._news.set()

    def leave(self) -> None:
        """Refuse every later read, and end one that waits: the block has been left."""
        self._is_left = True
        self._news.set()
