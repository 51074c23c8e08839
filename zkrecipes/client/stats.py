"""The figures of a client: what a health check or a dashboard asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from zkrecipes.enums import SessionState
from zkrecipes.net.session_engine import SessionEngine

__all__ = ["ClientStats", "stats_of"]


@final
@dataclass(frozen=True, slots=True)
class ClientStats:
    """A client at one moment; the counts are since `connect()`, over all its connections and sessions.

    Attributes:
        state: of the present session.
        session_id: its id; 0 while there is none.
        session_timeout: in seconds, as negotiated.
        server: the address of the server that the client is attached to, `host:port`; None while there is
            none.
        last_zxid: the newest transaction that the session has seen.
        unanswered_for: seconds since the newest request or ping was sent that has an answer: about a
            third of the timeout at most while all is well, or as long as a large reply takes to arrive;
            infinite before there is a session.
        outstanding: requests that wait for an answer, or for a connection.
        replies: answers received, errors included.
        bytes_sent: on connections that attached a session, heartbeats included.
        bytes_received: the same.
        connections: how often a session was attached; all but `sessions` of them are reconnects.
        sessions: how many sessions there have been.
        watches: watches that are set, or will be on the next connection.
        holds: locks, leaderships and permits that are held or about to be.
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
    """The figures of the client that `engine` is the engine of."""
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
