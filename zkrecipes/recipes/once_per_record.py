"""The record of a job, and the rule that decides when its next run is due. No I/O.

The record is the data of the job's znode. The times in it are the ensemble's: the last write's time is the
znode's `mtime`, and each write copies the times of earlier writes into the data. No client's clock is read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, final

from zkrecipes.client.recipe_api import Node
from zkrecipes.errors import JobRecordError
from zkrecipes.paths import check_path

__all__ = ["JobRecord", "OnCrash", "OnFailure", "RunOutcome", "RunRecord", "Schedule", "read_record"]

RunOutcome: TypeAlias = Literal["running", "finished", "failed", "timed out", "cancelled", "died"]
"""The state of a run.

- `"running"`: its engine holds the lock.
- `"finished"`: the block ended without an error.
- `"failed"`: the block raised.
- `"timed out"`: `at_most_for` ended the block.
- `"cancelled"`: the block was cancelled from outside, or by the loss of the lock.
- `"died"`: the run started, its engine holds the lock no longer, and no end was recorded.
"""

OnCrash: TypeAlias = Literal["retry", "leave"]
"""Whether a run that died or was cancelled is started again in the same period."""

OnFailure: TypeAlias = Literal["retry", "leave"]
"""Whether a run that failed or timed out is started again in the same period."""

_CRASHED: Final = ("died", "cancelled")
_FAILED: Final = ("failed", "timed out")
_ENDED: Final = ("finished", "cancelled", *_FAILED)
_ERROR_TEXT_MAX: Final = 1000
"""Characters of an error's text that the record keeps: the record is read by each run."""
_TIME_END: Final = 2**63
"""A time in milliseconds is a long in jute's encoding, and below this number."""


@final
@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a job, as its record shows it. Times are seconds since 1970 by the ensemble's clock.

    Attributes:
        engine: the identifier of the engine that ran it.
        node: the name of the znode that held the lock for it.
        started_at: the time of the transaction that recorded the start, before the block began.
        ended_at: the time of the transaction that recorded the end; None if it has not ended, or died.
        outcome: how it ended.
        error: the type and the text of the error that ended it; empty if there was no error.
        missed: the number of periods before it that had no run.
    """

    engine: str
    node: str
    started_at: float
    ended_at: float | None = None
    outcome: RunOutcome = "running"
    error: str = ""
    missed: int = 0

    def ended(self, outcome: RunOutcome, error: str = "") -> RunRecord:
        """Return the same run with its outcome, and with the text of an error cut to 1,000 characters."""
        return replace(self, outcome=outcome, error=error[:_ERROR_TEXT_MAX])


@final
@dataclass(frozen=True, slots=True)
class JobRecord:
    """The last run of a job, and the run before it; None if there was no such run."""

    run: RunRecord | None = None
    before: RunRecord | None = None

    def find(self, node: str) -> RunRecord | None:
        """Return the run for which the znode with this name held the lock, if the record still has it."""
        return next((run for run in (self.run, self.before) if run is not None and run.node == node), None)

    def started(self, engine: str, node: str, missed: int) -> bytes:
        """Return the data that record the start of a run, when no other run can be running."""
        before = self.run
        if before is not None and before.outcome == "running":
            before = before.ended("died")
        return _encode(RunRecord(engine, node, math.nan, missed=missed), before)

    def ended(self, outcome: RunOutcome, error: str) -> bytes:
        """Return the data that record the end of the last run."""
        assert self.run is not None
        return _encode(self.run.ended(outcome, error), self.before)


def read_record(path: str, node: Node) -> JobRecord:
    """Return the record in a job's znode. Empty data are the record of a job without a run.

    Raises:
        JobRecordError: the data are not a record.
    """
    data, stat = node
    if not data:
        return JobRecord()
    written_at = stat.mtime / 1000
    try:
        values = json.loads(data)
        run = _decode(values["run"])
        before = None if values["before"] is None else _decode(values["before"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise JobRecordError(path, data) from error
    if run.outcome == "running":
        return JobRecord(replace(run, started_at=written_at), before)
    return JobRecord(replace(run, ended_at=written_at), before)


def _encode(run: RunRecord, before: RunRecord | None) -> bytes:
    # The time of this write is unknown until it is applied: `mtime` has it.
    values = {"run": _to_values(run), "before": None if before is None else _to_values(before)}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _to_values(run: RunRecord) -> dict[str, Any]:
    return {
        "engine": run.engine,
        "node": run.node,
        "outcome": run.outcome,
        "started": _to_ms(run.started_at),
        "ended": _to_ms(run.ended_at),
        "error": run.error,
        "missed": run.missed,
    }


def _to_ms(seconds: float | None) -> int | None:
    return None if seconds is None or math.isnan(seconds) else round(seconds * 1000)


def _to_seconds(ms: float | None) -> float | None:
    if ms is not None and not abs(ms) < _TIME_END:  # NaN is less than nothing
        raise ValueError(ms)
    return None if ms is None else ms / 1000


def _decode(values: dict[str, Any]) -> RunRecord:
    outcome = values["outcome"]
    if outcome not in ("running", "died", *_ENDED):
        raise ValueError(outcome)
    started, ended = _to_seconds(values["started"]), _to_seconds(values["ended"])
    if started is None and outcome != "running":
        raise ValueError(started)
    node = str(values["node"])
    check_path(f"/job/{node}")  # `status` looks for it in the lock's directory
    return RunRecord(
        engine=str(values["engine"]),
        node=node,
        started_at=math.nan if started is None else started,
        ended_at=ended,
        outcome=outcome,
        error=str(values["error"]),
        missed=int(values["missed"]),
    )


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """The rule for the runs of a job; the attributes are the arguments of `OncePer`."""

    period: float
    offset: float
    aligned: bool
    on_crash: OnCrash
    on_failure: OnFailure
    at_least_for: float

    def due_at(self, last: RunRecord | None) -> float:
        """Return the time, by the ensemble's clock, from which the next run may start.

        A clock that goes back makes it later, and never lets a second run into a period.

        Args:
            last: the last run, which is not running any more, or None.
        """
        if last is None:
            return -math.inf
        earliest = last.started_at + self.at_least_for
        if not self.uses_up_period(last):
            return earliest
        return max(earliest, self._next_period(last.started_at))

    def uses_up_period(self, run: RunRecord) -> bool:
        """Whether there is no other run in the period in which this run started."""
        outcome = "died" if run.outcome == "running" else run.outcome
        if outcome in _CRASHED:
            return self.on_crash == "leave"
        if outcome in _FAILED:
            return self.on_failure == "leave"
        return True

    def missed(self, last: RunRecord | None, now: float) -> int:
        """Return how many periods before the current one had no run that used them up."""
        if last is None or math.isinf(self.period):
            return 0
        passed = self._number(now, last.started_at) - self._number(last.started_at, last.started_at)
        return max(0, passed - 1) if self.uses_up_period(last) else last.missed + max(0, passed)

    def _next_period(self, started_at: float) -> float:
        if math.isinf(self.period):
            return math.inf
        if not self.aligned:
            return started_at + self.period
        return (self._number(started_at, started_at) + 1) * self.period + self.offset

    def _number(self, time: float, started_at: float) -> int:
        """Return the number of the period that contains a time."""
        return math.floor((time - (self.offset if self.aligned else started_at)) / self.period)
