"""Interrupts a case that does not end. It measures processor time, because the machine may be busy."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CPU_SECONDS_MAX = 5.0
"""The slowest case needs a tenth of a second."""


class HangError(AssertionError):
    """A case does not end."""


@contextmanager
def interrupt_hangs() -> Iterator[None]:
    """Interrupt the block if it computes for too long.

    Raises:
        HangError: the block did not end in time; the traceback shows the line that was running.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise HangError(f"the case has computed for {CPU_SECONDS_MAX} seconds")

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
