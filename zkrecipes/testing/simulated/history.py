"""The transactions that replicas agree on, and how each replica makes its own copy of the state from them.

A transaction is the request itself with all that its outcome depends on (whose, when, as whom), so that every
replica that applies the same ones in the same order comes to the same tree, errors included.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple, Protocol, final

from zkrecipes.codec.messages import ConnectRequest, Request, WatchEventMessage
from zkrecipes.codec.records import Id
from zkrecipes.devserver.auth.sasl import SaslExchange
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.processor import Processor, Reply
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.devserver.session_tracker import PASSWORD_SIZE, Session, SessionTracker

__all__ = [
    "Act",
    "Asked",
    "CommittedHistory",
    "HistoryEntry",
    "NewSession",
    "Origin",
    "Refusal",
    "SessionEnd",
    "Write",
]


class Origin(Protocol):
    """A client's connection, waiting for what a transaction brings."""

    def attach(self, session: NewSession) -> None:
        """Its new session was made."""

    def attach_again(self, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """The leader has said whether the session that it asked for lives."""

    def answer(self, number: int, reply: Reply) -> None:
        """The request that it gave this number has an answer."""


class Asked(NamedTuple):
    """What a client asks of the leader, through its replica."""

    replica: int
    origin: Origin
    number: int
    """Which of the connection's requests it is."""
    session_id: int
    """0 for a new session."""
    ids: tuple[Id, ...]
    opcode: int
    request: Request[Any] | ConnectRequest


class NewSession(NamedTuple):
    """A client has come."""

    session_id: int
    timeout: float
    """As negotiated, in seconds."""
    password: bytes


class SessionEnd(NamedTuple):
    """A session is over: closed by its client, or expired."""

    session_id: int


class Write(NamedTuple):
    """A request that may change the tree."""

    session_id: int
    ids: tuple[Id, ...]
    """Who asks."""
    opcode: int
    request: Request[Any]


class Refusal(NamedTuple):
    """A request that the leader has refused: its session has ended, or moved to another server."""

    code: int


Act = NewSession | SessionEnd | Write | Refusal


class HistoryEntry(NamedTuple):
    """One transaction of the history."""

    zxid: int
    time_ms: int
    """Milliseconds since 1970, by the leader's calendar."""
    act: Act
    asked: Asked | None
    """Who waits for its outcome; None where nobody asked, as when a session expires."""


@final
class _StandIn:
    """Whoever asked for a write, on every replica alike."""

    address = ""

    def __init__(self, session: Session | None, ids: tuple[Id, ...] = ()) -> None:
        self.session = session
        self.ids = list(ids)
        self.sasl: SaslExchange | None = None

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """It watches nothing."""

    def close(self, why: str) -> None:
        """It has no connection."""


@final
class CommittedHistory:
    """One replica's copy of the state.

    Args:
        tick_time: the length of a tick, in seconds.
        first_session_id: the id of the first session, the same on all replicas.
        random: shuffles lists of children.
    """

    def __init__(self, *, tick_time: float, first_session_id: int, random: Random) -> None:
        self.processor: Processor = Processor(
            tree=DataTree(),
            # It knows which sessions there are; how long they live is the leader's affair.
            sessions=SessionTracker(tick_time=tick_time, first_id=first_session_id),
            zxid=0,
            random=random,
        )

    def apply(self, entry: HistoryEntry) -> Reply:
        """Apply the next transaction. Watches fire; what it is answered with where it was asked for."""
        processor, act = self.processor, entry.act
        processor.zxid = entry.zxid - 1
        moment = ServerTime(0.0, entry.time_ms)
        reply = Reply(entry.zxid)
        match act:
            case NewSession():
                self._create_session(act, moment)
            case SessionEnd(session_id):
                session = processor.sessions.find(session_id)
                if session is not None:
                    processor.expire(session, moment)
            case Write(session_id, ids, opcode, request):
                asker = _StandIn(processor.sessions.find(session_id), ids)
                reply = processor.process(asker, opcode, request, moment)
            case Refusal(code):
                reply = Reply(entry.zxid, code)
        processor.zxid = entry.zxid
        return reply

    def _create_session(self, act: NewSession, moment: ServerTime) -> None:
        greeting = ConnectRequest(0, 0, round(act.timeout * 1000), 0, bytes(PASSWORD_SIZE), None)
        answer = self.processor.greet(_StandIn(None), greeting, moment, act.password)
        assert answer is not None
        assert answer.session_id == act.session_id, "replicas number sessions alike"
        # Nobody is attached by that; where a client waits for it, it is attached afterwards.
        del self.processor.attached[act.session_id]
