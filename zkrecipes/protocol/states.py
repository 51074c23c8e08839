"""A session's states, the one table of its transitions, and the ratios of its timeout.

A session outlives connections. `TRANSITIONS` defines which state follows an event, and an absent entry is an
error. Two rules hold for every change of this file: each change of a session's state goes through
`next_state`, and a final state is never left. The ratios that concern holds are in `hold_proof.py`, beside
their proof; the stages of one connection are in `connection_stage.py`.
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
"""The client pings when it has sent nothing for this part of the timeout, as Java's `ClientCnxn` does."""
SILENT_AFTER: Final = 2 / 3
"""A connection that is silent for this part of the timeout is dead, which leaves a third to find another
server (`ClientCnxn.SendThread`: readTimeout)."""
GIVE_UP_AFTER: Final = 1.0
"""The client gives up a session this long after the later of two moments: the send of the newest answered
request, and the last byte from a connection that had the session attached. A server touches the session when
it reads a request or a ping, whatever it still has to write, and closes the connection of a session that has
ended. So while bytes arrive, the client leaves it to the server to report the session's end. After a timeout
of silence the session may have ended."""


LOOK_EVERY: Final = 1 / 8
"""An idle connection reads the clock this often, so that it knows when a block of the event loop began."""
BLOCKED_AFTER: Final = 1 / 16
"""A timer that is this late means that the loop was blocked, or the process stopped, not only busy."""
LOOK_AFTER_BLOCK: Final = 1 / 16
"""After a block, the client reads waiting bytes for this long before it gives up the session."""


class SessionEvent(Enum):
    """An event that changes a session's state."""

    ATTACHED = "attached"
    """A connection is authenticated and its watches are restored."""
    ATTACHED_READ_ONLY = "attached read-only"
    """As `ATTACHED`, but to a server without a quorum."""
    DETACHED = "detached"
    """The connection has ended."""
    EXPIRED = "expired"
    """A server reported it, or nothing was heard for a whole timeout."""
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
    """Return the state that follows.

    Raises:
        RuntimeError: the table has no such transition, which is a bug of the caller.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise RuntimeError(f"a session that is {state.value} cannot be {event.value}") from None
