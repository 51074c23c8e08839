"""When a ping is due, a connection is silent, and a session is given up, with a timeout of 12 s."""

from __future__ import annotations

import math

from zkrecipes.protocol.heartbeat import Heartbeat

T = 12.0


def _begun_at(now: float) -> Heartbeat:
    heartbeat = Heartbeat(99.0, now)
    heartbeat.begin(T, now)
    return heartbeat


def test_nothing_is_due_before_the_greeting_is_answered() -> None:
    heartbeat = Heartbeat(T, 0.0)
    assert heartbeat.next_deadline() == math.inf
    assert heartbeat.answered_sent_at == -math.inf
    assert not heartbeat.is_ping_due(1000.0)
    assert not heartbeat.is_silent(1000.0)
    assert not heartbeat.is_given_up(1000.0)


def test_a_ping_is_due_a_third_of_the_timeout_after_the_last_send() -> None:
    heartbeat = _begun_at(100.0)
    assert heartbeat.next_deadline() == 104.0
    assert not heartbeat.is_ping_due(103.999)
    assert heartbeat.is_ping_due(104.0)
    heartbeat.sent_at = 103.0
    assert not heartbeat.is_ping_due(104.0)
    assert heartbeat.next_deadline() == 107.0


def test_a_connection_is_silent_two_thirds_of_the_timeout_after_the_last_byte() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.sent_at = 7.0
    assert heartbeat.next_deadline() == 8.0
    assert not heartbeat.is_silent(7.999)
    assert heartbeat.is_silent(8.0)
    heartbeat.heard_at = 1.0
    assert not heartbeat.is_silent(8.999)
    assert heartbeat.is_silent(9.0)


def test_a_session_is_given_up_a_timeout_after_the_later_of_answered_and_heard() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.answered(3.0)
    heartbeat.heard(2.0)
    assert not heartbeat.is_given_up(14.999)
    assert heartbeat.is_given_up(15.0)
    heartbeat.heard(4.0)
    assert not heartbeat.is_given_up(15.999)
    assert heartbeat.is_given_up(16.0)


def test_a_block_does_not_count_as_silence_and_a_ping_is_due_after_it() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.heard(4.0)
    heartbeat.pinged(4.0)
    heartbeat.was_blocked(5.0, 13.0)
    assert heartbeat.is_ping_due(13.0)
    heartbeat.pinged(13.0)
    assert not heartbeat.is_silent(20.999)
    assert heartbeat.is_silent(21.0)


def test_the_first_bytes_after_a_block_count_as_heard_when_the_loop_last_ran() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.was_blocked(5.0, 13.0)
    heartbeat.heard(13.0)
    assert heartbeat.heard_at == 5.0
    heartbeat.heard(13.1)
    assert heartbeat.heard_at == 13.1


def test_two_blocks_before_any_bytes_are_read_count_as_one() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.was_blocked(3.0, 8.0)
    heartbeat.was_blocked(8.0, 14.0)
    heartbeat.heard(14.0)
    assert heartbeat.heard_at == 3.0


def test_after_a_block_there_is_time_to_read_before_a_session_is_given_up() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.was_blocked(5.0, 13.0)
    assert heartbeat.next_deadline() <= 13.0  # the ping
    heartbeat.pinged(13.0)
    assert not heartbeat.is_given_up(13.0)
    assert heartbeat.next_deadline() == 13.75
    heartbeat.advance(13.749)
    assert not heartbeat.is_given_up(13.749)
    heartbeat.advance(13.75)
    assert heartbeat.is_given_up(13.75)


def test_after_a_block_longer_than_the_session_it_is_given_up_immediately() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.was_blocked(5.0, 17.0)
    assert heartbeat.is_given_up(17.0)


def test_a_suspension_moves_the_heard_and_answered_times_back() -> None:
    heartbeat = _begun_at(10.0)
    heartbeat.heard(12.0)
    heartbeat.suspended(5.0)
    assert (heartbeat.answered_sent_at, heartbeat.heard_at) == (5.0, 7.0)


def test_a_late_answer_to_an_old_request_does_not_lower_the_answered_time() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.answered(5.0)
    heartbeat.answered(2.0)
    assert heartbeat.answered_sent_at == 5.0


def test_pings_are_answered_in_order_and_only_as_many_as_were_sent() -> None:
    heartbeat = _begun_at(0.0)
    assert not heartbeat.ping_answered()
    heartbeat.pinged(4.0)
    heartbeat.pinged(8.0)
    assert heartbeat.ping_answered()
    assert heartbeat.answered_sent_at == 4.0
    assert heartbeat.ping_answered()
    assert heartbeat.answered_sent_at == 8.0
    assert not heartbeat.ping_answered()


def test_a_ping_that_the_stream_has_not_taken_is_not_repeated_immediately() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.pinged(4.0)
    assert not heartbeat.is_ping_due(4.0)
    assert heartbeat.next_deadline() == 8.0


def test_the_description_names_the_length_of_the_silence() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.heard(4.0)
    assert heartbeat.describe(13.0) == "nothing heard for 9.0 of 12.0 seconds"
