"""The effects and the reply of each request, without a network. The error codes are a real server's."""

from __future__ import annotations

import random
from typing import Any

import pytest

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    AuthRequest,
    CheckRequest,
    CheckWatchesRequest,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    Empty,
    ErrorReply,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    PingRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    Request,
    SASLReply,
    SASLRequest,
    SetACLRequest,
    SetDataRequest,
    SetWatches2Request,
    SetWatchesRequest,
    SyncRequest,
    WatchEventMessage,
    WhoAmIRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiReply, MultiRequest
from zkrecipes.codec.records import ACL, ClientInfo, Id, Node
from zkrecipes.devserver.auth.access import digest_id
from zkrecipes.devserver.auth.sasl import SaslExchange
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.processor import Processor, Reply
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.devserver.session_tracker import Session, SessionTracker
from zkrecipes.enums import AddWatchMode, EventType, OpCode

OPEN = [ACL(31, Id("world", "anyone"))]
READ_ONLY = [ACL(1, Id("world", "anyone"))]
ALICE = [ACL(31, Id("digest", digest_id("alice:secret")))]
FIRST_ZXID = 1000

OK = 0
MARSHALLING, UNIMPLEMENTED, BAD_ARGUMENTS = -5, -6, -8
NO_NODE, NO_AUTH, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -102, -103, -108
NODE_EXISTS, NOT_EMPTY, INVALID_ACL, AUTH_FAILED, NO_WATCHER = -110, -111, -114, -115, -121
RECONFIG_DISABLED = -123


class FakeClient:
    """A connection that keeps its events."""

    def __init__(self, server: Server) -> None:
        self.session: Session | None = None
        self.ids = [Id("ip", "127.0.0.1")]
        self.address = "127.0.0.1"
        self.sasl: SaslExchange | None = None
        self.events: list[tuple[int, int, str]] = []
        self.closed = ""
        self._server = server

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        assert event.state == 3
        self.events.append((zxid, event.type, event.path))

    def close(self, why: str) -> None:
        self.closed = why

    def greet(self, session_id: int = 0, password: bytes = bytes(16), zxid: int = 0) -> ConnectReply | None:
        request = ConnectRequest(0, zxid, 10_000, session_id, password)
        return self._server.processor.greet(self, request, self._server.time, b"p" * 16)

    def send(self, request: Request[Any]) -> Reply:
        opcode = type(request).opcode
        return self._server.processor.process(self, opcode, request, self._server.time)

    def ok(self, request: Request[Any]) -> Any:
        reply = self.send(request)
        assert reply.err == OK, reply
        return reply.record

    def seen(self) -> list[tuple[int, str]]:
        events, self.events = self.events, []
        return [(kind, path) for _, kind, path in events]


class Server:
    """A processor and the time."""

    def __init__(self, **options: Any) -> None:
        start_counter = options.pop("start_counter", 0)
        self.time = ServerTime(0.0, 0)
        self.processor = Processor(
            tree=DataTree(start_counter=start_counter),
            sessions=SessionTracker(tick_time=2.0, first_id=1),
            zxid=FIRST_ZXID,
            random=random.Random(0),
            super_digest=digest_id("super:test"),
            **options,
        )

    def connect(self) -> FakeClient:
        client = FakeClient(self)
        reply = client.greet()
        assert reply is not None
        assert reply.timeout_ms == 10_000
        return client


@pytest.fixture
def server() -> Server:
    return Server(extended_types=True)


@pytest.fixture
def client(server: Server) -> FakeClient:
    return server.connect()


def _create(
    path: str, data: bytes | None = b"", acl: list[ACL] | None = OPEN, flags: int = 0
) -> CreateRequest:
    return CreateRequest(path, data, acl, flags)


# --- sessions ----------------------------------------------------------------------------------------------


def test_a_new_session_is_a_transaction(server: Server) -> None:
    client = server.connect()
    assert client.session is not None
    assert server.processor.zxid == FIRST_ZXID + 1
    assert server.processor.attached == {client.session.id: client}


def test_a_client_that_is_ahead_gets_no_reply(server: Server) -> None:
    assert FakeClient(server).greet(zxid=FIRST_ZXID + 1) is None
    assert FakeClient(server).greet(zxid=FIRST_ZXID) is not None


