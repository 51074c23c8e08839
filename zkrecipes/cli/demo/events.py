"""The events that workers report, each as a line of JSON, and the one-word answers of the demo."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import final

__all__ = ["ANSWERED_KINDS", "Event", "EventKind", "Instruction"]


@final
class EventKind(StrEnum):
    """The kinds of events of a worker."""

    JOINED = "joined"  # the worker has a session
    BEGAN = "began"  # it holds the lock and has not changed anything yet
    HALFWAY = "halfway"  # its job is half done
    DONE = "done"  # its job is marked done; it is about to release the lock
    IDLE = "idle"  # there was no job left; it is about to release the lock
    KILLED = "killed"  # the demo ended its process with SIGKILL
    CUT_OFF = "cut-off"  # its network is cut: nothing that it sends arrives, and nothing reaches it
    CANCELLED = "cancelled"  # its work was cancelled, because the hold could not be proven
    LOST = "lost"  # its `async with mutex` has raised LockLostError
    BACK = "back"  # it has a new session
    LEADS = "leads"  # all jobs are done, and it leads the remaining workers
    OBSERVED = "observed"  # the demo's observer has read that it leads
    STEPPED_DOWN = "stepped-down"  # it is about to leave its `async with election.lead()`
    FINISHED = "finished"  # its process ends as planned
    FAILED = "failed"  # its process ended unexpectedly


@final
class Instruction(StrEnum):
    """The demo's answer to an event of `ANSWERED_KINDS`, for which the worker waits."""

    CONTINUE = "continue"
    CUT = "cut"


# After DONE and IDLE the worker releases the lock only when it has the answer. Therefore the demo knows the
# end of one hold before the start of the next, whichever pipe is faster.
ANSWERED_KINDS = frozenset({EventKind.HALFWAY, EventKind.DONE, EventKind.IDLE, EventKind.LOST})


@final
@dataclass(frozen=True, slots=True)
class Event:
    """An event of one worker."""

    kind: EventKind
    worker: str
    at: float
    """The time on the machine's monotonic clock, which all its processes share."""
    token: int | None = None
    """The fencing token of the event's hold; None outside a hold."""
    job: int | None = None
    """The number of the event's job; None if there is no job."""
    detail: str = ""

    def to_line(self) -> bytes:
        """Encode the event as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Event:
        """Decode the event of one line.

        Raises:
            ValueError: the line is not an event.
        """
        try:
            fields = json.loads(line)
            return cls(**{**fields, "kind": EventKind(fields["kind"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not an event: {line!r}") from error
