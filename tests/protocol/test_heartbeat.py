"""When a ping is due, a connection silent, a session given up; with a timeout of 12 s."""

from __future__ import annotations

import math

from zkrecipes.protocol.heartbeat import Heartbeat

T = 12.0


def _begun_at(now: float) -> Heartbeat:
    heartbeat = Heartbeat(99.0, now)
    heartbeat.begin(T, now)
    return heartbeat


def test_before_the_greeting_is_answered_nothing_is_ever_due() -> None:
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


def test_silence_begins_two_thirds_after_the_last_byte_heard() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.sent_at = 7.0
    assert heartbeat.next_deadline() == 8.0
    assert not heartbeat.is_silent(7.999)
    assert heartbeat.is_silent(8.0)
    heartbeat.heard_at = 1.0
    assert not heartbeat.is_silent(8.999)
    assert heartbeat.is_silent(9.0)


def test_a_session_is_given_up_a_timeout_after_the_send_of_what_was_answered_last() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.sent_at = heartbeat.heard_at = 11.0
    heartbeat.answered(3.0)
    assert heartbeat.next_deadline() == 15.0
    assert not heartbeat.is_given_up(14.999)
    assert heartbeat.is_given_up(15.0)


def test_a_late_answer_to_an_old_request_takes_nothing_back() -> None:
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


def test_a_ping_that_the_stream_has_not_taken_yet_is_not_followed_by_another_at_once() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.pinged(4.0)
    assert not heartbeat.is_ping_due(4.0)
    assert heartbeat.next_deadline() == 8.0


def test_the_description_tells_silence_from_want_of_an_answer() -> None:
    heartbeat = _begun_at(0.0)
    heartbeat.heard_at = 4.0
    assert heartbeat.describe(13.0) == "nothing heard for 9.0 of 12.0 seconds"
    heartbeat.heard_at = 11.0
    expected = "nothing answered that was sent in the last 13.0 of 12.0 seconds"
    assert heartbeat.describe(13.0) == expected
