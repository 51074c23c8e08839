"""The bound on the number of requests in flight."""

from __future__ import annotations

from zkrecipes.codec.messages import SyncRequest
from zkrecipes.protocol.events import Ticket
from zkrecipes.protocol.send_window import (
    BYTES_IN_FLIGHT_MAX,
    FIRST_SIZE,
    REQUESTS_IN_FLIGHT_MAX,
    SendWindow,
)

T = 16.0


def _room(window: SendWindow) -> int:
    """Return the number of requests that the window permits when none is in flight."""
    return next(count for count in range(2 * 10**6) if not window.has_room(count, 0))


def _window(*, size: int = FIRST_SIZE) -> SendWindow:
    window = SendWindow(T)
    window.size = size
    return window


def _limited(*reply_sizes: int) -> SendWindow:
    window = _window(size=10**6)
    window.is_limited = True
    for size in reply_sizes:
        window.reply_received(size)
    return window


def test_a_window_is_small_at_first() -> None:
    window = _window()
    assert _room(window) == 16
    assert not window.is_full(15)
    assert window.is_full(16)


def test_a_window_doubles_when_all_of_it_is_answered_within_a_sixteenth_of_the_timeout() -> None:
    window = _window()
    window.mark_answered(10.0, 11.0)
    assert window.size == 32
    window.mark_answered(10.0, 11.001)
    assert window.size == 32


def test_a_window_halves_when_the_oldest_request_has_waited_for_an_eighth() -> None:
    window = _window(size=64)
    window.shrink_if_waiting(10.0, 12.0)
    assert window.size == 64
    window.shrink_if_waiting(10.0, 12.001)
    assert window.size == 32


def test_a_window_halves_again_only_an_eighth_later() -> None:
    window = _window(size=64)
    window.shrink_if_waiting(10.0, 12.001)
    window.shrink_if_waiting(10.0, 14.001)
    assert window.size == 32
    window.shrink_if_waiting(10.0, 14.002)
    assert window.size == 16


def test_the_round_trip_to_a_far_server_counts_neither_for_growing_nor_for_shrinking() -> None:
    window = _window()
    window.round_trip = 5.0
    window.mark_answered(10.0, 16.0)
    assert window.size == 32
    window.mark_answered(10.0, 16.001)
    window.shrink_if_waiting(10.0, 17.0)
    assert window.size == 32
    window.shrink_if_waiting(10.0, 17.001)
    assert window.size == 16


def test_a_window_that_is_answered_sooner_shows_a_shorter_round_trip() -> None:
    window = _window()
    window.round_trip = 5.0  # the greeting met a busy server
    window.mark_answered(10.0, 10.5)
    assert window.round_trip == 0.5
    window.mark_answered(10.0, 11.501)
    assert window.size == 32


def test_one_request_may_always_be_in_flight() -> None:
    window = _window(size=2)
    for now in (10.0, 20.0, 30.0):
        window.shrink_if_waiting(0.0, now)
    assert window.size == 1
    assert _room(window) == 1


def test_a_window_that_has_shrunk_is_not_judged_by_earlier_requests() -> None:
    window = _window()
    window.mark = Ticket(SyncRequest("/"))
    window.shrink_if_waiting(0.0, 10.0)
    assert window.mark is None


def test_nothing_is_in_flight_beside_a_suspect() -> None:
    window = _window()
    window.suspect = Ticket(SyncRequest("/"))
    assert _room(window) == 1


def test_an_unanswered_suspect_holds_back_others_only_for_an_eighth() -> None:
    window = _window()
    window.suspect = Ticket(SyncRequest("/"))
    window.shrink_if_waiting(0.0, T / 8)
    assert not window.has_room(1, 100)
    window.shrink_if_waiting(0.0, T / 8 + 0.001)
    assert window.has_room(1, 100)


# --- with holds ----------------------------------------------------------------------------------------


def test_before_any_reply_was_seen_few_may_be_in_flight() -> None:
    assert _room(_limited()) == 32


def test_with_holds_the_rate_of_answers_bounds_the_window_as_well() -> None:
    window = _limited()
    window.size = 4
    assert _room(window) == 4


def test_one_request_may_always_be_in_flight_however_large_its_reply() -> None:
    assert _room(_limited(10 * BYTES_IN_FLIGHT_MAX)) == 1


def test_a_large_reply_narrows_the_window_at_once() -> None:
    assert _room(_limited(*[100] * 200, BYTES_IN_FLIGHT_MAX // 4)) == 4


def test_small_replies_widen_the_window_slowly_up_to_the_maximum() -> None:
    large = BYTES_IN_FLIGHT_MAX // 4
    rooms = [_room(_limited(large, *[0] * count)) for count in (0, 1, 10, 50, 200)]
    assert rooms[:2] == [4, 4]
    assert rooms == sorted(rooms)
    assert rooms[-1] == REQUESTS_IN_FLIGHT_MAX


def test_the_replies_to_a_full_window_stay_within_the_allowed_bytes() -> None:
    for size in (128, 1000, 5000, 30_000, 400_000):
        assert _room(_limited(size, size)) * size <= max(size, BYTES_IN_FLIGHT_MAX)


def test_replies_count_only_while_there_are_holds() -> None:
    window = _window(size=10**6)
    window.reply_received(BYTES_IN_FLIGHT_MAX)
    assert _room(window) == 10**6
    window.is_limited = True
    assert _room(window) == 32


def test_the_bytes_of_the_requests_in_flight_are_bounded() -> None:
    window = _limited()
    assert window.has_room(1, BYTES_IN_FLIGHT_MAX - 1)
    assert not window.has_room(1, BYTES_IN_FLIGHT_MAX)
    assert _window().has_room(1, BYTES_IN_FLIGHT_MAX)


def test_nothing_has_room_in_a_closed_window() -> None:
    window = _window()
    window.is_closed = True
    assert _room(window) == 0
