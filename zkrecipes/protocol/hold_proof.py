"""How long a session is proven to live, and with it all its holds, from what its servers have answered.

Pure arithmetic: the caller tells what was answered and when, on one monotonic clock, and reads `valid_until`.
`zkrecipes.protocol.hold_checks` decides which checks to send, and feeds this with what they prove.
"""

# The problem. The owner of a lock must know until when the leader will keep its session, for the leader gives
# the lock away by committing the end of the session. Being answered is no proof of that:
#
# - A server cut off from its leader answers pings and reads for up to `syncLimit` ticks (the read time-out of
#   `Learner`), while the leader hears no touch of the session any more and expires it.
# - A leader cut off from its quorum answers pings, reads and even `sync` (`Leader.processSync`) just as long,
#   while another leader starts to count.
# - A write is answered only after a quorum has committed it. But a write that comes through a learner does
#   not touch the session at the leader (`LeaderZooKeeperServer.submitLearnerRequest` has no touch). What
#   touches it is the learner's answer to the leader's next ping, which carries the sessions that the learner
#   has heard of since its previous answer (`Learner.ping`, `LearnerSessionTracker.snapshot`;
#   `LearnerHandler`, case PING).
#
# The trick. The link between a leader and a learner keeps the order, both ways, so that a write's own commit
# tells what the pings before it did. Let
#
#     n  be a write that was answered,
#     m  one that was answered before n was sent,
#     j  any request that was answered at least half a tick of the server's before m was sent,
#
# all of one connection. Then:
#
# 1. j touched the session in the server's touch table when it arrived (`ZooKeeperServer.submitRequestNow`).
# 2. The leader pings every half a tick (`Leader.lead`), so it pinged within half a tick before it committed
#    m, that is after j had been answered. The ping reached the server before m's commit did: hence after j,
#    and before m was answered. So the answer to this ping, or to an earlier one, carried j's touch.
# 3. n was sent after m had been answered, so the server forwarded it after it had answered that ping: the
#    leader took in the touch before it took in n.
# 4. A quorum committed n. So that leader still led when it had been touched, and whoever leads later starts
#    every session with a full timeout after that (`SessionTrackerImpl`).
#
# Together: the session was touched after j was sent, and lives a full timeout from there. Where there is no
# such j, the connect request of this connection takes its place: the leader itself touches for it
# (`Leader.revalidateSession`, `PrepRequestProcessor` on createSession) before the connection is answered, and
# n proves that it still led.
#
# A client attached to the leader itself is touched at once, so the same sentences hold a fortiori. An
# observer is a learner like any other, unless it stands behind an observer master: then touches take one hop
# more, and nothing here holds.

from __future__ import annotations

import math
from typing import Final, NamedTuple, final

__all__ = [
    "CANCEL_BEFORE_END",
    "CHECK_EVERY",
    "CHECK_UNANSWERED_AFTER",
    "CONNECT_ATTEMPT_WITH_HOLDS",
    "HALF_TICK_AT_MOST",
    "MOVE_BEFORE_CANCEL",
    "VALID_FOR",
    "HoldProof",
]

# All of them in session timeouts.

CHECK_EVERY: Final = 1 / 16
"""From the send of one check to that of the next. The proof trails the newest check by two checks and half a
tick: at T/16, about 9T/16 are left in the steady state; at T/8 it would be 7T/16, at half the price."""

CHECK_UNANSWERED_AFTER: Final = 1 / 8
"""A check unanswered for so long: this server does not reach a quorum, so try another. Twice the interval, so
that one slow commit does not make a client move; short enough for two attempts before the proof ends."""

CONNECT_ATTEMPT_WITH_HOLDS: Final = 1 / 8
"""While there are holds, an attempt to connect (the answer to the connect request included) may take so long:
the time for which a check may stay unanswered, for the same reason."""

VALID_FOR: Final = 15 / 16
"""How long a touch counts. The leader keeps the session for a whole timeout after it; the sixteenth is for
clocks that drift apart and for pings that leave late."""

CANCEL_BEFORE_END: Final = 1 / 8
"""The body of a hold is cancelled so long before the proof ends, which leaves it that time to clean up."""

MOVE_BEFORE_CANCEL: Final = 1 / 4
"""A move to another server, so long before the bodies are cancelled, can still save the holds: an attempt to
connect and a check take an eighth each at most."""

HALF_TICK_AT_MOST: Final = 1 / 4
"""What half a tick can be at most: `minSessionTimeout` is two ticks unless it is configured to be less."""

# Touches closer together than this are thinned. It costs up to as much validity, and bounds what is
# remembered.
_TOUCH_EVERY: Final = 1 / 64

# So many touches, thinned, reach back further than one timeout: what is older proves nothing that is still to
# come. (The newest two may be closer together than the others, hence the two more.)
_TOUCHES_MAX: Final = 64 + 2


class _Touch(NamedTuple):
    """A request that reached the server: it was sent not before the one, and had arrived by the other."""

    sent_at: float
    answered_at: float


