"""Where a server is, once its name is resolved."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Address"]


class Address(NamedTuple):
    """Where to connect, or where a listener is bound."""

    host: str
    """An IP address as text (in memory: any name)."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
