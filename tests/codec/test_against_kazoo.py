"""For each record that kazoo has, we write the same bytes as kazoo, and kazoo reads our bytes as we do.

If kazoo differs from ZooKeeper's Java classes, Java is right; the tests of such cases name the difference.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from kazoo import security
from kazoo.protocol import serialization as kazoo

from tests.codec.strategies import TEXTS, records
from zkrecipes.codec.jute import Record, values_of
from zkrecipes.codec.messages import (
    ACLReply,
    AuthRequest,
    CheckRequest,
    ChildrenReply,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    Create2Reply,
    Create2Request,
    CreateReply,
    CreateRequest,
    DeleteRequest,
    Empty,
    ErrorReply,
    ExistsRequest,
    GetACLRequest,
    GetChildren2Reply,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    MultiHeader,
    PingRequest,
    ReconfigRequest,
    ReplyHeader,
    Request,
    SASLReply,
    SASLRequest,
    SetACLRequest,
    SetDataRequest,
    StatReply,
    SyncReply,
    SyncRequest,
    WatchEventMessage,
)
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.codec.records import ACL, Id, Node, Stat
from zkrecipes.enums import OpCode

# Kazoo writes an empty string as null.
FILLED = TEXTS.filter(bool)
NAMES = st.builds(Id, FILLED, FILLED)
INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
DATA = st.none() | st.binary(max_size=20)
ACLS = st.lists(st.builds(ACL, INTS, NAMES), max_size=4)
STATS = records(Stat)


def as_kazoo(value: Any) -> Any:
    """Return the value as kazoo's records hold it."""
    match value:
        case ACL(perms=perms, id=Id(scheme=scheme, id=name)):
            return security.ACL(perms, security.Id(scheme, name))
        case list():
            return [as_kazoo(each) for each in value]
        case _:
            return value


ONE_PATH = (FILLED,)
PATH_AND_WATCH = (FILLED, st.booleans())
PATH_AND_VERSION = (FILLED, INTS)
# Our class, values for its fields, kazoo's class.
WRITTEN_BY_BOTH: list[tuple[type[Record], tuple[st.SearchStrategy[Any], ...], Any]] = [
    (CreateRequest, (FILLED, DATA, ACLS, INTS), kazoo.Create),
    (Create2Request, (FILLED, DATA, ACLS, INTS), kazoo.Create2),
    (DeleteRequest, PATH_AND_VERSION, kazoo.Delete),
    (ExistsRequest, PATH_AND_WATCH, kazoo.Exists),
    (GetDataRequest, PATH_AND_WATCH, kazoo.GetData),
    (SetDataRequest, (FILLED, DATA, INTS), kazoo.SetData),
    (GetACLRequest, ONE_PATH, kazoo.GetACL),
    (SetACLRequest, (FILLED, ACLS, INTS), kazoo.SetACL),
    (GetChildrenRequest, PATH_AND_WATCH, kazoo.GetChildren),
    (GetChildren2Request, PATH_AND_WATCH, kazoo.GetChildren2),
    (SyncRequest, ONE_PATH, kazoo.Sync),
    (CheckRequest, PATH_AND_VERSION, kazoo.CheckVersion),
    (ReconfigRequest, (*[st.none() | FILLED] * 3, LONGS), kazoo.Reconfig),
    (SASLRequest, (DATA,), kazoo.SASL),
    (PingRequest, (), kazoo.Ping),
    (CloseSessionRequest, (), kazoo.Close),
    (ConnectRequest, (INTS, LONGS, INTS, LONGS, DATA, st.booleans()), kazoo.Connect),
    (MultiHeader, (INTS, st.booleans(), INTS), kazoo.MultiHeader),
]


@pytest.mark.parametrize(("ours", "fields", "theirs"), WRITTEN_BY_BOTH)
@given(data=st.data())
def test_we_write_what_kazoo_writes(
    ours: type[Record], fields: tuple[st.SearchStrategy[Any], ...], theirs: Any, data: st.DataObject
) -> None:
    record = data.draw(st.builds(ours, *fields))
    assert record.encode() == bytes(theirs(*map(as_kazoo, values_of(record))).serialize())
    if issubclass(ours, Request):
        assert ours.opcode == theirs.type


@given(INTS, FILLED, FILLED)
def test_we_write_credentials_as_kazoo_does(auth_type: int, scheme: str, credential: str) -> None:
    ours = AuthRequest(auth_type, scheme, credential.encode())
    assert ours.encode() == kazoo.Auth(auth_type, scheme, credential).serialize()
    assert AuthRequest.opcode == kazoo.Auth.type


IN_A_MULTI = (CreateRequest, Create2Request, DeleteRequest, SetDataRequest, CheckRequest)
KAZOO_OPERATIONS = {ours: theirs for ours, _, theirs in WRITTEN_BY_BOTH if ours in IN_A_MULTI}
OPERATIONS = st.one_of(
    [st.builds(ours, *fields) for ours, fields, _ in WRITTEN_BY_BOTH if ours in IN_A_MULTI]
)


