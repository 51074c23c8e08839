"""The znodes of every server, the super user, and sessions that another connection takes over."""

from __future__ import annotations

import pytest

from tests.devserver.differential.conftest import Pair
from tests.devserver.differential.play import next_root
from tests.devserver.differential.steps import OPEN
from tests.devserver.differential.wire_session import CLOSED, Frame, WireSession
from zkrecipes.codec.messages import (
    ACLReply,
    AuthRequest,
    ChildrenReply,
    CloseSessionRequest,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    SetACLRequest,
    SetDataRequest,
    StatReply,
    SyncRequest,
    WhoAmIRequest,
)
from zkrecipes.codec.records import ACL, Id

pytestmark = pytest.mark.apache


def test_what_stands_below_zookeeper_looks_alike(pair: Pair) -> None:
    assert _special_znodes(pair.dev) == _special_znodes(pair.apache)


def _special_znodes(address: tuple[str, int]) -> object:
    session = WireSession(address)
    answers: list[object] = []
    for path in ("/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
        for request in (ExistsRequest(path), GetACLRequest(path), GetChildrenRequest(path)):
            reply = session.ask(request)[0]
            assert isinstance(reply, Frame)
            answers.append((reply.err, _without_history(reply.body)))
    session.ask(CloseSessionRequest())
    session.close()
    return answers


def _without_history(body: object) -> object:
    """The reply without the order of children, and without the pzxid, which other tests' quotas change."""
    match body:
        case ChildrenReply(children=children):
            return set(children or ())
        case StatReply(stat=stat):
            return tuple(stat)[:-1]
        case ACLReply(acl=acl, stat=stat):
            return acl, tuple(stat)[:-1]
    return body


def test_the_super_user_may_do_all(pair: Pair) -> None:
    root = next_root()
    assert _as_super_user(pair.dev, root) == _as_super_user(pair.apache, root)


def _as_super_user(address: tuple[str, int], root: str) -> object:
    anybody, boss = WireSession(address), WireSession(address)
    requests = (
        AuthRequest(0, "digest", b"super:secret"),
        GetDataRequest(root),
        SetDataRequest(root, b"x", -1),
        GetACLRequest(root),
        SetACLRequest(root, [ACL(1, Id("auth", ""))], -1),
        GetACLRequest(root),
        WhoAmIRequest(),
        SetDataRequest("/zookeeper/config", b"", 7),
        DeleteRequest("/zookeeper/quota", -1),
        DeleteRequest(root, -1),
        CloseSessionRequest(),
    )
    frames = anybody.ask(
        CreateRequest(root, b"", [ACL(31, Id("digest", "alice:x"))], 0), GetDataRequest(root)
    )
    answers: list[object] = [each.err for each in frames if isinstance(each, Frame)]
    for request in requests:
        for each in boss.ask(request):
            assert isinstance(each, Frame)
            answers.append((each.err, each.body.acl if isinstance(each.body, ACLReply) else type(each.body)))
    anybody.ask(CloseSessionRequest())
    anybody.close()
    boss.close()
    return answers


def test_a_session_id_begins_with_the_servers_number(pair: Pair) -> None:
    first_bytes = []
    for address in pair.apache, pair.dev:
        session = WireSession(address)
        first_bytes.append(session.id >> 56)
        session.ask(CloseSessionRequest())
        session.close()
    assert first_bytes == [first_bytes[0]] * 2


def test_a_session_moves_with_its_password_only(pair: Pair) -> None:
    root = next_root()
    assert _moves(pair.dev, root) == _moves(pair.apache, root)


def _moves(address: tuple[str, int], root: str) -> object:
    first = WireSession(address)
    first.ask(CreateRequest(root, b"", OPEN, 1), ExistsRequest(root, True))
    answers: list[object] = []
    taker = WireSession(address, session_id=first.id, password=b"not the password")
    answers.append((taker.id, taker.password, taker.rest()))
    # A greeting for a session closes the session's connection, even with a wrong password.
    answers.append(first.rest())
    second = WireSession(address, session_id=first.id, password=first.password, timeout_ms=4_000)
    assert second.greeting is not None
    answers.append((second.id == first.id, second.password == first.password, second.greeting.timeout_ms))
    third = WireSession(address, session_id=first.id, password=first.password)
    answers.append(second.rest())
    # The watch ended with its connection; the ephemeral znode did not.
    answers += [
        (type(each), each == CLOSED) for each in third.ask(GetEphemeralsRequest("/"), SyncRequest(root))
    ]
    answers.append([type(each) for each in third.ask(CloseSessionRequest())])
    fourth = WireSession(address, session_id=first.id, password=first.password)
    answers.append((fourth.id, fourth.rest()))
    fifth = WireSession(address)
    gone = fifth.ask(ExistsRequest(root))[0]
    answers.append(gone.err if isinstance(gone, Frame) else gone)
    fifth.ask(CloseSessionRequest())
    for session in (third, fifth):
        session.close()
    return answers
