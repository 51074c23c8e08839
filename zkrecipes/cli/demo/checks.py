"""The checks of the demo's recorded events and final znodes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.election_checks import run_election_checks
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.znodes import LedgerLine, Mark

__all__ = ["run_checks"]

# The events after which the body of a hold does nothing more.
_ENDS = {EventKind.DONE, EventKind.IDLE, EventKind.KILLED, EventKind.CANCELLED, EventKind.LOST}
# After these events it is unknown whether an unfinished mark was written.
_UNCLEAR_ENDS = {EventKind.KILLED, EventKind.CANCELLED, EventKind.LOST}


def run_checks(
    events: Sequence[Event], marks: Sequence[Mark], ledger: Sequence[LedgerLine], *, workers: Sequence[str]
) -> list[CheckResult]:
    """Run all checks.

    Args:
        events: the recorded events. The checks order them by the machine's clock, and equal times by arrival.
        marks: the final contents of the jobs' znodes.
        ledger: the final lines of the ledger, which the holders wrote under the lock.
        workers: the names of all workers.
    """
    events = sorted(events, key=lambda event: event.at)
    hold_count = sum(event.kind is EventKind.BEGAN for event in events)
    killed = _first(events, EventKind.KILLED)
    cut = _first(events, EventKind.CUT_OFF)
    return [
        CheckResult(f"no two workers held the lock at once ({hold_count} holds)", tuple(_overlaps(events))),
        CheckResult(
            "each holder's fencing token was greater than the previous one", tuple(_tokens_back(events))
        ),
        CheckResult(
            "the ledger on the server shows one holder after the other", tuple(_ledger_faults(ledger))
        ),
        CheckResult(
            f"every job was done exactly once ({len(marks)} jobs)", tuple(_job_faults(events, marks))
        ),
        CheckResult(
            "another worker did the job of the killed worker",
            tuple(_not_taken_over(events, killed, "no worker was killed")),
        ),
        CheckResult(
            f"the worker that was cut off stopped before the next holder began{_margin(events, cut)}",
            tuple(_not_stopped_in_time(events, cut)),
        ),
        CheckResult(
            "all other workers continued until no job was left", tuple(_not_finished(events, workers))
        ),
        *run_election_checks(events),
    ]


def _overlaps(events: Sequence[Event]) -> Iterator[str]:
    holder: Event | None = None
    for event in events:
        if event.kind is EventKind.BEGAN:
            if holder is not None:
                yield (
                    f"{event.worker} began with token {event.token} while {holder.worker} held token "
                    f"{holder.token}"
                )
            holder = event
        elif event.kind in _ENDS and holder is not None and event.token == holder.token:
            holder = None


def _tokens_back(events: Sequence[Event]) -> Iterator[str]:
    begun = [event for event in events if event.kind is EventKind.BEGAN]
    for one, other in pairwise(begun):
        if one.token is None or other.token is None or other.token <= one.token:
            yield f"{other.worker} had token {other.token} after {one.worker} had token {one.token}"


def _ledger_faults(ledger: Sequence[LedgerLine]) -> Iterator[str]:
    if not ledger:
        yield "the ledger is empty"
    open_line: LedgerLine | None = None
    newest = -1
    for line in ledger:
        if line.action == "begin":
            if line.token <= newest:
                yield f"token {line.token} began after token {newest}"
            newest, open_line = line.token, line
        elif open_line is None or (line.token, line.job) != (open_line.token, open_line.job):
            yield f"token {line.token} ended job {line.job} when token {newest} was the newest"
        else:
            open_line = None


def _job_faults(events: Sequence[Event], marks: Sequence[Mark]) -> Iterator[str]:
    done = Counter(event.job for event in events if event.kind is EventKind.DONE)
    reported = {(event.job, event.token) for event in events if event.kind is EventKind.DONE}
    unclear = {(event.job, event.token) for event in events if event.kind in _UNCLEAR_ENDS}
    for mark in marks:
        if mark.times != 1:
            yield f"job {mark.job} was marked done {mark.times} times"
        if done[mark.job] > 1:
            yield f"job {mark.job} was reported done {done[mark.job]} times"
        if mark.times == 1 and (mark.job, mark.token) not in reported | unclear:
            yield f"job {mark.job} was marked by token {mark.token}, whose holder did not report it"
    written = {(mark.job, mark.token) for mark in marks}
    for job, token in reported - written:
        yield f"token {token} reported job {job} as done, but its znode is not marked"


def _not_taken_over(events: Sequence[Event], victim: Event | None, missing: str) -> Iterator[str]:
    if victim is None:
        yield missing
        return
    later = events[events.index(victim) :]
    if not any(
        e.kind is EventKind.BEGAN and e.job == victim.job and e.worker != victim.worker for e in later
    ):
        yield f"no worker took job {victim.job} after {victim.worker}"


def _not_stopped_in_time(events: Sequence[Event], cut: Event | None) -> Iterator[str]:
    yield from _not_taken_over(events, cut, "no worker was cut off")
    if cut is None:
        return
    later = events[events.index(cut) :]
    kinds = [
        event.kind
        for event in later
        if event.kind is EventKind.BEGAN or (event.token == cut.token and event.kind in _ENDS)
    ]
    if EventKind.CANCELLED not in kinds:
        yield f"the work of {cut.worker} was never cancelled"
    elif EventKind.BEGAN in kinds and kinds.index(EventKind.BEGAN) < kinds.index(EventKind.CANCELLED):
        yield f"the next holder began before the work of {cut.worker} was cancelled"
    if not any(event.kind is EventKind.LOST and event.token == cut.token for event in later):
        yield f"{cut.worker} got no LockLostError"


def _margin(events: Sequence[Event], cut: Event | None) -> str:
    """Return the time between the cancellation and the next hold, in words; empty if it is unknown."""
    if cut is None:
        return ""
    later = events[events.index(cut) :]
    stopped = next((e.at for e in later if e.kind is EventKind.CANCELLED and e.token == cut.token), None)
    began = _first(later, EventKind.BEGAN)
    if stopped is None or began is None or began.at <= stopped:
        return ""
    return f" ({began.at - stopped:.2f} s before)"


def _not_finished(events: Sequence[Event], workers: Sequence[str]) -> Iterator[str]:
    fine = {event.worker for event in events if event.kind in {EventKind.FINISHED, EventKind.KILLED}}
    failed = {event.worker: event.detail for event in events if event.kind is EventKind.FAILED}
    for worker in workers:
        if worker in failed:
            yield f"{worker} ended unexpectedly: {failed[worker]}"
        elif worker not in fine:
            yield f"{worker} had not finished before the time limit"


def _first(events: Sequence[Event], kind: EventKind) -> Event | None:
    return next((event for event in events if event.kind is kind), None)
