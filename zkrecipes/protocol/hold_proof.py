"""Computes from the servers' answers until when a session, and so each of its holds, is proven to live.

Pure arithmetic: the caller reports each answer and its time, on one monotonic clock, and reads `valid_until`.
`zkrecipes.protocol.hold_checks` decides which checks to send, and reports their results here.
"""

# The problem. The owner of a lock must know until when the leader will keep its session, because the leader
# gives the lock away by committing the end of the session. An answer alone does not prove this:
#
# - A server cut off from its leader answers pings and reads for up to `syncLimit` ticks (the read time-out of
#   `Learner`), while the leader receives no touch of the session and expires it.
# - A leader cut off from its quorum answers pings, reads and even `sync` (`Leader.processSync`) just as long,
#   while another leader starts its clocks.
# - A write is answered only after a quorum has committed it. But a write that arrives through a learner does
#   not touch the session at the leader (`LeaderZooKeeperServer.submitLearnerRequest` has no touch). The
#   learner's answer to the leader's next ping touches it: this answer carries the sessions that the learner
#   has heard from since its previous answer (`Learner.ping`, `LearnerSessionTracker.snapshot`;
#   `LearnerHandler`, case PING).
#
# The trick. The link between a leader and a learner keeps the order in both directions, so that the commit of
# a write shows the effect of the pings before it. Let
#
#     n  be a write that was answered,
#     m  one that was answered before n was sent,
#     j  any request that was answered at least half a tick of the server's before m was sent,
#
# all be requests of one connection. Then:
#
# 1. j touched the session in the server's touch table when it arrived (`ZooKeeperServer.submitRequestNow`).
# 2. The leader pings every half a tick (`Leader.lead`), so it pinged within half a tick before it committed
#    m, that is, after j had been answered. The ping reached the server before m's commit did: hence after j,
#    and before m was answered. So the answer to this ping, or to an earlier one, carried j's touch.
# 3. n was sent after m had been answered, so the server forwarded it after it had answered that ping: the
#    leader processed the touch before it processed n.
# 4. A quorum committed n. So that leader still led after the touch, and every later leader starts each
#    session with a full timeout after that (`SessionTrackerImpl`).
#
# The consequences. The session was touched after j was sent, and lives a full timeout from there. If there is
# no such j, the connect request of this connection replaces it: the leader itself touches the session for it
# (`Leader.revalidateSession`, `PrepRequestProcessor` on createSession) before it is answered, and n proves
# that this leader still led.
#
# The session of a client attached to the leader itself is touched immediately, so the same argument holds a
# fortiori. An observer is a learner like any other, except behind an observer master: there, touches take one
# more hop, and the argument fails.

from __future__ import annotations

import math
from typing import Final, NamedTuple, final

__all__ = [
    "CANCEL_BEFORE_END",
    "CHECK_EVERY",
    "CHECK_UNANSWERED_AFTER",
    "CONNECT_ATTEMPT_WITH_HOLDS",
    "HALF_TICK_MAX",
    "MOVE_BEFORE_CANCEL",
    "VALID_FOR",
    "HoldProof",
]

# All values are in session timeouts.

CHECK_EVERY: Final = 1 / 16
"""The time between the sends of two checks. The proof trails the newest check by two checks and half a tick:
at T/16, about 9T/16 are left in the steady state; at T/8 it would be 7T/16, at half the price."""

CHECK_UNANSWERED_AFTER: Final = 1 / 8
"""If a check is unanswered for this long, the server does not reach a quorum, and the client tries another
one. This is twice the interval, so that one slow commit does not make a client move, and short enough for two
attempts before the proof ends."""

CONNECT_ATTEMPT_WITH_HOLDS: Final = 1 / 8
"""While there are holds, an attempt to connect (including the answer to the connect request) may take this
long: the time for which a check may stay unanswered, for the same reason."""

VALID_FOR: Final = 15 / 16
"""The time for which a touch counts. The leader keeps the session for a whole timeout after it; the sixteenth
is for clocks that drift apart and for pings that leave late."""

CANCEL_BEFORE_END: Final = 1 / 8
"""The body of a hold is cancelled this long before the proof ends, which leaves it that time to clean up."""

MOVE_BEFORE_CANCEL: Final = 1 / 4
"""A move to another server can still save the holds if it starts this long before the bodies are cancelled:
an attempt to connect and a check take an eighth each at most."""

HALF_TICK_MAX: Final = 1 / 4
"""The maximum of half a tick: `minSessionTimeout` is two ticks unless it is configured to be less."""

# Touches closer together than this are thinned. It costs up to this much validity, and bounds the memory.
_TOUCH_EVERY: Final = 1 / 64

# This many touches, thinned, reach back further than one timeout, and older ones prove nothing new. (The
# newest two may be closer together than the others, hence the two more.)
_TOUCHES_MAX: Final = 64 + 2


class _Touch(NamedTuple):
    """A request that reached the server at some time between `sent_at` and `answered_at`."""

    sent_at: float
    answered_at: float


