"""The result of one check of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["CheckResult"]


@final
@dataclass(frozen=True, slots=True)
class CheckResult:
    """A statement about the demo's run, and the observations that contradict it."""

    text: str
    failures: tuple[str, ...]
    """The observations that contradict the statement; empty if it is true."""

    @property
    def passed(self) -> bool:
        """Whether nothing contradicts the statement."""
        return not self.failures
