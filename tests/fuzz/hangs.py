"""Tells when a case does not end. The processor's time is measured: the machine may be busy."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CPU_SECONDS_MAX = 5.0
"""The slowest case takes a tenth of a second."""


class HangError(AssertionError):
    """A case does not end."""


@contextmanager
def hangs_told() -> Iterator[None]:
    """Interrupt what computes for too long.

    Raises:
        HangError: wherever the program is then; the traceback shows it.
    """

    def tell(_signal: int, _frame: FrameType | None) -> None:
        raise HangError(f"it has computed for {CPU_SECONDS_MAX} seconds")

    before = signal.signal(signal.SIGVTALRM, tell)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
