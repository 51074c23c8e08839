"""Exponential back-off between the attempts of a request that the server refused temporarily."""

from __future__ import annotations

from typing import Final, final

import anyio

__all__ = ["Backoff"]

_FIRST: Final = 0.05
_LONGEST: Final = 2.0


@final
class Backoff:
    """A series of pauses, each twice as long as the previous one.

    Args:
        first: the first pause, in seconds.
        longest: the longest pause, in seconds.
    """

    def __init__(self, first: float = _FIRST, longest: float = _LONGEST) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    async def wait(self) -> None:
        """Wait for one pause."""
        seconds, self._next = self._next, min(2 * self._next, self._longest)
        await anyio.sleep(seconds)

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._next = self._first
