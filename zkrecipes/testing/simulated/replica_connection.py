"""One client's connection to a replica: it answers requests in the order of their arrival.

The replica answers reads from its own copy of the state, so they may be stale. A read that was sent after a
write waits for that write and therefore sees it (`CommitProcessor.java`, 3.9).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, final

from zkrecipes.codec.messages import ConnectReply, ConnectRequest, Request, WatchEventMessage
from zkrecipes.codec.multi import MultiReply
from zkrecipes.codec.records import Id
from zkrecipes.devserver.auth.sasl import SaslExchange
from zkrecipes.devserver.processor import Processor, Reply
from zkrecipes.devserver.requests.writes import WRITES
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.devserver.session_tracker import PASSWORD_SIZE, Session
from zkrecipes.enums import OpCode, SpecialXid
from zkrecipes.errors import MarshallingError, SessionMovedError
from zkrecipes.protocol.server_side import FourLetterWord, Greeted, Requested, ServerSide
from zkrecipes.testing.simulated.history import ClientRequest, NewSession, Origin

__all__ = ["ReplicaConnection", "ServingReplica"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# The replica itself answers a check outside a multi (with an error, as a real server does).
_LEADER_OPCODES = frozenset(WRITES) - {OpCode.CHECK} | {OpCode.MULTI, OpCode.CLOSE_SESSION, OpCode.SYNC}
_OPCODES_WITHOUT_TOUCH = frozenset({OpCode.AUTH, OpCode.SASL})
_REFUSED = ConnectReply(0, 0, 0, bytes(PASSWORD_SIZE), read_only=False)


class ServingReplica(Protocol):
    """The replica, as a client's connection sees it."""

    number: int

    @property
    def is_serving(self) -> bool:
        """Whether the replica has a leader or leads."""

    @property
    def processor(self) -> Processor:
        """The replica's copy of the state."""

    def moment(self) -> ServerTime:
        """Return the current time."""

    def touch(self, session_id: int) -> bool:
        """Touch a session; return False if the session has ended and its request must be ignored."""

    def submit(self, client_request: ClientRequest) -> None:
        """Pass a request to the leader."""

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether a session is alive."""

    def answer_four_letter_word(self, word: str) -> str:
        """Return the answer to a four-letter word."""


class _PendingRequest:
    """A request without an answer."""

    __slots__ = ("number", "opcode", "reply", "request", "xid")

    def __init__(self, number: int, event: Requested) -> None:
        self.number = number
        self.xid = event.xid
        self.opcode = event.opcode
        self.request = event.request
        self.reply: Reply | None = None

    @property
    def needs_leader(self) -> bool:
        return self.opcode in _LEADER_OPCODES


@final
class ReplicaConnection:
    """The replica's end of one connection; the `Peer` that its processor sees.

    Args:
        replica: the replica that serves it.
        address: the client's IP address.
        on_output: called when there is data to send, or the connection must be closed.
    """

    def __init__(self, replica: ServingReplica, address: str, on_output: Callable[[], None]) -> None:
        self.session: Session | None = None
        self.ids: list[Id] = [Id("ip", address)]
        self.sasl: SaslExchange | None = None
        self.address = address
        self.is_closing: bool = False
        """Whether the connection ends once all queued data has been sent."""
        self._replica = replica
        self._on_output = on_output
        self._side = ServerSide()
        self._pending: deque[_PendingRequest] = deque()
        self._request_count = 0

    def receive(self, data: bytes) -> None:
        """Process bytes that were received."""
        self._side.receive_data(data)
        while not self.is_closing and (event := self._side.next_event()) is not None:
            if isinstance(event, Requested):
                self._receive_request(event)
            elif isinstance(event, Greeted):
                self._greet(event.request)
            elif isinstance(event, FourLetterWord):
                self._side.send_text(self._replica.answer_four_letter_word(event.word))
                self.close("a four-letter word was answered")
            else:
                self.close(event.why)

    def data_to_send(self) -> bytes:
        """Return the bytes to send, each only once."""
        return self._side.data_to_send()

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event."""
        if not self.is_closing:
            self._side.notify(zxid, event)
            self._on_output()

    def close(self, why: str) -> None:
        """End the connection once all queued data has been sent; queue nothing from now on."""
        logger.debug("replica %d closes the connection of %r: %s", self._replica.number, self.session, why)
        self.is_closing = True
        self._on_output()

    # --- the greeting --------------------------------------------------------------------------------------

    def _greet(self, greeting: ConnectRequest) -> None:
        replica = self._replica
        if not replica.is_serving:
            self.close("this replica is not serving")
        elif greeting.last_zxid_seen > replica.processor.zxid:
            self.close("its client has seen a later zxid than this replica")
        elif greeting.session_id == 0:
            replica.submit(ClientRequest(replica.number, self, 0, 0, (), OpCode.CREATE_SESSION, greeting))
        else:
            replica.revalidate(self, greeting)

    def complete_new_session(self, session: NewSession) -> None:
        """Attach this connection to its new session."""
        timeout_ms = round(session.timeout * 1000)
        self._accept(ConnectRequest(0, 0, timeout_ms, session.session_id, session.password, None))

    def complete_revalidation(self, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """Attach this connection to the session in its greeting if that is alive, else refuse it."""
        if is_alive:
            self._accept(greeting)
        else:
            self._refuse()

    def _accept(self, greeting: ConnectRequest) -> None:
        if self.is_closing:
            return
        reply = self._replica.processor.greet(self, greeting, self._replica.moment(), b"")
        if reply is None or self.session is None:
            self._refuse()
            return
        self._side.accept(reply)
        self._on_output()

    def _refuse(self) -> None:
        if not self.is_closing:
            self._side.accept(_REFUSED)
            self.close("the session has ended, or the password is wrong")

    # --- requests ------------------------------------------------------------------------------------------

    def _receive_request(self, event: Requested) -> None:
        session = self.session
        if session is None:
            self.close("it sent a request before its greeting was answered")
            return
        if event.opcode not in _OPCODES_WITHOUT_TOUCH and not self._replica.touch(session.id):
            return
        self._request_count += 1
        pending = _PendingRequest(self._request_count, event)
        self._pending.append(pending)
        if pending.needs_leader and event.request is None:
            pending.reply = Reply(self._replica.processor.zxid, MarshallingError.code)
        elif pending.needs_leader:
            self._submit(session.id, pending.number, event)
        self._answer_ready()

    def _submit(self, session_id: int, number: int, event: Requested) -> None:
        assert event.request is not None
        ids = tuple(self.ids)
        self._replica.submit(
            ClientRequest(self._replica.number, self, number, session_id, ids, event.opcode, event.request)
        )

    def answer(self, number: int, reply: Reply) -> None:
        """Set the answer to a request, from the leader or from the request's transaction."""
        for pending in self._pending:
            if pending.number == number:
                pending.reply = reply
        self._answer_ready()

    def _answer_ready(self) -> None:
        while self._pending and not self.is_closing:
            pending = self._pending[0]
            reply = pending.reply
            if reply is None:
                if pending.needs_leader:
                    return
                reply = self._read(pending.opcode, pending.request)
            self._pending.popleft()
            self._send(pending, reply)

    def _read(self, opcode: int, request: Request[Any] | None) -> Reply:
        return self._replica.processor.process(self, opcode, request, self._replica.moment())

    def _send(self, pending: _PendingRequest, reply: Reply) -> None:
        if reply.err == SessionMovedError.code:
            # The client is at another server: its old connection ends without an answer (ZOOKEEPER-710).
            self.close("its session has moved to another server")
            return
        xid = SpecialXid.PING if pending.opcode == OpCode.PING else pending.xid
        if reply.opcodes is not None and isinstance(reply.record, MultiReply):
            self._side.reply_multi(xid, reply.zxid, reply.opcodes, reply.record)
        else:
            self._side.reply(xid, reply.zxid, reply.err, reply.record)
        if reply.close:
            self.close(f"opcode {pending.opcode} was answered with {reply.err}")
        self._on_output()
