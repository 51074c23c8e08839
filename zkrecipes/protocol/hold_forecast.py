"""Forecasts whether a hold that begins now stays proven, if the link stays as it is.

The problem. The first proof may rest on an old answer, and the next proof may come too late to replace it:
the older the answer and the longer the round trip, the more often. A body that is cancelled a second after it
began, although the link works, is useless.

The trick. The coming checks are simulated on a copy of the proof.

The consequence. A body begins only if every coming check will be answered in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, CHECK_EVERY, HALF_TICK_MAX

if TYPE_CHECKING:
    from zkrecipes.protocol.hold_proof import HoldProof

__all__ = ["ROUND_TRIP_MAX", "will_last"]

# All values are in session timeouts.

ROUND_TRIP_MAX: Final = 1 / 10
"""The longest round trip at which holds are kept. In the steady state the proof outlasts the next one as long
as five round trips are shorter than 9T/16; the margin up to a tenth is for checks that take a little
longer."""

_ROUND_TRIP_MARGIN: Final = 1 / 128
"""Each coming check may take this much longer than the newest write."""

_ROUND_TRIP_MIN: Final = 1 / 32
"""The shortest expected round trip of a check: even on a fast link a commit is sometimes slow."""

# After this time the proof rests only on checks of the forecast, and the forecast would repeat itself.
_FORECAST_FOR: Final = 1.0

# A proof of this length outlasts every possible delay of the coming checks: a wait for the first, half a
# tick, two more checks, and the answers.
_SURELY_LASTS: Final = HALF_TICK_MAX + 3 * CHECK_EVERY + 2 * _ROUND_TRIP_MIN


def will_last(proof: HoldProof, *, now: float, next_check_at: float) -> bool:
    """Whether every coming check is answered before the body would be cancelled without it.

    Args:
        proof: The current proof; it is not changed.
        now: The current time.
        next_check_at: When the next check is due. It may be in the past.
    """
    timeout = proof.timeout
    left = proof.valid_until - CANCEL_BEFORE_END * timeout - now
    if left <= 0:
        return False
    longest = max(proof.round_trip + _ROUND_TRIP_MARGIN * timeout, _ROUND_TRIP_MIN * timeout)
    if longest <= _ROUND_TRIP_MIN * timeout and left >= _SURELY_LASTS * timeout:
        return True
    round_trips = [longest]
    if longest > CHECK_EVERY * timeout:
        # Each check waits for the previous one. An earlier answer can be worse than a later one, because the
        # next check may then miss half a tick by a little; so shorter round trips are tried as well.
        round_trips += [proof.round_trip, (proof.round_trip + longest) / 2]
    first_at = max(now, next_check_at)
    return all(_outlasts_each_check(proof, first_at, each, now) for each in round_trips)


def _outlasts_each_check(proof: HoldProof, sent_at: float, round_trip: float, now: float) -> bool:
    proof, timeout = proof.copy(), proof.timeout
    while sent_at < now + _FORECAST_FOR * timeout:
        proves_until, answered_at = proof.write_proves_until, sent_at + round_trip
        if answered_at >= proof.valid_until - CANCEL_BEFORE_END * timeout:
            return False
        proof.answered(sent_at=sent_at, now=answered_at, committed=True)
        proof.write_committed(proves_until)
        sent_at = max(sent_at + CHECK_EVERY * timeout, answered_at)
    return True
