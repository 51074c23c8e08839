"""The demo as plain lines, for files, pipes and logs: one event a line, in a format that stays.

    SECONDS EVENT worker=NAME [token=N] [job=N] [hand-over=SECONDS after=CAUSE from=NAME] [detail="…"]

Lines that begin with `#` explain; those that begin with `ok` or `FAILED` are the verdict.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import final

from zkrecipes.cli.demo.check import Check
from zkrecipes.cli.demo.events import EventKind
from zkrecipes.cli.demo.recorder import HandOver, RecordedEvent
from zkrecipes.cli.demo.view import DemoInfo, hand_over_lines

__all__ = ["PlainView", "line"]


@final
class PlainView:
    """A `View` of lines.

    Args:
        write: takes one line without its end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._started_at = 0.0

    @asynccontextmanager
    async def playing(self, info: DemoInfo) -> AsyncIterator[None]:
        """As `View.playing`."""
        self._started_at = info.started_at
        self._write(f"# {len(info.workers)} workers do {info.jobs} jobs under one lock.")
        self._write(f"# One worker is killed, and one is cut off from {info.server}, while they hold it.")
        self._write("# When all jobs are done, each of those that are left leads for a moment.")
        self._write(f"# Sessions last {info.session_timeout:g} s; znodes are under {info.root}.")
        yield

    def tell(self, entry: RecordedEvent) -> None:
        """As `View.tell`."""
        if entry.event.kind is not EventKind.HALFWAY:
            self._write(line(entry, self._started_at))

    def conclude(self, checks: Sequence[Check], hand_overs: Sequence[HandOver], seconds: float) -> None:
        """As `View.conclude`."""
        for claim in checks:
            self._write(f"{'ok' if claim.holds else 'FAILED'} {claim.text}")
            for objection in claim.objections:
                self._write(f"FAILED - {objection}")
        for each in hand_over_lines(hand_overs):
            self._write(f"# {each}")
        verdict = "all claims hold" if all(claim.holds for claim in checks) else "a claim does not hold"
        self._write(f"# {verdict}; {seconds:.1f} s")


def line(entry: RecordedEvent, started_at: float) -> str:
    """One event as one line."""
    event, hand_over = entry
    words = [f"{event.at - started_at:.3f}", event.kind.value, f"worker={event.worker}"]
    if event.token is not None:
        words.append(f"token={event.token}")
    if event.job is not None:
        words.append(f"job={event.job}")
    if hand_over is not None:
        words += [
            f"hand-over={hand_over.seconds:.4f}",
            f"after={hand_over.cause.value}",
            f"from={hand_over.giver}",
        ]
    if event.detail:
        words.append(f"detail={json.dumps(event.detail)}")
    return " ".join(words)
