"""A connected client, as the processor sees it: its identities, and a way to send it watch events."""

from __future__ import annotations

from typing import Protocol

from zkrecipes.codec.messages import WatchEventMessage
from zkrecipes.codec.records import Id
from zkrecipes.devserver.auth.sasl import SaslExchange
from zkrecipes.devserver.session_tracker import Session

__all__ = ["ConnectedClient"]


class ConnectedClient(Protocol):
    """A client's connection. It owns its watches, which end with it."""

    session: Session | None
    """The attached session; None until the greeting is answered."""
    ids: list[Id]
    """Its identities; the first is its address."""
    sasl: SaslExchange | None
    """The SASL exchange in progress, if any."""

    @property
    def address(self) -> str:
        """The client's IP address."""

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event, behind everything queued so far."""

    def __hash__(self) -> int: ...

    def close(self, why: str) -> None:
        """Close the connection once everything queued has been sent."""
