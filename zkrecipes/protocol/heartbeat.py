"""When a connection is due for a ping, when it is silent for too long, when its session is given up.

`ClientSide` tells what was sent, heard and answered; what follows from it by the ratios in `states.py` is
decided here. Before the server has agreed to a timeout nothing is ever due.
"""

from __future__ import annotations

from typing import final

from zkrecipes.protocol.states import GIVE_UP_AFTER, LOOK_AFTER_BLOCK, PING_AFTER, SILENT_AFTER

__all__ = ["Heartbeat"]


@final
class Heartbeat:
    """The clocks of one connection.

    Attributes:
        timeout: the session timeout in seconds: as negotiated; before `begin`, as asked for.
        sent_at: when anything was sent last.
        heard_at: when anything was heard last; see `was_blocked`.
        answered_sent_at: when the newest answered request or ping was sent; `-inf` before `begin`.
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
        self._pings: list[float] = []  # one, as a rule
        self._listens_since = float("-inf")  # silence counts from here at the earliest
        # After a block, until bytes are read or the time to look is over: when the loop last ran before it.
        self._ran_at = float("-inf")
        self._look_until = float("inf")

    def begin(self, timeout: float, greeted_at: float) -> None:
        """The server has answered the greeting that was sent at `greeted_at`."""
        self.timeout = timeout
        self.answered_sent_at = greeted_at
        self._has_begun = True

    def answered(self, sent_at: float) -> None:
        """What was sent at that time is answered. An older request may be answered after a younger ping."""
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

        A ping is due, and silence counts from `now`. Whatever waits in the socket may have come at any moment
        of the block: what is read next counts as heard at `ran_at`. Until that is read, or the time to look
        for it is over, the session is not given up if it could live by such bytes.
        """
        self._listens_since = now
        self.sent_at = min(self.sent_at, now - self.timeout * PING_AFTER)
        if self._look_until == float("inf"):
            self._ran_at = ran_at
        self._look_until = now + self.timeout * LOOK_AFTER_BLOCK

    def advance(self, now: float) -> None:
        """Time has passed. Call it before asking the questions below."""
        if now >= self._look_until:
            self._end_look()

    def _end_look(self) -> None:
        self._ran_at = float("-inf")
        self._look_until = float("inf")

    def pinged(self, now: float) -> None:
        """A ping is on its way.

        It counts as sent even before the stream has taken it: while a stream is clogged, another one would be
        due at every moment.
        """
        self._pings.append(now)
        self.sent_at = now

    def ping_answered(self) -> bool:
        """The oldest ping is answered; False where there is none."""
        if not self._pings:
            return False
        self.answered(self._pings.pop(0))
        return True

    def suspended(self, seconds: float) -> None:
        """So much time has passed that the caller's clock has not counted."""
        self.answered_sent_at -= seconds
        self.heard_at -= seconds

    def next_deadline(self) -> float:
        """When one of the questions below is answered otherwise than now, if nothing happens."""
        if not self._has_begun:
            return float("inf")
        return min(self._ping_at(), self._silent_at(), self._give_up_at(), self._look_until)

    def is_ping_due(self, now: float) -> bool:
        """Whether nothing was sent for so long that the server shall have a sign of life."""
        return self._has_begun and now >= self._ping_at()

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for so long that the connection is dead, whatever TCP says."""
        return self._has_begun and now >= self._silent_at()

    def is_given_up(self, now: float) -> bool:
        """Whether the session may be gone: in a whole timeout nothing was heard, or sent and answered."""
        return self._has_begun and now >= self._give_up_at()

    def describe(self, now: float) -> str:
        """Why the connection is silent or the session given up."""
        return f"nothing heard for {now - self.heard_at:.1f} of {self.timeout:.1f} seconds"

    def _ping_at(self) -> float:
        return self.sent_at + self.timeout * PING_AFTER

    def _silent_at(self) -> float:
        return max(self.heard_at, self._listens_since) + self.timeout * SILENT_AFTER

    def _give_up_at(self) -> float:
        return max(self.answered_sent_at, self.heard_at, self._ran_at) + self.timeout * GIVE_UP_AFTER
