"""The record of all workers' events, with the hand-overs of the lock and their durations."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, final

from zkrecipes.cli.demo.events import Event, EventKind

__all__ = ["Cause", "HandOver", "RecordedEvent", "Recorder"]


@final
class Cause(StrEnum):
    """The reason why the lock became free."""

    RELEASE = "release"
    KILL = "kill"
    CUT = "cut"
    LOSS = "loss"


_CAUSES = {
    EventKind.DONE: Cause.RELEASE,
    EventKind.IDLE: Cause.RELEASE,
    EventKind.KILLED: Cause.KILL,
    EventKind.CUT_OFF: Cause.CUT,
    EventKind.CANCELLED: Cause.LOSS,
    EventKind.LOST: Cause.LOSS,
}


@final
class HandOver(NamedTuple):
    """The hand-over of the lock from one worker to the next."""

    giver: str
    cause: Cause
    seconds: float
    """The time from the release, kill or cut until the next worker was inside its `async with mutex`."""


@final
class RecordedEvent(NamedTuple):
    """An event, with the hand-over that it completes."""

    event: Event
    hand_over: HandOver | None
    """The hand-over that a BEGAN completes; None for the first holder and for other events."""


@final
class Recorder:
    """The recorder of all events.

    Attributes:
        events: the events so far, in the order of arrival.
        hand_overs: the hand-overs so far, in order.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.hand_overs: list[HandOver] = []
        self._freed: tuple[int | None, str, Cause, float] | None = None

    def record(self, event: Event, now: float) -> RecordedEvent:
        """Record an event. Call it before answering the event.

        Args:
            event: an event that a worker reported or the demo caused.
            now: the current time on the clock of the events.
        """
        self.events.append(event)
        hand_over = None
        if event.kind is EventKind.BEGAN and self._freed is not None:
            _, giver, cause, since = self._freed
            hand_over = HandOver(giver, cause, event.at - since)
            self.hand_overs.append(hand_over)
        cause_now = _CAUSES.get(event.kind)
        # The first cause counts: a worker that was cut off is also cancelled later.
        if cause_now is not None and (self._freed is None or self._freed[0] != event.token):
            since = now if cause_now is Cause.RELEASE else event.at
            self._freed = (event.token, event.worker, cause_now, since)
        return RecordedEvent(event, hand_over)
