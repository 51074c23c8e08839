"""One connected client, as the processor sees it: who it is, and how it is told of events."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from zkrecipes.codec.messages import WatchEventMessage
from zkrecipes.codec.records import Id
from zkrecipes.devserver.sasl import SaslExchange
from zkrecipes.devserver.session_tracker import Session

__all__ = ["Moment", "Peer"]


class Moment(NamedTuple):
    """When something happens."""

    now: float
    """Seconds on the server's own clock, by which sessions live; it never goes back."""
    time_ms: int
    """Milliseconds since 1970, as they stand in a stat."""


class Peer(Protocol):
    """A connection. It owns its watches; they go when it does."""

    session: Session | None
    """None until the greeting is answered."""
    ids: list[Id]
    """Its identities; the first is its address."""
    sasl: SaslExchange | None
    """While it authenticates through SASL."""

    @property
    def address(self) -> str:
        """Its IP address."""

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event for it, behind what it was sent so far."""

    def __hash__(self) -> int: ...

    def close(self, why: str) -> None:
        """Close it once all that is queued has been sent."""
