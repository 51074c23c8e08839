"""What the demo says of itself, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Check"]


@final
@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the demo claims."""

    text: str
    objections: tuple[str, ...]
    """What speaks against it; empty where it holds."""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.objections
