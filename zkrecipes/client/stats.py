"""The figures of a client, for health checks and dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from zkrecipes.enums import SessionState
from zkrecipes.net.session_engine import SessionEngine

__all__ = ["ClientStats", "stats_of"]


@final
@dataclass(frozen=True, slots=True)
class ClientStats:
    """The figures of a client. Counts start at `connect()` and cover all connections and sessions.

    Attributes:
        state: the state of the current session.
        session_id: its id; 0 without a session.
        session_timeout: its timeout in seconds, as negotiated.
        server: the address of the server that the client is attached to, `host:port`, or None.
        last_zxid: the newest transaction that the session has seen.
        unanswered_for: seconds since the client sent the newest request or ping that was answered. This is
            usually at most about a third of the timeout, or as long as a large reply takes to arrive. It
            is infinite before the first session.
        outstanding: requests that wait for an answer, or for a connection.
        replies: answers received, including errors.
        bytes_sent: bytes sent on connections that attached a session, including heartbeats.
        bytes_received: bytes received on them.
        connections: the number of times that a session was attached; all but `sessions` of them are
            reconnects.
        sessions: the number of sessions.
        watches: watches that are set, or will be set on the next connection.
        holds: locks, leaderships and permits that are held or about to be held.
    """

    state: SessionState
    session_id: int
    session_timeout: float
    server: str | None
    last_zxid: int
    unanswered_for: float
    outstanding: int
    replies: int
    bytes_sent: int
    bytes_received: int
    connections: int
    sessions: int
    watches: int
    holds: int


def stats_of(engine: SessionEngine) -> ClientStats:
    """Return the figures of the client that runs `engine`."""
    session, traffic, address = engine.session, engine.traffic, engine.address
    return ClientStats(
        state=session.state,
        session_id=session.id,
        session_timeout=session.timeout,
        server=None if address is None else str(address),
        last_zxid=engine.progress.last_zxid,
        unanswered_for=engine.parking.current_time() - engine.progress.answered_sent_at,
        outstanding=engine.outstanding,
        replies=traffic.replies,
        bytes_sent=traffic.bytes_sent,
        bytes_received=traffic.bytes_received,
        connections=traffic.connections,
        sessions=traffic.sessions,
        watches=len(engine.watches),
        holds=len(engine.holds),
    )
