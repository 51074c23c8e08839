"""What happens to workers, as they report it: one JSON line an event, and one word in answer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import final

__all__ = ["ASKING", "Event", "EventKind", "Order"]


@final
class EventKind(StrEnum):
    """What happened."""

    JOINED = "joined"  # it has a session
    BEGAN = "began"  # it holds the lock, and has not touched anything yet
    HALFWAY = "halfway"  # its job is half done
    DONE = "done"  # its job is marked done; it is about to give the lock back
    IDLE = "idle"  # there was no job left; it is about to give the lock back
    KILLED = "killed"  # its process is gone, by SIGKILL
    CUT_OFF = "cut-off"  # nothing that it sends arrives any more, and nothing reaches it
    CANCELLED = "cancelled"  # its work was cancelled, since the lock could no longer be proven
    LOST = "lost"  # LockLostError came out of its `async with mutex`
    BACK = "back"  # it has a new session
    LEADS = "leads"  # all jobs are done, and it is the leader of those that are left
    OBSERVED = "observed"  # the demo has read that it leads
    STEPPED_DOWN = "stepped-down"  # it is about to leave its `async with election.lead()`
    FINISHED = "finished"  # it goes home
    FAILED = "failed"  # its process ended, and nobody had asked for that


@final
class Order(StrEnum):
    """The answer to an event. Those of `ASKING` are answered; the worker waits for it."""

    GO = "go"
    CUT = "cut"


# With DONE and IDLE the worker gives the lock back only after the answer. So its end is known before the next
# one's begin, whichever pipe is faster.
ASKING = frozenset({EventKind.HALFWAY, EventKind.DONE, EventKind.IDLE, EventKind.LOST})


@final
@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one worker."""

    kind: EventKind
    worker: str
    at: float
    """On the machine's monotonic clock, which all its processes share."""
    token: int | None = None
    """The fencing token of the hold that it belongs to; None outside a hold."""
    job: int | None = None
    """The number of the job that it belongs to; None where there is no job."""
    detail: str = ""

    def to_line(self) -> bytes:
        """As one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Event:
        """The event of one line.

        Raises:
            ValueError: it is none.
        """
        try:
            fields = json.loads(line)
            return cls(**{**fields, "kind": EventKind(fields["kind"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not an event: {line!r}") from error
