"""The transactions that replicas agree on, and the state that each replica builds from them.

A transaction is the request itself with everything that its outcome depends on (session, time, identities).
Therefore all replicas that apply the same transactions in the same order have the same tree and the same
errors.
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
    "ClientRequest",
    "CommittedTransaction",
    "HistoryEntry",
    "NewSession",
    "Origin",
    "Refusal",
    "ReplicatedState",
    "SessionEnd",
    "TransactionBody",
    "Write",
]


class Origin(Protocol):
    """A client's connection that waits for the outcome of a transaction."""

    def complete_new_session(self, session: NewSession) -> None:
        """Attach the connection to its new session."""

    def complete_revalidation(self, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """Attach the connection to the session in its greeting if that is alive, else refuse it."""

    def answer(self, number: int, reply: Reply) -> None:
        """Set the answer to the connection's request with this number."""


class ClientRequest(NamedTuple):
    """A client's request to the leader, sent through the client's replica."""

    replica: int
    origin: Origin
    number: int
    """The connection's number for the request."""
    session_id: int
    """0 for a new session."""
    ids: tuple[Id, ...]
    opcode: int
    request: Request[Any] | ConnectRequest


class NewSession(NamedTuple):
    """The transaction that creates a session."""

    session_id: int
    timeout: float
    """As negotiated, in seconds."""
    password: bytes


class SessionEnd(NamedTuple):
    """The transaction that ends a session: its client closed it, or it expired."""

    session_id: int


class Write(NamedTuple):
    """A request that may change the tree."""

    session_id: int
    ids: tuple[Id, ...]
    """The client's identities, for the check of ACLs."""
    opcode: int
    request: Request[Any]


class Refusal(NamedTuple):
    """A request that the leader refused because its session has ended or moved to another server."""

    code: int


TransactionBody = NewSession | SessionEnd | Write | Refusal


class HistoryEntry(NamedTuple):
    """One transaction of the history."""

    zxid: int
    time_ms: int
    """Milliseconds since 1970 on the leader's calendar."""
    body: TransactionBody
    client_request: ClientRequest | None
    """The request that waits for the outcome; None if no client sent one: a session expired, say."""


@final
class CommittedTransaction(NamedTuple):
    """One committed transaction, for tests that follow the history of an ensemble."""

    zxid: int
    session_id: int | None
    """The session that wrote or ended; None for other transactions."""
    is_session_end: bool
    tree: DataTree
    """The znodes after the transaction, to read only; later transactions change them."""


@final
class _WriteAuthor:
    """The client on whose behalf every replica applies a write."""

    address = ""

    def __init__(self, session: Session | None, ids: tuple[Id, ...] = ()) -> None:
        self.session = session
        self.ids = list(ids)
        self.sasl: SaslExchange | None = None

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Do nothing: the author has no watches."""

    def close(self, why: str) -> None:
        """Do nothing: the author has no connection."""


@final
class ReplicatedState:
    """One replica's copy of the state.

    Args:
        tick_time: the length of a tick, in seconds.
        first_session_id: the id of the first session, the same on all replicas.
        random: the source for shuffling lists of children.
    """

    def __init__(self, *, tick_time: float, first_session_id: int, random: Random) -> None:
        self.processor: Processor = Processor(
            tree=DataTree(),
            # It knows which sessions exist; the leader decides how long they live.
            sessions=SessionTracker(tick_time=tick_time, first_id=first_session_id),
            zxid=0,
            random=random,
        )

    def apply(self, entry: HistoryEntry) -> Reply:
        """Apply the next transaction, fire its watches, and return the reply for its client."""
        processor, body = self.processor, entry.body
        processor.zxid = entry.zxid - 1
        moment = ServerTime(0.0, entry.time_ms)
        reply = Reply(entry.zxid)
        match body:
            case NewSession():
                self._create_session(body, moment)
            case SessionEnd(session_id):
                session = processor.sessions.find(session_id)
                if session is not None:
                    processor.expire(session, moment)
            case Write(session_id, ids, opcode, request):
                author = _WriteAuthor(processor.sessions.find(session_id), ids)
                reply = processor.process(author, opcode, request, moment)
            case Refusal(code):
                reply = Reply(entry.zxid, code)
        processor.zxid = entry.zxid
        return reply

    def commit(self, entry: HistoryEntry) -> CommittedTransaction:
        """Apply the next transaction, and return it with its result."""
        self.apply(entry)
        session_id = entry.body.session_id if isinstance(entry.body, SessionEnd | Write) else None
        is_end = isinstance(entry.body, SessionEnd)
        return CommittedTransaction(entry.zxid, session_id, is_end, self.processor.tree)

    def _create_session(self, body: NewSession, moment: ServerTime) -> None:
        greeting = ConnectRequest(0, 0, round(body.timeout * 1000), 0, bytes(PASSWORD_SIZE), None)
        answer = self.processor.greet(_WriteAuthor(None), greeting, moment, body.password)
        assert answer is not None
        assert answer.session_id == body.session_id, "replicas must give sessions the same ids"
        # No connection is attached yet; a waiting client is attached afterwards.
        del self.processor.attached[body.session_id]