def test_a_session_is_resumed_and_its_old_connection_closed(server: Server, client: FakeClient) -> None:
    assert client.session is not None
    zxid = server.processor.zxid
    again = FakeClient(server)
    reply = again.greet(client.session.id, b"p" * 16)
    assert reply == ConnectReply(0, 10_000, client.session.id, b"p" * 16, False)
    assert client.closed
    assert again.session is client.session
    server.processor.detach(client)
    assert server.processor.attached == {client.session.id: again}
    assert server.processor.zxid == zxid


@pytest.mark.parametrize("session_id", [None, 12345])
def test_a_wrong_password_or_id_is_refused(
    server: Server, client: FakeClient, session_id: int | None
) -> None:
    assert client.session is not None
    stranger = FakeClient(server)
    reply = stranger.greet(client.session.id if session_id is None else session_id, b"wrong")
    assert reply == ConnectReply(0, 0, 0, bytes(16), False)
    assert stranger.session is None


def test_closing_a_session_takes_its_ephemerals_under_one_zxid(server: Server, client: FakeClient) -> None:
    watcher = server.connect()
    for name in "ab":
        client.ok(_create(f"/{name}", flags=1))
        watcher.ok(ExistsRequest(f"/{name}", True))
    zxid = server.processor.zxid
    reply = client.send(CloseSessionRequest())
    assert reply == Reply(zxid + 1, OK, None, close=True)
    assert watcher.events == [(zxid + 1, EventType.DELETED, "/a"), (zxid + 1, EventType.DELETED, "/b")]
    assert len(server.processor.sessions) == 1


def test_an_expired_session_is_closed_with_its_ephemerals(server: Server, client: FakeClient) -> None:
    client.ok(_create("/e", flags=1))
    assert client.session is not None
    server.processor.expire(client.session, server.time)
    assert client.closed
    assert "/e" not in server.processor.tree
    server.processor.detach(client)
    again = FakeClient(server)
    reply = again.greet(client.session.id, b"p" * 16)
    assert reply is not None
    assert reply.timeout_ms == 0


def test_a_session_without_a_connection_expires(server: Server, client: FakeClient) -> None:
    assert client.session is not None
    server.processor.detach(client)
    server.processor.expire(client.session, server.time)
    assert len(server.processor.sessions) == 0


@pytest.mark.parametrize(
    ("request_", "touches"),
    [(PingRequest(), True), (GetDataRequest("/none"), True), (AuthRequest(0, "digest", b"a:b"), False)],
)
def test_every_request_but_auth_keeps_the_session_alive(
    server: Server, client: FakeClient, request_: Request[Any], touches: bool
) -> None:
    server.time = ServerTime(100.0, 100_000)
    client.send(request_)
    assert server.processor.sessions.next_expiry() == (112.0 if touches else 12.0)


