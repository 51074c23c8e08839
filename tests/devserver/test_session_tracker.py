"""The expiry of sessions in ticks, rounded up."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from zkrecipes.devserver.session_tracker import Session, SessionTracker, first_session_id

PASSWORD = bytes(range(16))


def _tracker() -> SessionTracker:
    return SessionTracker(tick_time=2.0, first_id=first_session_id(1_000_000.0))


def _ids(sessions: list[Session]) -> list[int]:
    return [session.id for session in sessions]


@pytest.mark.parametrize(
    ("asked", "given_"), [(10.0, 10.0), (0.0, 4.0), (-5.0, 4.0), (4.0, 4.0), (40.0, 40.0), (41.0, 40.0)]
)
def test_the_timeout_is_the_nearest_between_two_and_twenty_ticks(asked: float, given_: float) -> None:
    assert _tracker().create(asked, PASSWORD, 0.0).timeout == given_


def test_the_limits_can_be_set() -> None:
    tracker = SessionTracker(tick_time=1.0, timeout_min=0.5, timeout_max=3.0, first_id=1)
    assert tracker.negotiated(0.1) == 0.5
    assert tracker.negotiated(10.0) == 3.0


@pytest.mark.parametrize(
    ("tick", "low", "high"), [(0.0, None, None), (-1.0, None, None), (1.0, 0.0, None), (1.0, 5.0, 4.0)]
)
def test_limits_that_make_no_sense_are_refused(tick: float, low: float | None, high: float | None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SessionTracker(tick_time=tick, timeout_min=low, timeout_max=high, first_id=1)


def test_ids_count_up_from_the_time_of_the_start() -> None:
    tracker = _tracker()
    first = tracker.next_id
    assert [tracker.create(10.0, PASSWORD, 0.0).id for _ in range(3)] == [first, first + 1, first + 2]
    assert first == first_session_id(1_000_000.0)
    assert first >> 56 == 1
    # The milliseconds start at bit 16.
    assert first_session_id(1_000_000.001) - first == 1 << 16
    # The time takes at most 56 bits.
    assert first_session_id(5e10) < 2 << 56


def test_a_session_expires_at_the_tick_after_its_timeout() -> None:
    tracker = _tracker()
    session = tracker.create(10.0, PASSWORD, 0.5)
    assert tracker.next_expiry() == 12.0
    assert tracker.expired(11.9) == []
    assert _ids(tracker.expired(12.0)) == [session.id]


def test_a_deadline_on_a_tick_goes_to_the_next_one() -> None:
    tracker = _tracker()
    tracker.create(10.0, PASSWORD, 2.0)
    assert tracker.next_expiry() == 14.0


def test_a_touch_gives_a_whole_timeout_again() -> None:
    tracker = _tracker()
    session = tracker.create(4.0, PASSWORD, 0.0)
    tracker.touch(session, 5.0)
    assert tracker.expired(9.9) == []
    assert _ids(tracker.expired(10.0)) == [session.id]
    tracker.touch(session, 5.5)
    assert tracker.next_expiry() == 10.0


def test_sessions_of_one_tick_expire_together_and_earlier_ones_first() -> None:
    tracker = _tracker()
    late = tracker.create(8.0, PASSWORD, 0.0)
    one = tracker.create(4.0, PASSWORD, 0.1)
    two = tracker.create(4.0, PASSWORD, 1.9)
    assert tracker.next_expiry() == 6.0
    assert _ids(tracker.expired(6.0)) == [one.id, two.id]
    assert _ids(tracker.expired(100.0)) == [one.id, two.id, late.id]


def test_an_ended_session_stays_ended() -> None:
    tracker = _tracker()
    session = tracker.create(4.0, PASSWORD, 0.0)
    assert list(tracker) == [session]
    assert len(tracker) == 1
    tracker.end(session.id)
    tracker.end(session.id)
    tracker.touch(session, 1.0)
    assert tracker.find(session.id) is None
    assert tracker.next_expiry() is None
    assert tracker.expired(1e9) == []
    assert tracker.resume(session.id, PASSWORD, 4.0, 1.0) is None


def test_resuming_needs_the_password_and_negotiates_anew() -> None:
    tracker = _tracker()
    session = tracker.create(4.0, PASSWORD, 0.0)
    assert tracker.resume(session.id, bytes(16), 10.0, 1.0) is None
    assert tracker.resume(session.id, None, 10.0, 1.0) is None
    assert tracker.resume(session.id + 1, PASSWORD, 10.0, 1.0) is None
    assert tracker.next_expiry() == 6.0
    assert tracker.resume(session.id, PASSWORD, 10.0, 1.0) is session
    assert session.timeout == 10.0
    assert tracker.next_expiry() == 12.0


def test_after_a_restart_all_have_a_whole_timeout() -> None:
    tracker = _tracker()
    tracker.create(4.0, PASSWORD, 0.0)
    tracker.create(10.0, PASSWORD, 0.0)
    tracker.touch_all(100.0)
    assert tracker.expired(105.9) == []
    assert len(tracker.expired(106.0)) == 1


def test_a_session_shows_no_password() -> None:
    session = _tracker().create(4.0, b"very secret here", 0.0)
    assert "secret" not in repr(session)
    assert f"{session.id:x}" in repr(session)


@given(
    touches=st.lists(st.floats(0.0, 5.0), max_size=30),
    timeout=st.floats(1.0, 20.0),
    tick=st.sampled_from([0.2, 1.0, 2.0, 3.0]),
)
def test_a_session_lives_its_timeout_and_at_most_a_tick_longer(
    touches: list[float], timeout: float, tick: float
) -> None:
    tracker = SessionTracker(tick_time=tick, timeout_min=1.0, timeout_max=20.0, first_id=1)
    session = tracker.create(timeout, PASSWORD, 0.0)
    now = 0.0
    for step in touches:
        expiry = tracker.next_expiry()
        assert expiry is not None
        assert now + timeout < expiry + 1e-9
        assert expiry <= now + timeout + tick + 1e-9
        if now + step >= expiry:
            break
        now += step
        tracker.touch(session, now)
