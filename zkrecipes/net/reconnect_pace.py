"""The time limits of a search for a server: of a step of an attempt, and of the pause between two passes.

A step is one thing that a host may leave unanswered: the look-up of its name, the connection, the TLS
handshake, the greeting, each message of the authentication and of the setting of watches.
"""

# The problem: a host that swallows packets is noticed only by its silence. A long limit keeps the client from
# the other hosts until its session or the proof of its holds runs out; a short one never reaches a server
# that is far away or busy.
#
# The trick: the first pass divides half the session timeout among all hosts and their addresses, so that each
# of them is tried. The limits double from pass to pass, so a later pass reaches a slow server.
#
# The consequences: with holds the first limit is a fixed share of the session timeout, because their proof
# ends first. A new session has no deadline besides that of `connect()`. The pauses shrink with the time left.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final

import anyio

from zkrecipes.protocol.hold_proof import CONNECT_ATTEMPT_WITH_HOLDS

__all__ = ["Pace", "SearchPace"]

_STEPS_OF_NEW_SESSION: Final = 3
"""A step has at least a third of a session timeout. There is no deadline, but a host that swallows packets
must not keep the client from the others."""
_STEP_MAX: Final = 60.0
_GROWTHS_MAX: Final = 20
_PAUSE_OF_TIME_LEFT: Final = 1 / 6
"""Five sixths of the time are left at the next try, however long the pause is. The pauses shrink with the
time, and clients that lost their servers together return over as long a time as they can afford."""
_PAUSE_MIN: Final = 1 / 40
"""In session timeouts: the longest pause of a client whose session is about to end. It bounds the attempts of
many such clients together."""


class Pace(Protocol):
    """The time limits of one search for a server."""

    def step_timeout(self, passes: int, hosts: int, addresses: int = 1) -> float:
        """Return the seconds that one step may take.

        Args:
            passes: the number of passes that have failed so far.
            hosts: the number of hosts.
            addresses: the number of addresses of the current host.
        """

    def pause_max(self) -> float:
        """Return the longest possible pause before the next pass, in seconds."""


@final
@dataclass(frozen=True, slots=True)
class SearchPace:
    """The pace of a session's search.

    Attributes:
        timeout: the session timeout in seconds.
        is_new: whether there is no session yet.
        connect_timeout: the limit of a `connect()` that waits for the session, in seconds; None without one.
        ends_at: returns when the session is given up, or its holds end, on `anyio.current_time()`'s clock.
        has_holds: returns whether the session has holds, whose proof runs out before the session does.
    """

    timeout: float
    is_new: bool
    connect_timeout: float | None
    ends_at: Callable[[], float]
    has_holds: Callable[[], bool]

    def step_timeout(self, passes: int, hosts: int, addresses: int = 1) -> float:
        """See `Pace.step_timeout`. It doubles from pass to pass, for an ensemble that is far away or busy."""
        growth = 2.0 ** min(passes, _GROWTHS_MAX)
        if self.is_new:
            least = self.timeout / _STEPS_OF_NEW_SESSION
            if self.connect_timeout is None:
                return min(least * growth, max(least, _STEP_MAX))
            share = self.connect_timeout / (hosts * addresses)
            return min(max(least, share / 2) * growth, max(least, share))
        if self.has_holds():
            first = self.timeout * CONNECT_ATTEMPT_WITH_HOLDS / addresses
        else:
            first = self.timeout / (2 * hosts * addresses)
        return min(first * growth, self.timeout / 2)

    def pause_max(self) -> float:
        """See `Pace.pause_max`. It shrinks with the time left for the session."""
        if self.is_new:
            left = float("inf") if self.connect_timeout is None else self.connect_timeout
        else:
            left = self.ends_at() - anyio.current_time()
        return max(left * _PAUSE_OF_TIME_LEFT, self.timeout * _PAUSE_MIN)
