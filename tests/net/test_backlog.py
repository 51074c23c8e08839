"""Requests that wait for a connection: their order, the dropped ones, and their errors in the end."""

from __future__ import annotations

from typing import Any

import pytest

import zkrecipes as zk
from zkrecipes.codec.messages import DeleteRequest, ExistsRequest
from zkrecipes.net.backlog import Backlog
from zkrecipes.net.pending import PendingRequest
from zkrecipes.net.wakeup import current_parking

pytestmark = pytest.mark.trio


def _request(*, write: bool = False) -> PendingRequest[Any]:
    request = DeleteRequest("/n", -1) if write else ExistsRequest("/n")
    return PendingRequest(request, lambda reply: reply, current_parking())


async def test_requests_of_an_earlier_connection_are_sent_first() -> None:
    queue = Backlog()
    requests = [_request() for _ in range(4)]
    queue.add(requests[2])
    queue.add(requests[3])
    queue.put_first(requests[:2])
    assert len(queue) == 4
    assert queue.take() == requests
    assert queue.take() == []


async def test_dropped_requests_are_not_sent() -> None:
    queue = Backlog()
    live, dropped = _request(), _request()
    dropped.drop()
    queue.add(dropped)
    queue.add(live)
    assert queue.take() == [live]


async def test_requests_that_are_given_up_do_not_add_up() -> None:
    queue = Backlog()
    for _ in range(10_000):
        given_up = _request()
        queue.add(given_up)
        given_up.drop()
    assert len(queue) <= 1000
    kept = [_request() for _ in range(5000)]
    for each in kept:
        queue.add(each)
    assert queue.take() == kept


async def test_the_end_of_a_session_fails_writes_and_reads_wait_on() -> None:
    queue = Backlog()
    read, write, other = _request(), _request(write=True), _request(write=True)
    for each in (write, read, other):
        queue.add(each)
    error = zk.SessionExpiredError(5)
    queue.fail_writes(error)
    assert queue.take() == [read]
    assert isinstance(write.error, zk.SessionExpiredError)
    assert len({id(write.error), id(other.error), id(error)}) == 3, "each has its own"


async def test_the_end_of_the_client_fails_all_requests() -> None:
    queue = Backlog()
    requests = [_request(), _request(write=True)]
    for each in requests:
        queue.add(each)
    queue.fail(zk.SessionClosedError(5))
    assert len(queue) == 0
    assert all(isinstance(each.error, zk.SessionClosedError) for each in requests)
