"""The checks of the demo, on correct and on altered records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from zkrecipes.cli.demo.checks import run_checks
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.znodes import LedgerLine, Mark

WORKERS = ("Ann", "Bob", "Cleo")


def _good_events() -> list[Event]:
    """Cleo is killed at job 2, Bob is cut off at job 3, and Ann and Bob do the rest."""
    steps = [
        (EventKind.BEGAN, "Ann", 10, 1),
        (EventKind.DONE, "Ann", 10, 1),
        (EventKind.BEGAN, "Cleo", 11, 2),
        (EventKind.KILLED, "Cleo", 11, 2),
        (EventKind.BEGAN, "Ann", 12, 2),
        (EventKind.DONE, "Ann", 12, 2),
        (EventKind.BEGAN, "Bob", 13, 3),
        (EventKind.CUT_OFF, "Bob", 13, 3),
        (EventKind.CANCELLED, "Bob", 13, 3),
        (EventKind.LOST, "Bob", 13, None),
        (EventKind.BEGAN, "Ann", 14, 3),
        (EventKind.DONE, "Ann", 14, 3),
        (EventKind.BEGAN, "Bob", 15, None),
        (EventKind.IDLE, "Bob", 15, None),
        (EventKind.LEADS, "Bob", 16, None),
        (EventKind.OBSERVED, "Bob", 16, None),
        (EventKind.STEPPED_DOWN, "Bob", 16, None),
        (EventKind.LEADS, "Ann", 17, None),
        (EventKind.STEPPED_DOWN, "Ann", 17, None),
        (EventKind.FINISHED, "Bob", None, None),
        (EventKind.FINISHED, "Ann", None, None),
    ]
    return [Event(kind, worker, float(at), token, job) for at, (kind, worker, token, job) in enumerate(steps)]


MARKS = [Mark(1, 1, 10), Mark(2, 1, 12), Mark(3, 1, 14)]
LEDGER = [
    LedgerLine("begin", 10, 1),
    LedgerLine("end", 10, 1),
    LedgerLine("begin", 11, 2),
    LedgerLine("begin", 12, 2),
    LedgerLine("end", 12, 2),
    LedgerLine("begin", 13, 3),
    LedgerLine("begin", 14, 3),
    LedgerLine("end", 14, 3),
]


def _failures(events: list[Event], marks: list[Mark] = MARKS, ledger: list[LedgerLine] = LEDGER) -> list[str]:
    results = run_checks(events, marks, ledger, workers=WORKERS)
    assert [result.passed for result in results] == [not result.failures for result in results]
    return [failure for result in results for failure in result.failures]


def test_a_correct_record_passes_all_checks() -> None:
    assert not _failures(_good_events())


def test_the_time_between_the_end_of_the_cut_worker_and_the_next_hold_is_stated() -> None:
    results = run_checks(_good_events(), MARKS, LEDGER, workers=WORKERS)
    assert any(result.text.endswith("before the next holder began (2.00 s before)") for result in results)


def test_the_checks_order_events_by_the_clock_and_not_by_arrival() -> None:
    assert not _failures(_good_events()[::-1])


def _without(*kinds: EventKind, worker: str | None = None) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [
        event for event in events if event.kind not in kinds or worker not in {None, event.worker}
    ]


def _later(kind: EventKind, worker: str, by: float) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [
        replace(event, at=event.at + by) if (event.kind, event.worker) == (kind, worker) else event
        for event in events
    ]


def _with(event: Event) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [*events, event]


@pytest.mark.parametrize(
    ("doctor", "failure"),
    [
        (_later(EventKind.DONE, "Ann", 1.5), "Cleo began with token 11 while Ann held token 10"),
        (
            lambda events: [replace(event, token=12) if event.token == 14 else event for event in events],
            "Ann had token 12 after Bob had token 13",
        ),
        (_with(Event(EventKind.DONE, "Cleo", 20.0, 11, 2)), "job 2 was reported done 2 times"),
        (
            _with(Event(EventKind.DONE, "Bob", 20.0, 15, 4)),
            "token 15 reported job 4 as done, but its znode is not marked",
        ),
        (_without(EventKind.DONE), "job 1 was marked by token 10, whose holder did not report it"),
        (_without(EventKind.KILLED), "no worker was killed"),
        (_without(EventKind.CUT_OFF), "no worker was cut off"),
        (_without(EventKind.CANCELLED), "the work of Bob was never cancelled"),
        (_without(EventKind.LOST), "Bob got no LockLostError"),
        (
            _later(EventKind.CANCELLED, "Bob", 2.5),
            "the next holder began before the work of Bob was cancelled",
        ),
        (_without(EventKind.FINISHED, worker="Ann"), "Ann had not finished before the time limit"),
        (_with(Event(EventKind.FAILED, "Ann", 20.0, detail="oops")), "Ann ended unexpectedly: oops"),
        (_later(EventKind.STEPPED_DOWN, "Bob", 1.5), "Ann led with token 17 while Bob led"),
        (_later(EventKind.LEADS, "Ann", 0.5), "Ann led no earlier than 1.5 s after Bob stepped down"),
        (
            lambda events: [replace(event, token=15) if event.token == 17 else event for event in events],
            "Ann led with token 15 after token 16",
        ),
        (_without(EventKind.LEADS), "no worker led"),
        (_without(EventKind.OBSERVED), "the observer read no leader"),
        (
            _with(Event(EventKind.OBSERVED, "Cleo", 20.0, 18)),
            "the observer read Cleo with token 18, which did not lead then",
        ),
        (lambda events: events[:4], "no worker took job 2 after Cleo"),
        (lambda events: events[:10], "no worker took job 3 after Bob"),
    ],
)
def test_an_altered_event_fails_a_check(doctor: Callable[[list[Event]], list[Event]], failure: str) -> None:
    found = _failures(doctor(_good_events()))
    assert any(each.startswith(failure) for each in found), found


@pytest.mark.parametrize(
    ("marks", "failure"),
    [
        ([*MARKS[:2], Mark(3, 0, None)], "job 3 was marked done 0 times"),
        ([*MARKS[:2], Mark(3, 2, 14)], "job 3 was marked done 2 times"),
        ([*MARKS[:2], Mark(3, 1, 10)], "job 3 was marked by token 10, whose holder did not report it"),
    ],
)
def test_an_altered_mark_fails_a_check(marks: list[Mark], failure: str) -> None:
    assert failure in _failures(_good_events(), marks)


@pytest.mark.parametrize(
    ("ledger", "failure"),
    [
        ([], "the ledger is empty"),
        ([*LEDGER, LedgerLine("begin", 13, 3)], "token 13 began after token 14"),
        ([*LEDGER[:4], LedgerLine("end", 11, 2)], "token 11 ended job 2 when token 12 was the newest"),
        ([*LEDGER, LedgerLine("end", 14, 3)], "token 14 ended job 3 when token 14 was the newest"),
    ],
)
def test_an_altered_ledger_fails_a_check(ledger: list[LedgerLine], failure: str) -> None:
    assert failure in _failures(_good_events(), ledger=ledger)


def test_a_mark_that_a_lost_holder_could_not_report_passes() -> None:
    # Its work was cancelled during its transaction, which was applied, so it held the lock then.
    events = _good_events()[:10]
    marks = [*MARKS[:2], Mark(3, 1, 13)]
    assert not any("job 3 was marked" in each for each in _failures(events, marks))
