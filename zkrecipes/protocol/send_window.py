"""The bound on the number of requests in flight.

The problem. Without a bound a client sends all queued requests at once, and if the connection breaks, all
those writes are in doubt. While a session has holds, a check of them waits behind everything that the
server still has to answer, so the client's own backlog must not last longer than a fraction of the session
timeout.

The trick. The number of requests in flight follows the rate at which the server answers: few at first, twice
as many each time a whole window is answered soon, half as many when the oldest has waited for long. A distant
server answers every request late, so only the time beyond the shortest round trip counts. While there are
holds, the bytes in flight are bounded as well.

The consequences. The size of the replies is not known beforehand; the guess is the largest recent reply,
slowly forgotten. A suspect, on which the previous connection may have broken, is in flight alone.
"""

from __future__ import annotations

from typing import Final, final

from zkrecipes.protocol.events import Ticket

__all__ = ["BYTES_IN_FLIGHT_MAX", "FIRST_SIZE", "REQUESTS_IN_FLIGHT_MAX", "SendWindow"]

FIRST_SIZE: Final = 16
"""Requests. A fast server doubles this every round trip, so that 1000 requests take six round trips."""
_GROWS_WITHIN: Final = 1 / 16
"""In session timeouts. Half of the next value, so that a window does not shrink right after growing."""
_SHRINKS_AFTER: Final = 1 / 8
"""In session timeouts. If the connection breaks, about this much of the server's work is in doubt."""

BYTES_IN_FLIGHT_MAX: Final = 512 * 1024
"""Bytes: about 5 ms of a server's time in small replies, or 1 ms of a 10 Gbit/s line."""
REQUESTS_IN_FLIGHT_MAX: Final = 128
"""This bound is not raised after small replies: if the next ones have 1 MiB each, a line of 1 Gbit/s needs a
second."""
_REPLY_SIZE_FIRST: Final = 16 * 1024
_REPLY_SIZE_MIN: Final = 128


@final
class SendWindow:
    """The bound of one connection.

    Attributes:
        size: the number of requests that may be in flight.
        timeout: the negotiated session timeout, in seconds.
        suspect: a request on which the previous connection may have broken, or None. Until it is answered or
            has waited for long, no other request is in flight, so that it cannot take one with it.
        is_closed: whether nothing may be sent.
        is_limited: whether the session has holds.
        mark: the last request of a full window, until its answer; then the window is judged.
        round_trip: the shortest time from a send to its answer, in seconds.
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
        self._reply_size = _REPLY_SIZE_FIRST

    def has_room(self, in_flight: int, bytes_in_flight: int) -> bool:
        """Whether one more request may leave. One may always be in flight, however large it or its reply is.

        Args:
            in_flight: the number of requests in flight.
            bytes_in_flight: the bytes of these requests; those of the next are not known.
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
        """Whether `size` is the only bound."""
        return not (self.is_limited or self.is_closed) and self.suspect is None

    def is_full(self, in_flight: int) -> bool:
        """Whether the rate of answers holds back the next request."""
        return in_flight >= self.size

    def mark_answered(self, sent_at: float, now: float) -> None:
        """Judge the window: the last request of a full one, sent at `sent_at`, was answered."""
        self.mark = None
        took = now - sent_at
        self.round_trip = min(self.round_trip, took)
        if took - self.round_trip <= self.timeout * _GROWS_WITHIN:
            self.size *= 2

    def shrink_if_waiting(self, sent_at: float, now: float) -> None:
        """Shrink the window if the oldest request, sent at `sent_at`, has waited for too long."""
        waited = now - max(sent_at, self._counts_from)
        if waited - self.round_trip > self.timeout * _SHRINKS_AFTER:
            self.size = max(1, self.size // 2)
            self.suspect = None
            self.forget(now)

    def forget(self, now: float) -> None:
        """Count from `now`: requests sent earlier do not measure this window."""
        self._counts_from = now
        self.mark = None

    def reply_received(self, size: int) -> None:
        """Note a reply of `size` bytes."""
        if self.is_limited:
            self._reply_size = max(size, self._reply_size - (self._reply_size >> 4), _REPLY_SIZE_MIN)

    def _limit(self) -> int:
        return min(REQUESTS_IN_FLIGHT_MAX, max(1, BYTES_IN_FLIGHT_MAX // self._reply_size))
