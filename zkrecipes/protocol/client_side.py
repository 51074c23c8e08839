"""One connection from the client's end: greeting, xids, heartbeats, replies, events. Sans-I/O.

The driver (`net/connection.py`) feeds bytes and times and takes bytes and events:

    side = ClientSide(greeting, watches, now=now)
    send(side.data_to_send(now))
    side.receive_data(data, now)       # then next_event() until None, then data_to_send()
    side.tick(now)                     # no later than next_deadline(); then the same

What the peer does wrong becomes a `Broken` event, never an exception. Stages: greeting, authenticating
(SASL, then credentials, then the watches of the previous connection), live, dead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from struct import Struct
from typing import Any, Final, final

from zkrecipes.codec.framing import FrameBuffer, FrameTooLargeError
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AuthRequest,
    ConnectReply,
    PingRequest,
    SASLReply,
    SASLRequest,
    SetWatches2Request,
    SetWatchesRequest,
    WatchEventMessage,
)
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import EventType, ServerVersion, SpecialXid
from zkrecipes.errors import (
    AuthFailedError,
    BadArgumentsError,
    ConnectionLossError,
    NotReadOnlyError,
    PacketTooLargeError,
    ProtocolError,
    SessionError,
    SessionMovedError,
    UnimplementedError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.protocol.capabilities import ANSWERED_WITHIN, Capabilities, Question, questions_for
from zkrecipes.protocol.events import (
    Arriving,
    Broken,
    Challenged,
    ClientEvent,
    Connected,
    Greeting,
    Replied,
    Ticket,
    WatchEvent,
    WatchFired,
)
from zkrecipes.protocol.greeting import greeting_frame, why_refused
from zkrecipes.protocol.heartbeat import Heartbeat
from zkrecipes.protocol.request_queue import RequestQueue
from zkrecipes.protocol.send_window import SendWindow
from zkrecipes.protocol.states import GIVE_UP_AFTER
from zkrecipes.protocol.watch_registration import WatchRegistrations
from zkrecipes.protocol.watch_restore import set_watches_requests
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchKind, WatchTable

__all__ = ["ClientSide", "Stage"]

SetWatches = SetWatchesRequest | SetWatches2Request

_REPLY_HEADER: Final = Struct("!iqi")
_FRAME_HEAD: Final = Struct("!iiqi")
_PING_REPLY_SIZE: Final = _FRAME_HEAD.size
_PING_FRAME: Final = PingRequest().encode_frame(SpecialXid.PING)
# A ping or a check that becomes due waits until the stream has taken what it was handed: so many bytes at a
# time, or one frame.
_SEND_SIZE_MAX: Final = 64 * 1024
# Tokens go one at a time and before any request, so one number does for all of them.
_SASL_XID: Final = 1


class Stage(Enum):
    """How far a connection has come."""

    GREETING = "greeting"
    """The server has not answered the greeting."""
    AUTHENTICATING = "authenticating"
    """It has; credentials and watches are on their way."""
    LIVE = "live"
    """Requests flow."""
    DEAD = "dead"
    """`Broken` was the last event."""


@final
class ClientSide:
    """The client's end of one connection.

    Args:
        greeting: what to say first.
        watches: the client's watch table; replies add to it and events take from it.
        now: the current time in seconds, on the clock of every later `now`.
        packet_size_max: the largest reply to accept, in bytes.
        guess: what a server at this address could do before. Persistent watches are set again by it; if that
            breaks the connection, the guess was wrong.
        first_xid: the number of the first request.
        sasl_token: the first token of a SASL exchange; None where there is none.
        sasl_suspects: what to look at when the server refuses that exchange, for it gives no reason.
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
        self.last_zxid: int = greeting.last_zxid
        """The newest transaction seen, for the next connection's greeting."""
        self.committed_sent_at: float = float("-inf")
        """When the newest write that succeeded, so that a quorum has committed it, was sent."""
        self._greeting = greeting
        self._greeted_at = now
        self._connected: Connected
        self._watches = watches
        guess = guess or Capabilities()
        self._may_guess = guess.at_least >= ServerVersion.V3_6
        self.capabilities: Capabilities = Capabilities(below=guess.below)
        """What this server is known to have, as far as requests have needed it."""
        self.is_surprising: bool = False
        """Whether it refused an operation that it was taken to have."""
        self._asked: set[ServerVersion] = set()
        self._is_learning = self._is_guess_tested = False
        self._sasl_token = sasl_token
        self._sasl_suspects = sasl_suspects
        self._is_token_unanswered = False
        self._auths_unanswered = self._rearmings_unanswered = 0
        self._restoring: Iterator[SetWatches] = iter(())
        self._next_restore: SetWatches | None = None
        self._fired_early: dict[tuple[EventType, str], WatchEvent] = {}
        self.registrations: WatchRegistrations = WatchRegistrations(watches)
        """What the server watches for the client."""
        self._heartbeat = Heartbeat(greeting.timeout, now)
        self._frames = FrameBuffer(packet_size_max)
        self._events: deque[ClientEvent] = deque()
        self._requests = RequestQueue(first_xid)
        self._retires_because = ""
        self._arriving_xid: int | None = None
        self._arriving_since = now
        self._pings_inside = 0
        self.window: SendWindow = self._requests.window
        self._control = [greeting_frame(greeting)]

    # --- what the driver calls -----------------------------------------------------------------------------

    def send(self, ticket: Ticket, *, urgent: bool = False) -> None:
        """Queue a request; it leaves with the next `data_to_send`, once the connection is live.

        Args:
            ticket: the request; it comes back in a `Replied` event or in `leftover`.
            urgent: before whatever is queued, and whether the window is full or not.
        """
        if ticket.requirement is not None:
            self._ask(ticket.requirement.version)
        self._requests.add(ticket, urgent=urgent)

    def data_to_send(self, now: float) -> bytes:
        """The bytes that are due, each once. After calling this they count as sent.

        Call it until it gives nothing: many watches are set again in several pieces, so that the loop can
        turn in between.
        """
        frames = self._control
        if self.stage is Stage.LIVE or self._is_learning:
            self._encode_queued(frames, now)
        elif self.stage is Stage.AUTHENTICATING and not frames:
            self._encode_restore(frames)
        if not frames:
            return b""
        if self.stage is Stage.GREETING:
            self._greeted_at = now
        self._control = []
        self._heartbeat.sent_at = now
        return b"".join(frames)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the stream. After calling this, take the events and send what is due."""
        if self.stage is Stage.DEAD or self._is_given_up(now):
            # Given up: the process slept longer than its session may live, so old bytes are no proof of life.
            return
        self._heartbeat.heard(now)
        try:
            if len(data) == _PING_REPLY_SIZE and self._frames.unfinished:
                self._look_for_ping_inside(data)
            self._frames.feed(data)
            while not self.is_dead and (frame := self._frames.next_frame()) is not None:
                self._receive_frame(*frame)
            self._requests.adapt(now)
            self._note_arriving(now)
            if self._retires_because:
                self._end_if_idle()
        except FrameTooLargeError as error:
            self._refuse_large_reply(error)
        except ProtocolError as error:
            self._break(error)

    def receive_eof(self) -> None:
        """The stream ended."""
        greeting = self._greeting
        if self.stage is Stage.GREETING and greeting.last_zxid > 0:
            # A server that is behind the client closes without a word
            # (`ZooKeeperServer.processConnectRequest`).
            reason = f"closed right after the greeting, which named zxid 0x{greeting.last_zxid:x}"
        elif self._is_token_unanswered:
            reason = "closed by the server during the SASL authentication: older servers refuse it so"
            reason += self._what_to_look_at()
        else:
            reason = f"closed by the server while {self.stage.value}"
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """The stream failed, or the driver gives the connection up."""
        self._break(ConnectionLossError(reason=reason))

    def suspended(self, seconds: float) -> None:
        """The machine was, and its clock stood; what waits on the stream is old and proves nothing."""
        self._heartbeat.suspended(seconds)
        self.lose(f"the machine was suspended for {seconds:.1f} seconds")

    def was_blocked(self, ran_at: float, now: float) -> None:
        """Note that the driver's loop did not run between `ran_at` and `now`. Call it before anything else.

        The next `tick` pings. What is received next counts as heard at `ran_at`, and silence from `now`.
        """
        self._heartbeat.was_blocked(ran_at, now)
        self.window.forget(now)

    def retire(self, reason: str) -> None:
        """Send no more requests but urgent ones, and end the connection once all that were sent are answered.

        So nobody is left in doubt about a write; what waits goes to the next connection.
        """
        self._retires_because = reason
        self.window.is_closed = True
        self._end_if_idle()

    def next_event(self) -> ClientEvent | None:
        """The oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> float:
        """When `tick` must be called at the latest; before the greeting is answered, never."""
        return float("inf") if self.is_dead else min(self._heartbeat.next_deadline(), self._answer_due_at())

    def tick(self, now: float) -> None:
        """Time has passed. After calling this, take the events and send what is due."""
        self._heartbeat.advance(now)
        self._requests.adapt(now)
        if self.is_dead or self._is_given_up(now):
            return
        if self._heartbeat.is_silent(now):
            self.lose(self._heartbeat.describe(now))
        elif now >= self._answer_due_at():
            self.lose("the server did not answer what it can do")
        elif self._heartbeat.is_ping_due(now):
            self._heartbeat.pinged(now)
            self._control.append(_PING_FRAME)

    def authenticate(self, scheme: str, credential: bytes) -> None:
        """Send one more credential on a connection that is attached; a refusal breaks the connection."""
        assert self.stage is not Stage.GREETING, "the greeting has its own credentials"
        if not self.is_dead:
            self._control.append(AuthRequest(0, scheme, credential).encode_frame(SpecialXid.AUTH))
            self._auths_unanswered += 1

    def respond(self, token: bytes | None) -> None:
        """Answer the server's token (`Challenged`); with None the exchange is over and has succeeded."""
        if self.is_dead:
            return
        if token is None:
            self._introduce()
        else:
            self._control.append(SASLRequest(token).encode_frame(_SASL_XID))
            self._is_token_unanswered = True

    def refuse(self, reason: str) -> None:
        """The SASL exchange has failed on our side: the server is not to be trusted, or not understood."""
        self._break(AuthFailedError(self._connected.session_id, reason=reason))

    def leftover(self) -> tuple[list[Ticket], list[Ticket]]:
        """After `Broken`: the requests in flight, and those never sent, each in order."""
        return self._requests.leftover()

    @property
    def answered_sent_at(self) -> float:
        """When the newest answered request, ping or greeting was sent; `-inf` before any was answered."""
        return self._heartbeat.answered_sent_at

    @property
    def timeout(self) -> float:
        """The session timeout in seconds: as negotiated; before that, as asked for."""
        return self._heartbeat.timeout

    @property
    def heard_at(self) -> float:
        """When a byte was heard last; of use once the session is attached."""
        return self._heartbeat.heard_at

    @property
    def arriving(self) -> Arriving | None:
        """The reply whose end has not come, or None."""
        incoming, oldest = self._frames.incoming, self._requests.oldest
        if incoming is None or oldest is None or incoming[0] != oldest.xid:
            return None
        _, size, received = incoming
        return Arriving(oldest, size, received, self._arriving_since)

    @property
    def has_unsent(self) -> bool:
        """Whether `data_to_send` may give something."""
        if self.stage is Stage.LIVE or self._is_learning:
            return bool(self._control) or self._requests.has_due()
        return bool(self._control) or self._next_restore is not None

    @property
    def progress(self) -> object:
        """A value that changes with each step towards `Connected`."""
        is_asking = self._requests.alone is not None
        waits = (self._is_token_unanswered, self._auths_unanswered, self._rearmings_unanswered, is_asking)
        return self.stage, waits

    @property
    def has_events(self) -> bool:
        """Whether `next_event` would give one."""
        return bool(self._events)

    @property
    def is_dead(self) -> bool:
        """Whether the connection has ended."""
        return self.stage is Stage.DEAD

    @property
    def outstanding(self) -> int:
        """How many requests are queued or in flight."""
        return len(self._requests)

    @property
    def unfinished(self) -> int:
        """How many bytes are held of a message whose end has not come."""
        return self._frames.unfinished

    # --- sending -------------------------------------------------------------------------------------------

    def _end_if_idle(self) -> None:
        if not self.is_dead and not self._requests.is_any_in_flight:
            self.lose(self._retires_because)

    def _encode_queued(self, frames: list[bytes], now: float) -> None:
        requests, registrations = self._requests, self.registrations
        requests.adapt(now)
        size = 0
        for ticket in requests.take_due():
            if ticket.is_dropped:
                continue
            if (ticket.requirement is not None or ticket.is_alone) and not self._can_be_sent(ticket):
                continue
            concerns_watch = ticket.watcher is not None
            if concerns_watch and not registrations.decide(ticket):
                self._events.append(Replied(ticket, None, None, 0))  # as good as done
                continue
            try:
                frame = ticket.request.encode_frame(requests.next_xid)
            except (TypeError, ValueError) as error:
                # Who makes requests checks their values; what slips through must not end the client.
                self._refuse_request(ticket, error)
                continue
            frames.append(frame)
            ticket.request_size = len(frame)
            requests.sent(ticket, now)
            if concerns_watch:
                registrations.sent(ticket)
            size += len(frame)
            if size >= _SEND_SIZE_MAX:
                break

    def _encode_restore(self, frames: list[bytes]) -> None:
        request = self._next_restore
        if request is not None:
            frames.append(request.encode_frame(SpecialXid.SET_WATCHES))
            self.registrations.restored(request)
            self._is_guess_tested |= isinstance(request, SetWatches2Request)
            self._rearmings_unanswered += 1
            self._next_restore = next(self._restoring, None)

    def _can_be_sent(self, ticket: Ticket) -> bool:
        """Whether the server has what the request needs; the questions before it have settled that.

        A question that others have settled meanwhile is left out.
        """
        if isinstance(ticket, Question):
            return self.capabilities.has(ticket.version) is None
        requirement = ticket.requirement
        if requirement is None or self.capabilities.has(requirement.version):
            return True
        self._events.append(Replied(ticket, None, requirement.refusal(ticket.request.path), 0))
        return False

    def _refuse_request(self, ticket: Ticket, error: Exception) -> None:
        refused = BadArgumentsError(ticket.request.path, detail=str(error))
        refused.__cause__ = error
        self._events.append(Replied(ticket, None, refused, 0))

    # --- receiving -----------------------------------------------------------------------------------------

    def _note_arriving(self, now: float) -> None:
        incoming = self._frames.incoming
        xid = None if incoming is None else incoming[0]
        if xid != self._arriving_xid:
            self._arriving_xid, self._arriving_since = xid, now
            self._pings_inside = 0

    def _look_for_ping_inside(self, data: bytes) -> None:
        """End a connection on which a frame announced more bytes than the server sent.

        All that follows would be taken for its rest, and as bytes arrive, nothing else would end the wait.
        """
        size, xid, _, code = _FRAME_HEAD.unpack(data)
        if (size, xid, code) == (_REPLY_HEADER.size, SpecialXid.PING, 0):
            self._pings_inside += 1
            if self._pings_inside > 1:  # one could be the data of a znode
                raise ProtocolError("pings were answered in the middle of a reply: its length was wrong")

    def _receive_frame(self, buffer: bytes, start: int, end: int) -> None:
        if self.stage is Stage.GREETING:
            self._receive_greeting_or_refusal(buffer, start, end)
            return
        body = start + _REPLY_HEADER.size
        if body > end:
            raise ProtocolError(f"a reply of {end - start} bytes is shorter than its header")
        xid, zxid, code = _REPLY_HEADER.unpack_from(buffer, start)
        if self._is_token_unanswered and xid == _SASL_XID:
            self._receive_token(code, buffer, body, end)
        elif xid > 0:
            if self._requests.alone is not None and self._requests.is_due_alone(xid):
                self._learn(self._requests.answered(xid), code)
            else:
                self._receive_reply(xid, zxid, code, buffer, body, end)
        elif xid == SpecialXid.NOTIFICATION:
            self._receive_notification(WatchEventMessage.read(buffer, body, end)[0], zxid)
        elif xid == SpecialXid.PING and self._heartbeat.ping_answered():
            self._look_for_lost_reply()
        elif xid == SpecialXid.AUTH and self._auths_unanswered:
            self._receive_auth(code)
        elif xid == SpecialXid.SET_WATCHES and self._rearmings_unanswered:
            self._receive_rearming(code)
        else:
            raise ProtocolError(f"a reply to the unknown xid {xid}")

    def _look_for_lost_reply(self) -> None:
        """End the connection if a ping is answered that was sent a whole timeout after the oldest request.

        A later reply would show the loss, too, but the window may let no more requests leave.
        """
        oldest = self._requests.oldest
        if oldest is None:
            return
        waited = self._heartbeat.answered_sent_at - oldest.sent_at
        if waited >= ANSWERED_WITHIN * self._heartbeat.timeout:
            name = type(oldest.request).__name__
            self.lose(f"the server did not answer {name} within {waited:.1f} seconds, but answers pings")

    def _receive_reply(  # noqa: PLR0917 - the header is not worth a record: this is the hot path
        self, xid: int, zxid: int, code: int, buffer: bytes, start: int, end: int
    ) -> None:
        requests = self._requests
        ticket = requests.refused(xid) if code == NotReadOnlyError.code else requests.answered(xid)
        ticket.reply_size = end - start
        reply = error = None
        if code == 0:
            try:
                reply, _ = ticket.request.reply.read(buffer, start, end)
            except ProtocolError as why:
                self._refuse_malformed_reply(ticket, zxid, why)
                return
            if ticket.request.is_write:
                if isinstance(reply, MultiReply) and reply.has_failed_with(SessionMovedError.code):
                    self._lose_moved_session(ticket, zxid)
                    return
                self.committed_sent_at = ticket.sent_at
        else:
            error = error_from_code(code, ticket.request.path)
            self.is_surprising |= isinstance(error, UnimplementedError)
        self._events.append(Replied(ticket, reply, error, zxid))
        if ticket.watcher is not None:
            self._receive_watch(ticket, code, reply, zxid)
        if ticket.sent_at > self._heartbeat.answered_sent_at:
            self._heartbeat.answered(ticket.sent_at)
        if self.window.is_limited:
            self.window.saw_reply(end - start)
        if zxid > self.last_zxid:  # noqa: PLR1730 - half the time of a call
            # Only here: the zxid of an event must not count as seen, as more events of the same transaction
            # may follow, and would not be sent again to a client that claims to have seen it.
            self.last_zxid = zxid
        if isinstance(error, SessionError):
            self._break(error)

    def _receive_watch(self, ticket: Ticket, code: int, reply: Record | None, zxid: int) -> None:
        registrations = self.registrations
        self._events.extend(registrations.replied(ticket, code, reply, zxid))
        for repair in registrations.repairs:
            self._requests.add(repair, urgent=False)
        registrations.repairs.clear()

    # --- what the server can do ----------------------------------------------------------------------------

    def _ask(self, version: ServerVersion) -> None:
        """Queue the questions that settle whether the server is of this version, each once."""
        for question in questions_for(version, self.capabilities):
            if question.version not in self._asked:
                self._asked.add(question.version)
                self._requests.add(question, urgent=False)

    def _learn(self, question: Ticket, code: int) -> None:
        """Take the answer to a question. Watches are set again by `last_zxid`, so that stays."""
        assert isinstance(question, Question), "nothing else is alone"
        self._heartbeat.answered(question.sent_at)
        error = error_from_code(code) if code != 0 else None
        if isinstance(error, SessionError):
            self._break(error)
            return
        has_it = question.is_yes(code)
        self.capabilities = self.capabilities.learned(question.version, has_it=has_it)
        if isinstance(error, UnimplementedError):
            # It closes the connection now, so nothing must follow.
            name = type(question.request).__name__
            self.lose(f"the server does not know {name} and closes the connection on it")
        elif self._is_learning and self.capabilities.has(ServerVersion.V3_6) is not None:
            self._is_learning = False
            self._set_watches_again()

    def _answer_due_at(self) -> float:
        """When an unanswered question ends the connection: no later reply would show that it is lost."""
        alone = self._requests.alone
        return float("inf") if alone is None else alone.sent_at + ANSWERED_WITHIN * self._heartbeat.timeout

    @property
    def open_question(self) -> ServerVersion | None:
        """After `Broken`: the version that the unanswered question was about, if there was one."""
        alone = self._requests.alone
        return alone.version if isinstance(alone, Question) else None

    def _receive_notification(self, message: WatchEventMessage, zxid: int) -> None:
        if message.type not in FIRES:
            # A change of state, which the connection itself tells better; the removal of a watch, which a
            # reply tells; or a newer server's event, which nobody can have asked for.
            return
        if not message.path.startswith("/"):
            raise ProtocolError(f"a watch event of the impossible path {message.path[:100]!r}")
        event = WatchEvent(EventType(message.type), message.path, zxid if zxid > 0 else None)
        self._take_event(event)
        untold = self.registrations.untold(event)
        if untold is not None:
            self._take_event(untold)

    def _take_event(self, event: WatchEvent) -> None:
        if self.stage is Stage.AUTHENTICATING:
            self._keep_early(event)
        else:
            self.registrations.hold(event)
            self._fire(event)

    def _keep_early(self, event: WatchEvent) -> None:
        """A re-armed watch fired before the connection is live; if it never is, the watch has not fired.

        Persistent watches need not know: with `Connected` they are told to read everything again.
        """
        kinds = ONE_SHOT.intersection(FIRES[event.type])
        if any(self._watches.is_watched(kind, event.path) for kind in kinds):
            self._fired_early[event.type, event.path] = event

    def _fire(self, event: WatchEvent, *, is_replay: bool = False) -> None:
        owners = self._watches.fire(event.type, event.path, is_replay=is_replay)
        if owners:
            self._events.append(WatchFired(owners, event))
        self.registrations.fired(event)

    # --- greeting and authenticating -----------------------------------------------------------------------

    def _receive_greeting_or_refusal(self, buffer: bytes, start: int, end: int) -> None:
        if end - start == _REPLY_HEADER.size:
            self._receive_refusal(buffer, start)
        else:
            self._receive_greeting(ConnectReply.read(buffer, start, end)[0])

    def _receive_greeting(self, reply: ConnectReply) -> None:
        refusal = why_refused(self._greeting, reply)
        if refusal is not None:
            self._break(refusal)
            return
        self._connected = Connected(
            session_id=reply.session_id,
            password=bytes(16) if reply.password is None else reply.password,
            timeout=reply.timeout_ms / 1000,
            read_only=reply.read_only is True,
            sent_at=self._greeted_at,
        )
        self._heartbeat.begin(self._connected.timeout, self._greeted_at)
        self.window.timeout = self._connected.timeout
        self.window.round_trip = max(0.0, self._heartbeat.heard_at - self._greeted_at)
        if self._greeting.session_id != 0 and self._has_slept():
            return
        self.stage = Stage.AUTHENTICATING
        if self._sasl_token is None:
            self._introduce()
        else:
            self.respond(self._sasl_token)

    def _receive_refusal(self, buffer: bytes, start: int) -> None:
        """A bare header in place of the greeting's answer, for to make a session is a write.

        So a read-only server refuses it that makes no local sessions (`ReadOnlyRequestProcessor`, 3.8).
        """
        _, _, code = _REPLY_HEADER.unpack_from(buffer, start)
        hint = " and has no localSessionsEnabled" if code == NotReadOnlyError.code else ""
        self.lose(f"it makes no session: {error_from_code(code)}{hint}")

    def _receive_token(self, code: int, buffer: bytes, start: int, end: int) -> None:
        self._is_token_unanswered = False
        if code == 0:
            self._events.append(Challenged(SASLReply.read(buffer, start, end)[0].token))
            return
        error = error_from_code(code)
        if isinstance(error, AuthFailedError):
            self.refuse(f"the server refused the SASL authentication{self._what_to_look_at()}")
        elif isinstance(error, SessionError):
            self._break(error)
        else:
            self.refuse(f"the server failed in the SASL authentication: {error}")

    def _what_to_look_at(self) -> str:
        return f"; look at {self._sasl_suspects}; its log says why" if self._sasl_suspects else ""

    def _introduce(self) -> None:
        """Send what goes before any request. A server may refuse even that to whom SASL has not proven."""
        for scheme, credential in self._greeting.credentials:
            self.authenticate(scheme, credential)
        is_persistent = self._watches.paths(WatchKind.PERSISTENT) or self._watches.paths(WatchKind.RECURSIVE)
        if is_persistent and not self._may_guess and self.capabilities.has(ServerVersion.V3_6) is None:
            self._is_learning = True
            self._ask(ServerVersion.V3_6)
        else:
            self._set_watches_again()

    def _set_watches_again(self) -> None:
        version = ServerVersion.V3_6 if self._may_guess else self.capabilities.at_least
        self._restoring = set_watches_requests(self._watches, self.last_zxid, version)
        self._next_restore = next(self._restoring, None)
        self._encode_restore(self._control)
        self._go_live_when_ready()

    def _receive_auth(self, code: int) -> None:
        self._auths_unanswered -= 1
        if code != 0:
            session_id = self._connected.session_id
            self._break(AuthFailedError(session_id, reason="the server refused the credentials"))
        else:
            self._go_live_when_ready()

    def _receive_rearming(self, code: int) -> None:
        if code != 0:
            error = error_from_code(code)
            if isinstance(error, SessionError):
                self._break(error)
            else:  # it is overloaded (ThrottledOp), say: the next one may do it
                self.lose(f"the server did not set the watches again: {error}")
            return
        self._rearmings_unanswered -= 1
        if self._is_guess_tested and not self._rearmings_unanswered and self._next_restore is None:
            self.capabilities = self.capabilities.learned(ServerVersion.V3_6, has_it=True)
        self._go_live_when_ready()

    def _go_live_when_ready(self) -> None:
        is_waiting = self._auths_unanswered or self._rearmings_unanswered or self._is_learning
        if self.stage is Stage.LIVE or is_waiting:
            return
        if self._next_restore is not None:
            return
        self.stage = Stage.LIVE
        self._events.append(self._connected)
        for event in self._fired_early.values():
            self._fire(event, is_replay=True)
        self._fired_early.clear()

    # --- ending --------------------------------------------------------------------------------------------

    def _has_slept(self) -> bool:
        """Whether the process slept so long after its greeting that the session may have ended again.

        Only a new session may take so long to be made.
        """
        waited = self._heartbeat.heard_at - self._greeted_at
        if waited < self._connected.timeout * GIVE_UP_AFTER:
            return False
        self.lose(f"the answer to the greeting was read {waited:.1f} seconds after it")
        return True

    def _is_given_up(self, now: float) -> bool:
        """Whether the session may be gone by now; the connection has ended then."""
        if not self._heartbeat.is_given_up(now):
            return False
        self.lose(self._heartbeat.describe(now))
        return True

    def _refuse_large_reply(self, error: FrameTooLargeError) -> None:
        if self._requests.is_due(error.xid):
            ticket = self._requests.answered(error.xid)
            name = type(ticket.request).__name__
            refused = PacketTooLargeError(name, path=ticket.request.path, size=error.size, limit=error.limit)
            self._events.append(Replied(ticket, None, refused, 0))
        self._break(error)

    def _refuse_malformed_reply(self, ticket: Ticket, zxid: int, why: ProtocolError) -> None:
        # It is answered, though: whoever asks again may get the same answer for ever.
        of = f"{type(ticket.request).__name__} {ticket.request.path or ''}".rstrip()
        error = ProtocolError(f"the reply to {of} is malformed: {why}")
        self._events.append(Replied(ticket, None, error, zxid))
        self._break(error)

    def _lose_moved_session(self, multi: Ticket, zxid: int) -> None:
        """No write can succeed on this connection any longer, as the leader takes another one for the newest.

        Other servers close it without an answer; those before 3.5 leave that to the client.
        """
        error = ConnectionLossError("Multi", reason="the session has moved to another connection")
        self._events.append(Replied(multi, None, error, zxid))
        self._break(error)

    def _break(self, error: ZooKeeperError) -> None:
        if not self.is_dead:
            self.stage = Stage.DEAD
            self._control.clear()
            self._events.append(Broken(error))
