"""A walk over a tree: one znode after the other, with many requests in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Self, final

import anyio

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operations
from zkrecipes.client.stream import check_window
from zkrecipes.codec.records import Stat
from zkrecipes.errors import NoNodeError
from zkrecipes.net.pending import PendingRequest
from zkrecipes.paths import check_path, join

__all__ = ["Walk", "WalkEntry", "open_walk"]


@final
class WalkEntry(NamedTuple):
    """A znode that a walk has reached."""

    path: str
    """Its path, as the caller sees it."""
    stat: Stat
    """Its stat, as read by the walk."""


@final
class Walk:
    """An async iterator of `WalkEntry`: the znode where the walk starts, then every znode below it.

    Every znode precedes the znodes below it. The tree may change during the walk. A znode that is deleted
    before the walk reaches it is left out, a znode that is created behind the walk is missed, and no znode is
    returned twice.

    One task iterates. A cancelled task may continue later: no znode is lost.
    """

    def __init__(self, traversal: _Traversal) -> None:
        self._traversal = traversal
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WalkEntry:
        """Return the next znode.

        Raises:
            StopAsyncIteration: the walk has ended.
            NoNodeError: the znode where the walk starts does not exist.
            NoAuthError: a znode may not be read. If the caller iterates on, the walk leaves out the znodes
                below it.
            anyio.BusyResourceError: another task is iterating.
            RuntimeError: the walk's block has ended.
        """
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            while True:
                entry = await self._traversal.step()
                if entry is not None:
                    return entry
        finally:
            self._is_waiting = False


@asynccontextmanager
async def open_walk(calls: Dispatcher, start: str, *, window: int) -> AsyncIterator[Walk]:
    """Walk over the tree at `start` in the block; leaving the block drops the requests that were not sent.

    Raises:
        ValueError: the path or the window is not valid.
    """
    traversal = _Traversal(calls, check_path(start), check_window(window))
    try:
        yield Walk(traversal)
    finally:
        traversal.close()


@final
class _Traversal:
    """The requests of a walk."""

    def __init__(self, calls: Dispatcher, start: str, window: int) -> None:
        self._calls = calls
        self._operations = Operations(calls.view.for_listed())
        self._start = start
        self._window = window
        # The last path is taken first: going down before going sideways keeps the list short.
        self._ahead = [start]
        self._in_flight: deque[tuple[str, PendingRequest[tuple[list[str], Stat]]]] = deque()
        self._is_closed = False

    async def step(self) -> WalkEntry | None:
        """Wait for the next reply and return its znode, or None if the znode was deleted."""
        self._submit()
        if not self._in_flight:
            raise StopAsyncIteration
        path, listing = self._in_flight[0]
        await listing.wait_done()
        if path == self._start:
            self._calls.explain(listing.error, listing.request)
        # Not earlier: a cancelled wait must not lose it.
        self._in_flight.popleft()
        if isinstance(listing.error, NoNodeError) and path != self._start:
            return None
        names, stat = listing.result()
        self._ahead += [join(path, name) for name in names]
        return WalkEntry(path, stat)

    def _submit(self) -> None:
        if self._is_closed:
            raise RuntimeError("the walk's block has ended: iterate over the walk inside the block")
        while self._ahead and len(self._in_flight) < self._window:
            path = self._ahead.pop()
            request = self._operations.get_children_with_stat(path)
            self._in_flight.append((path, self._calls.submit(request, survives_cancel=True)))

    def close(self) -> None:
        """Drop the requests that were not sent."""
        self._is_closed = True
        for _, listing in self._in_flight:
            listing.drop()
        self._in_flight.clear()
