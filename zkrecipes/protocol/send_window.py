"""How many requests may be in flight at once.

Without a bound a client sends whatever it was asked at once, and if the connection breaks, all those writes
are in doubt. So the number of requests in flight follows the rate at which the server answers: few at first,
twice as many each time a whole window is answered soon, half as many when the oldest has waited for long. A
far server answers late whatever it has to do, so what counts is the time beyond the shortest round trip.

While a session has holds, a check of them waits behind whatever the server still has to answer, so the
client's own backlog must not be longer than a fraction of the session timeout: then the bytes in flight are
bounded as well. The size of the replies is not known beforehand; the largest recent one, slowly forgotten, is
the guess.
"""

from __future__ import annotations

from typing import Final, final

from zkrecipes.protocol.events import Ticket

__all__ = ["BYTES_IN_FLIGHT_MAX", "FIRST_SIZE", "REQUESTS_IN_FLIGHT_MAX", "SendWindow"]

FIRST_SIZE: Final = 16
"""Requests; a fast server doubles this every round trip, so that 1000 take six of them."""
_GROWS_WITHIN: Final = 1 / 16
"""Of the session timeout. Half of what follows, so that a window that has grown does not shrink at once."""
_SHRINKS_AFTER: Final = 1 / 8
"""Of the session timeout: a break leaves about so much of the server's work in doubt."""

BYTES_IN_FLIGHT_MAX: Final = 512 * 1024
"""Bytes; some 5 ms of a server's time in small replies, 1 ms of a 10 Gbit/s line."""
REQUESTS_IN_FLIGHT_MAX: Final = 128
"""However small the replies were: if the next ones are of 1 MiB each, a line of 1 Gbit/s takes a second."""
_FIRST_GUESS: Final = 16 * 1024
_LEAST: Final = 128


@final
class SendWindow:
    """The bound of one connection.

    Attributes:
        size: how many requests may be in flight.
        timeout: the session timeout in seconds, as negotiated.
        suspect: the last connection may have broken on it. Nothing is in flight beside it, so that it takes
            no other request with it, until it is answered or has waited for long; None if there is none.
        is_closed: nothing may be sent any more.
        is_limited: the session has holds.
        mark: the last request of a full window, until it is answered; then the window is judged.
        round_trip: the shortest time seen from a send to its answer, in seconds.
    """

    __slots__ = (
        "_counts_from",
        "_reply_size",
        "is_closed",
        "is_limited",
        "mark",
        "round_trip",
        "size",
        "suspect",
        "timeout",
    )

    def __init__(self, timeout: float = float("inf")) -> None:
        self.size: int = FIRST_SIZE
        self.timeout: float = timeout
        self.suspect: Ticket | None = None
        self.is_closed: bool = False
        self.is_limited: bool = False
        self.mark: Ticket | None = None
        self.round_trip: float = 0.0
        self._counts_from = float("-inf")
        self._reply_size = _FIRST_GUESS

    def has_room(self, in_flight: int, bytes_in_flight: int) -> bool:
        """Whether one more request may leave. One may always be in flight, however large it or its reply is.

        Args:
            in_flight: how many are.
            bytes_in_flight: how many bytes these requests have; those of the next are not known yet.
        """
        if self.is_closed:
            return False
        if self.suspect is not None:
            return in_flight == 0
        if not self.is_limited:
            return in_flight < self.size
        return in_flight < min(self.size, self._limit()) and bytes_in_flight < BYTES_IN_FLIGHT_MAX

    @property
    def is_plain(self) -> bool:
        """Whether `size` alone bounds what is in flight."""
        return not (self.is_limited or self.is_closed) and self.suspect is None

    def is_full(self, in_flight: int) -> bool:
        """Whether the rate of answers, and nothing else, keeps the next request back."""
        return in_flight >= self.size

    def mark_answered(self, sent_at: float, now: float) -> None:
        """Judge the window: the last request of a full one, sent at `sent_at`, was answered."""
        self.mark = None
        took = now - sent_at
        self.round_trip = min(self.round_trip, took)
        if took - self.round_trip <= self.timeout * _GROWS_WITHIN:
            self.size *= 2

    def waits_since(self, sent_at: float, now: float) -> None:
        """Shrink the window if the oldest request, sent at `sent_at`, has waited for too long."""
        waited = now - max(sent_at, self._counts_from)
        if waited - self.round_trip > self.timeout * _SHRINKS_AFTER:
            self.size = max(1, self.size // 2)
            self.suspect = None
            self.forget(now)

    def forget(self, now: float) -> None:
        """Count from `now`: what was sent before says nothing of this window."""
        self._counts_from = now
        self.mark = None

    def saw_reply(self, size: int) -> None:
        """A reply of `size` bytes arrived."""
        if self.is_limited:
            self._reply_size = max(size, self._reply_size - (self._reply_size >> 4), _LEAST)

    def _limit(self) -> int:
        return min(REQUESTS_IN_FLIGHT_MAX, max(1, BYTES_IN_FLIGHT_MAX // self._reply_size))
