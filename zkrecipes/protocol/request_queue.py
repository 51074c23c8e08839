"""The requests of one connection: queued, numbered as they leave, matched with replies in that order.

Urgent requests (the checks of holds) go before all others, and the window, which bounds the number in flight,
does not hold them back. A request that is alone leaves when only urgent requests are in flight, and only
urgent requests follow it until it is answered.
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
    """The requests that are not answered.

    Attributes:
        next_xid: the xid of the next request to be sent.
        window: the bound on the number in flight.
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
        """Whether a request was sent and is not answered."""
        return bool(self._in_flight)

    def has_due(self) -> bool:
        """Whether `take_due` would yield a request."""
        return bool(self._urgent) or (bool(self._queue) and self._may_leave())

    def add(self, ticket: Ticket, *, urgent: bool) -> None:
        """Queue a request; `urgent` ones go before all others."""
        ticket.is_urgent = urgent
        (self._urgent if urgent else self._queue).append(ticket)

    def take_due(self) -> Iterator[Ticket]:
        """Take the requests that may leave now. Pass each to `sent`, or drop it, before taking the next."""
        urgent, queue, in_flight, window = self._urgent, self._queue, self._in_flight, self.window
        while urgent:
            yield urgent.pop(0)
        while queue and self._may_leave():
            ticket = queue.popleft()
            yield ticket
            if ticket is window.suspect and ticket not in in_flight:
                window.suspect = None  # it was dropped, or answered without being sent
            if window.is_plain and self.alone is None:  # the rest at once: this is the hot path
                size = window.size
                while queue and len(in_flight) < size and not queue[0].is_alone:
                    yield queue.popleft()
        if queue and window.mark is None and not window.is_closed and window.is_full(len(in_flight)):
            window.mark = in_flight[-1]

    def adapt(self, now: float) -> None:
        """Adapt the window to the answers that have arrived, and to those that are missing."""
        if self._is_mark_answered:
            self._is_mark_answered = False
            if self.window.mark is not None:
                self.window.mark_answered(self.window.mark.sent_at, now)
        if self._in_flight:
            self.window.shrink_if_waiting(self._in_flight[0].sent_at, now)

    def _may_leave(self) -> bool:
        """Whether the first request of the queue may leave: none leaves beside one that is alone."""
        if self.alone is not None:
            return False
        count = len(self._in_flight)
        if count and (self._queue[0].is_alone or self.window.suspect is not None):
            # On a slow link a check of the holds is always in flight, and a break leaves only it in doubt.
            if not all(ticket.is_urgent for ticket in self._in_flight):
                return False
            count = 0
        return self.window.has_room(count, self._bytes_in_flight)

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the request leaves with `next_xid`."""
        xid = ticket.xid = self.next_xid
        ticket.sent_at = now
        self._in_flight.append(ticket)
        self._bytes_in_flight += ticket.request_size
        if ticket.is_alone:
            self.alone = ticket
        self.next_xid = xid + 1 if xid < _XID_MAX else 1  # negative xids are reserved

    def answered(self, xid: int) -> Ticket:
        """Remove and return the request that a reply answers.

        Raises:
            ProtocolError: another reply was due, because a server answers in order.
        """
        in_flight = self._in_flight
        if not in_flight or in_flight[0].xid != xid:
            due = f"xid {in_flight[0].xid}" if in_flight else "no reply"
            raise ProtocolError(f"a reply to xid {xid} arrived, but {due} was due")
        ticket = in_flight.popleft()
        window = self.window
        self._bytes_in_flight -= ticket.request_size
        if ticket is window.mark or ticket is window.suspect or ticket is self.alone:
            self._note_answer(ticket)
        return ticket

    def refused(self, xid: int) -> Ticket:
        """Remove and return the request that a read-only server refuses, perhaps before earlier ones.

        The server's first processor refuses a write at once, while reads are still in its other processors
        (`ReadOnlyRequestProcessor`, 3.6).

        Raises:
            ProtocolError: no such request is in flight.
        """
        for index, ticket in enumerate(self._in_flight):
            if ticket.xid == xid:
                del self._in_flight[index]
                self._bytes_in_flight -= ticket.request_size
                self._note_answer(ticket)
                return ticket
        return self.answered(xid)

    def _note_answer(self, ticket: Ticket) -> None:
        """Note the answer to a request that other requests wait for."""
        window = self.window
        if ticket is window.mark:
            self._is_mark_answered = True
        if ticket is window.suspect:
            window.suspect = None
        if ticket is self.alone:
            self.alone = None

    def is_due_alone(self, xid: int) -> bool:
        """Whether the request with this xid is in flight alone, and its reply is due."""
        return self.alone is not None and self.alone.xid == xid and self.is_due(xid)

    @property
    def oldest(self) -> Ticket | None:
        """The request that the next reply must answer, or None."""
        return self._in_flight[0] if self._in_flight else None

    def is_due(self, xid: int) -> bool:
        """Whether the next reply must have this xid."""
        return bool(self._in_flight) and self._in_flight[0].xid == xid

    def leftover(self) -> tuple[list[Ticket], list[Ticket]]:
        """Return the requests in flight, and those never sent (without dropped ones), each in order."""
        unsent = chain(self._urgent, self._queue)
        return list(self._in_flight), [ticket for ticket in unsent if not ticket.is_dropped]
