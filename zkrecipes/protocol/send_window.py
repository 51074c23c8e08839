"""How many requests may be in flight at once while a session has holds.

A check of a hold waits behind whatever the server still has to answer, so the client's own backlog must not
be longer than a fraction of the session timeout. What the replies will weigh is not known beforehand: the
largest of late, slowly forgotten, is the guess, and so many requests may be in flight as make up
`BYTES_IN_FLIGHT_MAX`.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["BYTES_IN_FLIGHT_MAX", "REQUESTS_IN_FLIGHT_MAX", "SendWindow"]

BYTES_IN_FLIGHT_MAX: Final = 512 * 1024
"""Bytes; some 5 ms of a server's time in small replies, 1 ms of a 10 Gbit/s line."""
REQUESTS_IN_FLIGHT_MAX: Final = 128
"""However small the replies were: if the next ones are of 1 MiB each, a line of 1 Gbit/s takes a second."""
_FIRST_GUESS: Final = 16 * 1024
_LEAST: Final = 128


@final
class SendWindow:
    """Unlimited until `is_limited` is set; nothing has room once `is_closed` is."""

    __slots__ = ("_reply_size", "is_closed", "is_limited")

    def __init__(self) -> None:
        self.is_closed = False
        self.is_limited = False
        self._reply_size = _FIRST_GUESS

    def has_room(self, in_flight: int) -> bool:
        """Whether one more request may leave. One may always be in flight, however large its reply."""
        if self.is_closed:
            return False
        return not self.is_limited or in_flight < self._requests_max()

    def saw_reply(self, size: int) -> None:
        """A reply of `size` bytes arrived."""
        if self.is_limited:
            self._reply_size = max(size, self._reply_size - (self._reply_size >> 4), _LEAST)

    def _requests_max(self) -> int:
        return min(REQUESTS_IN_FLIGHT_MAX, max(1, BYTES_IN_FLIGHT_MAX // self._reply_size))
