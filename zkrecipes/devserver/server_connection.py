"""One connection of the dev server, without I/O: bytes in, the processor's answers out, faults on the way.

It is the `Peer` that the processor sees. Whoever runs it feeds it what a stream receives, and sends what
`data_to_send` gives, whenever `on_output` says that there is something.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, final

from zkrecipes.codec.messages import WatchEventMessage
from zkrecipes.codec.multi import MultiReply
from zkrecipes.codec.records import Id
from zkrecipes.devserver.auth.sasl import SaslExchange
from zkrecipes.devserver.faults import Fault, FaultKind, Faults
from zkrecipes.devserver.packet_stats import PacketStats
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.devserver.session_tracker import PASSWORD_SIZE, Session
from zkrecipes.enums import OpCode, SpecialXid
from zkrecipes.errors import session_hex
from zkrecipes.protocol.server_side import Broken, FourLetterWord, Greeted, Requested, ServerSide

__all__ = ["QUEUED_MAX", "ServerConnection", "ServerServices"]

logger: logging.Logger = logging.getLogger("zkrecipes.devserver")

QUEUED_MAX = 16 * 1024 * 1024
"""How many bytes may wait for a client that does not read before its connection is dropped."""


# Times are sums of floats: what is due within a microsecond is due.
_EPSILON = 1e-6

# Where every bit is turned over, an xid is none that a client ever sent.
_INVERTED = bytes(255 - byte for byte in range(256))
_LENGTH_SIZE = 4


class _Output(NamedTuple):
    """Bytes for the wire, which leave no earlier than they are due."""

    due: float
    data: bytes


class ServerServices(Protocol):
    """What a conversation needs of the server that it runs in."""

    @property
    def processor(self) -> Processor:
        """The state."""

    @property
    def faults(self) -> Faults:
        """What shall go wrong."""

    def random_bytes(self, size: int) -> bytes:
        """Bytes for a password."""

    def answer_word(self, word: str) -> str:
        """The answer to a four-letter word."""

    def session_attached(self) -> None:
        """A session was made or attached again, so its end has to be awaited."""


@final
class ServerConnection:
    """The server's end of one connection.

    Args:
        host: the server.
        address: the client's IP address.
        on_output: called when there is something to send, or to close, that no call of `receive` will see.
        traffic: where requests, replies and events are counted.
        frame_size_max: how large a request may be.
        certified: who its certificate says that it is.
    """

    def __init__(
        self,
        host: ServerServices,
        address: str,
        on_output: Callable[[ServerConnection], None],
        *,
        traffic: PacketStats,
        frame_size_max: int,
        certified: Id | None = None,
    ) -> None:
        self.session: Session | None = None
        self.ids: list[Id] = [Id("ip", address)] if certified is None else [Id("ip", address), certified]
        self.sasl: SaslExchange | None = None
        self.is_closing: bool = False
        """Whether the connection is to be closed when all that is queued has been sent."""
        self._host = host
        self._address = address
        self._on_output = on_output
        self.traffic = traffic
        self._side = ServerSide(frame_size_max=frame_size_max)
        self.is_aborted: bool = False
        """Whether it is to be closed at once."""
        self._receiving = False
        # What has left `_side`, because something is special about it or what follows.
        self._outputs: deque[_Output] = deque()

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self._address

    @property
    def session_id(self) -> int:
        """The session's, or 0 before the greeting."""
        return 0 if self.session is None else self.session.id

    @property
    def queued(self) -> int:
        """How many bytes wait for `data_to_send`."""
        return self._side.queued + sum(len(output.data) for output in self._outputs)

    @property
    def due(self) -> float | None:
        """When there is more to send, where that is later than now; None where nothing waits for its time."""
        return self._outputs[0].due if self._outputs else None

    def receive(self, data: bytes, moment: ServerTime) -> None:
        """Feed what was received. After calling this, send `data_to_send`; close if `is_closing`."""
        side = self._side
        side.receive_data(data)
        self._receiving = True
        try:
            while not self.is_closing and (event := side.next_event()) is not None:
                self.traffic.came()
                if type(event) is Requested:
                    self._answer(event, moment)
                elif type(event) is Greeted:
                    self._greet(event, moment)
                elif type(event) is FourLetterWord:
                    side.send_text(self._host.answer_word(event.word))
                    self.is_closing = True
                elif type(event) is Broken:
                    self.close(event.why, level=logging.WARNING)
        finally:
            self._receiving = False

    def data_to_send(self, now: float) -> bytes:
        """The bytes for the wire that are due, once; afterwards `due` says when there are more."""
        if not self._outputs:
            return self._side.data_to_send()
        self._set_aside(now)
        data = b""
        while self._outputs and self._outputs[0].due <= now + _EPSILON:
            data += self._outputs.popleft().data
        return data

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event."""
        if self.is_closing:
            return
        self._side.notify(zxid, event)
        self.traffic.told()
        if self._side.queued > QUEUED_MAX:
            self.abort("it does not read its events")
        elif not self._receiving:
            self._on_output(self)

    def close(self, why: str, *, level: int = logging.INFO) -> None:
        """Close once all that is queued has been sent; `level` is that of the line in the log."""
        if self.is_closing:
            return
        line = "session %s from %s: closing its connection: %s"
        logger.log(level, line, session_hex(self.session_id), self._address, why)
        self.is_closing = True
        if not self._receiving:
            self._on_output(self)

    def abort(self, why: str) -> None:
        """Close at once, whatever is queued."""
        self.is_aborted = True
        self.close(why)
        self._on_output(self)

    def give_up(self) -> None:
        """Nothing more can be sent: whatever is queued is not waited for."""
        self.is_closing = self.is_aborted = True

    def _greet(self, event: Greeted, moment: ServerTime) -> None:
        host, greeting = self._host, event.request
        session_id = greeting.session_id
        if session_id == 0:
            session_id = host.processor.sessions.next_id
            host.faults.session_made(session_id)
        fault = host.faults.verdict(session_id, OpCode.CREATE_SESSION, None)
        hurt = None if fault is None else fault.how
        if hurt is FaultKind.AFTER_SEND:
            self.close("a fault: its greeting is dropped")
            return
        reply = host.processor.greet(self, greeting, moment, host.random_bytes(PASSWORD_SIZE))
        if reply is None:
            self.close(host.processor.refusal(greeting) or "it is refused")
            return
        if self.session is not None:
            host.session_attached()
        if hurt is FaultKind.AFTER_COMMIT:
            self.close("a fault: the reply to its greeting is lost")
            return
        self._side.accept(reply)
        self.traffic.answered(OpCode.CREATE_SESSION, -1, host.processor.zxid)
        if fault is not None:
            self._hurt_reply(fault, moment)
        if self.session is None:
            self.close(f"session {session_hex(greeting.session_id)} has expired, or this is not its password")
        elif hurt is FaultKind.BEFORE_SEND:
            self.close("a fault: dropped before its next request")

    def _answer(self, event: Requested, moment: ServerTime) -> None:
        fault = self._host.faults.verdict(self.session_id, event.opcode, event.request)
        if fault is None:
            self._process(event, moment)
            return
        hurt = fault.how
        if hurt is FaultKind.AFTER_SEND:
            self.close("a fault: its request is dropped")
        elif hurt is FaultKind.EXPIRE and self.session is not None:
            self._host.processor.expire(self.session, moment)
        elif hurt is FaultKind.AFTER_COMMIT:
            self._set_aside(moment.now)
            self._process(event, moment)
            self._side.data_to_send()
            self.close("a fault: the reply to its request is lost")
        else:
            self._set_aside(moment.now)
            self._process(event, moment)
            self._hurt_reply(fault, moment)
            if hurt is FaultKind.BEFORE_SEND:
                self.close("a fault: dropped before its next request")

    def _hurt_reply(self, fault: Fault, moment: ServerTime) -> None:
        """Corrupt or delay the reply that was queued last, with the events before it."""
        if fault.how is FaultKind.CORRUPT:
            data = self._side.data_to_send()
            self._outputs.append(
                _Output(moment.now, data[:_LENGTH_SIZE] + data[_LENGTH_SIZE:].translate(_INVERTED))
            )
        elif fault.how is FaultKind.DELAY:
            self._set_aside(moment.now + fault.seconds)

    def _set_aside(self, due: float) -> None:
        """What is queued leaves at `due`, and never before what was set aside earlier."""
        data = self._side.data_to_send()
        if data:
            earliest = self._outputs[-1].due if self._outputs else due
            self._outputs.append(_Output(max(due, earliest), data))

    def _process(self, event: Requested, moment: ServerTime) -> None:
        xid, opcode, request = event
        reply = self._host.processor.process(self, opcode, request, moment)
        self.traffic.answered(opcode, xid, reply.zxid)
        if opcode == OpCode.PING:
            xid = SpecialXid.PING
        if reply.opcodes is not None and isinstance(reply.record, MultiReply):
            self._side.reply_multi(xid, reply.zxid, reply.opcodes, reply.record)
        else:
            self._side.reply(xid, reply.zxid, reply.err, reply.record)
        if reply.close and opcode == OpCode.CLOSE_SESSION:
            self.close("its client has closed the session")
        elif reply.close:
            self.close(f"opcode {opcode} was answered with {reply.err}")