@final
class HoldProof:
    """The proof until when the leader keeps one session; a new session needs a new object.

    All times are seconds on one monotonic clock, and never decrease from call to call. A `sent_at` must be
    read before the request leaves, a `now` after the answer has arrived.

    The proof assumes that `minSessionTimeout` is at least two ticks (or the tick is given), that the servers
    of the ensemble negotiate the same timeout, that no observer is behind an observer master, and that
    clocks drift apart by less than a sixteenth.

    Args:
        half_tick: Half the servers' `tickTime`, in seconds; None if it is not known: then its maximum, a
            quarter of the session's timeout, is assumed.

    Raises:
        ValueError: `half_tick` is not above zero.
    """

    __slots__ = (
        "_attached",
        "_fastest_answer",
        "_half_tick",
        "_newest_write",
        "_round_trip",
        "_timeout",
        "_touches",
        "_valid_until",
        "_write_proves",
    )

    def __init__(self, *, half_tick: float | None = None) -> None:
        if half_tick is not None and not half_tick > 0:
            raise ValueError(f"half_tick must be above 0 seconds, not {half_tick!r}")
        self._half_tick = half_tick
        self._timeout = math.inf
        self._valid_until = -math.inf
        self._attached = False
        # Of the current connection only:
        self._touches: list[_Touch] = []  # the candidates for j, oldest first
        self._newest_write = -math.inf  # when m was sent
        self._write_proves = -math.inf
        self._fastest_answer = math.inf
        # Of the newest answered write, on any connection:
        self._round_trip = 0.0

    def copy(self) -> HoldProof:
        """Return an independent copy, for a forecast."""
        other = HoldProof(half_tick=self._half_tick)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other._touches = self._touches.copy()
        return other

    @property
    def timeout(self) -> float:
        """The smallest timeout that was negotiated in this session; infinite before the first connection."""
        return self._timeout

    @property
    def valid_until(self) -> float:
        """The time before which the leader is proven not to end the session; `-inf` while nothing is proven.

        It only grows, except when a new connection negotiates a smaller timeout than earlier ones.
        """
        return self._valid_until

    @property
    def write_proves_until(self) -> float:
        """The `valid_until` that a write sent now will prove once answered; `-inf` without a connection.

        Keep it with the write, and pass it to `write_committed` when the write has succeeded. (It is read at
        the send, and not looked up by times later: on a coarse clock a send and an answer can have the same
        time, and the proof depends on which of them was first.)
        """
        return self._write_proves

    @property
    def round_trip(self) -> float:
        """The time from the send of the newest write to its answer; 0 before the first."""
        return self._round_trip

    @property
    def fastest_answer(self) -> float:
        """The shortest time in which this connection has answered a request; infinite before the first."""
        return self._fastest_answer

    def attached(self, *, sent_at: float, timeout: float) -> None:
        """Note a new connection, and forget the answers on the previous one.

        Args:
            sent_at: The time when its connect request was sent.
            timeout: The session timeout that it has negotiated.

        Raises:
            ValueError: `timeout` is not above zero.
        """
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, not {timeout!r}")
        self.detached()
        if timeout < self._timeout:
            # The leader now touches with the smaller timeout, and that can bring the session's end nearer
            # (`ExpiryQueue.update` replaces the time, even by an earlier one), so a proof with a larger
            # timeout is void. A larger one does not count later either: a touch still in flight from this
            # connection carries the smaller one.
            self._timeout = timeout
            self._valid_until = min(self._valid_until, sent_at + VALID_FOR * timeout)
        self._attached = True
        self._write_proves = sent_at + VALID_FOR * self._timeout

    def detached(self) -> None:
        """Note the end of the connection. The proof stays; answers that have not led to one are dropped."""
        self._attached = False
        self._touches.clear()
        self._newest_write = -math.inf
        self._write_proves = -math.inf
        self._fastest_answer = math.inf

    def answered(self, *, sent_at: float, now: float, committed: bool) -> None:
        """Note the answer to a request of this connection: it may serve as j, and a committed one as m.

        The call is cheap and remembers a bounded number of answers, so call it for every answer. Of several
        that arrived together, the newest and the newest committed one are enough. Without a connection it
        has no effect.

        Do not report answers to `auth` and `sasl`: `ZooKeeperServer.processPacket` serves those two without
        touching the session. Every other request touches it, including pings and requests that fail.

        Args:
            sent_at: The time when the request was sent.
            now: The time when the answer arrived.
            committed: Whether it was a successful write, which a quorum has committed.
        """
        if not self._attached:
            return
        self._fastest_answer = min(self._fastest_answer, now - sent_at)
        self._remember_touch(sent_at, now)
        if committed and sent_at > self._newest_write:
            self._newest_write = sent_at
            self._round_trip = now - sent_at
            self._raise_write_proves()

    def suspended(self, seconds: float) -> None:
        """Shorten the proof by the time during which the caller's clock stood still. Call `detached` next."""
        self._valid_until -= seconds

    def write_committed(self, proves_until: float) -> None:
        """Note a write that was answered with success: it is n.

        Args:
            proves_until: `write_proves_until` as read when the write was sent.
        """
        self._valid_until = max(self._valid_until, proves_until)

    def _remember_touch(self, sent_at: float, answered_at: float) -> None:
        """Append a touch; drop the previous one if it is too close to its own predecessor.

        Dropping is always sound: it can only make the proof older, by no more than the spacing.
        """
        touches = self._touches
        if touches and sent_at <= touches[-1].sent_at:
            return
        if len(touches) > 1 and touches[-1].sent_at - touches[-2].sent_at < _TOUCH_EVERY * self._timeout:
            touches.pop()
        touches.append(_Touch(sent_at, answered_at))
        del touches[:-_TOUCHES_MAX]

    def _raise_write_proves(self) -> None:
        """Find j for the newest m, and drop all older touches, because no later m needs an older j."""
        half_tick = self._half_tick if self._half_tick is not None else HALF_TICK_MAX * self._timeout
        before = self._newest_write - half_tick
        touches = self._touches
        while len(touches) > 1 and touches[1].answered_at <= before:
            del touches[0]
        if touches[0].answered_at <= before:
            proves = touches[0].sent_at + VALID_FOR * self._timeout
            self._write_proves = max(self._write_proves, proves)
