"""Lets everybody in until it is closed, and tells when nobody is inside any longer."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Gate:
    """Open at first.

    Attributes:
        inside: who is inside, by what they do.
    """

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self._is_open = True
        self._changed = anyio.Event()

    @asynccontextmanager
    async def passed(self, what: str) -> AsyncIterator[None]:
        """Be inside while the block runs; wait until one may."""
        while not self._is_open:
            await self._changed.wait()
        self.inside[what] += 1
        try:
            yield
        finally:
            self.inside[what] -= 1
            self._tell()

    async def close(self) -> None:
        """Let nobody in any longer, and wait until all have left."""
        self._is_open = False
        while self.inside.total():
            await self._changed.wait()

    def open(self) -> None:
        """Let them in again."""
        self._is_open = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
