"""The checks of the election at the end of the demo. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.events import Event, EventKind

__all__ = ["run_election_checks"]

_AT_ONCE: Final = 1.0
"""In seconds. A successor that had to wait for a session to expire would lead later than that."""


def run_election_checks(events: Sequence[Event]) -> list[CheckResult]:
    """Run the checks of leaders.

    Args:
        events: the recorded events, ordered by the clock.
    """
    leaders = [event for event in events if event.kind is EventKind.LEADS]
    return [
        CheckResult(f"no two workers led at once ({len(leaders)} leaders)", tuple(_overlaps(events))),
        CheckResult(
            f"each leader that stepped down had a successor at once{_slowest_succession(events)}",
            tuple(
                f"{successor.worker} led no earlier than {seconds:.1f} s after {leader.worker} stepped down"
                for leader, successor, seconds in _successions(events)
                if seconds > _AT_ONCE
            ),
        ),
        CheckResult("an observer read the leaders in the right order", tuple(_misread(events, leaders))),
    ]


def _overlaps(events: Sequence[Event]) -> Iterator[str]:
    leader: Event | None = None
    newest = -1
    for event in events:
        if event.kind is EventKind.LEADS:
            if leader is not None:
                yield f"{event.worker} led with token {event.token} while {leader.worker} led"
            if event.token is None or event.token <= newest:
                yield f"{event.worker} led with token {event.token} after token {newest}"
            leader, newest = event, event.token or newest
        elif event.kind is EventKind.STEPPED_DOWN and leader is not None and event.token == leader.token:
            leader = None
    if newest < 0:
        yield "no worker led"


def _successions(events: Sequence[Event]) -> Iterator[tuple[Event, Event, float]]:
    terms = [event for event in events if event.kind in {EventKind.LEADS, EventKind.STEPPED_DOWN}]
    for one, other in pairwise(terms):
        if one.kind is EventKind.STEPPED_DOWN and other.kind is EventKind.LEADS:
            yield one, other, other.at - one.at


def _slowest_succession(events: Sequence[Event]) -> str:
    """Return the longest time between two leaders, in words; empty if no leader had a successor."""
    slowest = max((seconds for _, _, seconds in _successions(events)), default=None)
    return "" if slowest is None else f" (within {slowest * 1000:.1f} ms)"


def _misread(events: Sequence[Event], leaders: Sequence[Event]) -> Iterator[str]:
    left = iter([(leader.token, leader.worker) for leader in leaders])
    observed = [(event.token, event.worker) for event in events if event.kind is EventKind.OBSERVED]
    if not observed:
        yield "the observer read no leader"
    for token, worker in observed:
        # `in` consumes the iterator: a slow observer may skip leaders but not read them out of order.
        if (token, worker) not in left:
            yield f"the observer read {worker} with token {token}, which did not lead then"