# --- writes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "err"),
    [
        (_create("/new"), OK),
        (_create("/new", flags=7), BAD_ARGUMENTS),
        (_create("/new", flags=-1), BAD_ARGUMENTS),
        (_create("/new", flags=5), BAD_ARGUMENTS),
        (_create("/new", flags=4), OK),
        (_create("no-slash"), BAD_ARGUMENTS),
        (_create("/nul\0", acl=[]), BAD_ARGUMENTS),
        (_create("/none/x", acl=[]), INVALID_ACL),
        (_create("/none/x", acl=None), INVALID_ACL),
        (_create("/none/x"), NO_NODE),
        (_create("/sealed//x"), NO_NODE),
        (_create("/sealed/x/"), NO_NODE),
        (_create("/sealed/."), NO_AUTH),
        (_create("/a/."), BAD_ARGUMENTS),
        (_create("/a/", flags=2), OK),
        (_create("/a"), NODE_EXISTS),
        (_create("/"), NODE_EXISTS),
        (_create("/e/x"), NO_CHILDREN_FOR_EPHEMERALS),
        (_create("/c/x"), OK),
        (_create("/t/x"), OK),
        (CreateTTLRequest("/new", b"", OPEN, 5, 1000), OK),
        (CreateTTLRequest("/new", b"", OPEN, 6, 1 << 40), BAD_ARGUMENTS),
        (CreateTTLRequest("/new", b"", OPEN, 5, 0), BAD_ARGUMENTS),
        (CreateTTLRequest("/new", b"", OPEN, 0, 5), BAD_ARGUMENTS),
        (DeleteRequest("/a", -1), NOT_EMPTY),
        (DeleteRequest("/a", 7), BAD_VERSION),
        (DeleteRequest("/a/b", 0), OK),
        (DeleteRequest("/none", 0), NO_NODE),
        (DeleteRequest("/none/x", 0), NO_NODE),
        (DeleteRequest("/sealed/none", 0), NO_AUTH),
        (DeleteRequest("/", -1), BAD_ARGUMENTS),
        (DeleteRequest("/zookeeper", -1), BAD_ARGUMENTS),
        (DeleteRequest("no-slash", -1), BAD_ARGUMENTS),
        (DeleteContainerRequest("/none"), NO_NODE),
        (DeleteContainerRequest("/a"), NOT_EMPTY),
        (DeleteContainerRequest("/e"), BAD_VERSION),
        (DeleteContainerRequest("/c"), OK),
        (SetDataRequest("/a", b"x", 0), OK),
        (SetDataRequest("/a", b"x", 1), BAD_VERSION),
        (SetDataRequest("/a", b"x", -2), BAD_VERSION),
        (SetDataRequest("/none", b"x", 0), NO_NODE),
        (SetDataRequest("/sealed", b"x", 9), NO_AUTH),
        (SetDataRequest("/a/", b"x", 0), BAD_ARGUMENTS),
        (SetACLRequest("/a", OPEN, 0), OK),
        (SetACLRequest("/a", OPEN, 1), BAD_VERSION),
        (SetACLRequest("/none", [], 0), INVALID_ACL),
        (SetACLRequest("/none", OPEN, 0), NO_NODE),
        (SetACLRequest("/sealed", OPEN, 9), NO_AUTH),
        (SetACLRequest("a", [], 0), BAD_ARGUMENTS),
        (ReconfigRequest(None, None, None, -1), RECONFIG_DISABLED),
    ],
)
def test_a_write_answers_in_the_real_servers_order_of_checks_and_uses_a_zxid(
    server: Server, client: FakeClient, request_: Request[Any], err: int
) -> None:
    for path, flags in (("/a", 0), ("/a/b", 0), ("/e", 1)):
        client.ok(_create(path, flags=flags))
    client.ok(_create("/sealed", acl=READ_ONLY))
    client.ok(CreateContainerRequest("/c", b"", OPEN, 4))
    client.ok(CreateTTLRequest("/t", b"", OPEN, 5, 1000))
    zxid = server.processor.zxid
    reply = client.send(request_)
    assert (reply.err, reply.zxid) == (err, zxid + 1)
    assert (reply.record is None) == (err != OK)


def test_create_returns_the_path_and_create2_also_the_stat(server: Server, client: FakeClient) -> None:
    server.time = ServerTime(0.0, 777)
    assert client.ok(_create("/a", b"data")) == CreateReply("/a")
    record = client.ok(Create2Request("/b", b"data", OPEN, 1))
    assert isinstance(record, Create2Reply)
    assert record.stat.czxid == server.processor.zxid
    assert record.stat.ctime == 777
    assert record.stat.data_length == 4
    assert client.session is not None
    assert record.stat.ephemeral_owner == client.session.id
    assert client.ok(CreateContainerRequest("/c", None, OPEN, 4)).stat.ephemeral_owner == 0
    assert client.ok(GetDataRequest("/c")).data is None


def test_sequence_numbers_count_all_children_ever_made(client: FakeClient) -> None:
    client.ok(_create("/p"))
    made = [client.ok(_create("/p/s-", flags=flags)).path for flags in (2, 3)]
    client.ok(_create("/p/other"))
    client.ok(DeleteRequest(made[0], -1))
    made.append(client.ok(_create("/p/s-", flags=2)).path)
    assert made == ["/p/s-0000000000", "/p/s-0000000001", "/p/s-0000000003"]


def test_sequence_numbers_start_at_the_start_counter_and_wrap() -> None:
    client = Server(start_counter=2**31 - 1).connect()
    made = [client.ok(_create("/s-", flags=2)).path for _ in range(2)]
    assert made == ["/s-2147483647", "/s--2147483648"]


def test_ttl_znodes_are_off_unless_asked_for() -> None:
    client = Server().connect()
    assert client.send(CreateTTLRequest("/t", b"", OPEN, 5, 1000)).err == UNIMPLEMENTED
    assert client.send(CreateContainerRequest("/c", b"", OPEN, 4)).err == OK


