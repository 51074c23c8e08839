"""What has gone over a client's connections, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Traffic"]


@final
@dataclass(slots=True)
class Traffic:
    """Counts since the client began: connections that attached a session, sessions, replies, and bytes."""

    connections: int = 0
    sessions: int = 0
    replies: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
