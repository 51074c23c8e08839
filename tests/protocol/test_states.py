"""The table of a session's states: every pair of state and event."""

from __future__ import annotations

import pytest

from zkrecipes.enums import SessionState as S
from zkrecipes.protocol.states import (
    GIVE_UP_AFTER,
    PING_AFTER,
    SILENT_AFTER,
    TRANSITIONS,
    SessionEvent as E,
    next_state,
)

# The expected states, as a second copy of the table; an absent entry is an error.
ENDS = {E.EXPIRED: S.EXPIRED, E.CLOSED: S.CLOSED, E.AUTH_REFUSED: S.AUTH_FAILED}
ATTACHES = {E.ATTACHED: S.CONNECTED, E.ATTACHED_READ_ONLY: S.CONNECTED_READ_ONLY}
EXPECTED: dict[S, dict[E, S]] = {
    S.CONNECTING: {**ATTACHES, **ENDS, E.DETACHED: S.CONNECTING},
    S.CONNECTED: {**ENDS, E.DETACHED: S.SUSPENDED},
    S.CONNECTED_READ_ONLY: {**ENDS, E.DETACHED: S.SUSPENDED},
    S.SUSPENDED: {**ATTACHES, **ENDS, E.DETACHED: S.SUSPENDED},
}


@pytest.mark.parametrize("event", E)
@pytest.mark.parametrize("state", S)
def test_each_event_in_each_state(state: S, event: E) -> None:
    expected = EXPECTED.get(state, {}).get(event)
    if expected is not None:
        assert next_state(state, event) is expected
        return
    with pytest.raises(RuntimeError) as caught:
        next_state(state, event)
    assert state.value in str(caught.value)
    assert event.value in str(caught.value)
    assert caught.value.__cause__ is None


def test_every_state_is_in_the_table_and_final_states_are_never_left() -> None:
    assert set(TRANSITIONS) == set(S)
    for state, row in TRANSITIONS.items():
        assert state.is_final == (not row)


def test_every_state_can_be_reached_and_every_session_can_end() -> None:
    reached = {S.CONNECTING}
    for _ in S:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(S)
    for state in S:
        assert state.is_final or {S.EXPIRED, S.CLOSED, S.AUTH_FAILED} <= set(TRANSITIONS[state].values())


def test_a_ping_can_be_answered_before_silence_and_a_server_found_before_giving_up() -> None:
    assert 0 < PING_AFTER < SILENT_AFTER < GIVE_UP_AFTER
    assert abs(SILENT_AFTER - PING_AFTER - 1 / 3) < 1e-9
    assert GIVE_UP_AFTER == 1