def test_a_version_never_becomes_minus_one(server: Server, client: FakeClient) -> None:
    client.ok(_create("/a"))
    server.processor.tree.get("/a").version = -2
    assert client.ok(SetDataRequest("/a", b"", -2)).stat.version == 0


def test_versions_and_times_move_with_their_own_kind_of_change(server: Server, client: FakeClient) -> None:
    client.ok(_create("/a"))
    server.time = ServerTime(5.0, 5000)
    stat = client.ok(SetDataRequest("/a", b"xy", 0)).stat
    assert (stat.version, stat.aversion, stat.mtime, stat.mzxid) == (1, 0, 5000, server.processor.zxid)
    stat = client.ok(SetACLRequest("/a", OPEN, 0)).stat
    assert (stat.version, stat.aversion, stat.mzxid) == (1, 1, server.processor.zxid - 1)


# --- multi -------------------------------------------------------------------------------------------------


def test_a_multi_applies_all_under_one_zxid(server: Server, client: FakeClient) -> None:
    zxid = server.processor.zxid
    reply = client.send(
        MultiRequest(
            (
                _create("/a"),
                _create("/a/s-", flags=2),
                Create2Request("/a/b", b"", OPEN, 0),
                SetDataRequest("/a", b"x", 0),
                CheckRequest("/a", 1),
                DeleteRequest("/a/b", 0),
                _create("/c", flags=4),
            )
        )
    )
    assert (reply.zxid, reply.err) == (zxid + 1, OK)
    assert isinstance(reply.record, MultiReply)
    path, sequential, with_stat, stat, checked, deleted, container = reply.record.results
    assert (path, sequential) == (CreateReply("/a"), CreateReply("/a/s-0000000000"))
    assert isinstance(with_stat, Create2Reply)
    assert with_stat.stat.czxid == zxid + 1
    assert stat.stat.version == 1  # type: ignore[attr-defined]
    assert (checked, deleted) == (Empty(), Empty())
    assert isinstance(container, Create2Reply)
    assert reply.opcodes == [
        OpCode.CREATE,
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.SET_DATA,
        OpCode.CHECK,
        OpCode.DELETE,
        OpCode.CREATE_CONTAINER,
    ]


def test_a_multi_that_fails_changes_nothing_and_fires_nothing(server: Server, client: FakeClient) -> None:
    watcher = server.connect()
    watcher.ok(ExistsRequest("/a", True)) if "/a" in server.processor.tree else watcher.send(
        ExistsRequest("/a", True)
    )
    zxid = server.processor.zxid
    reply = client.send(
        MultiRequest((_create("/a"), DeleteRequest("/none", -1), _create("/b"), _create("/c")))
    )
    assert reply.record == MultiReply((ErrorReply(0), ErrorReply(NO_NODE), ErrorReply(-2), ErrorReply(-2)))
    assert (reply.zxid, reply.err) == (zxid + 1, OK)
    assert client.send(ExistsRequest("/a")).err == NO_NODE
    assert watcher.events == []
    client.ok(_create("/a"))
    assert watcher.seen() == [(EventType.CREATED, "/a")]


def test_a_multi_of_checks_is_a_transaction_that_changes_nothing(server: Server, client: FakeClient) -> None:
    client.ok(_create("/a"))
    client.ok(GetDataRequest("/a", True))
    zxid = server.processor.zxid
    reply = client.send(MultiRequest((CheckRequest("/a", -1), CheckRequest("/a", 0))))
    assert (reply.zxid, reply.record) == (zxid + 1, MultiReply((Empty(), Empty())))
    assert client.events == []
    reply = client.send(
        MultiRequest((CheckRequest("/a", -1), CheckRequest("/b", -1), CheckRequest("/c", -1)))
    )
    expected = (ErrorReply(0), ErrorReply(NO_NODE), ErrorReply(-2))
    assert (reply.zxid, reply.record) == (zxid + 2, MultiReply(expected))


def test_a_check_needs_permission_to_read(client: FakeClient) -> None:
    client.ok(AuthRequest(0, "digest", b"alice:secret"))
    client.ok(_create("/a", acl=[ACL(30, ALICE[0].id)]))
    assert client.ok(MultiRequest((CheckRequest("/a", -1),))) == MultiReply((ErrorReply(NO_AUTH),))


