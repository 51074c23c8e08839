"""Timers of the simulated ensemble: one task makes plain calls in the order of their due times."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import final

import anyio

__all__ = ["EPSILON", "Scheduler"]

EPSILON = 1e-6
"""The tolerance in seconds: times are sums of floats, so a call that is due within a microsecond is due."""


@final
class Scheduler:
    """Scheduled calls on the event loop's clock; under a virtual clock, waiting for them takes no time."""

    def __init__(self) -> None:
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._call_count = 0
        self._is_new_earliest = anyio.Event()

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return anyio.current_time()

    def call_after(self, delay: float, call: Callable[[], None]) -> None:
        """Make a call after `delay` seconds; calls due at the same time keep the order of scheduling."""
        self._call_count += 1
        heapq.heappush(self._calls, (self.now() + max(delay, 0.0), self._call_count, call))
        if self._calls[0][1] == self._call_count:
            self._is_new_earliest.set()

    async def run(self) -> None:
        """Make each call when it is due, until cancelled."""
        while True:
            self._is_new_earliest = anyio.Event()
            while self._calls and self._calls[0][0] <= self.now() + EPSILON:
                heapq.heappop(self._calls)[2]()
            wait = self._calls[0][0] - self.now() if self._calls else None
            with anyio.move_on_after(wait):
                await self._is_new_earliest.wait()
