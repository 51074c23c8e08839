"""Notices that the machine was suspended: the servers count this time, and the loop's clock does not.

During a suspension, Linux stops CLOCK_MONOTONIC while CLOCK_BOOTTIME continues; macOS stops the clock that
Python calls monotonic while its CLOCK_MONOTONIC continues (`clock_gettime(2)` of both). On Windows the loops'
clocks count the time.
"""

from __future__ import annotations

import sys
import time
from typing import Final, final

__all__ = ["SuspendDetector", "uncounted_time"]

_NAME: Final = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}.get(sys.platform, "")
_CLOCK: Final[int | None] = getattr(time, _NAME, None) if _NAME else None
_SUSPENSION_MIN: Final = 0.1
"""In seconds. A smaller difference is the time between reading the two clocks."""


def uncounted_time() -> float:
    """Return the seconds for which the machine was suspended so far; a constant if no clock shows it."""
    return 0.0 if _CLOCK is None else time.clock_gettime(_CLOCK) - time.monotonic()


@final
class SuspendDetector:
    """A detector of suspensions, which reports each one once, to the first caller that looks."""

    def __init__(self) -> None:
        self._seen = uncounted_time()

    def since_last_look(self) -> float:
        """Return the seconds for which the machine was suspended since the last look; 0 if it was not."""
        uncounted = uncounted_time()
        suspended = uncounted - self._seen
        if suspended < _SUSPENSION_MIN:
            return 0.0
        self._seen = uncounted
        return suspended
