"""A server without a quorum: it serves reads to clients that accept this, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.devserver.test_processor import FIRST_ZXID, NO_NODE, OK, OPEN, FakeClient, Server
from zkrecipes.codec.messages import (
    CheckRequest,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    PingRequest,
    ReconfigRequest,
    Request,
    SetACLRequest,
    SetDataRequest,
    SyncRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.devserver.processor import Reply
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.errors import NotReadOnlyError

PASSWORD = b"p" * 16


@pytest.fixture
def server() -> Server:
    return Server()


def _greet(
    server: Server, client: FakeClient, *, read_only: bool, session_id: int = 0
) -> ConnectReply | None:
    request = ConnectRequest(0, 0, 10_000, session_id, PASSWORD, read_only)
    return server.processor.greet(client, request, server.time, PASSWORD)


def _reader(server: Server) -> FakeClient:
    client = FakeClient(server)
    reply = _greet(server, client, read_only=True)
    assert reply is not None
    assert reply.read_only
    return client


def test_only_clients_that_accept_a_read_only_server_are_served(server: Server) -> None:
    server.processor.become_read_only()
    assert _greet(server, FakeClient(server), read_only=False) is None
    assert _reader(server).session is not None


def test_a_writable_server_says_so_to_clients_that_accept_read_only(server: Server) -> None:
    reply = _greet(server, FakeClient(server), read_only=True)
    assert reply is not None
    assert not reply.read_only


@pytest.mark.parametrize(
    "request_",
    [
        CreateRequest("/a", b"", OPEN, 0),
        Create2Request("/a", b"", OPEN, 0),
        CreateContainerRequest("/a", b"", OPEN, 4),
        CreateTTLRequest("/a", b"", OPEN, 5, 1),
        DeleteRequest("/a", -1),
        DeleteContainerRequest("/a"),
        SetDataRequest("/", b"", -1),
        SetACLRequest("/", OPEN, -1),
        ReconfigRequest(None, None, None, -1),
        MultiRequest(()),
        CheckRequest("/", -1),
        SyncRequest("/"),
    ],
)
def test_what_needs_the_others_is_refused_and_takes_no_zxid(server: Server, request_: Request[Any]) -> None:
    server.processor.become_read_only()
    assert _reader(server).send(request_) == Reply(FIRST_ZXID, NotReadOnlyError.code)


def test_reads_are_answered(server: Server) -> None:
    server.processor.become_read_only()
    client = _reader(server)
    assert client.send(ExistsRequest("/none", True)).err == NO_NODE
    assert client.send(MultiReadRequest((GetChildrenRequest("/"),))).err == OK
    assert client.send(PingRequest()) == Reply(FIRST_ZXID)


def test_its_own_sessions_are_no_transactions_and_end_with_the_mode(server: Server) -> None:
    server.processor.become_read_only()
    client, other = _reader(server), _reader(server)
    assert client.session is not None
    assert other.session is not None
    assert other.send(CloseSessionRequest()) == Reply(FIRST_ZXID, close=True)
    again = _greet(server, FakeClient(server), read_only=True, session_id=client.session.id)
    assert again is not None
    assert again.session_id == client.session.id
    server.processor.become_writable(server.time)
    refused = _greet(server, FakeClient(server), read_only=True, session_id=client.session.id)
    assert refused is not None
    assert refused.timeout_ms == 0
    assert server.processor.zxid == FIRST_ZXID


def test_sessions_from_before_wait_until_it_is_over(server: Server) -> None:
    client = server.connect()
    assert client.session is not None
    client.ok(CreateRequest("/e", b"", OPEN, 1))
    server.processor.become_read_only()
    assert _greet(server, FakeClient(server), read_only=True, session_id=client.session.id) is None
    server.time = ServerTime(100.0, 100_000)
    for session in server.processor.sessions.expired(server.time.now):
        server.processor.expire(session, server.time)
    assert "/e" in server.processor.tree
    server.processor.become_writable(server.time)
    assert server.processor.sessions.expired(109.0) == []
    again = _greet(server, FakeClient(server), read_only=False, session_id=client.session.id)
    assert again is not None
    assert again.session_id == client.session.id


def test_nothing_is_reaped(server: Server) -> None:
    client = server.connect()
    client.ok(CreateContainerRequest("/c", b"", OPEN, 4))
    server.processor.become_read_only()
    server.processor.reap(["/c"], server.time)
    assert "/c" in server.processor.tree
