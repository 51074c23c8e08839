"""Checks a history of one job against the promises of `OncePer`. It knows the promises, and not the recipe.

| promise | rule |
| --- | --- |
| two runs of one job never overlap | no block begins while another block runs |
| a start is recorded before the block runs | each block has one recorded start, which came first |
| started at most once per period, with `on_crash="leave"` | one recorded start in each period |
| finished at most once, with `"retry"` | no start in a period after a recorded finish of the same period |
| a dead engine's job is started again by exactly one other | no start while the last run's znode exists |
| `at_most_for` cancels the block | a limit for the length of a block |
| it never lets a second block in | no client deletes the znode of its running block |
| the outcome is recorded | the record says "finished" if the caller sees a success, and only then |
| no caller gets a silent non-run | a refused call has a run that has used up the period |

The period of a run is that of its recorded start, by the server's time of that write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = [
    "BlockBegan",
    "BlockEnded",
    "Event",
    "Left",
    "Promises",
    "Refused",
    "RunEnded",
    "RunStarted",
    "ZnodeDeleted",
    "check",
]


@dataclass(frozen=True)
class Event:
    """One event of a history: the server's time, and the name of the run's znode in the lock."""

    at: float
    node: str


@dataclass(frozen=True)
class RunStarted(Event):
    """A transaction recorded the start of a run; `at` is the time of the record."""


@dataclass(frozen=True)
class RunEnded(Event):
    """A transaction recorded the end of a run."""

    outcome: str


@dataclass(frozen=True)
class ZnodeDeleted(Event):
    """The znode of a run was deleted, by its session's end or by a request."""

    is_session_end: bool


@dataclass(frozen=True)
class BlockBegan(Event):
    """A caller's block began."""


@dataclass(frozen=True)
class BlockEnded(Event):
    """A caller's block ended, with or without an error. A crash of its process also ends it."""

    is_ok: bool


@dataclass(frozen=True)
class Left(Event):
    """The call returned to a caller that had a run."""

    is_ok: bool


@dataclass(frozen=True)
class Refused(Event):
    """A call reported that the job is not due; it was made at `called_at`, and `node` is empty."""

    called_at: float


@dataclass(frozen=True)
class Promises:
    """The arguments of the job, and the time that a cancelled block takes to clean up."""

    period: float
    on_crash: str
    at_most_for: float = math.inf
    clean_up: float = 0.0

    def number(self, time: float) -> int:
        """Return the number of a period."""
        return math.floor(time / self.period)


@dataclass
class _Run:
    started_at: float
    outcome: str = ""
    is_znode_there: bool = True
    began_at: float | None = None
    is_block_over: bool = False
    is_block_ok: bool = False


@dataclass
class _State:
    promises: Promises
    runs: dict[str, _Run] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def inside(self) -> list[str]:
        return [node for node, run in self.runs.items() if run.began_at is not None and not run.is_block_over]

    def period_of(self, run: _Run) -> int:
        return self.promises.number(run.started_at)

    def uses_up(self, run: _Run) -> bool:
        """Whether a run leaves no other run to its period, if a failed run is not repeated."""
        return self.promises.on_crash == "leave" or run.outcome in ("finished", "failed", "timed out")


def check(events: Iterable[Event], promises: Promises) -> list[str]:
    """Return the broken promises of a history, in its order."""
    state = _State(promises)
    for event in events:
        match event:
            case RunStarted():
                _started(state, event)
            case BlockBegan():
                _began(state, event)
            case BlockEnded():
                _block_ended(state, event)
            case ZnodeDeleted():
                _deleted(state, event)
            case RunEnded():
                _ended(state, event)
            case Left():
                _left(state, event)
            case Refused():
                _refused(state, event)
    return state.faults


def _started(state: _State, event: RunStarted) -> None:
    number = state.promises.number(event.at)
    if event.node in state.runs:
        state.faults.append(f"{event}: this run was started before")
        return
    for node, run in state.runs.items():
        if run.is_znode_there:
            state.faults.append(f"{event}: run {node} has not ended")
        if state.period_of(run) != number:
            continue
        if state.promises.on_crash == "leave":
            state.faults.append(f"{event}: period {number} had the run {node}")
        elif run.outcome == "finished":
            state.faults.append(f"{event}: run {node} of period {number} has finished")
    state.runs[event.node] = _Run(event.at)


def _began(state: _State, event: BlockBegan) -> None:
    state.faults += [f"{event}: the block of {node} is running" for node in state.inside()]
    run = state.runs.get(event.node)
    if run is None:
        state.faults.append(f"{event}: no start was recorded")
        state.runs[event.node] = run = _Run(event.at)
    elif run.began_at is not None:
        state.faults.append(f"{event}: a second block of one run")
    run.began_at = event.at


def _block_ended(state: _State, event: BlockEnded) -> None:
    run = state.runs[event.node]
    assert run.began_at is not None
    if event.at - run.began_at > state.promises.at_most_for + state.promises.clean_up:
        state.faults.append(f"{event}: the block took {event.at - run.began_at:g} s")
    run.is_block_over, run.is_block_ok = True, event.is_ok


def _deleted(state: _State, event: ZnodeDeleted) -> None:
    run = state.runs.get(event.node)
    if run is None:
        return
    run.is_znode_there = False
    if not event.is_session_end and event.node in state.inside():
        state.faults.append(f"{event}: its block is running")


def _ended(state: _State, event: RunEnded) -> None:
    run = state.runs.get(event.node)
    if run is None or run.outcome:
        state.faults.append(f"{event}: there is no such run, or it has ended before")
        return
    run.outcome = event.outcome
    if event.node in state.inside():
        state.faults.append(f"{event}: its block is running")
    if event.outcome == "finished" and not run.is_block_ok:
        state.faults.append(f"{event}: its block has not ended without an error")
    same = [each for each in state.runs.values() if state.period_of(each) == state.period_of(run)]
    if sum(each.outcome == "finished" for each in same) > 1:
        state.faults.append(f"{event}: another run of the same period has finished")


def _left(state: _State, event: Left) -> None:
    recorded = state.runs[event.node].outcome
    if event.is_ok and recorded != "finished":
        state.faults.append(f"{event}: the caller saw a success, and the record says {recorded!r}")


def _refused(state: _State, event: Refused) -> None:
    for run in state.runs.values():
        if state.uses_up(run) and state.period_of(run) >= state.promises.number(event.called_at):
            return
    state.faults.append(f"{event}: no run has used up a period since the call")
