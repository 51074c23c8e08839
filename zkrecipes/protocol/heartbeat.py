"""Decides when a connection must ping, when it is silent for too long, and when its session is given up.

`ClientSide` reports which bytes were sent, heard and answered; the ratios are in `states.py`. Nothing is due
before the server has agreed to a timeout. A method in the past tense notes an event.
"""

from __future__ import annotations

from typing import final

from zkrecipes.protocol.states import GIVE_UP_AFTER, LOOK_AFTER_BLOCK, PING_AFTER, SILENT_AFTER

__all__ = ["Heartbeat"]


@final
class Heartbeat:
    """The clocks of one connection.

    Attributes:
        timeout: the session timeout in seconds: the negotiated one; before `begin`, the requested one.
        sent_at: the time when the last bytes were sent.
        heard_at: the time when the last bytes were heard; see `was_blocked`.
        answered_sent_at: the time when the newest answered request or ping was sent; `-inf` before `begin`.
    """

    __slots__ = (
        "_has_begun",
        "_listens_since",
        "_look_until",
        "_pings",
        "_ran_at",
        "answered_sent_at",
        "heard_at",
        "sent_at",
        "timeout",
    )

    def __init__(self, timeout: float, now: float) -> None:
        self.timeout: float = timeout
        self.sent_at: float = now
        self.heard_at: float = now
        self.answered_sent_at: float = float("-inf")
        self._has_begun = False
        self._pings: list[float] = []  # usually one
        self._listens_since = float("-inf")  # silence counts from here at the earliest
        # The loop's last turn before a block, until bytes are read or the time to look for them has passed.
        self._ran_at = float("-inf")
        self._look_until = float("inf")

    def begin(self, timeout: float, greeted_at: float) -> None:
        """Start the clocks: the server has answered the greeting that was sent at `greeted_at`."""
        self.timeout = timeout
        self.answered_sent_at = greeted_at
        self._has_begun = True

    def answered(self, sent_at: float) -> None:
        """Note the answer to a message. A request may be answered after a ping that was sent later."""
        self.answered_sent_at = max(self.answered_sent_at, sent_at)

    def heard(self, now: float) -> None:
        """Note that bytes were read."""
        if self._look_until == float("inf"):
            self.heard_at = now
        else:
            self.heard_at = max(self.heard_at, self._ran_at)
            self._end_look()

    def was_blocked(self, ran_at: float, now: float) -> None:
        """Note that the caller's loop did not run between `ran_at` and `now`.

        A ping is due, and silence counts from `now`. Bytes in the socket may have arrived at any time during
        the block, so the next bytes count as heard at `ran_at`. The session is not given up until these bytes
        are read or the time to look for them has passed, if they could keep it alive.
        """
        self._listens_since = now
        self.sent_at = min(self.sent_at, now - self.timeout * PING_AFTER)
        if self._look_until == float("inf"):
            self._ran_at = ran_at
        self._look_until = now + self.timeout * LOOK_AFTER_BLOCK

    def advance(self, now: float) -> None:
        """Note the time. Call it before the predicates below."""
        if now >= self._look_until:
            self._end_look()

    def _end_look(self) -> None:
        self._ran_at = float("-inf")
        self._look_until = float("inf")

    def pinged(self, now: float) -> None:
        """Note a ping.

        It counts as sent even before the stream has taken it: otherwise another one would be due immediately
        while a stream is clogged.
        """
        self._pings.append(now)
        self.sent_at = now

    def ping_answered(self) -> bool:
        """Note the answer to the oldest ping; return False if there is no ping."""
        if not self._pings:
            return False
        self.answered(self._pings.pop(0))
        return True

    def suspended(self, seconds: float) -> None:
        """Count the time during which the caller's clock stood still."""
        self.answered_sent_at -= seconds
        self.heard_at -= seconds

    def next_deadline(self) -> float:
        """Return the earliest time at which one of the predicates below can become true."""
        if not self._has_begun:
            return float("inf")
        return min(self._ping_at(), self._silent_at(), self._give_up_at(), self._look_until)

    def is_ping_due(self, now: float) -> bool:
        """Whether nothing was sent for so long that the server needs a sign of life."""
        return self._has_begun and now >= self._ping_at()

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for so long that the connection is dead, whatever TCP reports."""
        return self._has_begun and now >= self._silent_at()

    def is_given_up(self, now: float) -> bool:
        """Whether the session may have ended: nothing heard, nor sent and answered, for a whole timeout."""
        return self._has_begun and now >= self._give_up_at()

    def describe(self, now: float) -> str:
        """Return the reason why the connection counts as silent, or its session as given up."""
        return f"nothing heard for {now - self.heard_at:.1f} of {self.timeout:.1f} seconds"

    def _ping_at(self) -> float:
        return self.sent_at + self.timeout * PING_AFTER

    def _silent_at(self) -> float:
        return max(self.heard_at, self._listens_since) + self.timeout * SILENT_AFTER

    def _give_up_at(self) -> float:
        return max(self.answered_sent_at, self.heard_at, self._ran_at) + self.timeout * GIVE_UP_AFTER
