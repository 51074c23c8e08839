"""One connection from the client's end: greeting, xids, heartbeats, replies, events. Sans-I/O.

The caller (`net/connection.py`) feeds bytes and times and takes bytes and events:

    side = ClientSide(greeting, watches, now=now)
    send(side.data_to_send(now))
    side.receive_data(data, now)       # then next_event() until None, then data_to_send()
    side.tick(now)                     # no later than next_deadline(); then the same

A peer's mistake becomes a `Broken` event, never an exception. This file routes messages and moves the stage
(`connection_stage.py`). The work is in `request_exchange.py`, `connection_setup.py` (from the greeting to the
first request), `watch_delivery.py` (events), `heartbeat.py` (time) and `incoming_reply.py` (partial frames).
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Any, Final, final

from zkrecipes.codec.framing import FrameBuffer, FrameTooLargeError
from zkrecipes.codec.messages import ConnectReply, PingRequest, WatchEventMessage
from zkrecipes.enums import ServerVersion, SpecialXid
from zkrecipes.errors import (
    ConnectionLossError,
    NotReadOnlyError,
    ProtocolError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.protocol.authentication import SASL_XID, Authentication
from zkrecipes.protocol.capabilities import Capabilities, CapabilityProbe, Question
from zkrecipes.protocol.connection_setup import ConnectionSetup
from zkrecipes.protocol.connection_stage import Stage, StageEvent, next_stage
from zkrecipes.protocol.events import (
    Broken,
    Challenged,
    ClientEvent,
    Connected,
    Greeting,
    PartialReply,
    Ticket,
)
from zkrecipes.protocol.greeting import greeting_frame, why_refused
from zkrecipes.protocol.heartbeat import Heartbeat
from zkrecipes.protocol.incoming_reply import PING_REPLY_SIZE, IncomingReply
from zkrecipes.protocol.request_exchange import RequestExchange
from zkrecipes.protocol.send_window import SendWindow
from zkrecipes.protocol.states import GIVE_UP_AFTER
from zkrecipes.protocol.watch_delivery import WatchDelivery
from zkrecipes.protocol.watch_registration import WatchRegistrations
from zkrecipes.protocol.watch_restore import WatchRestore
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["ClientSide"]

_REPLY_HEADER: Final = Struct("!iqi")
_PING_FRAME: Final = PingRequest().encode_frame(SpecialXid.PING)


@final
class ClientSide:
    """The client's end of one connection.

    Args:
        greeting: the first message.
        watches: the client's watch table; replies add to it and events take from it.
        now: the current time in seconds, on the clock of every later `now`.
        packet_size_max: the largest reply to accept, in bytes.
        guess: the capabilities of an earlier server at this address. It decides whether persistent watches
            are restored without a question.
        first_xid: the number of the first request.
        sasl_token: the first token of a SASL exchange, or None if there is no exchange.
        sasl_suspects: the things to check if the server refuses that exchange, because it gives no reason.
    """

    def __init__(
        self,
        greeting: Greeting,
        watches: WatchTable[Any],
        *,
        now: float,
        packet_size_max: int,
        guess: Capabilities | None = None,
        first_xid: int = 1,
        sasl_token: bytes | None = None,
        sasl_suspects: str = "",
    ) -> None:
        self.stage: Stage = Stage.GREETING
        self._greeting = greeting
        self._greeted_at = now
        self._connected: Connected
        self._closing_reason = ""
        self._events: deque[ClientEvent] = deque()
        self._control = [greeting_frame(greeting)]  # frames that go before requests
        self._heartbeat = Heartbeat(greeting.timeout, now)
        self._frames = FrameBuffer(packet_size_max)
        self._incoming = IncomingReply(self._frames, now)
        self.probe: CapabilityProbe = CapabilityProbe(guess)
        """The known capabilities of the server, and whether it has disproved them."""
        self._authentication = Authentication(sasl_token, sasl_suspects)
        self.registrations: WatchRegistrations = WatchRegistrations(watches)
        """The watches of the server at the other end."""
        self._restore = WatchRestore(watches, self.registrations)
        self._delivery = WatchDelivery(watches, self.registrations)
        self._exchange = RequestExchange(
            self._events, self._heartbeat, self.registrations, self.probe, first_xid, greeting.last_zxid
        )
        self._requests = self._exchange.queue
        self.window: SendWindow = self._requests.window
        self._setup = ConnectionSetup(
            greeting,
            authentication=self._authentication,
            exchange=self._exchange,
            probe=self.probe,
            restore=self._restore,
            control=self._control,
        )

    # --- the conversation ----------------------------------------------------------------------------------

    def send(self, ticket: Ticket, *, urgent: bool = False) -> None:
        """Queue a request; it leaves with the next `data_to_send`, once the connection is live.

        Args:
            ticket: the request; it comes back in a `Replied` event or in `leftover`.
            urgent: whether it goes before all queued requests, even if the window is full.
        """
        self._exchange.add(ticket, urgent=urgent)

    def data_to_send(self, now: float) -> bytes:
        """Return the bytes that are due, each once. After calling this they count as sent.

        Call it until it returns no bytes: many watches are restored in several pieces, so that the event
        loop can turn in between.
        """
        frames = self._control
        if self._may_send_requests():
            self._exchange.encode_due(frames, now)
        elif self.stage is Stage.AUTHENTICATING and not frames:
            frames += self._restore.encode_next()
        if not frames:
            return b""
        if self.stage is Stage.GREETING:
            self._greeted_at = now
        self._heartbeat.sent_at = now
        data = b"".join(frames)
        frames.clear()
        return data

    def receive_data(self, data: bytes, now: float) -> None:
        """Process received bytes. After calling this, take the events and send the bytes that are due."""
        if self.stage is Stage.DEAD or self._break_if_given_up(now):
            # Given up: the process slept longer than its session may live, so old bytes prove nothing.
            return
        self._heartbeat.heard(now)
        try:
            if len(data) == PING_REPLY_SIZE and self._frames.unfinished:
                self._incoming.look_for_ping(data)
            self._frames.feed(data)
            while not self.is_dead and (frame := self._frames.next_frame()) is not None:
                self._receive_frame(*frame)
            self._requests.adapt(now)
            self._incoming.note(now)
            if self.stage is Stage.CLOSING:
                self._end_if_idle()
        except FrameTooLargeError as error:
            if self._exchange.accepts_large_reply(error):
                self._frames.accept(error)
                self.receive_data(b"", now)
                return
            self._exchange.refuse_large_reply(error)
            self._break(error)
        except ProtocolError as error:
            self._break(error)

    def receive_eof(self) -> None:
        """Process the end of the stream."""
        if self.stage is Stage.GREETING and self.last_zxid > 0:
            # A server that is behind the client just closes (`ZooKeeperServer.processConnectRequest`).
            reason = f"closed right after the greeting, which named zxid 0x{self.last_zxid:x}"
        elif self._authentication.is_token_unanswered:
            reason = self._authentication.explain_close()
        else:
            reason = f"closed by the server while {self.stage.value}"
        self.lose(reason)

    def next_event(self) -> ClientEvent | None:
        """Remove the oldest event and return it; return None without one."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> float:
        """Return the time when `tick` must be called at the latest; never before the greeting is answered."""
        deadline = min(self._heartbeat.next_deadline(), self._exchange.answer_due_at())
        return float("inf") if self.is_dead else deadline

    def tick(self, now: float) -> None:
        """Act on the time. After calling this, take the events and send the bytes that are due."""
        self._heartbeat.advance(now)
        self._requests.adapt(now)
        if self.is_dead or self._break_if_given_up(now):
            return
        if self._heartbeat.is_silent(now):
            self.lose(self._heartbeat.describe(now))
        elif now >= self._exchange.answer_due_at():
            self.lose("the server did not answer the question about its version")
        elif self._heartbeat.is_ping_due(now):
            self._heartbeat.pinged(now)
            self._control.append(_PING_FRAME)

    def leftover(self) -> tuple[list[Ticket], list[Ticket]]:
        """Return, after `Broken`, the requests in flight, and those never sent, each in order."""
        return self._requests.leftover()

    # --- the caller's decisions ----------------------------------------------------------------------------

    def authenticate(self, scheme: str, credential: bytes) -> None:
        """Send one more credential on a connection that is attached; a refusal breaks the connection."""
        assert self.stage is not Stage.GREETING, "the greeting has its own credentials"
        if not self.is_dead:
            self._control.append(self._authentication.encode_credential(scheme, credential))

    def respond(self, token: bytes | None) -> None:
        """Answer the server's token (`Challenged`); None means that the exchange has succeeded."""
        if not self.is_dead:
            self._setup.respond(token)
            self._go_live_if_set_up()

    def refuse(self, reason: str) -> None:
        """End the connection because the SASL exchange has failed on the client's side."""
        self._break(self._authentication.refuse(reason))

    def retire(self, reason: str) -> None:
        """Send only urgent requests, and end the connection when all requests in flight are answered.

        So no write is left in doubt; queued requests go to the next connection.
        """
        if not self.is_dead:
            self._move(StageEvent.RETIRED)
            self._closing_reason = reason
            self.window.is_closed = True
            self._end_if_idle()

    def lose(self, reason: str) -> None:
        """End the connection because the stream failed or the caller gave it up."""
        self._break(ConnectionLossError(reason=reason))

    def suspended(self, seconds: float) -> None:
        """End the connection because the machine was suspended, and its clock stopped for this long.

        The bytes that wait on the stream are old and prove nothing.
        """
        self._heartbeat.suspended(seconds)
        self.lose(f"the machine was suspended for {seconds:.1f} seconds")

    def was_blocked(self, ran_at: float, now: float) -> None:
        """Note that the event loop did not run between `ran_at` and `now`. Call it before anything else.

        The next `tick` pings. The next bytes count as heard at `ran_at`, and silence counts from `now`.
        """
        self._heartbeat.was_blocked(ran_at, now)
        self.window.forget(now)

    # --- the state -----------------------------------------------------------------------------------------

    @property
    def is_dead(self) -> bool:
        """Whether the connection has ended."""
        return self.stage is Stage.DEAD

    @property
    def has_events(self) -> bool:
        """Whether `next_event` would return one."""
        return bool(self._events)

    @property
    def has_unsent(self) -> bool:
        """Whether `data_to_send` may return bytes."""
        is_due = self._requests.has_due() if self._may_send_requests() else self._restore.has_next
        return bool(self._control) or is_due

    @property
    def progress(self) -> object:
        """A value that changes with each step towards `Connected`."""
        tokens = self._authentication.is_token_unanswered
        credentials, batches = self._authentication.credentials_unanswered, self._restore.unanswered
        return self.stage, tokens, credentials, batches, self._requests.alone is not None

    @property
    def timeout(self) -> float:
        """The session timeout in seconds: the negotiated one; before that, the requested one."""
        return self._heartbeat.timeout

    @property
    def heard_at(self) -> float:
        """The time when the last byte was heard; meaningful once the session is attached."""
        return self._heartbeat.heard_at

    @property
    def answered_sent_at(self) -> float:
        """The time when the newest answered request, ping or greeting was sent; `-inf` before any answer."""
        return self._heartbeat.answered_sent_at

    @property
    def committed_sent_at(self) -> float:
        """The time when the newest successful write, which a quorum has committed, was sent."""
        return self._exchange.committed_sent_at

    @property
    def last_zxid(self) -> int:
        """The newest transaction seen, for the next connection's greeting."""
        return self._exchange.last_zxid

    @property
    def outstanding(self) -> int:
        """The number of requests that are queued or in flight."""
        return len(self._requests)

    @property
    def unfinished(self) -> int:
        """The number of buffered bytes that belong to an incomplete frame."""
        return self._frames.unfinished

    @property
    def partial_reply(self) -> PartialReply | None:
        """The incomplete reply to the oldest request in flight, or None."""
        return self._incoming.describe(self._requests.oldest)

    @property
    def capabilities(self) -> Capabilities:
        """The known capabilities of this server, as far as requests have needed them."""
        return self.probe.known

    @property
    def open_question(self) -> ServerVersion | None:
        """The version that an unanswered question was about, after `Broken`; None without a question."""
        alone = self._requests.alone
        return alone.version if isinstance(alone, Question) else None

    def _may_send_requests(self) -> bool:
        stage = self.stage
        return stage is Stage.LIVE or stage is Stage.CLOSING or self._setup.is_probing

    # --- receiving -----------------------------------------------------------------------------------------

    def _receive_frame(self, buffer: bytes, start: int, end: int) -> None:
        if self.stage is Stage.GREETING:
            self._receive_greeting_or_refusal(buffer, start, end)
            return
        body = start + _REPLY_HEADER.size
        if body > end:
            raise ProtocolError(f"a reply of {end - start} bytes is shorter than its header")
        xid, zxid, code = _REPLY_HEADER.unpack_from(buffer, start)
        if xid > 0:
            self._receive_numbered(xid, zxid, code, buffer, body, end)
        elif xid == SpecialXid.NOTIFICATION:
            message, _ = WatchEventMessage.read(buffer, body, end)
            is_restoring = self.stage is Stage.AUTHENTICATING
            self._events.extend(self._delivery.take(message, zxid, is_restoring=is_restoring))
        elif xid == SpecialXid.PING and self._heartbeat.ping_answered():
            reason = self._exchange.find_lost_reply()
            if reason is not None:
                self.lose(reason)
        elif xid == SpecialXid.AUTH and self._authentication.credentials_unanswered:
            self._break_or_go_live(self._authentication.receive_credential_reply(code))
        elif xid == SpecialXid.SET_WATCHES and self._restore.unanswered:
            self._break_or_go_live(self._setup.receive_restored(code))
        else:
            raise ProtocolError(f"a reply to the unknown xid {xid} arrived")

    def _receive_numbered(  # noqa: PLR0917 - the header is not worth a record: this is the hot path
        self, xid: int, zxid: int, code: int, buffer: bytes, start: int, end: int
    ) -> None:
        if xid == SASL_XID and self._authentication.is_token_unanswered:
            outcome = self._authentication.receive_token_reply(code, buffer, start, end)
            if isinstance(outcome, Challenged):
                self._events.append(outcome)
            else:
                self._break(outcome)
            return
        error = self._exchange.receive_reply(xid, zxid, code, buffer, start, end)
        if error is not None:
            self._break(error)
        elif self._setup.is_probing:
            self._setup.continue_if_known()
            self._go_live_if_set_up()

    def _receive_greeting_or_refusal(self, buffer: bytes, start: int, end: int) -> None:
        if end - start == _REPLY_HEADER.size:
            # The answer is a bare header, as for a refused write: to the server, making a session is a write.
            _, _, code = _REPLY_HEADER.unpack_from(buffer, start)
            hint = " and has no localSessionsEnabled" if code == NotReadOnlyError.code else ""
            self.lose(f"the server made no session: {error_from_code(code)}{hint}")
            return
        reply = ConnectReply.read(buffer, start, end)[0]
        refusal = why_refused(self._greeting, reply)
        if refusal is None:
            self._accept(reply)
        else:
            self._break(refusal)

    def _accept(self, reply: ConnectReply) -> None:
        self._connected = Connected(
            session_id=reply.session_id,
            password=bytes(16) if reply.password is None else reply.password,
            timeout=reply.timeout_ms / 1000,
            read_only=reply.read_only is True,
            sent_at=self._greeted_at,
        )
        waited = self._heartbeat.heard_at - self._greeted_at
        self._authentication.session_id = reply.session_id
        self._heartbeat.begin(self._connected.timeout, self._greeted_at)
        self.window.timeout = self._connected.timeout
        self.window.round_trip = max(0.0, waited)
        if self._greeting.session_id != 0 and waited >= self._connected.timeout * GIVE_UP_AFTER:
            # The process was stopped, and the session may have ended since. (Making a new session may take
            # longer.)
            self.lose(f"the answer to the greeting was read {waited:.1f} seconds after it")
        else:
            self._move(StageEvent.ACCEPTED)
            self.respond(self._authentication.first_token)

    # --- changes of the stage ------------------------------------------------------------------------------

    def _move(self, event: StageEvent) -> None:
        """Change the stage. This method is the only writer."""
        self.stage = next_stage(self.stage, event)

    def _break_or_go_live(self, error: ZooKeeperError | None) -> None:
        if error is not None:
            self._break(error)
        else:
            self._go_live_if_set_up()

    def _go_live_if_set_up(self) -> None:
        if self.stage is Stage.AUTHENTICATING and self._setup.is_done:
            self._move(StageEvent.SET_UP)
            self._events.append(self._connected)
            self._events.extend(self._delivery.release())

    def _end_if_idle(self) -> None:
        if not self.is_dead and not self._requests.is_any_in_flight:
            self.lose(self._closing_reason)

    def _break_if_given_up(self, now: float) -> bool:
        """Whether the session may have ended by now; if so, end the connection."""
        if not self._heartbeat.is_given_up(now):
            return False
        self.lose(self._heartbeat.describe(now))
        return True

    def _break(self, error: ZooKeeperError) -> None:
        if not self.is_dead:
            self._move(StageEvent.ENDED)
            self._control.clear()
            self._events.append(Broken(error))
