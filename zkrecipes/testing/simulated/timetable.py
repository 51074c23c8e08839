"""What shall happen when, as plain calls that one task makes, in the order of their times."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import final

import anyio

__all__ = ["EPSILON", "Timetable"]

EPSILON = 1e-6
"""Times are sums of floats: what is due within a microsecond is due, in seconds."""


@final
class Timetable:
    """Calls to be made, on the clock of the loop: under a virtual clock they take no time."""

    def __init__(self) -> None:
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._is_new_earliest = anyio.Event()

    def now(self) -> float:
        """The time in seconds."""
        return anyio.current_time()

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Call it so many seconds later; what is due at the same time is called in the order of asking."""
        self._count += 1
        heapq.heappush(self._calls, (self.now() + max(delay, 0.0), self._count, call))
        if self._calls[0][1] == self._count:
            self._is_new_earliest.set()

    async def run(self) -> None:
        """Make the calls when they are due, until cancelled."""
        while True:
            self._is_new_earliest = anyio.Event()
            while self._calls and self._calls[0][0] <= self.now() + EPSILON:
                heapq.heappop(self._calls)[2]()
            wait = self._calls[0][0] - self.now() if self._calls else None
            with anyio.move_on_after(wait):
                await self._is_new_earliest.wait()