def test_an_empty_multi_is_fine(server: Server, client: FakeClient) -> None:
    zxid = server.processor.zxid
    assert client.send(MultiRequest(())) == Reply(zxid + 1, OK, MultiReply(()), opcodes=[])


@pytest.mark.parametrize(
    "operation",
    [
        GetDataRequest("/"),
        SetACLRequest("/", OPEN, -1),
        _create("/a", flags=9),
        _create("/a", flags=5),
        _create("/a", acl=None),
    ],
)
def test_what_cannot_be_in_a_multi_cannot_be_read(client: FakeClient, operation: Request[Any]) -> None:
    assert client.send(MultiRequest((_create("/b"), operation))).err == MARSHALLING
    assert client.send(ExistsRequest("/b")).err == NO_NODE


@pytest.mark.parametrize(
    ("operations", "zxids"),
    [
        ((_create("/a", acl=None),), 0),
        ((_create("/a", acl=None), _create("/b", flags=9)), 0),
        ((_create("/b", flags=9), _create("/a", acl=None)), 1),
        ((SetACLRequest("/", OPEN, -1),), 1),
    ],
)
def test_a_multi_that_cannot_be_read_takes_a_zxid_unless_it_stumbles_over_a_null_acl(
    server: Server, client: FakeClient, operations: tuple[Request[Any], ...], zxids: int
) -> None:
    before = server.processor.zxid
    assert client.send(MultiRequest(operations)) == Reply(before + zxids, MARSHALLING)


def test_a_ttl_create_in_a_multi_goes_by_its_flags(client: FakeClient) -> None:
    operations = (
        CreateTTLRequest("/t", b"", OPEN, 5, 1000),
        CreateTTLRequest("/p", b"", OPEN, 0, 1000),
    )
    reply = client.send(MultiRequest(operations))
    assert reply.opcodes == [OpCode.CREATE_TTL, OpCode.CREATE]
    assert isinstance(reply.record, MultiReply)
    assert reply.record.results[1] == CreateReply("/p")


# --- reads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "err"),
    [
        (ExistsRequest("/a"), OK),
        (ExistsRequest("/none"), NO_NODE),
        (ExistsRequest("/nul\0"), BAD_ARGUMENTS),
        (ExistsRequest("/secret"), NO_AUTH),
        (GetDataRequest("/a"), OK),
        (GetDataRequest("/none"), NO_NODE),
        (GetDataRequest("/secret"), NO_AUTH),
        (GetChildrenRequest("/a"), OK),
        (GetChildrenRequest("/none"), NO_NODE),
        (GetChildrenRequest("/secret"), NO_AUTH),
        (GetChildren2Request("/a"), OK),
        (GetChildren2Request("/secret"), NO_AUTH),
        (GetACLRequest("/a"), OK),
        (GetACLRequest("/none"), NO_NODE),
        (GetACLRequest("/secret"), NO_AUTH),
        (GetAllChildrenNumberRequest("/a"), OK),
        (GetAllChildrenNumberRequest("/none"), NO_NODE),
        (GetAllChildrenNumberRequest("/secret"), NO_AUTH),
        (SyncRequest("/none"), OK),
        (WhoAmIRequest(), OK),
        (PingRequest(), OK),
        (GetEphemeralsRequest("/"), OK),
    ],
)
def test_a_read_answers_and_moves_no_zxid(
    server: Server, client: FakeClient, request_: Request[Any], err: int
) -> None:
    owner = server.connect()
    owner.ok(AuthRequest(0, "digest", b"alice:secret"))
    owner.ok(_create("/a"))
    owner.ok(_create("/secret", acl=ALICE))
    zxid = server.processor.zxid
    reply = client.send(request_)
    assert (reply.err, reply.zxid) == (err, zxid)


def test_children_are_in_a_different_order_each_time(client: FakeClient) -> None:
    client.ok(_create("/p"))
    names = [client.ok(_create("/p/n-", flags=2)).path[3:] for _ in range(20)]
    seen = [client.ok(GetChildrenRequest("/p")).children for _ in range(5)]
    assert all(sorted(each) == names for each in seen)
    assert len({tuple(each) for each in seen}) == 5
    both = client.ok(GetChildren2Request("/p"))
    assert sorted(both.children) == names
    assert both.stat.num_children == 20


