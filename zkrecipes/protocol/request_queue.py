"""The requests of one connection: queued, numbered as they leave, matched with replies in that order.

Urgent requests (the checks of holds) go before all others and are not kept back by the window, which bounds
what is in flight. A request that is alone leaves when nothing but urgent requests is in flight, and nothing
but these follows it until it is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Final, final

from zkrecipes.errors import ProtocolError
from zkrecipes.protocol.events import Ticket
from zkrecipes.protocol.send_window import SendWindow

__all__ = ["RequestQueue"]

_XID_MAX: Final = 2**31 - 1


@final
class RequestQueue:
    """What was asked and is not yet answered.

    Attributes:
        next_xid: the number under which the next request is to be sent.
        window: how many requests may be in flight.
        alone: the request that is in flight alone, or None.
    """

    __slots__ = (
        "_bytes_in_flight",
        "_in_flight",
        "_is_mark_answered",
        "_queue",
        "_urgent",
        "alone",
        "next_xid",
        "window",
    )

    def __init__(self, first_xid: int) -> None:
        self.next_xid: int = first_xid
        self.window: SendWindow = SendWindow()
        self._urgent: list[Ticket] = []
        self._queue: deque[Ticket] = deque()
        self._in_flight: deque[Ticket] = deque()
        self._bytes_in_flight = 0
        self.alone: Ticket | None = None
        self._is_mark_answered = False

    def __len__(self) -> int:
        return len(self._urgent) + len(self._queue) + len(self._in_flight)

    @property
    def is_any_in_flight(self) -> bool:
        """Whether a request was sent that is not yet answered."""
        return bool(self._in_flight)

    def has_due(self) -> bool:
        """Whether `take_due` would give a request."""
        return bool(self._urgent) or (bool(self._queue) and self._may_leave())

    def add(self, ticket: Ticket, *, urgent: bool) -> None:
        """Queue a request; `urgent` ones are before all others."""
        ticket.is_urgent = urgent
        (self._urgent if urgent else self._queue).append(ticket)

    def take_due(self) -> Iterator[Ticket]:
        """Take the requests that may leave now, each to be `sent` or forgotten before the next."""
        urgent, queue, in_flight, window = self._urgent, self._queue, self._in_flight, self.window
        while urgent:
            yield urgent.pop(0)
        while queue and self._may_leave():
            ticket = queue.popleft()
            yield ticket
            if ticket is window.suspect and ticket not in in_flight:
                window.suspect = None  # it was dropped, or is answered already
            if window.is_plain and self.alone is None:  # the rest at once: this is the hot path
                size = window.size
                while queue and len(in_flight) < size and not queue[0].is_alone:
                    yield queue.popleft()
        if queue and window.mark is None and not window.is_closed and window.is_full(len(in_flight)):
            window.mark = in_flight[-1]

    def adapt(self, now: float) -> None:
        """Let the window follow the answers that have come, and those that have not."""
        if self._is_mark_answered:
            self._is_mark_answered = False
            if self.window.mark is not None:
                self.window.mark_answered(self.window.mark.sent_at, now)
        if self._in_flight:
            self.window.waits_since(self._in_flight[0].sent_at, now)

    def _may_leave(self) -> bool:
        """Whether the first of the queue may: not beside one that is alone, in either order."""
        if self.alone is not None:
            return False
        count = len(self._in_flight)
        if count and (self._queue[0].is_alone or self.window.suspect is not None):
            # On a slow link a check of the holds is in flight at every moment, and nobody else is in doubt.
            if not all(ticket.is_urgent for ticket in self._in_flight):
                return False
            count = 0
        return self.window.has_room(count, self._bytes_in_flight)

    def sent(self, ticket: Ticket, now: float) -> None:
        """The request leaves under `next_xid`."""
        xid = ticket.xid = self.next_xid
        ticket.sent_at = now
        self._in_flight.append(ticket)
        self._bytes_in_flight += ticket.request_size
        if ticket.is_alone:
            self.alone = ticket
        self.next_xid = xid + 1 if xid < _XID_MAX else 1  # never one of the reserved negative ones

    def answered(self, xid: int) -> Ticket:
        """Take the request that a reply is for.

        Raises:
            ProtocolError: another one was due: a server answers in order.
        """
        in_flight = self._in_flight
        if not in_flight or in_flight[0].xid != xid:
            due = f"xid {in_flight[0].xid} was due" if in_flight else "none was due"
            raise ProtocolError(f"a reply to xid {xid} where {due}")
        ticket = in_flight.popleft()
        window = self.window
        self._bytes_in_flight -= ticket.request_size
        if ticket is window.mark or ticket is window.suspect or ticket is self.alone:
            self._left(ticket)
        return ticket

    def refused(self, xid: int) -> Ticket:
        """Take the request that a read-only server refuses, which may do so before it answers earlier ones.

        It answers a write by itself, at once, while reads are on their way through its other processors
        (`ReadOnlyRequestProcessor`, 3.6).

        Raises:
            ProtocolError: there is no such request.
        """
        for index, ticket in enumerate(self._in_flight):
            if ticket.xid == xid:
                del self._in_flight[index]
                self._bytes_in_flight -= ticket.request_size
                self._left(ticket)
                return ticket
        return self.answered(xid)

    def _left(self, ticket: Ticket) -> None:
        """Note that a request which others wait for is answered."""
        window = self.window
        if ticket is window.mark:
            self._is_mark_answered = True
        if ticket is window.suspect:
            window.suspect = None
        if ticket is self.alone:
            self.alone = None

    def is_due_alone(self, xid: int) -> bool:
        """Whether this xid is that of the request that is in flight alone, and due."""
        return self.alone is not None and self.alone.xid == xid and self.is_due(xid)

    @property
    def oldest(self) -> Ticket | None:
        """The request that the next reply is for, or None."""
        return self._in_flight[0] if self._in_flight else None

    def is_due(self, xid: int) -> bool:
        """Whether the next reply should be to this xid."""
        return bool(self._in_flight) and self._in_flight[0].xid == xid

    def leftover(self) -> tuple[list[Ticket], list[Ticket]]:
        """The requests in flight, and those never sent without those given up, each in order."""
        unsent = chain(self._urgent, self._queue)
        return list(self._in_flight), [ticket for ticket in unsent if not ticket.is_dropped]
