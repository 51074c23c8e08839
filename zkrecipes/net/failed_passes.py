"""Logs the passes in which no server attached the session: at once, then at growing intervals."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final, final

__all__ = ["PassReports"]

logger: logging.Logger = logging.getLogger("zkrecipes.connection")

_NUMBERS: Final = re.compile(r"\d+(\.\d+)?")
_INTERVAL_FIRST: Final = 2.0
_INTERVAL_MAX: Final = 60.0
_KINDS_MAX: Final = 10
"""The number of different reasons that are each logged at once in one outage."""


@final
class PassReports:
    """The warnings of failed passes: at once for new reasons, else at growing intervals, with a count."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._next_at = float("-inf")
        self._interval = _INTERVAL_FIRST
        self._count = 0

    def note_success(self) -> None:
        """Start a new outage with the next failure, because a server was found."""
        self._logged.clear()
        self._count = 0

    def note_failure(self, reasons: Mapping[str, str], retry_in: float, now: float) -> None:
        """Log that a pass has failed.

        Args:
            reasons: the reason of each host.
            retry_in: the pause before the next pass, in seconds.
            now: the current time.
        """
        self._count += 1
        text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        # "within 2 seconds" and "within 4 seconds" are the same reason
        kind = _NUMBERS.sub("#", text)
        is_new = kind not in self._logged and len(self._logged) < _KINDS_MAX
        is_due = is_new or now >= self._next_at
        level = logging.WARNING if is_due else logging.INFO
        logger.log(
            level, "could not connect to any server: %s (%sretrying in %.2g s)", text, self._times(), retry_in
        )
        if not is_due:
            return
        self._interval = _INTERVAL_FIRST if is_new else min(2 * self._interval, _INTERVAL_MAX)
        self._next_at = now + self._interval
        self._logged.add(kind)

    def _times(self) -> str:
        return f"{self._count} times so far; " if self._count > 1 else ""
