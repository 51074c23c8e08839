"""The requests of one connection and their replies: encoded in order, matched in order. Sans-I/O.

`ClientSide` sends the frames and passes the replies. A method that returns an error has recorded its events;
the caller must end the connection with the error. This is the hot path of every call.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from zkrecipes.codec.framing import FrameTooLargeError
from zkrecipes.codec.jute import Record
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import (
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
from zkrecipes.protocol.capabilities import ANSWERED_WITHIN, CapabilityProbe, Question
from zkrecipes.protocol.events import ClientEvent, Replied, Ticket
from zkrecipes.protocol.heartbeat import Heartbeat
from zkrecipes.protocol.request_queue import RequestQueue
from zkrecipes.protocol.watch_registration import WatchRegistrations

__all__ = ["RequestExchange"]

# A ping or a check that becomes due waits until the stream has taken the bytes passed to it: at most this
# many at a time, or one frame.
_SEND_SIZE_MAX: Final = 64 * 1024


@final
class RequestExchange:
    """The requests of one connection, from the queue to the event of the reply.

    Args:
        events: receives a `Replied` for each request, and the events of watches that were fired early.
        heartbeat: learns which requests were answered.
        registrations: the watches of the server; decides about each request that concerns a watch.
        probe: the known capabilities of the server.
        first_xid: the number of the first request.
        last_zxid: the newest transaction that the session has seen.

    Attributes:
        queue: the requests that are queued or in flight.
        last_zxid: the newest transaction seen.
        committed_sent_at: the time when the newest successful write was sent.
    """

    __slots__ = (
        "_events",
        "_heartbeat",
        "_probe",
        "_registrations",
        "committed_sent_at",
        "last_zxid",
        "queue",
    )

    def __init__(  # noqa: PLR0917 - the parts of one connection
        self,
        events: deque[ClientEvent],
        heartbeat: Heartbeat,
        registrations: WatchRegistrations,
        probe: CapabilityProbe,
        first_xid: int,
        last_zxid: int,
    ) -> None:
        self._events = events
        self._heartbeat = heartbeat
        self._registrations = registrations
        self._probe = probe
        self.queue: RequestQueue = RequestQueue(first_xid)
        self.last_zxid: int = last_zxid
        self.committed_sent_at: float = float("-inf")

    # --- sending -------------------------------------------------------------------------------------------

    def add(self, ticket: Ticket, *, urgent: bool) -> None:
        """Queue a request, and before it the questions that its requirement needs."""
        if ticket.requirement is not None:
            self.ask(ticket.requirement.version)
        self.queue.add(ticket, urgent=urgent)

    def ask(self, version: ServerVersion) -> None:
        """Queue the questions that settle whether the server is of this version, each once."""
        for question in self._probe.new_questions(version):
            self.queue.add(question, urgent=False)

    def encode_due(self, frames: list[bytes], now: float) -> None:
        """Append the frames of the requests that may leave now."""
        queue, registrations = self.queue, self._registrations
        queue.adapt(now)
        size = 0
        for ticket in queue.take_due():
            if ticket.is_dropped:
                continue
            if (ticket.requirement is not None or ticket.is_alone) and not self._can_be_sent(ticket):
                continue
            concerns_watch = ticket.watcher is not None
            if concerns_watch and not registrations.decide(ticket):
                self._events.append(Replied(ticket, None, None, 0))  # the server already is in this state
                continue
            try:
                frame = ticket.request.encode_frame(queue.next_xid)
            except (TypeError, ValueError) as error:
                # The client checks the values of requests; a value that slips through must not end the
                # client.
                self._refuse(ticket, error)
                continue
            frames.append(frame)
            ticket.request_size = len(frame)
            queue.sent(ticket, now)
            if concerns_watch:
                registrations.sent(ticket)
            size += len(frame)
            if size >= _SEND_SIZE_MAX:
                break

    def _can_be_sent(self, ticket: Ticket) -> bool:
        """Whether the server meets the request's requirement; the questions before it have settled that.

        A question that other answers have settled is left out.
        """
        known = self._probe.known
        if isinstance(ticket, Question):
            return known.has(ticket.version) is None
        requirement = ticket.requirement
        if requirement is None or known.has(requirement.version):
            return True
        self._events.append(Replied(ticket, None, requirement.refusal(ticket.request.path), 0))
        return False

    def _refuse(self, ticket: Ticket, error: Exception) -> None:
        refused = BadArgumentsError(ticket.request.path, detail=str(error))
        refused.__cause__ = error
        self._events.append(Replied(ticket, None, refused, 0))

    # --- receiving -----------------------------------------------------------------------------------------

    def receive_reply(  # noqa: PLR0917 - the header is not worth a record: this is the hot path
        self, xid: int, zxid: int, code: int, buffer: bytes, start: int, end: int
    ) -> ZooKeeperError | None:
        """Process the reply to a request; return the error that ends the connection, if any.

        Raises:
            ProtocolError: another reply was due.
        """
        queue = self.queue
        if queue.alone is not None and queue.is_due_alone(xid):
            return self._learn(queue.answered(xid), code)
        ticket = queue.refused(xid) if code == NotReadOnlyError.code else queue.answered(xid)
        ticket.reply_size = end - start
        reply = error = None
        if code == 0:
            try:
                reply, _ = ticket.request.reply.read(buffer, start, end)
            except ProtocolError as why:
                return self._refuse_malformed_reply(ticket, zxid, why)
            if ticket.request.is_write:
                if isinstance(reply, MultiReply) and reply.has_failed_with(SessionMovedError.code):
                    return self._lose_moved_session(ticket, zxid)
                self.committed_sent_at = ticket.sent_at
        else:
            error = error_from_code(code, ticket.request.path)
            self._probe.is_surprising |= isinstance(error, UnimplementedError)
        self._events.append(Replied(ticket, reply, error, zxid))
        if ticket.watcher is not None:
            self._register_watch(ticket, code, reply, zxid)
        if ticket.sent_at > self._heartbeat.answered_sent_at:
            self._heartbeat.answered(ticket.sent_at)
        if queue.window.is_limited:
            queue.window.reply_received(end - start)
        if zxid > self.last_zxid:  # noqa: PLR1730 - half the time of a call
            # The zxid of an event must not count as seen: more events of its transaction may follow, and
            # after a reconnect the server would not repeat them to a client that claims to have seen it.
            self.last_zxid = zxid
        return error if isinstance(error, SessionError) else None

    def accepts_large_reply(self, error: FrameTooLargeError) -> bool:
        """Whether the reply is due now, and its request accepts a reply of this size."""
        oldest = self.queue.oldest
        return oldest is not None and oldest.xid == error.xid and error.size <= oldest.reply_size_max

    def refuse_large_reply(self, error: FrameTooLargeError) -> None:
        """Fail the request whose reply is too large to receive, if the frame is a reply."""
        if self.queue.is_due(error.xid):
            ticket = self.queue.answered(error.xid)
            name, path = type(ticket.request).__name__, ticket.request.path
            refused = PacketTooLargeError(name, path=path, size=error.size, limit=error.limit)
            self._events.append(Replied(ticket, None, refused, 0))

    def _register_watch(self, ticket: Ticket, code: int, reply: Record | None, zxid: int) -> None:
        registrations = self._registrations
        self._events.extend(registrations.replied(ticket, code, reply, zxid))
        for repair in registrations.repairs:
            self.queue.add(repair, urgent=False)
        registrations.repairs.clear()

    def _refuse_malformed_reply(self, ticket: Ticket, zxid: int, why: ProtocolError) -> ProtocolError:
        # The request counts as answered: if it were repeated, the server might send the same reply forever.
        of = f"{type(ticket.request).__name__} {ticket.request.path or ''}".rstrip()
        error = ProtocolError(f"the reply to {of} is malformed: {why}")
        self._events.append(Replied(ticket, None, error, zxid))
        return error

    def _lose_moved_session(self, multi: Ticket, zxid: int) -> ConnectionLossError:
        """Fail a multi because the leader has accepted a newer connection of the session.

        No write can succeed on this connection again. Servers from 3.5 close the connection without an
        answer; older ones leave that to the client.
        """
        error = ConnectionLossError("Multi", reason="the session has moved to another connection")
        self._events.append(Replied(multi, None, error, zxid))
        return error

    # --- answers that must come ----------------------------------------------------------------------------

    def answer_due_at(self) -> float:
        """Return when an unanswered question ends the connection, because no later reply shows its loss."""
        alone = self.queue.alone
        return float("inf") if alone is None else alone.sent_at + ANSWERED_WITHIN * self._heartbeat.timeout

    def find_lost_reply(self) -> str | None:
        """Return a reason to end the connection if the oldest reply is lost. Call it when a ping is answered.

        It is lost if the ping was sent a whole timeout after the request. A later reply would show the loss
        as well, but the window may permit no further request.
        """
        oldest = self.queue.oldest
        if oldest is None:
            return None
        waited = self._heartbeat.answered_sent_at - oldest.sent_at
        if waited < ANSWERED_WITHIN * self._heartbeat.timeout:
            return None
        name = type(oldest.request).__name__
        return f"the server did not answer {name} within {waited:.1f} seconds, but answers pings"

    def _learn(self, question: Ticket, code: int) -> ZooKeeperError | None:
        """Process the answer to a question. `last_zxid` stays, because watches are restored with it."""
        assert isinstance(question, Question), "only questions are alone"
        self._heartbeat.answered(question.sent_at)
        error = error_from_code(code) if code != 0 else None
        if isinstance(error, SessionError):
            return error
        self._probe.learn(question.version, has_it=question.is_yes(code))
        if isinstance(error, UnimplementedError):
            # The server closes the connection now, so no request must follow.
            name = type(question.request).__name__
            return ConnectionLossError(
                reason=f"the server does not know {name} and closes the connection on it"
            )
        return None
