"""The server's end of one connection, without I/O: it takes bytes and queues replies, events and faults.

It is the `ConnectedClient` that the processor sees. Its owner feeds it received bytes, and sends the bytes of
`data_to_send` whenever `on_output` reports some.
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
from zkrecipes.devserver.fault_injector import FaultInjector, FaultKind, FaultRule
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
"""The most bytes that may wait for a client that does not read, before its connection is dropped."""


# Floats accumulate rounding errors, so output that is due within a microsecond is due.
_EPSILON = 1e-6

# An xid with every bit inverted is one that no client has sent.
_INVERTED = bytes(255 - byte for byte in range(256))
_LENGTH_SIZE = 4


class _Output(NamedTuple):
    """Bytes to send no earlier than `due`."""

    due: float
    data: bytes


class ServerServices(Protocol):
    """The services of the server that a connection uses."""

    @property
    def processor(self) -> Processor:
        """The state."""

    @property
    def fault_injector(self) -> FaultInjector:
        """The faults."""

    def random_bytes(self, size: int) -> bytes:
        """Return random bytes for the password of a session."""

    def answer_word(self, word: str) -> str:
        """Return the answer to a four-letter word."""

    def on_session_attached(self) -> None:
        """Schedule the expiry of a session that was created or attached."""


@final
class ServerConnection:
    """The server's end of one connection.

    Args:
        services: the server.
        address: the client's IP address.
        on_output: called when there is something to send or to close that no call of `receive` reports.
        stats: counts requests, replies and events.
        frame_size_max: the largest request in bytes.
        certificate_id: the identity in the client's certificate.
    """

    def __init__(
        self,
        services: ServerServices,
        address: str,
        on_output: Callable[[ServerConnection], None],
        *,
        stats: PacketStats,
        frame_size_max: int,
        certificate_id: Id | None = None,
    ) -> None:
        self.session: Session | None = None
        self.ids: list[Id] = (
            [Id("ip", address)] if certificate_id is None else [Id("ip", address), certificate_id]
        )
        self.sasl: SaslExchange | None = None
        self.stats: PacketStats = stats
        self.is_closing: bool = False
        """Whether the connection closes once everything queued has been sent."""
        self.is_aborted: bool = False
        """Whether the connection closes at once."""
        self._services = services
        self._address = address
        self._on_output = on_output
        self._side = ServerSide(frame_size_max=frame_size_max)
        self._is_receiving = False
        # Output taken out of `_side`, because it is corrupt or delayed, or because the output behind it is.
        self._outputs: deque[_Output] = deque()

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self._address

    @property
    def session_id(self) -> int:
        """The session's id, or 0 before the greeting."""
        return 0 if self.session is None else self.session.id

    @property
    def queued(self) -> int:
        """The number of bytes that wait for `data_to_send`."""
        return self._side.queued + sum(len(output.data) for output in self._outputs)

    @property
    def due(self) -> float | None:
        """The time at which the next delayed output is due; None if no output is delayed."""
        return self._outputs[0].due if self._outputs else None

    def receive(self, data: bytes, time: ServerTime) -> None:
        """Process received bytes. After calling this, send `data_to_send`; close if `is_closing`."""
        side = self._side
        side.receive_data(data)
        self._is_receiving = True
        try:
            while not self.is_closing and (event := side.next_event()) is not None:
                self.stats.count_request()
                if type(event) is Requested:
                    self._answer(event, time)
                elif type(event) is Greeted:
                    self._greet(event, time)
                elif type(event) is FourLetterWord:
                    side.send_text(self._services.answer_word(event.word))
                    self.is_closing = True
                elif type(event) is Broken:
                    self.close(event.why, level=logging.WARNING)
        finally:
            self._is_receiving = False

    def data_to_send(self, now: float) -> bytes:
        """Take the bytes that are due for sending. Afterwards, `due` is the time of the next output."""
        if not self._outputs:
            return self._side.data_to_send()
        self._queue_output(now)
        data = b""
        while self._outputs and self._outputs[0].due <= now + _EPSILON:
            data += self._outputs.popleft().data
        return data

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Queue a watch event."""
        if self.is_closing:
            return
        self._side.notify(zxid, event)
        self.stats.count_packet()
        if self._side.queued > QUEUED_MAX:
            self.abort("its client does not read its events")
        elif not self._is_receiving:
            self._on_output(self)

    def close(self, reason: str, *, level: int = logging.INFO) -> None:
        """Close the connection once everything queued has been sent.

        Args:
            reason: the reason for the log.
            level: the level of the line in the log.
        """
        if self.is_closing:
            return
        line = "session %s from %s: closing its connection: %s"
        logger.log(level, line, session_hex(self.session_id), self._address, reason)
        self.is_closing = True
        if not self._is_receiving:
            self._on_output(self)

    def abort(self, reason: str) -> None:
        """Close the connection at once, and discard everything queued."""
        self.is_aborted = True
        self.close(reason)
        self._on_output(self)

    def discard_output(self) -> None:
        """Stop waiting for queued output. Call it when nothing more can be sent."""
        self.is_closing = self.is_aborted = True

    def _greet(self, event: Greeted, time: ServerTime) -> None:
        services, greeting = self._services, event.request
        session_id = greeting.session_id
        if session_id == 0:
            session_id = services.processor.sessions.next_id
            services.fault_injector.on_new_session(session_id)
        fault = services.fault_injector.use_fault(session_id, OpCode.CREATE_SESSION, None)
        kind = None if fault is None else fault.kind
        if kind is FaultKind.AFTER_SEND:
            self.close("fault: drop the greeting")
            return
        reply = services.processor.greet(self, greeting, time, services.random_bytes(PASSWORD_SIZE))
        if reply is None:
            self.close(services.processor.find_refusal(greeting) or "the server refuses its greeting")
            return
        if self.session is not None:
            services.on_session_attached()
        if kind is FaultKind.AFTER_COMMIT:
            self.close("fault: lose the reply to the greeting")
            return
        self._side.accept(reply)
        self.stats.count_reply(OpCode.CREATE_SESSION, -1, services.processor.zxid)
        if fault is not None:
            self._corrupt_reply(fault, time)
        if self.session is None:
            requested = session_hex(greeting.session_id)
            self.close(f"the requested session {requested} has expired, or the password is wrong")
        elif kind is FaultKind.BEFORE_SEND:
            self.close("fault: drop before the next request")

    def _answer(self, event: Requested, time: ServerTime) -> None:
        fault = self._services.fault_injector.use_fault(self.session_id, event.opcode, event.request)
        if fault is None:
            self._process(event, time)
            return
        kind = fault.kind
        if kind is FaultKind.AFTER_SEND:
            self.close("fault: drop the request")
        elif kind is FaultKind.EXPIRE and self.session is not None:
            self._services.processor.expire(self.session, time)
        elif kind is FaultKind.AFTER_COMMIT:
            self._queue_output(time.now)
            self._process(event, time)
            self._side.data_to_send()
            self.close("fault: lose the reply to the request")
        else:
            self._queue_output(time.now)
            self._process(event, time)
            self._corrupt_reply(fault, time)
            if kind is FaultKind.BEFORE_SEND:
                self.close("fault: drop before the next request")

    def _corrupt_reply(self, fault: FaultRule, time: ServerTime) -> None:
        """Corrupt or delay the newest reply, with the events before it."""
        if fault.kind is FaultKind.CORRUPT:
            data = self._side.data_to_send()
            garbage = data[_LENGTH_SIZE:].translate(_INVERTED)
            self._outputs.append(_Output(time.now, data[:_LENGTH_SIZE] + garbage))
        elif fault.kind is FaultKind.DELAY:
            self._queue_output(time.now + fault.delay)

    def _queue_output(self, due: float) -> None:
        """Move the output of `_side` to `_outputs`. It leaves at `due`, but never before earlier output."""
        data = self._side.data_to_send()
        if data:
            earliest = self._outputs[-1].due if self._outputs else due
            self._outputs.append(_Output(max(due, earliest), data))

    def _process(self, event: Requested, time: ServerTime) -> None:
        xid, opcode, request = event
        reply = self._services.processor.process(self, opcode, request, time)
        self.stats.count_reply(opcode, xid, reply.zxid)
        if opcode == OpCode.PING:
            xid = SpecialXid.PING
        if reply.opcodes is not None and isinstance(reply.record, MultiReply):
            self._side.reply_multi(xid, reply.zxid, reply.opcodes, reply.record)
        else:
            self._side.reply(xid, reply.zxid, reply.err, reply.record)
        if reply.close and opcode == OpCode.CLOSE_SESSION:
            self.close("its client has closed the session")
        elif reply.close:
            self.close(f"the reply to opcode {opcode} is error {reply.err}")
