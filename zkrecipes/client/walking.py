"""A walk over a tree: the znodes one after the other, the requests many at a time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Self, final

import anyio

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operations
from zkrecipes.codec.records import Stat
from zkrecipes.errors import NoNodeError
from zkrecipes.net.pending import PendingRequest
from zkrecipes.paths import join

__all__ = ["Walk", "WalkEntry"]


@final
class WalkEntry(NamedTuple):
    """A znode that a walk has come to."""

    path: str
    """Where it is, as the caller sees it."""
    stat: Stat
    """Its stat at that moment."""


@final
class Walk:
    """An async iterator of `WalkEntry`: the znode where the walk begins, then what is below it.

    Every znode comes before those below it. The tree may change meanwhile: what goes before the walk comes to
    it is left out, what is made behind the walk is missed, and nothing is told twice.

    One task iterates. It may be cancelled and go on later: no znode is lost.
    """

    def __init__(self, calls: Dispatcher, operations: Operations, start: str, window: int) -> None:
        self._calls = calls
        self._operations = operations.for_listed()
        self._start = start
        self._window = window
        # The last first, so that the walk goes down before it goes on: that keeps the list short.
        self._ahead = [start]
        self._under_way: deque[tuple[str, PendingRequest[tuple[list[str], Stat]]]] = deque()
        self._is_closed = False
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WalkEntry:
        """The next znode.

        Raises:
            StopAsyncIteration: the walk is at its end.
            NoNodeError: there is no znode where the walk begins.
            NoAuthError: a znode may not be read. Who iterates on leaves out what is below it.
            anyio.BusyResourceError: another task is iterating.
            RuntimeError: the walk's block has ended.
        """
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            while True:
                visited = await self._visit()
                if visited is not None:
                    return visited
        finally:
            self._is_waiting = False

    async def _visit(self) -> WalkEntry | None:
        """The next znode, or None where it has gone."""
        self._ask()
        if not self._under_way:
            raise StopAsyncIteration
        path, listing = self._under_way[0]
        await listing.wait_done()
        if path == self._start:
            self._calls.explain(listing.error, listing.request)
        # Not before: a cancelled wait must not lose it.
        self._under_way.popleft()
        if isinstance(listing.error, NoNodeError) and path != self._start:
            return None
        names, stat = listing.result()
        self._ahead += [join(path, name) for name in names]
        return WalkEntry(path, stat)

    def _ask(self) -> None:
        if self._is_closed:
            raise RuntimeError("the walk's block has ended")
        while self._ahead and len(self._under_way) < self._window:
            path = self._ahead.pop()
            request = self._operations.get_children_with_stat(path)
            self._under_way.append((path, self._calls.submit(request, survives_cancel=True)))

    def close(self) -> None:
        """Nobody waits any longer: what was not sent need not be."""
        self._is_closed = True
        for _, listing in self._under_way:
            listing.drop()
        self._under_way.clear()
