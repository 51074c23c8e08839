"""The judge, before whom good and doctored records are brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from zkrecipes.cli.demo.checks import check
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.znodes import LedgerLine, Mark

WORKERS = ("Ann", "Bob", "Cleo")


def _story() -> list[Event]:
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


def _objections(
    events: list[Event], marks: list[Mark] = MARKS, ledger: list[LedgerLine] = LEDGER
) -> list[str]:
    claims = check(events, marks, ledger, workers=WORKERS)
    assert [claim.holds for claim in claims] == [not claim.objections for claim in claims]
    return [objection for claim in claims for objection in claim.objections]


def test_what_went_well_is_not_objected_to() -> None:
    assert not _objections(_story())


def test_how_long_before_the_next_one_the_cut_worker_had_stopped_is_told() -> None:
    claims = check(_story(), MARKS, LEDGER, workers=WORKERS)
    assert any(claim.text.endswith("before the next one began (2.00 s before)") for claim in claims)


def test_events_are_judged_by_the_clock_and_not_by_the_order_of_arrival() -> None:
    assert not _objections(_story()[::-1])


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
    ("doctor", "objection"),
    [
        (_later(EventKind.DONE, "Ann", 1.5), "Cleo began with token 11 while Ann held token 10"),
        (
            lambda events: [replace(event, token=12) if event.token == 14 else event for event in events],
            "Ann had token 12 after Bob had had 13",
        ),
        (_with(Event(EventKind.DONE, "Cleo", 20.0, 11, 2)), "job 2 was reported done 2 times"),
        (
            _with(Event(EventKind.DONE, "Bob", 20.0, 15, 4)),
            "token 15 reported job 4 done, and its znode does not",
        ),
        (_without(EventKind.DONE), "job 1 was marked by token 10, which did not report it"),
        (_without(EventKind.KILLED), "nobody was killed"),
        (_without(EventKind.CUT_OFF), "nobody was cut off"),
        (_without(EventKind.CANCELLED), "the work of Bob was never cancelled"),
        (_without(EventKind.LOST), "Bob got no LockLostError"),
        (_later(EventKind.CANCELLED, "Bob", 2.5), "the next one began before the work of Bob was cancelled"),
        (_without(EventKind.FINISHED, worker="Ann"), "Ann had not finished when time was up"),
        (_with(Event(EventKind.FAILED, "Ann", 20.0, detail="oops")), "Ann ended unexpectedly: oops"),
        (_later(EventKind.STEPPED_DOWN, "Bob", 1.5), "Ann led with token 17 while Bob led, too"),
        (_later(EventKind.LEADS, "Ann", 0.5), "Ann led only 1.5 s after Bob had stepped down"),
        (
            lambda events: [replace(event, token=15) if event.token == 17 else event for event in events],
            "Ann led with token 15 after token 16",
        ),
        (_without(EventKind.LEADS), "nobody led"),
        (_without(EventKind.OBSERVED), "it read nobody"),
        (
            _with(Event(EventKind.OBSERVED, "Cleo", 20.0, 18)),
            "it read Cleo with token 18, who did not lead then",
        ),
        (lambda events: events[:4], "nobody took job 2 after Cleo"),
        (lambda events: events[:10], "nobody took job 3 after Bob"),
    ],
)
def test_a_doctored_event_is_objected_to(
    doctor: Callable[[list[Event]], list[Event]], objection: str
) -> None:
    found = _objections(doctor(_story()))
    assert any(each.startswith(objection) for each in found), found


@pytest.mark.parametrize(
    ("marks", "objection"),
    [
        ([*MARKS[:2], Mark(3, 0, None)], "job 3 was marked done 0 times"),
        ([*MARKS[:2], Mark(3, 2, 14)], "job 3 was marked done 2 times"),
        ([*MARKS[:2], Mark(3, 1, 10)], "job 3 was marked by token 10, which did not report it"),
    ],
)
def test_a_doctored_mark_is_objected_to(marks: list[Mark], objection: str) -> None:
    assert objection in _objections(_story(), marks)


@pytest.mark.parametrize(
    ("ledger", "objection"),
    [
        ([], "it is empty"),
        ([*LEDGER, LedgerLine("begin", 13, 3)], "token 13 began after token 14"),
        ([*LEDGER[:4], LedgerLine("end", 11, 2)], "token 11 ended job 2 when token 12 was the newest"),
        ([*LEDGER, LedgerLine("end", 14, 3)], "token 14 ended job 3 when token 14 was the newest"),
    ],
)
def test_a_doctored_ledger_is_objected_to(ledger: list[LedgerLine], objection: str) -> None:
    assert objection in _objections(_story(), ledger=ledger)


def test_a_mark_that_a_lost_holder_could_not_report_is_fine() -> None:
    # Its transaction was under way when its work was cancelled, and was applied: it held the lock then.
    events = _story()[:10]
    marks = [*MARKS[:2], Mark(3, 1, 13)]
    assert not any("job 3 was marked" in each for each in _objections(events, marks))
