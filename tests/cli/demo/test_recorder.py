"""The recorder measures each hand-over: the worker that gave the lock, the cause, and the duration."""

from __future__ import annotations

import pytest

from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.recorder import Cause, HandOver, Recorder


def _record(recorder: Recorder, *steps: tuple[EventKind, str, float, int]) -> list[HandOver]:
    for kind, worker, at, token in steps:
        recorder.record(Event(kind, worker, at, token), at + 0.5)  # recorded half a second later
    return recorder.hand_overs


def test_the_first_holder_has_no_hand_over() -> None:
    recorder = Recorder()
    recorded = recorder.record(Event(EventKind.BEGAN, "Ann", 1.0, 7), 1.5)
    assert recorded.hand_over is None
    assert recorder.events == [recorded.event]


@pytest.mark.parametrize("kind", [EventKind.DONE, EventKind.IDLE])
def test_a_release_counts_from_the_answer_for_which_the_worker_waits(kind: EventKind) -> None:
    found = _record(Recorder(), (kind, "Ann", 1.0, 7), (EventKind.BEGAN, "Bob", 2.0, 8))
    assert found == [HandOver("Ann", Cause.RELEASE, 0.5)]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (EventKind.KILLED, Cause.KILL),
        (EventKind.CUT_OFF, Cause.CUT),
        (EventKind.CANCELLED, Cause.LOSS),
        (EventKind.LOST, Cause.LOSS),
    ],
)
def test_any_other_hand_over_counts_from_its_event(kind: EventKind, cause: Cause) -> None:
    found = _record(Recorder(), (kind, "Ann", 1.0, 7), (EventKind.BEGAN, "Bob", 2.0, 8))
    assert found == [HandOver("Ann", cause, 1.0)]


def test_the_first_cause_counts() -> None:
    found = _record(
        Recorder(),
        (EventKind.CUT_OFF, "Ann", 1.0, 7),
        (EventKind.CANCELLED, "Ann", 2.0, 7),
        (EventKind.LOST, "Ann", 3.0, 7),
        (EventKind.BEGAN, "Bob", 4.0, 8),
        (EventKind.BACK, "Ann", 5.0, 0),
        (EventKind.DONE, "Bob", 6.0, 8),
        (EventKind.BEGAN, "Ann", 7.0, 9),
    )
    assert found == [HandOver("Ann", Cause.CUT, 3.0), HandOver("Bob", Cause.RELEASE, 0.5)]
