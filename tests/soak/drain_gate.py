"""A gate that admits tasks until it is closed, and waits until all of them have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class DrainGate:
    """A gate that is initially open.

    Attributes:
        inside: the number of tasks inside, by their activity.
    """

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self._is_open = True
        self._changed = anyio.Event()

    @asynccontextmanager
    async def entered(self, what: str) -> AsyncIterator[None]:
        """Wait until the gate is open, and count as inside while the block runs."""
        while not self._is_open:
            await self._changed.wait()
        self.inside[what] += 1
        try:
            yield
        finally:
            self.inside[what] -= 1
            self._announce_change()

    async def close(self) -> None:
        """Close the gate, and wait until all tasks have left."""
        self._is_open = False
        while self.inside.total():
            await self._changed.wait()

    def open(self) -> None:
        """Open the gate again."""
        self._is_open = True
        self._announce_change()

    def _announce_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
