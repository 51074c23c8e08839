"""How many requests may be in flight."""

from __future__ import annotations

from zkrecipes.protocol.send_window import BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX, SendWindow


def _room(window: SendWindow) -> int:
    """How many requests have room."""
    return next(count for count in range(100_000) if not window.has_room(count))


def _limited(*reply_sizes: int) -> SendWindow:
    window = SendWindow()
    window.is_limited = True
    for size in reply_sizes:
        window.saw_reply(size)
    return window


def test_a_window_is_unlimited_until_it_is_told() -> None:
    window = SendWindow()
    assert window.has_room(10**9)
    window.is_limited = True
    assert not window.has_room(10**9)
    window.is_limited = False
    assert window.has_room(10**9)


def test_before_any_reply_was_seen_few_may_be_in_flight() -> None:
    assert _room(_limited()) == 32


def test_one_request_may_always_be_in_flight_however_large_its_reply() -> None:
    assert _room(_limited(10 * BYTES_IN_FLIGHT_MAX)) == 1


def test_a_large_reply_narrows_the_window_at_once() -> None:
    assert _room(_limited(*[100] * 200, BYTES_IN_FLIGHT_MAX // 4)) == 4


def test_small_replies_widen_it_slowly_up_to_the_most() -> None:
    large = BYTES_IN_FLIGHT_MAX // 4
    rooms = [_room(_limited(large, *[0] * count)) for count in (0, 1, 10, 50, 200)]
    assert rooms[:2] == [4, 4]
    assert rooms == sorted(rooms)
    assert rooms[-1] == REQUESTS_IN_FLIGHT_MAX


def test_the_replies_of_as_many_as_have_room_are_no_more_than_the_bytes_allowed() -> None:
    for size in (128, 1000, 5000, 30_000, 400_000):
        assert _room(_limited(size, size)) * size <= max(size, BYTES_IN_FLIGHT_MAX)


def test_replies_count_only_while_the_window_is_limited() -> None:
    window = SendWindow()
    window.saw_reply(BYTES_IN_FLIGHT_MAX)
    window.is_limited = True
    assert _room(window) == 32


def test_nothing_has_room_in_a_closed_window() -> None:
    window = SendWindow()
    window.is_closed = True
    assert not window.has_room(0)
