"""A session's states, the one table of its transitions, and the ratios of its timeout.

A session outlives connections; what may follow what stands in `TRANSITIONS`, and an absent entry is an error.
Whoever changes this file keeps two rules: all that changes a session's state goes through `next_state`, and a
final state is never left. The ratios that concern holds stand beside their proof, in `hold_proof.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from zkrecipes.enums import SessionState

__all__ = [
    "BLOCKED_AFTER",
    "GIVE_UP_AFTER",
    "LOOK_AFTER_BLOCK",
    "LOOK_EVERY",
    "PING_AFTER",
    "SILENT_AFTER",
    "TRANSITIONS",
    "SessionEvent",
    "next_state",
]

PING_AFTER: Final = 1 / 3
"""A ping goes out when nothing was sent for this part of the timeout, as in Java's `ClientCnxn`."""
SILENT_AFTER: Final = 2 / 3
"""A connection on which nothing was heard for so long is dead, which leaves a third to find another server
(`ClientCnxn.SendThread`: readTimeout)."""
GIVE_UP_AFTER: Final = 1.0
"""Counted from the later of two moments: the send of the newest answered request, and the last byte from a
connection that had the session attached. A server touches the session when it reads a request or a ping,
whatever it still has to write, and closes the connection of a session that has ended: so while bytes arrive,
the session's end is for the server to report. After a timeout of silence it may be gone."""


LOOK_EVERY: Final = 1 / 8
"""An idle connection looks at the clock so often, to know well enough since when the loop was blocked."""
BLOCKED_AFTER: Final = 1 / 16
"""A timer that is so late means that the loop was blocked, or the process stopped, and not only busy."""
LOOK_AFTER_BLOCK: Final = 1 / 16
"""For so long after a block the client looks for what has come meanwhile before it gives the session up."""


class SessionEvent(Enum):
    """What can happen to a session."""

    ATTACHED = "attached"
    """A connection is authenticated and its watches are re-armed."""
    ATTACHED_READ_ONLY = "attached read-only"
    """The same, to a server without a quorum."""
    DETACHED = "detached"
    """The connection is gone."""
    EXPIRED = "expired"
    """A server said so, or nothing was heard for a whole timeout."""
    CLOSED = "closed"
    """The client closed it."""
    AUTH_REFUSED = "authentication refused"
    """The server refused the credentials."""


_ENDS = {
    SessionEvent.EXPIRED: SessionState.EXPIRED,
    SessionEvent.CLOSED: SessionState.CLOSED,
    SessionEvent.AUTH_REFUSED: SessionState.AUTH_FAILED,
}
_ATTACHES = {
    SessionEvent.ATTACHED: SessionState.CONNECTED,
    SessionEvent.ATTACHED_READ_ONLY: SessionState.CONNECTED_READ_ONLY,
}

TRANSITIONS: Final[dict[SessionState, dict[SessionEvent, SessionState]]] = {
    # A connection can be lost between the greeting and the end of authentication: still connecting.
    SessionState.CONNECTING: {**_ATTACHES, SessionEvent.DETACHED: SessionState.CONNECTING, **_ENDS},
    SessionState.CONNECTED: {SessionEvent.DETACHED: SessionState.SUSPENDED, **_ENDS},
    SessionState.CONNECTED_READ_ONLY: {SessionEvent.DETACHED: SessionState.SUSPENDED, **_ENDS},
    SessionState.SUSPENDED: {**_ATTACHES, SessionEvent.DETACHED: SessionState.SUSPENDED, **_ENDS},
    SessionState.EXPIRED: {},
    SessionState.CLOSED: {},
    SessionState.AUTH_FAILED: {},
}


def next_state(state: SessionState, event: SessionEvent) -> SessionState:
    """The state that follows.

    Raises:
        RuntimeError: the table has no such transition, which is a bug of the caller.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise RuntimeError(f"a session that is {state.value} cannot be {event.value}") from None
