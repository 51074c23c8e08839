"""How long a step of an attempt to connect may take, and how long a pause between two passes.

A step is one thing that a host may leave unanswered: the look-up of its name, the connection, the TLS
handshake, the greeting, each message of the authentication and of the setting of watches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final

import anyio

from zkrecipes.protocol.hold_proof import CONNECT_ATTEMPT_WITH_HOLDS

__all__ = ["Pace", "SearchPace"]

_STEPS_OF_NEW_SESSION: Final = 3
"""A step has a third of a session timeout at least. There is no deadline, but a host that swallows packets
must not keep the client from the others."""
_STEP_MAX: Final = 60.0
_GROWS_AT_MOST: Final = 20
_PAUSE_OF_TIME_LEFT: Final = 1 / 6
"""Whatever is drawn, five sixths of the time are left at the next try. The pauses shrink with the time, and
clients that began together come back over as long a time as they can afford."""
_PAUSE_LEAST: Final = 1 / 40
"""In session timeouts: the longest pause of a client whose session is about to end. It bounds the attempts of
many such clients together."""


class Pace(Protocol):
    """The time limits of one search for a server."""

    def step(self, passes: int, hosts: int, addresses: int = 1) -> float:
        """How long one step may take, in seconds.

        Args:
            passes: how many passes have failed so far.
            hosts: how many hosts there are.
            addresses: how many addresses the host has whose turn it is.
        """

    def longest_pause(self) -> float:
        """How long the pause before the next pass may be at most, in seconds."""


@final
@dataclass(frozen=True, slots=True)
class SearchPace:
    """The pace of a session's search.

    Attributes:
        timeout: the session timeout in seconds.
        is_new: whether there is no session yet.
        connect_timeout: the limit of a `connect()` that waits for the session, in seconds; None without one.
        ends_at: gives when the session is given up, or its holds end, on `anyio.current_time()`'s clock.
        has_holds: gives whether the session has holds, whose proof runs out before the session does.
    """

    timeout: float
    is_new: bool
    connect_timeout: float | None
    ends_at: Callable[[], float]
    has_holds: Callable[[], bool]

    def step(self, passes: int, hosts: int, addresses: int = 1) -> float:
        """See `Pace.step`. It doubles from pass to pass: a far or busy ensemble needs longer than most."""
        growth = 2.0 ** min(passes, _GROWS_AT_MOST)
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

    def longest_pause(self) -> float:
        """See `Pace.longest_pause`. The less time is left for the session, the shorter it is."""
        if self.is_new:
            left = float("inf") if self.connect_timeout is None else self.connect_timeout
        else:
            left = self.ends_at() - anyio.current_time()
        return max(left * _PAUSE_OF_TIME_LEFT, self.timeout * _PAUSE_LEAST)
