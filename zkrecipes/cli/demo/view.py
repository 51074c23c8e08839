"""What a view of the demo can show, and the words that all views share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median
from typing import Protocol, final

from zkrecipes.cli.demo.check import Check
from zkrecipes.cli.demo.recorder import Cause, HandOver, RecordedEvent

__all__ = ["DemoInfo", "DemoView", "duration", "hand_over_lines"]


@final
@dataclass(frozen=True, slots=True)
class DemoInfo:
    """Who plays, and where."""

    workers: dict[str, int]
    """Names and process ids."""
    jobs: int
    server: str
    """Which server, in words."""
    root: str
    """The path under which everything is made."""
    session_timeout: float
    """As negotiated, in seconds."""
    started_at: float
    """On the clock of the events."""


class DemoView(Protocol):
    """Shows the demo, as lines or live."""

    def playing(self, info: DemoInfo) -> AbstractAsyncContextManager[None]:
        """The demo begins with the block and ends with it."""

    def tell(self, entry: RecordedEvent) -> None:
        """Something happened. Called within `playing`."""

    def conclude(self, checks: Sequence[Check], hand_overs: Sequence[HandOver], seconds: float) -> None:
        """The demo is over, and took so many seconds."""


def duration(seconds: float) -> str:
    """A length of time as people read it: `4.2 ms`, `3.1 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def hand_over_lines(hand_overs: Sequence[HandOver]) -> list[str]:
    """How long the lock took to its next holder, one line for each cause that occurred."""
    after = {
        Cause.RELEASE: "a release",
        Cause.KILL: "the kill",
        Cause.CUT: "the cut",
        Cause.LOSS: "a loss",
    }
    lines = []
    for cause, words in after.items():
        times = sorted(each.seconds for each in hand_overs if each.cause is cause)
        if len(times) == 1:
            lines.append(f"hand-over after {words}: {duration(times[0])}")
        elif times:
            spread = f"{duration(times[0])} to {duration(times[-1])}"
            lines.append(f"hand-over after {words}: {duration(median(times))} ({spread}, {len(times)} times)")
    return lines
