"""The stages of one connection from the client's end, and the one table of their transitions.

`ClientSide` is the only writer: one method of it changes its stage, and only through `next_stage`. An absent
entry is an error, and the final stage is never left. The states of the session, which outlives connections,
are in `states.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["STAGE_TRANSITIONS", "Stage", "StageEvent", "next_stage"]


class Stage(Enum):
    """The stage of a connection."""

    GREETING = "greeting"
    """The server has not answered the greeting."""
    AUTHENTICATING = "authenticating"
    """The server has accepted the greeting; tokens, credentials and watches are in flight."""
    LIVE = "live"
    """Requests flow."""
    CLOSING = "closing"
    """Only urgent requests leave; the connection ends when every request in flight is answered."""
    DEAD = "dead"
    """`Broken` was the last event."""


class StageEvent(Enum):
    """An event that changes the stage."""

    ACCEPTED = "accepted"
    """The server's answer to the greeting attaches the session."""
    SET_UP = "set up"
    """The server has confirmed the credentials and the watches of the previous connection."""
    RETIRED = "retired"
    """The caller wants to move to another server."""
    ENDED = "ended"
    """The stream, the peer or the caller has ended the connection."""


STAGE_TRANSITIONS: Final[dict[Stage, dict[StageEvent, Stage]]] = {
    Stage.GREETING: {StageEvent.ACCEPTED: Stage.AUTHENTICATING, StageEvent.ENDED: Stage.DEAD},
    Stage.AUTHENTICATING: {StageEvent.SET_UP: Stage.LIVE, StageEvent.ENDED: Stage.DEAD},
    Stage.LIVE: {StageEvent.RETIRED: Stage.CLOSING, StageEvent.ENDED: Stage.DEAD},
    # Another reason to move may come before the first move is complete.
    Stage.CLOSING: {StageEvent.RETIRED: Stage.CLOSING, StageEvent.ENDED: Stage.DEAD},
    Stage.DEAD: {},
}


def next_stage(stage: Stage, event: StageEvent) -> Stage:
    """Return the stage that follows.

    Raises:
        RuntimeError: the table has no such transition, which is a bug of the caller.
    """
    try:
        return STAGE_TRANSITIONS[stage][event]
    except KeyError:
        raise RuntimeError(f"a connection that is {stage.value} cannot be {event.value}") from None
