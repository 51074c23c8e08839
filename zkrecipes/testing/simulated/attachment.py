"""One client's connection to a replica: requests in, answers out in the order of the requests.

Reads are answered from the replica's own copy of the state, so they may be stale; but a read that was sent
behind a write sees that write, because it waits for it (`CommitProcessor.java`, 3.9).
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
from zkrecipes.testing.simulated.history import Asked, NewSession, Origin

__all__ = ["Attachment", "Host"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

# A check that stands alone is answered where it arrives (with an error, as on a real server).
_FOR_THE_LEADER = frozenset(WRITES) - {OpCode.CHECK} | {OpCode.MULTI, OpCode.CLOSE_SESSION, OpCode.SYNC}
_UNTOUCHED = frozenset({OpCode.AUTH, OpCode.SASL})
_REFUSED = ConnectReply(0, 0, 0, bytes(PASSWORD_SIZE), read_only=False)


class Host(Protocol):
    """The replica, as a connection sees it."""

    number: int

    @property
    def is_serving(self) -> bool:
        """Whether it has a leader, or is one."""

    @property
    def processor(self) -> Processor:
        """Its copy of the state."""

    def moment(self) -> ServerTime:
        """The present."""

    def touch(self, session_id: int) -> bool:
        """The session was heard of; False where the request is to be ignored, for the session has ended."""

    def ask(self, asked: Asked) -> None:
        """Let the leader decide."""

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether a session lives."""

    def answer_word(self, word: str) -> str:
        """The answer to a four-letter word."""


class _Waiting:
    """A request that has not been answered yet."""

    __slots__ = ("number", "opcode", "reply", "request", "xid")

    def __init__(self, number: int, event: Requested) -> None:
        self.number = number
        self.xid = event.xid
        self.opcode = event.opcode
        self.request = event.request
        self.reply: Reply | None = None

    @property
    def is_for_the_leader(self) -> bool:
        return self.opcode in _FOR_THE_LEADER


@final
class Attachment:
    """The replica's end of one connection; the `Peer` that its processor sees.

    Args:
        host: the replica.
        address: the client's IP address.
        on_output: called when there is something to send, or to close.
    """

    def __init__(self, host: Host, address: str, on_output: Callable[[], None]) -> None:
        self.session: Session | None = None
        self.ids: list[Id] = [Id("ip", address)]
        self.sasl: SaslExchange | None = None
        self.address = address
        self.is_closing: bool = False
        """Whether the connection ends when all that is queued has been sent."""
        self._host = host
        self._on_output = on_output
        self._side = ServerSide()
        self._waiting: deque[_Waiting] = deque()
        self._count = 0

    def receive(self, data: bytes) -> None:
        """Feed what was received."""
        self._side.receive_data(data)
        while not self.is_closing and (event := self._side.next_event()) is not None:
            if isinstance(event, Requested):
                self._take(event)
            elif isinstance(event, Greeted):
                self._greet(event.request)
            elif isinstance(event, FourLetterWord):
                self._side.send_text(self._host.answer_word(event.word))
                self.close("a four-letter word is answered")
            else:
                self.close(event.why)

    def data_to_send(self) -> bytes:
        """The bytes for the wire, once."""
        return self._side.data_to_send()

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event."""
        if not self.is_closing:
            self._side.notify(zxid, event)
            self._on_output()

    def close(self, why: str) -> None:
        """End the connection once all that is queued has been sent; nothing is queued any more."""
        logger.debug("replica %d closes the connection of %r: %s", self._host.number, self.session, why)
        self.is_closing = True
        self._on_output()

    # --- the greeting --------------------------------------------------------------------------------------

    def _greet(self, greeting: ConnectRequest) -> None:
        host = self._host
        if not host.is_serving:
            self.close("this replica is not serving")
        elif greeting.last_zxid_seen > host.processor.zxid:
            self.close("its client has seen more than this replica")
        elif greeting.session_id == 0:
            host.ask(Asked(host.number, self, 0, 0, (), OpCode.CREATE_SESSION, greeting))
        else:
            host.revalidate(self, greeting)

    def attach(self, session: NewSession) -> None:
        """Its new session was made."""
        timeout_ms = round(session.timeout * 1000)
        self._accept(ConnectRequest(0, 0, timeout_ms, session.session_id, session.password, None))

    def attach_again(self, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """The leader has said whether the session that it asked for lives."""
        if is_alive:
            self._accept(greeting)
        else:
            self._refuse()

    def _accept(self, greeting: ConnectRequest) -> None:
        if self.is_closing:
            return
        reply = self._host.processor.greet(self, greeting, self._host.moment(), b"")
        if reply is None or self.session is None:
            self._refuse()
            return
        self._side.accept(reply)
        self._on_output()

    def _refuse(self) -> None:
        if not self.is_closing:
            self._side.accept(_REFUSED)
            self.close("its session has ended, or this is not its password")

    # --- requests ------------------------------------------------------------------------------------------

    def _take(self, event: Requested) -> None:
        session = self.session
        if session is None:
            self.close("a request before the greeting was answered")
            return
        if event.opcode not in _UNTOUCHED and not self._host.touch(session.id):
            return
        self._count += 1
        waiting = _Waiting(self._count, event)
        self._waiting.append(waiting)
        if waiting.is_for_the_leader and event.request is None:
            waiting.reply = Reply(self._host.processor.zxid, MarshallingError.code)
        elif waiting.is_for_the_leader:
            self._ask(session.id, waiting.number, event)
        self._answer_what_is_ready()

    def _ask(self, session_id: int, number: int, event: Requested) -> None:
        assert event.request is not None
        ids = tuple(self.ids)
        self._host.ask(Asked(self._host.number, self, number, session_id, ids, event.opcode, event.request))

    def answer(self, number: int, reply: Reply) -> None:
        """The leader's answer to a request, or its transaction's, has come."""
        for waiting in self._waiting:
            if waiting.number == number:
                waiting.reply = reply
        self._answer_what_is_ready()

    def _answer_what_is_ready(self) -> None:
        while self._waiting and not self.is_closing:
            waiting = self._waiting[0]
            reply = waiting.reply
            if reply is None:
                if waiting.is_for_the_leader:
                    return
                reply = self._read(waiting.opcode, waiting.request)
            self._waiting.popleft()
            self._send(waiting, reply)

    def _read(self, opcode: int, request: Request[Any] | None) -> Reply:
        return self._host.processor.process(self, opcode, request, self._host.moment())

    def _send(self, waiting: _Waiting, reply: Reply) -> None:
        if reply.err == SessionMovedError.code:
            # The client is elsewhere by now: its old connection ends without an answer (ZOOKEEPER-710).
            self.close("its session has moved")
            return
        xid = SpecialXid.PING if waiting.opcode == OpCode.PING else waiting.xid
        if reply.opcodes is not None and isinstance(reply.record, MultiReply):
            self._side.reply_multi(xid, reply.zxid, reply.opcodes, reply.record)
        else:
            self._side.reply(xid, reply.zxid, reply.err, reply.record)
        if reply.close:
            self.close(f"opcode {waiting.opcode} was answered with {reply.err}")
        self._on_output()
