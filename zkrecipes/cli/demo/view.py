"""The interface of the demo's views, and the texts that they share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median
from typing import Protocol, final

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.recorder import Cause, HandOver, RecordedEvent

__all__ = ["DemoInfo", "DemoView", "duration", "hand_over_lines"]


@final
@dataclass(frozen=True, slots=True)
class DemoInfo:
    """The facts about a run of the demo."""

    workers: dict[str, int]
    """The process id of each worker by its name."""
    jobs: int
    server: str
    """The server, in words."""
    root: str
    """The path of all the demo's znodes."""
    session_timeout: float
    """The negotiated timeout, in seconds."""
    started_at: float
    """The start time on the clock of the events."""


class DemoView(Protocol):
    """A view of the demo, as lines or live."""

    def showing(self, info: DemoInfo) -> AbstractAsyncContextManager[None]:
        """Show the demo while the block runs."""

    def show_event(self, recorded: RecordedEvent) -> None:
        """Show an event. Call it within `showing`."""

    def show_results(
        self, results: Sequence[CheckResult], hand_overs: Sequence[HandOver], seconds: float
    ) -> None:
        """Show the results of a demo that took this many seconds."""


def duration(seconds: float) -> str:
    """Format a duration for readers: `4.2 ms`, `3.10 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def hand_over_lines(hand_overs: Sequence[HandOver]) -> list[str]:
    """Return the durations of the hand-overs, one line for each cause that occurred."""
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
