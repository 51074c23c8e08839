"""The judge of the election with which the demo ends. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from zkrecipes.cli.demo.check import Check
from zkrecipes.cli.demo.events import Event, EventKind

__all__ = ["check_election"]

_AT_ONCE: Final = 1.0
"""Seconds; a successor that had to wait for a session to run out would come later than that."""


def check_election(events: Sequence[Event]) -> list[Check]:
    """Check the claims about leaders.

    Args:
        events: what the recorder saw, in the order of the clock.
    """
    leaders = [event for event in events if event.kind is EventKind.LEADS]
    return [
        Check(f"no two workers led at once ({len(leaders)} leaders)", tuple(_overlaps(events))),
        Check(
            f"who stepped down was succeeded at once{_how_soon(events)}",
            tuple(
                f"{successor.worker} led only {seconds:.1f} s after {leader.worker} had stepped down"
                for leader, successor, seconds in _successions(events)
                if seconds > _AT_ONCE
            ),
        ),
        Check("an observer read who led, in that order", tuple(_misread(events, leaders))),
    ]


def _overlaps(events: Sequence[Event]) -> Iterator[str]:
    leader: Event | None = None
    newest = -1
    for event in events:
        if event.kind is EventKind.LEADS:
            if leader is not None:
                yield f"{event.worker} led with token {event.token} while {leader.worker} led, too"
            if event.token is None or event.token <= newest:
                yield f"{event.worker} led with token {event.token} after token {newest}"
            leader, newest = event, event.token or newest
        elif event.kind is EventKind.STEPPED_DOWN and leader is not None and event.token == leader.token:
            leader = None
    if newest < 0:
        yield "nobody led"


def _successions(events: Sequence[Event]) -> Iterator[tuple[Event, Event, float]]:
    terms = [event for event in events if event.kind in {EventKind.LEADS, EventKind.STEPPED_DOWN}]
    for one, other in pairwise(terms):
        if one.kind is EventKind.STEPPED_DOWN and other.kind is EventKind.LEADS:
            yield one, other, other.at - one.at


def _how_soon(events: Sequence[Event]) -> str:
    """After how long at the latest, in words; empty where nobody was succeeded."""
    slowest = max((seconds for _, _, seconds in _successions(events)), default=None)
    return "" if slowest is None else f" (within {slowest * 1000:.1f} ms)"


def _misread(events: Sequence[Event], leaders: Sequence[Event]) -> Iterator[str]:
    left = iter([(leader.token, leader.worker) for leader in leaders])
    observed = [(event.token, event.worker) for event in events if event.kind is EventKind.OBSERVED]
    if not observed:
        yield "it read nobody"
    for token, worker in observed:
        # `in` consumes the iterator: a slow observer may skip some, and none may come out of turn
        if (token, worker) not in left:
            yield f"it read {worker} with token {token}, who did not lead then"
