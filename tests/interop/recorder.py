"""Records the holders of something exclusive, in the order in which they took it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final


@final
class Recorder:
    """A recorder that fails as soon as more than `limit` holders are inside.

    Another program counts as inside from its answer until the command to leave. It is really inside for
    longer, so every recorded overlap is real.

    Attributes:
        order: the holders, in the order in which they entered.
    """

    def __init__(self, limit: int = 1) -> None:
        self.order: list[str] = []
        self._limit = limit
        self._inside: list[str] = []

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Count `name` as inside while the block runs."""
        self._inside.append(name)
        self.order.append(name)
        assert len(self._inside) <= self._limit, f"{self._inside} at once, after {self.order}"
        try:
            yield
        finally:
            self._inside.remove(name)
