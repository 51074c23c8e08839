"""The pauses between the tries of a request that the server refused for the moment."""

from __future__ import annotations

from typing import Final, final

import anyio

__all__ = ["Pauses"]

_FIRST: Final = 0.05
_LONGEST: Final = 2.0


@final
class Pauses:
    """A series of pauses, each twice as long as the one before.

    Args:
        first: the first pause, in seconds.
        longest: the limit of their length, in seconds.
    """

    def __init__(self, first: float = _FIRST, longest: float = _LONGEST) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    async def wait(self) -> None:
        """Let one pause pass."""
        seconds, self._next = self._next, min(2 * self._next, self._longest)
        await anyio.sleep(seconds)

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._next = self._first
