"""Who holds what no two may hold at once, in the order in which they took it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final


@final
class Recorder:
    """Fails as soon as more than `limit` are inside.

    Another program is inside from its answer until it is told to leave, so within the time that it really is:
    an overlap that is seen here was one.

    Attributes:
        order: who came inside, first come first.
    """

    def __init__(self, limit: int = 1) -> None:
        self.order: list[str] = []
        self._limit = limit
        self._inside: list[str] = []

    @contextmanager
    def inside(self, who: str) -> Iterator[None]:
        """`who` is inside while the block runs."""
        self._inside.append(who)
        self.order.append(who)
        assert len(self._inside) <= self._limit, f"{self._inside} at once, after {self.order}"
        try:
            yield
        finally:
            self._inside.remove(who)