@final
class HoldProof:
    """Until when the leader is proven to keep one session; a new session needs a new object.

    All times are seconds on one monotonic clock, and never go back from call to call. A `sent_at` must be
    read no later than the request leaves, a `now` no earlier than the answer has come.

    The proof assumes that `minSessionTimeout` is at least two ticks (or the tick is given), that the servers
    of the ensemble negotiate the same timeout, that no observer stands behind an observer master, and that
    clocks drift apart by less than a sixteenth.

    Args:
        half_tick: Half the servers' `tickTime`, in seconds. None: not known, so the most that it can be, a
            quarter of the session's timeout.

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
        # Of the present connection only:
        self._touches: list[_Touch] = []  # the candidates for j, oldest first
        self._newest_write = -math.inf  # when m was sent
        self._write_proves = -math.inf
        self._fastest_answer = math.inf
        # Of the newest write that was answered, on whichever connection:
        self._round_trip = 0.0

    def copy(self) -> HoldProof:
        """Return a proof that goes its own way from here, for a forecast."""
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
        """The leader is proven not to end the session before this; `-inf` while nothing is proven.

        It only grows, except when a new connection negotiates a smaller timeout than the ones before.
        """
        return self._valid_until

    @property
    def write_proves_until(self) -> float:
        """What a write that is sent now will prove once it is answered; `-inf` without a connection.

        Keep it with the write, and hand it to `write_committed` when the write has succeeded. (It is taken at
        the send, and not looked up by times later, because on a coarse clock a send and an answer can have
        the same time, and which of them was first decides what is proven.)
        """
        return self._write_proves

    @property
    def round_trip(self) -> float:
        """How long the newest write took to be answered; 0 before the first."""
        return self._round_trip

    @property
    def fastest_answer(self) -> float:
        """The shortest time in which this connection has answered a request; infinite before the first."""
        return self._fastest_answer

    def attached(self, *, sent_at: float, timeout: float) -> None:
        """A connection is up: forget what the previous one showed.

        Args:
            sent_at: When the connect request was sent, the one that has just been answered.
            timeout: The session timeout that this connection has negotiated.

        Raises:
            ValueError: `timeout` is not above zero.
        """
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, not {timeout!r}")
        self.detached()
        if timeout < self._timeout:
            # The leader now touches with the smaller one, and that can bring the session's end nearer
            # (`ExpiryQueue.update` replaces, it does not take the later), so what was proven with a larger
            # one counts no more. Nor will a larger one count later: a touch still under way from this
            # connection carries the smaller one.
            self._timeout = timeout
            self._valid_until = min(self._valid_until, sent_at + VALID_FOR * timeout)
        self._attached = True
        self._write_proves = sent_at + VALID_FOR * self._timeout

    def detached(self) -> None:
        """The connection is gone. What was proven stays; what was only on the way to a proof does not."""
        self._attached = False
        self._touches.clear()
        self._newest_write = -math.inf
        self._write_proves = -math.inf
        self._fastest_answer = math.inf

    def answered(self, *, sent_at: float, now: float, committed: bool) -> None:
        """A request of this connection was answered: it may serve as j, and a committed one as m.

        Cheap, and remembers a bounded number of answers, so call it as often as there are answers. Of several
        that came together the newest is enough, and the newest committed one. Without a connection it does
        nothing.

        The answers to `auth` and `sasl` must not be told: `ZooKeeperServer.processPacket` serves those two
        without touching the session. Every other request touches it, pings included, and so do requests that
        fail.

        Args:
            sent_at: When the request was sent.
            now: When the answer came.
            committed: It was a write, and it succeeded: a quorum has committed it.
        """
        if not self._attached:
            return
        self._fastest_answer = min(self._fastest_answer, now - sent_at)
        self._remember_touch(sent_at, now)
        if committed and sent_at > self._newest_write:
            self._newest_write = sent_at
            self._round_trip = now - sent_at
            self._raise_what_a_write_proves()

    def suspended(self, seconds: float) -> None:
        """So much time has passed that the caller's clock has not counted; `detached` follows."""
        self._valid_until -= seconds

    def write_committed(self, proves_until: float) -> None:
        """A write was answered with success: it is n.

        Args:
            proves_until: What `write_proves_until` was when the write was sent.
        """
        self._valid_until = max(self._valid_until, proves_until)

    def _remember_touch(self, sent_at: float, answered_at: float) -> None:
        """Append a touch; drop the one before it if that stands too close to its own predecessor.

        Dropping is always sound: it can only make the proof older, by no more than the spacing.
        """
        touches = self._touches
        if touches and sent_at <= touches[-1].sent_at:
            return
        if len(touches) > 1 and touches[-1].sent_at - touches[-2].sent_at < _TOUCH_EVERY * self._timeout:
            touches.pop()
        touches.append(_Touch(sent_at, answered_at))
        del touches[:-_TOUCHES_MAX]

    def _raise_what_a_write_proves(self) -> None:
        """Find j for the newest m. No later m asks for an older j, so whatever is older than j goes."""
        half_tick = self._half_tick if self._half_tick is not None else HALF_TICK_AT_MOST * self._timeout
        before = self._newest_write - half_tick
        touches = self._touches
        while len(touches) > 1 and touches[1].answered_at <= before:
            del touches[0]
        if touches[0].answered_at <= before:
            proves = touches[0].sent_at + VALID_FOR * self._timeout
            self._write_proves = max(self._write_proves, proves)