def test_a_client_without_admin_sees_no_hashes(server: Server, client: FakeClient) -> None:
    owner = server.connect()
    owner.ok(AuthRequest(0, "digest", b"alice:secret"))
    owner.ok(_create("/a", acl=[*READ_ONLY, *ALICE]))
    assert owner.ok(GetACLRequest("/a")).acl == [*READ_ONLY, *ALICE]
    assert client.ok(GetACLRequest("/a")).acl == [*READ_ONLY, ACL(31, Id("digest", "alice:x"))]


def test_ephemerals_of_the_own_session_are_listed_by_prefix(server: Server, client: FakeClient) -> None:
    server.connect().ok(_create("/other", flags=1))
    client.ok(_create("/a"))
    client.ok(_create("/a/e", flags=1))
    client.ok(_create("/e", flags=1))
    for prefix, expected in (("/", ["/a/e", "/e"]), ("", ["/a/e", "/e"]), ("/a", ["/a/e"]), ("/x", [])):
        assert sorted(client.ok(GetEphemeralsRequest(prefix)).ephemerals) == expected
    stranger = FakeClient(server)
    assert stranger.ok(GetEphemeralsRequest("/")).ephemerals == []


def test_all_descendants_are_counted(client: FakeClient) -> None:
    for path in ("/a", "/a/b", "/a/b/c"):
        client.ok(_create(path))
    assert client.ok(GetAllChildrenNumberRequest("/a")).total_number == 2


def test_a_multi_read_has_a_result_or_an_error_each_and_sets_no_watch(client: FakeClient) -> None:
    client.ok(_create("/a", b"x"))
    reply = client.send(
        MultiReadRequest(
            (GetDataRequest("/a", True), GetChildrenRequest("/a", True), GetDataRequest("/none"))
        )
    )
    assert isinstance(reply.record, MultiReply)
    node, children, error = reply.record.results
    assert isinstance(node, Node)
    assert node.data == b"x"
    assert children.children == []  # type: ignore[attr-defined]
    assert error == ErrorReply(NO_NODE)
    assert reply.opcodes == [OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.GET_DATA]
    assert len(client._server.processor.watches) == 0  # noqa: SLF001 - the test's own class
    assert client.send(MultiReadRequest((ExistsRequest("/a"),))).err == MARSHALLING


# --- identities --------------------------------------------------------------------------------------------


def test_auth_adds_identities(client: FakeClient) -> None:
    assert client.send(AuthRequest(0, "digest", b"alice:secret")) == Reply(0, OK)
    client.ok(AuthRequest(0, "digest", b"alice:secret"))
    assert client.ok(WhoAmIRequest()).client_info == [
        ClientInfo("ip", "127.0.0.1"),
        ClientInfo("digest", "alice"),
    ]


def test_an_unknown_scheme_closes_the_connection(client: FakeClient) -> None:
    assert client.send(AuthRequest(0, "nonsense", b"")) == Reply(0, AUTH_FAILED, close=True)


def test_super_may_do_all(server: Server, client: FakeClient) -> None:
    owner = server.connect()
    owner.ok(AuthRequest(0, "digest", b"alice:secret"))
    owner.ok(_create("/a", b"x", acl=ALICE))
    client.ok(AuthRequest(0, "digest", b"super:test"))
    assert client.ok(GetDataRequest("/a")).data == b"x"


def test_sasl_without_a_configuration_answers_nothing(client: FakeClient) -> None:
    assert client.send(SASLRequest(b"token")) == Reply(0, OK, SASLReply(None))


# --- malformed requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [OpCode.CHECK, 0, 999, -10, -1])
def test_an_unknown_opcode_is_unimplemented_and_closes(
    server: Server, client: FakeClient, opcode: int
) -> None:
    reply = server.processor.process(client, opcode, None, server.time)
    assert reply == Reply(-1, UNIMPLEMENTED, close=True)


@pytest.mark.parametrize(
    ("opcode", "err"),
    [
        (OpCode.GET_DATA, MARSHALLING),
        (OpCode.CREATE, MARSHALLING),
        (OpCode.MULTI, MARSHALLING),
        (OpCode.AUTH, AUTH_FAILED),
    ],
)
def test_a_body_that_cannot_be_read_is_an_error(
    server: Server, client: FakeClient, opcode: int, err: int
) -> None:
    assert server.processor.process(client, opcode, None, server.time).err == err


