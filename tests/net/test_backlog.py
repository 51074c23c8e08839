"""Requests that wait for a connection: their order, who is forgotten, and what they are told in the end."""

from __future__ import annotations

from typing import Any

import pytest

import zkrecipes as zk
from zkrecipes.codec.messages import DeleteRequest, ExistsRequest
from zkrecipes.net.backlog import Backlog
from zkrecipes.net.pending import PendingRequest
from zkrecipes.net.wakeup import current_parking

pytestmark = pytest.mark.trio


def _asked(*, write: bool = False) -> PendingRequest[Any]:
    request = DeleteRequest("/n", -1) if write else ExistsRequest("/n")
    return PendingRequest(request, lambda reply: reply, current_parking())


async def test_what_an_earlier_connection_has_left_goes_first() -> None:
    waiting = Backlog()
    asked = [_asked() for _ in range(4)]
    waiting.add(asked[2])
    waiting.add(asked[3])
    waiting.put_first(asked[:2])
    assert len(waiting) == 4
    assert waiting.take() == asked
    assert waiting.take() == []


async def test_what_nobody_waits_for_is_not_sent() -> None:
    waiting = Backlog()
    wanted, dropped = _asked(), _asked()
    dropped.drop()
    waiting.add(dropped)
    waiting.add(wanted)
    assert waiting.take() == [wanted]


async def test_requests_that_are_given_up_do_not_add_up() -> None:
    waiting = Backlog()
    for _ in range(10_000):
        given_up = _asked()
        waiting.add(given_up)
        given_up.drop()
    assert len(waiting) <= 1000
    kept = [_asked() for _ in range(5000)]
    for each in kept:
        waiting.add(each)
    assert waiting.take() == kept


async def test_the_end_of_a_session_is_told_to_writes_and_reads_wait_on() -> None:
    waiting = Backlog()
    read, write, other = _asked(), _asked(write=True), _asked(write=True)
    for each in (write, read, other):
        waiting.add(each)
    error = zk.SessionExpiredError(5)
    waiting.fail_writes(error)
    assert waiting.take() == [read]
    assert isinstance(write.error, zk.SessionExpiredError)
    assert len({id(write.error), id(other.error), id(error)}) == 3, "each has its own"


async def test_the_end_of_the_client_is_told_to_all() -> None:
    waiting = Backlog()
    asked = [_asked(), _asked(write=True)]
    for each in asked:
        waiting.add(each)
    waiting.fail(zk.SessionClosedError(5))
    assert len(waiting) == 0
    assert all(isinstance(each.error, zk.SessionClosedError) for each in asked)
