"""The demo as plain lines, for files, pipes and logs: one line for each event, in a stable format.

    SECONDS EVENT worker=NAME [token=N] [job=N] [hand-over=SECONDS after=CAUSE from=NAME] [detail="…"]

Lines that begin with `#` explain; those that begin with `ok` or `FAILED` are the results of the checks.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import final

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.events import EventKind
from zkrecipes.cli.demo.recorder import HandOver, RecordedEvent
from zkrecipes.cli.demo.view import DemoInfo, hand_over_lines

__all__ = ["PlainView", "line"]


@final
class PlainView:
    """A `DemoView` of lines.

    Args:
        write: writes one line, given without its line end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._started_at = 0.0

    @asynccontextmanager
    async def showing(self, info: DemoInfo) -> AsyncIterator[None]:
        """See `DemoView.showing`."""
        self._started_at = info.started_at
        self._write(f"# {len(info.workers)} workers do {info.jobs} jobs under one lock.")
        self._write(f"# While they hold it, one worker is killed, and one is cut off from {info.server}.")
        self._write("# When all jobs are done, each remaining worker leads for a short time.")
        self._write(f"# Sessions last {info.session_timeout:g} s; znodes are under {info.root}.")
        yield

    def show_event(self, recorded: RecordedEvent) -> None:
        """See `DemoView.show_event`."""
        if recorded.event.kind is not EventKind.HALFWAY:
            self._write(line(recorded, self._started_at))

    def show_results(
        self, results: Sequence[CheckResult], hand_overs: Sequence[HandOver], seconds: float
    ) -> None:
        """See `DemoView.show_results`."""
        for result in results:
            self._write(f"{'ok' if result.passed else 'FAILED'} {result.text}")
            for failure in result.failures:
                self._write(f"FAILED - {failure}")
        for each in hand_over_lines(hand_overs):
            self._write(f"# {each}")
        summary = "all checks passed" if all(result.passed for result in results) else "a check failed"
        self._write(f"# {summary}; {seconds:.1f} s")


def line(recorded: RecordedEvent, started_at: float) -> str:
    """Format one event as one line."""
    event, hand_over = recorded
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
