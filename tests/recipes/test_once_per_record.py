"""The record of a job and its schedule, without a server."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

import zkrecipes as zk
from zkrecipes.recipes.once_per_record import JobRecord, Schedule, read_record

OUTCOMES = st.sampled_from(["finished", "failed", "timed out", "cancelled", "died"])


def _schedule(**options: Any) -> Schedule:
    defaults = {
        "period": 10.0,
        "offset": 0.0,
        "aligned": True,
        "on_crash": "retry",
        "on_failure": "leave",
        "at_least_for": 0.0,
    }
    return Schedule(**{**defaults, **options})


def _node(data: bytes | None, mtime: int) -> zk.Node:
    return zk.Node(data, zk.Stat(1, 2, 0, mtime, 3, 0, 0, 0, len(data or b""), 0, 1))


def _run(outcome: zk.RunOutcome, started_at: float = 25.0, missed: int = 0) -> zk.RunRecord:
    return zk.RunRecord("engine", "node", started_at, 26.0, outcome, missed=missed)


def test_a_record_takes_its_last_time_from_the_write() -> None:
    started = read_record("/job", _node(JobRecord().started("engine", "one", 2), 5_000))
    assert started == JobRecord(zk.RunRecord("engine", "one", 5.0, missed=2))
    ended = read_record("/job", _node(started.ended("failed", "x" * 2000), 7_500))
    run = zk.RunRecord("engine", "one", 5.0, 7.5, "failed", "x" * 1000, 2)
    assert ended == JobRecord(run)
    again = read_record("/job", _node(ended.started("other", "two", 0), 9_000))
    assert again == JobRecord(zk.RunRecord("other", "two", 9.0), run)
    assert again.find("one") == run
    assert again.find("three") is None


def test_a_run_whose_end_was_not_recorded_has_died_when_the_next_one_starts() -> None:
    started = read_record("/job", _node(JobRecord().started("engine", "one", 0), 5_000))
    again = read_record("/job", _node(started.started("other", "two", 0), 9_000))
    assert again.before == zk.RunRecord("engine", "one", 5.0, outcome="died")


def test_an_engine_and_an_error_may_have_any_text() -> None:
    record = read_record("/job", _node(JobRecord().started('é"\n', "one", 0), 5_000))
    assert record.run is not None
    assert record.run.engine == 'é"\n'
    ended = read_record("/job", _node(record.ended("failed", "\udc80 not UTF-8"), 6_000))
    assert ended.run is not None
    assert ended.run.error == "? not UTF-8"


@pytest.mark.parametrize("data", [b"", None])
def test_empty_data_are_the_record_of_a_job_without_a_run(data: bytes | None) -> None:
    assert read_record("/job", _node(data, 5)) == JobRecord()


@pytest.mark.parametrize(
    "data", [b"5", b"[]", b"{", b"{}", b"\xff", b'{"run":null,"before":null}', b'{"run":{},"before":null}']
)
def test_other_data_are_an_error(data: bytes) -> None:
    with pytest.raises(zk.JobRecordError, match="/job must be the record of a job"):
        read_record("/job", _node(data, 5))


def _written(**changes: Any) -> bytes:
    run = {
        "engine": "x",
        "node": "n",
        "outcome": "finished",
        "started": 1,
        "ended": 2,
        "error": "",
        "missed": 0,
    }
    return json.dumps({"run": run | changes, "before": None}).encode()


@pytest.mark.parametrize(
    "data",
    [
        _written(started=None),
        _written(started=math.nan),
        _written(started=10**400),
        _written(ended=math.inf),
        _written(missed=math.inf),
        _written(node=""),
        _written(node="../n", outcome="running"),
        100_000 * b"[",
    ],
)
def test_a_record_that_this_recipe_cannot_have_written_is_an_error(data: bytes) -> None:
    assert read_record("/job", _node(_written(), 5)).run is not None
    with pytest.raises(zk.JobRecordError):
        read_record("/job", _node(data, 5))


@given(data=st.binary(max_size=60))
def test_no_data_raise_another_error(data: bytes) -> None:
    with suppress(zk.JobRecordError):
        assert read_record("/job", _node(data, 5)) == JobRecord()


@pytest.mark.parametrize(
    ("options", "outcome", "due_at"),
    [
        ({}, "finished", 30),
        ({"offset": 7}, "finished", 27),
        ({"aligned": False, "offset": 7}, "finished", 35),
        ({"period": math.inf}, "finished", math.inf),
        ({"at_least_for": 3}, "finished", 30),
        ({"at_least_for": 8}, "finished", 33),
        ({}, "failed", 30),
        ({"on_failure": "retry"}, "failed", 25),
        ({"on_failure": "retry", "at_least_for": 2}, "timed out", 27),
        ({}, "died", 25),
        ({}, "running", 25),
        ({}, "cancelled", 25),
        ({"on_crash": "leave"}, "died", 30),
        ({"on_crash": "leave"}, "running", 30),
        ({"on_crash": "leave"}, "cancelled", 30),
    ],
)
def test_the_next_run_is_due(options: Any, outcome: zk.RunOutcome, due_at: float) -> None:
    assert _schedule(**options).due_at(_run(outcome)) == due_at


def test_a_job_without_a_run_is_due() -> None:
    assert _schedule().due_at(None) == -math.inf


@given(outcome=OUTCOMES, started_at=st.floats(0, 1e9), now=st.floats(0, 1e9), offset=st.floats(-1e3, 1e3))
def test_a_clock_that_goes_back_never_lets_a_second_run_into_a_period(
    outcome: zk.RunOutcome, started_at: float, now: float, offset: float
) -> None:
    schedule = _schedule(offset=offset, on_crash="leave")
    is_due = schedule.due_at(_run(outcome, started_at)) <= now
    same_or_earlier = math.floor((now - offset) / 10) <= math.floor((started_at - offset) / 10)
    assert not (is_due and now < started_at)
    if same_or_earlier and (started_at - offset) % 10 < 9.99:  # floats round at the very end of a period
        assert not is_due


@pytest.mark.parametrize(
    ("outcome", "now", "missed"),
    [("finished", 29, 0), ("finished", 31, 0), ("finished", 41, 1), ("died", 29, 3), ("died", 41, 5)],
)
def test_missed_periods_are_counted(outcome: zk.RunOutcome, now: float, missed: int) -> None:
    assert _schedule().missed(_run(outcome, missed=3), now) == missed


def test_a_job_that_runs_once_ever_misses_nothing() -> None:
    assert _schedule(period=math.inf).missed(_run("died"), 1e9) == 0
    assert _schedule().missed(None, 1e9) == 0
