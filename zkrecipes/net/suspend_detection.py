"""Notices that the machine was suspended: time that the loop's clock does not count, and the servers do.

Linux stops CLOCK_MONOTONIC meanwhile, and CLOCK_BOOTTIME goes on; macOS stops what Python calls monotonic,
and its CLOCK_MONOTONIC goes on (`clock_gettime(2)` of both). On Windows the loops' clocks count the time.
"""

from __future__ import annotations

import sys
import time
from typing import Final, final

__all__ = ["SuspendDetector", "uncounted_time"]

_NAME: Final = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}.get(sys.platform, "")
_CLOCK: Final[int | None] = getattr(time, _NAME, None) if _NAME else None
_LEAST: Final = 0.1
"""Seconds; less is the time between two looks at two clocks."""


def uncounted_time() -> float:
    """Seconds for which the machine was suspended since its start; any constant where nobody can tell."""
    return 0.0 if _CLOCK is None else time.clock_gettime(_CLOCK) - time.monotonic()


@final
class SuspendDetector:
    """Tells of each suspension once, to whoever looks first."""

    def __init__(self) -> None:
        self._seen = uncounted_time()

    def since_last_look(self) -> float:
        """Seconds for which the machine was suspended since the last look; 0 where it was not."""
        uncounted = uncounted_time()
        suspended = uncounted - self._seen
        if suspended < _LEAST:
            return 0.0
        self._seen = uncounted
        return suspended
