"""The requests of one connection: their order, their numbers, their replies."""

from __future__ import annotations

import pytest

from zkrecipes.codec.messages import SyncRequest
from zkrecipes.errors import ProtocolError
from zkrecipes.protocol.events import Ticket
from zkrecipes.protocol.request_queue import RequestQueue
from zkrecipes.protocol.send_window import BYTES_IN_FLIGHT_MAX, FIRST_SIZE


def _add(queue: RequestQueue, name: str, *, urgent: bool = False) -> Ticket:
    ticket = Ticket(SyncRequest("/" + name))
    queue.add(ticket, urgent=urgent)
    return ticket


def _send(queue: RequestQueue, now: float = 1.0) -> list[Ticket]:
    taken = []
    for ticket in queue.take_due():
        taken.append(ticket)
        queue.sent(ticket, now)
    return taken


def test_requests_leave_in_order_under_rising_numbers() -> None:
    queue = RequestQueue(1)
    tickets = [_add(queue, name) for name in "abc"]
    assert queue.has_due()
    assert _send(queue, 2.5) == tickets
    assert [ticket.xid for ticket in tickets] == [1, 2, 3]
    assert {ticket.sent_at for ticket in tickets} == {2.5}
    assert not queue.has_due()
    assert len(queue) == 3


def test_the_number_after_the_largest_is_1() -> None:
    """Negative xids are reserved, and a busy client sends 2^32 requests in a day."""
    queue = RequestQueue(2**31 - 2)
    tickets = [_add(queue, name) for name in "abc"]
    _send(queue)
    assert [ticket.xid for ticket in tickets] == [2**31 - 2, 2**31 - 1, 1]
    assert [queue.answered(ticket.xid) for ticket in tickets] == tickets


def test_urgent_requests_leave_first_in_order_even_if_the_window_is_full() -> None:
    queue = RequestQueue(1)
    queue.window.is_limited = True
    queue.window.reply_received(10**9)
    first, second = _add(queue, "a"), _add(queue, "b")
    assert _send(queue) == [first]
    assert not queue.has_due()
    urgent = [_add(queue, name, urgent=True) for name in "xy"]
    assert queue.has_due()
    assert _send(queue) == urgent
    for ticket in (first, *urgent):
        assert not queue.has_due()
        assert queue.answered(ticket.xid) is ticket
    assert _send(queue) == [second]


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "suspect"])
def test_urgent_requests_that_are_always_in_flight_hold_back_no_other(is_alone: bool) -> None:
    """On a slow link the next check of the holds leaves as soon as the previous one is answered."""
    queue = RequestQueue(1)
    check, before = _add(queue, "check", urgent=True), _add(queue, "before")
    assert _send(queue) == [check, before]
    special, after = _add(queue, "special"), _add(queue, "after")
    special.is_alone = is_alone
    queue.window.suspect = None if is_alone else special
    assert _send(queue) == []
    queue.answered(check.xid)
    check = _add(queue, "check", urgent=True)
    assert _send(queue) == [check]
    queue.answered(before.xid)
    assert queue.has_due()
    assert _send(queue) == [special]
    queue.answered(check.xid)
    check = _add(queue, "check", urgent=True)
    assert _send(queue) == [check]
    queue.answered(special.xid)
    assert _send(queue) == [after]


def test_replies_are_matched_in_the_order_of_sending() -> None:
    queue = RequestQueue(5)
    tickets = [_add(queue, name) for name in "ab"]
    with pytest.raises(ProtocolError, match="xid 5 arrived, but no reply was due"):
        queue.answered(5)
    _send(queue)
    assert queue.is_due(5)
    assert not queue.is_due(6)
    with pytest.raises(ProtocolError, match="xid 6 arrived, but xid 5 was due"):
        queue.answered(6)
    assert [queue.answered(5), queue.answered(6)] == tickets
    assert not queue.is_due(6)
    assert len(queue) == 0


def test_leftover_requests_are_in_order_without_dropped_ones() -> None:
    queue = RequestQueue(1)
    in_flight = [_add(queue, name) for name in "ab"]
    _send(queue)
    in_flight[0].is_dropped = True
    unsent = [_add(queue, name) for name in "cde"]
    urgent = _add(queue, "x", urgent=True)
    unsent[1].is_dropped = True
    assert queue.leftover() == (in_flight, [urgent, unsent[0], unsent[2]])


def test_with_holds_the_bytes_in_flight_are_bounded() -> None:
    queue = RequestQueue(1)
    queue.window.is_limited = True
    for name in "abcdef":
        _add(queue, name).request_size = BYTES_IN_FLIGHT_MAX // 2
    assert len(_send(queue)) == 2
    assert not queue.has_due()
    queue.answered(1)
    assert len(_send(queue)) == 1
    assert len(queue) == 5


def test_without_holds_the_bytes_in_flight_are_not_bounded() -> None:
    queue = RequestQueue(1)
    for name in "abcdef":
        _add(queue, name).request_size = BYTES_IN_FLIGHT_MAX
    assert len(_send(queue)) == 6


def test_the_window_grows_when_the_last_request_of_a_full_one_is_answered() -> None:
    queue = RequestQueue(1)
    queue.window.timeout = 16.0
    for _ in range(100):
        _add(queue, "a")
    sent = _send(queue)
    for ticket in sent[:-1]:
        queue.answered(ticket.xid)
        queue.adapt(1.5)
    assert queue.window.size == len(sent)
    queue.answered(sent[-1].xid)
    queue.adapt(1.5)
    assert queue.window.size == 2 * len(sent)


def test_a_refusal_out_of_turn_may_answer_the_last_request_of_a_window() -> None:
    queue = RequestQueue(1)
    for _ in range(100):
        _add(queue, "a")
    sent = _send(queue)
    queue.refused(sent[-1].xid)
    queue.adapt(1.0)
    assert queue.window.size == 2 * len(sent)


def test_a_window_that_shrinks_while_its_last_request_is_being_answered_does_not_grow() -> None:
    queue = RequestQueue(1)
    queue.window.timeout = 16.0
    for _ in range(100):
        _add(queue, "a")
    for ticket in _send(queue):
        queue.answered(ticket.xid)
    queue.window.forget(1.0)
    queue.adapt(1.0)
    assert queue.window.size == FIRST_SIZE
