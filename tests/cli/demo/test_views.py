"""The views of the demo: lines in a stable format, and messages with a status panel for terminals."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.live_view import LiveView
from zkrecipes.cli.demo.plain_view import PlainView
from zkrecipes.cli.demo.recorder import Cause, HandOver, Recorder
from zkrecipes.cli.demo.view import DemoInfo, DemoView, duration, hand_over_lines

WIDTH = 80
INFO = DemoInfo({"Ann": 101, "Bob": 102}, 2, "the server", "/demo", 4.0, 100.0)
EVENTS = [
    Event(EventKind.JOINED, "Ann", 100.5),
    Event(EventKind.BEGAN, "Ann", 101.0, 7, 1),
    Event(EventKind.HALFWAY, "Ann", 101.1, 7, 1),
    Event(EventKind.CUT_OFF, "Ann", 101.2, 7, 1),
    Event(EventKind.CANCELLED, "Ann", 102.0, 7, 1),
    Event(EventKind.LOST, "Ann", 102.1, 7, detail='the lock was lost: "no proof"'),
    Event(EventKind.BEGAN, "Bob", 105.2, 9, 1),
    Event(EventKind.BACK, "Ann", 105.3),
    Event(EventKind.KILLED, "Bob", 105.5, 9, 1),
    Event(EventKind.BEGAN, "Ann", 110.5, 11, 1),
    Event(EventKind.DONE, "Ann", 111.0, 11, 1),
    Event(EventKind.BEGAN, "Ann", 111.25, 12),
    Event(EventKind.IDLE, "Ann", 111.5, 12),
    Event(EventKind.LEADS, "Ann", 111.6, 13),
    Event(EventKind.OBSERVED, "Ann", 111.61, 13),
    Event(EventKind.STEPPED_DOWN, "Ann", 111.8, 13),
    Event(EventKind.FINISHED, "Ann", 112.0),
    Event(EventKind.FAILED, "Bob", 113.0, detail="MemoryError"),
]
RESULTS = [CheckResult("all is well", ()), CheckResult("all jobs are done", ("job 2 is not",))]


async def _show_all(view: DemoView) -> None:
    recorder = Recorder()
    async with view.showing(INFO):
        for event in EVENTS:
            view.show_event(recorder.record(event, event.at))
    view.show_results(RESULTS, recorder.hand_overs, 13.21)


@pytest.mark.trio
async def test_the_lines_keep_their_format() -> None:
    lines: list[str] = []
    await _show_all(PlainView(lines.append))
    assert lines == [
        "# 2 workers do 2 jobs under one lock.",
        "# While they hold it, one worker is killed, and one is cut off from the server.",
        "# When all jobs are done, each remaining worker leads for a short time.",
        "# Sessions last 4 s; znodes are under /demo.",
        "0.500 joined worker=Ann",
        "1.000 began worker=Ann token=7 job=1",
        "1.200 cut-off worker=Ann token=7 job=1",
        "2.000 cancelled worker=Ann token=7 job=1",
        '2.100 lost worker=Ann token=7 detail="the lock was lost: \\"no proof\\""',
        "5.200 began worker=Bob token=9 job=1 hand-over=4.0000 after=cut from=Ann",
        "5.300 back worker=Ann",
        "5.500 killed worker=Bob token=9 job=1",
        "10.500 began worker=Ann token=11 job=1 hand-over=5.0000 after=kill from=Bob",
        "11.000 done worker=Ann token=11 job=1",
        "11.250 began worker=Ann token=12 hand-over=0.2500 after=release from=Ann",
        "11.500 idle worker=Ann token=12",
        "11.600 leads worker=Ann token=13",
        "11.610 observed worker=Ann token=13",
        "11.800 stepped-down worker=Ann token=13",
        "12.000 finished worker=Ann",
        '13.000 failed worker=Bob detail="MemoryError"',
        "ok all is well",
        "FAILED all jobs are done",
        "FAILED - job 2 is not",
        "# hand-over after a release: 0.25 s",
        "# hand-over after the kill: 5.00 s",
        "# hand-over after the cut: 4.00 s",
        "# a check failed; 13.2 s",
    ]


async def _show(monkeypatch: pytest.MonkeyPatch, *, colour: bool) -> str:
    monkeypatch.setattr(time, "monotonic", lambda: 104.0)
    file = io.StringIO()
    console = Console(
        file=file,
        width=WIDTH,
        force_terminal=True,
        no_color=not colour,
        highlight=False,
        legacy_windows=False,
    )
    await _show_all(LiveView(console))
    return file.getvalue()


@pytest.mark.trio
async def test_the_messages_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = await _show(monkeypatch, colour=False)
    for message in (
        "1.0 s  Ann has the lock, token 7: job 1",
        "1.2 s  Ann is cut off while it holds the lock; job 1 is half done.",
        "5.2 s  Bob has the lock 4.00 s after Ann was cut off, token 9: job 1 again",
        "5.5 s  Bob is killed while it holds the lock; job 1 is half done.",
        "11.6 s  Ann leads the remaining workers with token 13, then steps down.",
        "ok  all is well",
        "job 2 is not",
        "A check failed. 13.2 s.",
    ):
        assert message in _without_codes(shown), message
    assert all(len(line) <= WIDTH for line in _without_codes(shown).splitlines())
    shown.encode("ascii")


@pytest.mark.trio
async def test_colours_are_omitted_if_the_console_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[36m" in await _show(monkeypatch, colour=True)
    assert "\x1b[36m" not in await _show(monkeypatch, colour=False)


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0042, "4.2 ms"), (0.0999, "99.9 ms"), (0.1, "0.10 s"), (3.217, "3.22 s")]
)
def test_a_duration_is_formatted_for_readers(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_hand_overs_with_the_same_cause_are_summarised_in_one_line() -> None:
    times = [0.003, 0.005, 0.004]
    assert hand_over_lines([HandOver("Ann", Cause.RELEASE, seconds) for seconds in times]) == [
        "hand-over after a release: 4.0 ms (3.0 ms to 5.0 ms, 3 times)"
    ]