@given(st.lists(OPERATIONS, max_size=5))
def test_we_write_transactions_as_kazoo_does(operations: list[Any]) -> None:
    theirs = [KAZOO_OPERATIONS[type(each)](*map(as_kazoo, each)) for each in operations]
    assert MultiRequest(tuple(operations)).encode() == bytes(kazoo.Transaction(theirs).serialize())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GetDataRequest(""), kazoo.GetData("", None)),
        (SyncRequest(""), kazoo.Sync("")),
        (ReconfigRequest("", None, None, 0), kazoo.Reconfig("", None, None, 0)),
        (AuthRequest(0, "", b"a"), kazoo.Auth(0, "", "a")),
    ],
    ids=repr,
)
def test_an_empty_string_is_empty_as_in_java_where_kazoo_writes_null(ours: Record, theirs: Any) -> None:
    null, empty = b"\xff\xff\xff\xff", bytes(4)
    assert ours.encode() == bytes(theirs.serialize()).replace(null, empty, 1)
    assert ours.encode() != bytes(theirs.serialize())


def test_an_empty_credential_is_empty_as_in_java_where_kazoo_writes_null() -> None:
    assert AuthRequest(0, "ip", b"").encode()[-4:] == bytes(4)
    assert kazoo.Auth(0, "ip", "").serialize()[-4:] == b"\xff\xff\xff\xff"


# --- reading -----------------------------------------------------------------------------------------------

LISTS = st.lists(TEXTS, max_size=12)


def stat(found: Any) -> Stat:
    return Stat(*found)


@given(st.builds(CreateReply, TEXTS), st.builds(SyncReply, TEXTS))
def test_kazoo_reads_paths_as_we_do(created: CreateReply, synced: SyncReply) -> None:
    assert kazoo.Create.deserialize(created.encode(), 0) == CreateReply.decode(created.encode()).path
    assert kazoo.Sync.deserialize(synced.encode(), 0) == SyncReply.decode(synced.encode()).path


@given(st.builds(Create2Reply, TEXTS, STATS))
def test_kazoo_reads_a_path_with_a_stat_as_we_do(reply: Create2Reply) -> None:
    path, found = kazoo.Create2.deserialize(reply.encode(), 0)
    assert Create2Reply(path, stat(found)) == Create2Reply.decode(reply.encode()) == reply


def _is_there(stat: object) -> bool:
    return isinstance(stat, Stat) and stat.czxid != -1


@given(st.builds(StatReply, STATS.filter(_is_there)))
def test_kazoo_reads_stats_as_we_do(reply: StatReply) -> None:
    for theirs in (kazoo.Exists, kazoo.SetData, kazoo.SetACL):
        assert StatReply(stat(theirs.deserialize(reply.encode(), 0))) == reply
    assert StatReply.decode(reply.encode()) == reply


@given(st.builds(Node, DATA, STATS))
def test_kazoo_reads_data_as_we_do(node: Node) -> None:
    for theirs in (kazoo.GetData, kazoo.Reconfig):
        data, found = theirs.deserialize(node.encode(), 0)
        assert Node(data, stat(found)) == node


@given(LISTS, STATS)
def test_kazoo_reads_children_as_we_do(names: list[str], parent: Stat) -> None:
    assert kazoo.GetChildren.deserialize(ChildrenReply(names).encode(), 0) == names
    children, found = kazoo.GetChildren2.deserialize(GetChildren2Reply(names, parent).encode(), 0)
    assert GetChildren2Reply(children, stat(found)) == GetChildren2Reply(names, parent)


@given(st.builds(ACLReply, st.lists(st.builds(ACL, INTS, st.builds(Id, TEXTS, TEXTS)), max_size=4), STATS))
def test_kazoo_reads_access_control_lists_as_we_do(reply: ACLReply) -> None:
    acls, found = kazoo.GetACL.deserialize(reply.encode(), 0)
    assert acls == as_kazoo(reply.acl)
    assert stat(found) == reply.stat


@given(st.builds(SASLReply, DATA), st.builds(WatchEventMessage, INTS, INTS, TEXTS))
def test_kazoo_reads_tokens_and_events_as_we_do(token: SASLReply, event: WatchEventMessage) -> None:
    assert kazoo.SASL.deserialize(token.encode(), 0) == (token.token, len(token.encode()))
    assert kazoo.Watch.deserialize(event.encode(), 0) == (tuple(event), len(event.encode()))


@given(records(ReplyHeader), records(MultiHeader))
def test_kazoo_reads_headers_as_we_do(reply: ReplyHeader, multi: MultiHeader) -> None:
    assert kazoo.ReplyHeader.deserialize(reply.encode(), 0) == (tuple(reply), 16)
    assert kazoo.MultiHeader.deserialize(multi.encode(), 0) == (tuple(multi), 9)


@given(records(ConnectReply))
def test_kazoo_reads_greetings_as_we_do(reply: Record) -> None:
    assert isinstance(reply, ConnectReply)
    found, _ = kazoo.Connect.deserialize(reply.encode(), 0)
    assert (found.protocol_version, found.time_out, found.session_id, found.passwd) == values_of(reply)[:4]
    assert found.read_only == bool(reply.read_only)


@given(FILLED, STATS)
def test_kazoo_reads_results_of_a_transaction_as_we_do(path: str, changed: Stat) -> None:
    reply = MultiReply((CreateReply(path), Empty(), StatReply(changed), Empty()))
    data = reply.encode_results([OpCode.CREATE, OpCode.DELETE, OpCode.SET_DATA, OpCode.CHECK])
    assert kazoo.Transaction.deserialize(data, 0) == [path, True, tuple(changed), True]
    assert MultiReply.decode(data) == reply


def test_kazoo_reads_errors_of_a_transaction_as_we_do() -> None:
    data = MultiReply((ErrorReply(0), ErrorReply(-101), ErrorReply(-2))).encode_results([1, 2, 5])
    assert [each.code for each in kazoo.Transaction.deserialize(data, 0)] == [0, -101, -2]
