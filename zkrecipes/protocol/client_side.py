"""One connection from the client's end: greeting, xids, heartbeats, replies, events. Sans-I/O.

The driver (`net/connection.py`) feeds bytes and times and takes bytes and events:

    side = ClientSide(greeting, watches, now=now)
    send(side.data_to_send(now))
    side.receive_data(data, now)       # then next_event() until None, then data_to_send()
    side.tick(now)                     # no later than next_deadline(); then the same

What the peer does wrong becomes a `Broken` event, never an exception. Stages: greeting, authenticating
(credentials, then the watches of the previous connection), live, dead.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import chain
from struct import Struct
from typing import Any, Final, final

from zkrecipes.codec.framing import FrameBuffer, FrameTooLargeError
from zkrecipes.codec.messages import (
    AddWatchRequest,
    AuthRequest,
    ConnectReply,
    ConnectRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    PingRequest,
    Request,
    WatchEventMessage,
)
from zkrecipes.enums import AddWatchMode, EventType, ServerGeneration, SpecialXid
from zkrecipes.errors import (
    AuthFailedError,
    ConnectionLossError,
    NoNodeError,
    PacketTooLargeError,
    ProtocolError,
    SessionExpiredError,
    SessionMovedError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.protocol.events import (
    Broken,
    ClientEvent,
    Connected,
    Greeting,
    Replied,
    Ticket,
    WatchEvent,
    WatchFired,
)
from zkrecipes.protocol.rearming import rearming_requests
from zkrecipes.protocol.send_window import SendWindow
from zkrecipes.protocol.states import GIVE_UP_AFTER, PING_AFTER, SILENT_AFTER
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["ClientSide", "Stage"]

_LENGTH: Final = Struct("!i")
_REPLY_HEADER: Final = Struct("!iqi")
_XID_MAX: Final = 2**31 - 1
_PING_FRAME: Final = PingRequest().encode_frame(SpecialXid.PING)
_NO_NODE: Final = NoNodeError.code


class Stage(Enum):
    """How far a connection has come."""

    GREETING = "greeting"
    AUTHENTICATING = "authenticating"
    LIVE = "live"
    DEAD = "dead"


@final
class ClientSide:
    """The client's end of one connection.

    Args:
        greeting: what to say first.
        watches: the client's watch table; replies add to it and events take from it.
        now: the current time in seconds, on the clock of every later `now`.
        packet_size_max: the largest reply to accept, in bytes.
        generation: what the server can do, where it is known; persistent watches need it.
    """

    def __init__(
        self,
        greeting: Greeting,
        watches: WatchTable[Any],
        *,
        now: float,
        packet_size_max: int,
        generation: ServerGeneration | None = None,
    ) -> None:
        self.stage = Stage.GREETING
        self.last_zxid = greeting.last_zxid
        """The newest transaction seen, for the next connection's greeting."""
        self.answered_sent_at = float("-inf")
        """When the newest answered request was sent."""
        self.committed_sent_at = float("-inf")
        """The same of the newest write that succeeded, so that a quorum has committed it."""
        self.timeout = greeting.timeout
        self.window = SendWindow()
        self._greeting = greeting
        self._watches = watches
        self._generation = generation
        self._frames = FrameBuffer(packet_size_max)
        self._events: deque[ClientEvent] = deque()
        self._queue: deque[Ticket] = deque()
        self._in_flight: deque[Ticket] = deque()
        self._pings: deque[float] = deque()
        self._unanswered_set_up = 0
        self._accepted: ConnectReply | None = None
        self._next_xid = 1
        self._greeted_at = self._sent_at = self._heard_at = now
        self._control: list[bytes] = [self._greeting_frame()]

    # --- what the driver calls -----------------------------------------------------------------------------

    def send(self, ticket: Ticket, *, urgent: bool = False) -> None:
        """Queue a request; it leaves with the next `data_to_send`, once the connection is live.

        Args:
            ticket: the request; it comes back in a `Replied` event or in `leftover`.
            urgent: before whatever is queued, and whether the window is full or not.
        """
        if urgent:
            self._queue.appendleft(ticket)
            self.window.let_pass += 1
        else:
            self._queue.append(ticket)

    def data_to_send(self, now: float) -> bytes:
        """The bytes that are due, each once. After calling this they count as sent."""
        frames = self._control
        if self.stage is Stage.LIVE and self._queue:
            self._encode_queue(frames, now)
        elif not frames:
            return b""
        if not frames:
            return b""
        self._control = []
        self._sent_at = now
        return b"".join(frames)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the stream. After calling this, take the events and send what is due."""
        if self.stage is Stage.DEAD:
            return
        if now >= self._give_up_at():
            # The process slept longer than its session may live: old bytes are no proof of life.
            self._break(self._silence(now))
            return
        self._heard_at = now
        try:
            self._frames.feed(data)
            while not self.is_dead and (frame := self._frames.next_frame()) is not None:
                self._receive_frame(*frame)
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
        else:
            reason = f"closed by the server while {self.stage.value}"
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """The stream failed, or the driver gives the connection up."""
        self._break(ConnectionLossError(reason=reason))

    def next_event(self) -> ClientEvent | None:
        """The oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> float:
        """When `tick` must be called at the latest."""
        if self.stage is Stage.DEAD or self._accepted is None:
            return float("inf")
        return min(
            self._sent_at + self.timeout * PING_AFTER,
            self._heard_at + self.timeout * SILENT_AFTER,
            self._give_up_at(),
        )

    def tick(self, now: float) -> None:
        """Time has passed. After calling this, take the events and send what is due."""
        if self.stage is Stage.DEAD or self._accepted is None:
            return
        if now >= self._give_up_at() or now >= self._heard_at + self.timeout * SILENT_AFTER:
            self._break(self._silence(now))
        elif now >= self._sent_at + self.timeout * PING_AFTER:
            self._pings.append(now)
            self._control.append(_PING_FRAME)

    def authenticate(self, scheme: str, credential: bytes) -> None:
        """Send one more credential; a refusal breaks the connection."""
        self._control.append(AuthRequest(0, scheme, credential).encode_frame(SpecialXid.AUTH))

    def leftover(self) -> tuple[list[Ticket], list[Ticket]]:
        """After `Broken`: the requests in flight, and those never sent, each in order."""
        return list(self._in_flight), [ticket for ticket in self._queue if not ticket.is_dropped]

    def is_arming(self, path: str) -> bool:
        """Whether a request that sets a watch on `path` is queued or in flight."""
        return any(
            ticket.watcher is not None and getattr(ticket.request, "path", None) == path
            for ticket in chain(self._queue, self._in_flight)
        )

    @property
    def has_unsent(self) -> bool:
        """Whether `data_to_send` would give something."""
        return bool(self._control) or (
            self.stage is Stage.LIVE and bool(self._queue) and self.window.has_room(len(self._in_flight))
        )

    @property
    def is_dead(self) -> bool:
        """Whether the connection has ended."""
        return self.stage is Stage.DEAD

    @property
    def outstanding(self) -> int:
        """How many requests are queued or in flight."""
        return len(self._queue) + len(self._in_flight)

    # --- sending -------------------------------------------------------------------------------------------

    def _greeting_frame(self) -> bytes:
        hello = self._greeting
        body = ConnectRequest(
            0, hello.last_zxid, round(hello.timeout * 1000), hello.session_id, hello.password, hello.read_only
        ).encode()
        return _LENGTH.pack(len(body)) + body

    def _encode_queue(self, frames: list[bytes], now: float) -> None:
        queue, in_flight, window, xid = self._queue, self._in_flight, self.window, self._next_xid
        while queue and window.has_room(len(in_flight)):
            ticket = queue.popleft()
            window.has_passed()
            if ticket.is_dropped:
                continue
            ticket.xid = xid
            ticket.sent_at = now
            frames.append(ticket.request.encode_frame(xid))
            in_flight.append(ticket)
            xid = xid + 1 if xid < _XID_MAX else 1  # never one of the reserved negative ones
        self._next_xid = xid

    # --- receiving -----------------------------------------------------------------------------------------

    def _receive_frame(self, buffer: bytes, start: int, end: int) -> None:
        if self.stage is Stage.GREETING:
            self._receive_greeting(ConnectReply.read(buffer, start, end)[0])
            return
        if end - start < _REPLY_HEADER.size:
            raise ProtocolError(f"a reply of {end - start} bytes is shorter than its header")
        xid, zxid, code = _REPLY_HEADER.unpack_from(buffer, start)
        if xid > 0:
            self._receive_reply(xid, zxid, code, buffer, start + _REPLY_HEADER.size, end)
        elif xid == SpecialXid.NOTIFICATION:
            message, _ = WatchEventMessage.read(buffer, start + _REPLY_HEADER.size, end)
            self._receive_notification(message, zxid)
        elif xid == SpecialXid.PING and self._pings:
            self.answered_sent_at = max(self.answered_sent_at, self._pings.popleft())
        elif xid == SpecialXid.AUTH:
            self._receive_auth(code)
        elif xid == SpecialXid.SET_WATCHES and self._unanswered_set_up:
            self._finish_set_up(code)
        else:
            raise ProtocolError(f"a reply to the unknown xid {xid}")
        if zxid > 0:
            self.last_zxid = zxid

    def _receive_reply(  # noqa: PLR0917 - the header is not worth a record: this is the hot path
        self, xid: int, zxid: int, code: int, buffer: bytes, start: int, end: int
    ) -> None:
        in_flight = self._in_flight
        if not in_flight or in_flight[0].xid != xid:
            expected = in_flight[0].xid if in_flight else "none"
            raise ProtocolError(f"a reply to xid {xid} where {expected} was due")
        ticket = in_flight[0]
        request = ticket.request
        if code == 0:
            # read before the ticket leaves: a reply that cannot be read is not an answer
            reply, _ = request.reply.read(buffer, start, end)
            in_flight.popleft()
            if request.is_write:
                self.committed_sent_at = ticket.sent_at
            self._events.append(Replied(ticket, reply, None, zxid))
        else:
            in_flight.popleft()
            error = error_from_code(code, getattr(request, "path", None))
            self._events.append(Replied(ticket, None, error, zxid))
            if isinstance(error, (SessionExpiredError, SessionMovedError)):
                self._break(error)
        self.answered_sent_at = ticket.sent_at
        self.window.saw_reply(end - start)
        if ticket.watcher is not None:
            kind = _watch_set_by(request, code)
            if kind is not None:
                self._watches.add(kind, request.path, ticket.watcher)  # type: ignore[attr-defined]

    def _receive_notification(self, message: WatchEventMessage, zxid: int) -> None:
        try:
            event_type = EventType(message.type)
        except ValueError:
            return  # a newer server's event that nobody can have asked for
        if event_type is EventType.NONE:
            return  # a change of state, which the connection itself tells better
        owners = self._watches.fire(event_type, message.path)
        if owners:
            event = WatchEvent(event_type, message.path, zxid if zxid > 0 else None)
            self._events.append(WatchFired(owners, event))

    # --- greeting and authenticating -----------------------------------------------------------------------

    def _receive_greeting(self, reply: ConnectReply) -> None:
        hello = self._greeting
        if reply.timeout_ms <= 0:
            self._break(SessionExpiredError(hello.session_id, reason="the server does not know it"))
            return
        if hello.session_id not in (0, reply.session_id):
            self._break(
                SessionExpiredError(hello.session_id, reason="the server answered with another session")
            )
            return
        if reply.session_id == 0:
            raise ProtocolError("the server greeted with the session id 0")
        self.timeout = reply.timeout_ms / 1000
        self._accepted = reply
        self.answered_sent_at = self._greeted_at
        self.stage = Stage.AUTHENTICATING
        for scheme, credential in hello.credentials:
            self.authenticate(scheme, credential)
            self._unanswered_set_up += 1
        for request in rearming_requests(self._watches, self.last_zxid, self._generation):
            self._control.append(request.encode_frame(SpecialXid.SET_WATCHES))
            self._unanswered_set_up += 1
        if not self._unanswered_set_up:
            self._go_live()

    def _receive_auth(self, code: int) -> None:
        if code != 0:
            self._break(AuthFailedError(reason="the server refused the credentials"))
        elif self._unanswered_set_up:
            self._finish_set_up(code)

    def _finish_set_up(self, code: int) -> None:
        if code != 0:
            raise ProtocolError(f"the server refused to re-arm the watches, with code {code}")
        self._unanswered_set_up -= 1
        if not self._unanswered_set_up:
            self._go_live()

    def _go_live(self) -> None:
        accepted = self._accepted
        assert accepted is not None
        self.stage = Stage.LIVE
        # First: a re-armed watch may have fired before the server answered the re-arming.
        self._events.appendleft(
            Connected(
                accepted.session_id,
                accepted.password or bytes(16),
                self.timeout,
                bool(accepted.read_only),
                self._greeted_at,
            )
        )

    # --- ending --------------------------------------------------------------------------------------------

    def _give_up_at(self) -> float:
        return self.answered_sent_at + self.timeout * GIVE_UP_AFTER if self._accepted else float("inf")

    def _silence(self, now: float) -> ZooKeeperError:
        heard = now - self._heard_at
        return ConnectionLossError(reason=f"nothing heard for {heard:.1f} of {self.timeout:.1f} seconds")

    def _refuse_large_reply(self, error: FrameTooLargeError) -> None:
        if self._in_flight and self._in_flight[0].xid == error.xid:
            ticket = self._in_flight.popleft()
            request = ticket.request
            refused = PacketTooLargeError(
                type(request).__name__,
                path=getattr(request, "path", None),
                size=error.size,
                limit=error.limit,
            )
            self._events.append(Replied(ticket, None, refused, 0))
        self._break(error)

    def _break(self, error: ZooKeeperError) -> None:
        if self.stage is not Stage.DEAD:
            self.stage = Stage.DEAD
            self._events.append(Broken(error))


def _watch_set_by(request: Request[Any], code: int) -> WatchKind | None:
    """The watch that a request has set, given the code of its reply."""
    if isinstance(request, ExistsRequest):
        return {0: WatchKind.DATA, _NO_NODE: WatchKind.EXIST}.get(code)
    if code != 0:
        return None
    if isinstance(request, GetDataRequest):
        return WatchKind.DATA
    if isinstance(request, (GetChildrenRequest, GetChildren2Request)):
        return WatchKind.CHILD
    assert isinstance(request, AddWatchRequest)
    return WatchKind.RECURSIVE if request.mode == AddWatchMode.PERSISTENT_RECURSIVE else WatchKind.PERSISTENT