# --- watches -----------------------------------------------------------------------------------------------


def test_a_data_watch_fires_once(server: Server, client: FakeClient) -> None:
    client.ok(_create("/a"))
    client.ok(GetDataRequest("/a", True))
    client.ok(GetDataRequest("/a", True))
    client.ok(SetDataRequest("/a", b"x", -1))
    client.ok(SetDataRequest("/a", b"y", -1))
    assert client.events == [(server.processor.zxid - 1, EventType.DATA_CHANGED, "/a")]


def test_exists_watches_what_is_not_there(client: FakeClient) -> None:
    assert client.send(ExistsRequest("/a", True)).err == NO_NODE
    client.ok(_create("/a"))
    client.ok(DeleteRequest("/a", -1))
    assert client.seen() == [(EventType.CREATED, "/a")]


def test_a_read_that_fails_sets_no_watch(client: FakeClient) -> None:
    assert client.send(GetDataRequest("/a", True)).err == NO_NODE
    assert client.send(GetChildrenRequest("/a", True)).err == NO_NODE
    client.ok(_create("/a"))
    assert client.seen() == []


def test_a_child_watch_fires_on_create_delete_and_its_own_end(client: FakeClient) -> None:
    client.ok(_create("/p"))
    for change, expected in (
        (_create("/p/x"), EventType.CHILDREN_CHANGED),
        (DeleteRequest("/p/x", -1), EventType.CHILDREN_CHANGED),
        (DeleteRequest("/p", -1), EventType.DELETED),
    ):
        client.ok(GetChildrenRequest("/p", True))
        client.ok(change)
        assert client.seen() == [(expected, "/p")]


def test_a_delete_notifies_a_watcher_of_both_once_before_the_parents(client: FakeClient) -> None:
    client.ok(_create("/p"))
    client.ok(_create("/p/x"))
    client.ok(GetDataRequest("/p/x", True))
    client.ok(GetChildrenRequest("/p/x", True))
    client.ok(GetChildrenRequest("/p", True))
    client.ok(DeleteRequest("/p/x", -1))
    assert client.seen() == [(EventType.DELETED, "/p/x"), (EventType.CHILDREN_CHANGED, "/p")]


def test_the_roots_children_are_watched_at_slash(client: FakeClient) -> None:
    client.ok(GetChildrenRequest("/", True))
    client.ok(_create("/a"))
    assert client.seen() == [(EventType.CHILDREN_CHANGED, "/")]


def test_setting_an_acl_fires_nothing(client: FakeClient) -> None:
    client.ok(_create("/a"))
    client.ok(AddWatchRequest("/a", AddWatchMode.PERSISTENT))
    client.ok(SetACLRequest("/a", OPEN, -1))
    assert client.seen() == []


def test_a_persistent_watch_stays_and_a_recursive_one_sees_below(server: Server, client: FakeClient) -> None:
    other = server.connect()
    client.ok(AddWatchRequest("/a", AddWatchMode.PERSISTENT))
    assert other.ok(AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE)) == ErrorReply(0)
    for change in (
        _create("/a"),
        _create("/a/b"),
        SetDataRequest("/a/b", b"", -1),
        SetDataRequest("/a", b"", -1),
        DeleteRequest("/a/b", -1),
        DeleteRequest("/a", -1),
    ):
        client.ok(change)
    assert client.seen() == [
        (EventType.CREATED, "/a"),
        (EventType.CHILDREN_CHANGED, "/a"),
        (EventType.DATA_CHANGED, "/a"),
        (EventType.CHILDREN_CHANGED, "/a"),
        (EventType.DELETED, "/a"),
    ]
    assert other.seen() == [
        (EventType.CREATED, "/a"),
        (EventType.CREATED, "/a/b"),
        (EventType.DATA_CHANGED, "/a/b"),
        (EventType.DATA_CHANGED, "/a"),
        (EventType.DELETED, "/a/b"),
        (EventType.DELETED, "/a"),
    ]
    assert client.send(AddWatchRequest("/a", 2)).err == MARSHALLING


