"""Finds a server for a session: the greeting to send, and the pace that the session can afford."""

from __future__ import annotations

from typing import NamedTuple, final

import anyio

from zkrecipes.codec.secret import SecretBytes
from zkrecipes.net.connection import Connection
from zkrecipes.net.connector import Connector
from zkrecipes.net.holds import Holds
from zkrecipes.net.reconnect_pace import SearchPace
from zkrecipes.net.session import SessionOptions, SessionRecord
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.events import Connected, Greeting

__all__ = ["FoundServer", "ServerSearch"]


@final
class FoundServer(NamedTuple):
    """A connection to a server that has attached the session."""

    connection: Connection
    connected: Connected
    """The server's answer to the greeting."""
    address: Address
    credentials_sent: int
    """The number of the client's credentials that were sent with the greeting."""


@final
class ServerSearch:
    """The searches for a server for the sessions of one client, one after another.

    Args:
        connector: opens the connections.
        options: the caller's.
        holds: the client's holds, whose proof ends before the session does.

    Attributes:
        credentials: those to send on each connection.
    """

    def __init__(self, connector: Connector, options: SessionOptions, holds: Holds) -> None:
        self.credentials: list[tuple[str, SecretBytes]] = []
        self._connector = connector
        self._options = options
        self._holds = holds
        self._session_to_close: SessionRecord | None = None
        self._is_first = True

    def close_first(self, session: SessionRecord) -> None:
        """Close `session`, which was given up, on the server that the next search finds first."""
        self._session_to_close = session

    async def find(self, session: SessionRecord) -> FoundServer | None:
        """Return a server that has attached `session`, or None if the session's time ran out.

        Raises:
            SessionExpiredError: a server reports that the session has ended.
            AuthFailedError: as `Connector.attach`.
        """
        pace = self._pace(session)
        if self._session_to_close is not None:
            # a zxid of 0, because any server may close it
            await self._connector.close_session(self._greeting(self._session_to_close, 0), pace)
            self._session_to_close = None
        with anyio.move_on_at(session.gives_up_at):
            greeting = self._greeting(session, session.last_zxid)
            attached = await self._connector.attach(greeting, pace)
            self._is_first = False
            return FoundServer(*attached, len(greeting.credentials))
        return None

    def _greeting(self, session: SessionRecord, last_zxid: int) -> Greeting:
        return Greeting(
            timeout=session.timeout_requested,
            session_id=session.id,
            password=session.password,
            last_zxid=last_zxid,
            read_only=self._options.read_only,
            credentials=tuple(self.credentials),
        )

    def _pace(self, session: SessionRecord) -> SearchPace:
        holds = self._holds

        def ends_at() -> float:
            return min(session.gives_up_at, holds.cancel_at) if holds else session.gives_up_at

        return SearchPace(
            timeout=session.timeout,
            is_new=session.id == 0,
            connect_timeout=self._options.connect_timeout if self._is_first else None,
            ends_at=ends_at,
            has_holds=lambda: bool(holds),
        )
