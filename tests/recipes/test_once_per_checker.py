"""The checker of a job's histories: it accepts right histories, and finds each broken promise."""

from __future__ import annotations

import pytest

from tests.recipes.once_per_checker import (
    BlockBegan,
    BlockEnded,
    Event,
    Left,
    Promises,
    Refused,
    RunEnded,
    RunStarted,
    ZnodeDeleted,
    check,
)

RETRY = Promises(period=10, on_crash="retry", at_most_for=5)
LEAVE = Promises(period=10, on_crash="leave", at_most_for=5)


def run(at: float, node: str, outcome: str = "finished") -> list[Event]:
    """Return the events of a run that takes a second."""
    is_ok = outcome == "finished"
    return [
        RunStarted(at, node),
        BlockBegan(at, node),
        BlockEnded(at + 1, node, is_ok),
        RunEnded(at + 1, node, outcome),
        ZnodeDeleted(at + 1, node, is_session_end=False),
        Left(at + 1, node, is_ok),
    ]


def death(at: float, node: str) -> list[Event]:
    """Return the events of a run whose engine dies, and of the end of its session."""
    return [
        RunStarted(at, node),
        BlockBegan(at, node),
        BlockEnded(at, node, is_ok=False),
        ZnodeDeleted(at + 1, node, is_session_end=True),
    ]


@pytest.mark.parametrize(
    ("promises", "events"),
    [
        (RETRY, run(1, "a") + run(11, "b")),
        (LEAVE, run(1, "a") + run(11, "b")),
        (RETRY, death(1, "a") + run(3, "b") + [Refused(7, "", called_at=6)]),
        (RETRY, run(1, "a", "failed") + run(3, "b")),
        (LEAVE, [*death(1, "a"), Refused(7, "", called_at=6)]),
        # the period of a run is that of its start
        (RETRY, [*run(9.5, "a"), *run(10.5, "b")]),
        # a start whose engine loses its session before the block
        (RETRY, [RunStarted(1, "a"), ZnodeDeleted(2, "a", is_session_end=True), *run(3, "b")]),
    ],
)
def test_right_histories_are_accepted(promises: Promises, events: list[Event]) -> None:
    assert check(events, promises) == []


@pytest.mark.parametrize(
    ("promises", "events", "fault"),
    [
        (RETRY, run(1, "a")[:2] + run(3, "b")[:2], "the block of a is running"),
        (RETRY, run(1, "a")[:2] + run(3, "b")[:1], "run a has not ended"),
        (RETRY, run(1, "a") + run(3, "b"), "run a of period 0 has finished"),
        (LEAVE, death(1, "a") + run(3, "b"), "period 0 had the run a"),
        (RETRY, run(1, "a")[1:], "no start was recorded"),
        (RETRY, [*run(1, "a")[:3], BlockBegan(2, "a")], "a second block of one run"),
        (RETRY, [*run(1, "a")[:1], RunStarted(2, "a")], "was started before"),
        (RETRY, [*run(1, "a")[:2], BlockEnded(9, "a", is_ok=True)], "the block took 8 s"),
        (RETRY, [*run(1, "a")[:2], ZnodeDeleted(2, "a", is_session_end=False)], "its block is running"),
        (RETRY, [*run(1, "a")[:2], RunEnded(2, "a", "failed")], "its block is running"),
        (RETRY, [*death(1, "a"), RunEnded(3, "a", "finished")], "has not ended without an error"),
        (RETRY, [*run(1, "a")[:3], Left(2, "a", is_ok=True)], "the record says ''"),
        (RETRY, [*run(1, "a"), Refused(13, "", called_at=12)], "no run has used up a period"),
        (RETRY, [*death(1, "a"), Refused(3, "", called_at=2)], "no run has used up a period"),
    ],
)
def test_each_broken_promise_is_found(promises: Promises, events: list[Event], fault: str) -> None:
    assert any(fault in each for each in check(events, promises)), check(events, promises)