def test_only_clients_that_may_read_receive_events(server: Server, client: FakeClient) -> None:
    owner = server.connect()
    owner.ok(AuthRequest(0, "digest", b"alice:secret"))
    for each in (owner, client):
        each.ok(AddWatchRequest("/a", AddWatchMode.PERSISTENT))
    owner.ok(_create("/a", acl=ALICE))
    assert owner.seen() == [(EventType.CREATED, "/a")]
    assert client.seen() == []


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_watches_are_checked_and_removed_by_kind(client: FakeClient, kind: int) -> None:
    client.ok(_create("/a"))
    assert client.send(CheckWatchesRequest("/a", kind)).err == NO_WATCHER
    assert client.send(RemoveWatchesRequest("/a", kind)).err == NO_WATCHER
    for request in (
        GetChildrenRequest("/a", True),
        GetDataRequest("/a", True),
        AddWatchRequest("/a", 0),
        AddWatchRequest("/a", 1),
    ):
        client.ok(request)
    assert client.ok(CheckWatchesRequest("/a", kind)) == Empty()
    assert client.ok(RemoveWatchesRequest("/a", kind)) == Empty()
    assert client.send(CheckWatchesRequest("/a", kind)).err == NO_WATCHER
    left = {other for other in (1, 2, 4, 5) if client.send(CheckWatchesRequest("/a", other)).err == OK}
    assert left == (set() if kind == 3 else {1, 2, 4, 5} - {kind})


@pytest.mark.parametrize("request_", [CheckWatchesRequest("/a", 6), RemoveWatchesRequest("/a", 0)])
def test_an_unknown_kind_of_watch_cannot_be_read(client: FakeClient, request_: Request[Any]) -> None:
    assert client.send(request_).err == MARSHALLING


def test_watches_go_with_their_connection(server: Server, client: FakeClient) -> None:
    client.ok(AddWatchRequest("/a", 0))
    server.processor.detach(client)
    assert len(server.processor.watches) == 0


def test_watches_that_are_set_again_fire_at_once_where_they_are_due(
    server: Server, client: FakeClient
) -> None:
    for path in ("/same", "/changed", "/gone", "/made-before"):
        client.ok(_create(path))
    since = server.processor.zxid
    client.ok(SetDataRequest("/changed", b"x", -1))
    client.ok(_create("/changed/child"))
    client.ok(DeleteRequest("/gone", -1))
    paths = ["/same", "/changed", "/gone"]
    client.ok(SetWatchesRequest(since, paths, ["/made-before", "/none"], paths))
    assert client.events == [
        (-1, EventType.DATA_CHANGED, "/changed"),
        (-1, EventType.DELETED, "/gone"),
        (-1, EventType.CREATED, "/made-before"),
        (-1, EventType.CHILDREN_CHANGED, "/changed"),
        (-1, EventType.DELETED, "/gone"),
    ]
    client.seen()
    client.ok(SetDataRequest("/same", b"x", -1))
    client.ok(_create("/same/child"))
    client.ok(_create("/none"))
    assert client.seen() == [
        (EventType.DATA_CHANGED, "/same"),
        (EventType.CHILDREN_CHANGED, "/same"),
        (EventType.CREATED, "/none"),
    ]


def test_persistent_watches_are_set_again_without_a_replay(server: Server, client: FakeClient) -> None:
    client.ok(_create("/a"))
    client.ok(SetWatches2Request(0, None, None, None, ["/a"], ["/b"]))
    assert client.seen() == []
    client.ok(SetDataRequest("/a", b"x", -1))
    client.ok(_create("/b"))
    assert client.seen() == [(EventType.DATA_CHANGED, "/a"), (EventType.CREATED, "/b")]


def test_reaping_deletes_due_znodes_and_notifies_watchers(server: Server, client: FakeClient) -> None:
    client.ok(CreateContainerRequest("/c", b"", OPEN, 4))
    client.ok(CreateContainerRequest("/used", b"", OPEN, 4))
    client.ok(_create("/used/x"))
    client.ok(ExistsRequest("/c", True))
    zxid = server.processor.zxid
    server.processor.reap(["/c", "/used", "/none"], server.time)
    assert client.events == [(zxid + 1, EventType.DELETED, "/c")]
    assert "/used" in server.processor.tree
    assert server.processor.zxid == zxid + 3


def test_a_record_is_only_in_a_reply_without_an_error(client: FakeClient) -> None:
    reply = client.send(GetDataRequest("/none"))
    assert reply.record is None
    assert isinstance(client.ok(GetDataRequest("/")), Record)
