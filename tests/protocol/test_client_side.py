"""The client's end of a connection, without sockets or a clock: bytes and times in, bytes and events out.

The session timeout is 12 s throughout (`pair.T`), so a ping is due after 4 s and silence after 8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.protocol.pair import LIMIT, PASSWORD, SESSION_ID, Pair, T, events_of, live_pair, stat_at
from zkrecipes.codec.messages import (
    AddWatchRequest,
    AuthRequest,
    CheckRequest,
    ChildrenReply,
    ConnectReply,
    ConnectRequest,
    CreateReply,
    CreateRequest,
    ErrorReply,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    PingRequest,
    SetDataRequest,
    SetWatches2Request,
    SetWatchesRequest,
    StatReply,
    SyncReply,
    SyncRequest,
    WatchEventMessage,
)
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.codec.records import Node
from zkrecipes.enums import AddWatchMode, EventType, KeeperState, OpCode, ServerVersion, SpecialXid
from zkrecipes.errors import (
    AuthFailedError,
    BadArgumentsError,
    ConnectionLossError,
    NoNodeError,
    NotReadOnlyError,
    PacketTooLargeError,
    ProtocolError,
    SessionExpiredError,
    SessionMovedError,
    UnknownServerError,
    ZooKeeperError,
)
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.connection_stage import Stage
from zkrecipes.protocol.events import (
    Broken,
    ClientEvent,
    Connected,
    Greeting,
    PartialReply,
    Replied,
    Ticket,
    WatchEvent,
    WatchFired,
)
from zkrecipes.protocol.send_window import FIRST_SIZE
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

NEVER = math.inf
PING, AUTH, SET_WATCHES = SpecialXid.PING, SpecialXid.AUTH, SpecialXid.SET_WATCHES
CREDENTIALS = (("digest", b"user:pw"), ("digest", b"other:pw"))
GET = GetDataRequest("/a")
GET_AND_WATCH = GetDataRequest("/a", True)
NODE = Node(b"data", stat_at(1))
RESUMED = Greeting(T, SESSION_ID, PASSWORD, last_zxid=50)


def one(events: list[ClientEvent]) -> Any:
    """Return the only event."""
    (event,) = events
    return event


def broken_by(events: list[ClientEvent]) -> ZooKeeperError:
    """Return the error of the last event, which must be `Broken`."""
    assert isinstance(events[-1], Broken)
    return events[-1].error


def watching(*watches: tuple[WatchKind, str]) -> WatchTable[Any]:
    table: WatchTable[Any] = WatchTable()
    for kind, path in watches:
        table.add(kind, path, "me")
    return table


def asked(pair: Pair, *requests: Any) -> list[Any]:
    """Send requests, and return their tickets."""
    tickets = [pair.ask(request) for request in requests]
    pair.flush()
    return tickets


# --- greeting ----------------------------------------------------------------------------------------------


def test_a_greeting_asks_for_the_session_and_its_answer_connects() -> None:
    greeting = Greeting(T, SESSION_ID, PASSWORD, last_zxid=50, read_only=True)
    pair = Pair(greeting)
    assert pair.stage() is Stage.GREETING
    assert pair.has_unsent()
    assert pair.greet() == ConnectRequest(0, 50, 12_000, SESSION_ID, PASSWORD, True)
    assert not pair.has_unsent()
    connected = one(pair.accept(read_only=True))
    assert connected == Connected(SESSION_ID, PASSWORD, T, True, 0.0)
    assert pair.stage() is Stage.LIVE
    assert pair.client.last_zxid == 50


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 5, 7, 44])
def test_an_answer_may_come_in_pieces_of_any_size(chunk_size: int) -> None:
    """Case 8."""
    pair = Pair()
    pair.greet()
    pair.server.accept(ConnectReply(0, 12_000, SESSION_ID, PASSWORD, False))
    assert isinstance(one(pair.deliver(chunk_size=chunk_size)), Connected)
    asked(pair, GET, GET)
    pair.server.reply(1, 5, 0, NODE)
    pair.server.reply(2, 6, 0, NODE)
    events = pair.deliver(chunk_size=chunk_size)
    assert [event.reply for event in events if isinstance(event, Replied)] == [NODE, NODE]


def test_an_old_servers_answer_lacks_the_read_only_byte() -> None:
    """Case 9."""
    pair = Pair()
    pair.greet()
    body = ConnectReply(0, 12_000, SESSION_ID, PASSWORD).encode()
    pair.client.receive_data(struct.pack("!i", len(body)) + body, 0.0)
    connected = one(events_of(pair.client))
    assert isinstance(connected, Connected)
    assert connected.read_only is False


def test_a_null_password_is_sixteen_zeros() -> None:
    pair = Pair()
    pair.greet()
    assert one(pair.accept(password=None)).password == bytes(16)


@pytest.mark.parametrize(
    ("timeout", "session_id"), [(0.0, SESSION_ID), (T, SESSION_ID + 1)], ids=["timeout 0", "another session"]
)
def test_no_timeout_or_another_session_is_an_expiry(timeout: float, session_id: int) -> None:
    """Cases 10 and 11."""
    pair = Pair(RESUMED)
    pair.greet()
    error = broken_by(pair.accept(timeout=timeout, session_id=session_id))
    assert isinstance(error, SessionExpiredError)
    assert error.session_id == SESSION_ID
    assert pair.client.is_dead


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            -119,
            "the server made no session: the server is read-only and has no localSessionsEnabled",
        ),
        (-127, "the server made no session: throttled by the server"),
    ],
)
def test_a_bare_header_instead_of_the_answer_is_a_refusal(code: int, reason: str) -> None:
    """Case 24. To a server, making a session is a write, and it refuses it like a write."""
    pair = Pair()
    pair.greet()
    pair.client.receive_data(struct.pack("!iiqi", 16, 0, 0, code), 0.0)
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert error.reason == reason


def test_the_session_id_0_breaks_the_protocol() -> None:
    pair = Pair()
    pair.greet()
    assert isinstance(broken_by(pair.accept(session_id=0)), ProtocolError)


def test_the_negotiated_timeout_replaces_the_requested_one() -> None:
    """Case 12."""
    pair = Pair(Greeting(100.0))
    pair.greet()
    assert pair.client.next_deadline() == NEVER
    assert one(pair.accept(timeout=T)).timeout == T
    assert pair.client.next_deadline() == T / 3


@pytest.mark.parametrize("milliseconds", [1, 2, 2**31 - 1])
def test_a_tiny_or_a_huge_timeout_leaves_time_to_ping(milliseconds: int) -> None:
    """Case 13."""
    pair = Pair()
    pair.greet()
    pair.accept(timeout=milliseconds / 1000)
    pair.now = pair.client.next_deadline()
    assert 0 < pair.now < milliseconds / 1000
    pair.client.tick(pair.now)
    assert [request.opcode for request in pair.flush()] == [OpCode.PING]
    assert pair.client.next_deadline() > pair.now


def test_a_server_that_closes_after_a_greeting_with_a_zxid_may_be_behind_so_the_zxid_is_named() -> None:
    pair = Pair(Greeting(T, SESSION_ID, PASSWORD, last_zxid=0xABC))
    pair.greet()
    pair.client.receive_eof()
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert "0xabc" in error.reason


def test_an_end_of_the_stream_is_a_loss_that_names_the_stage() -> None:
    for pair, stage in ((Pair(), "greeting"), (live_pair(), "live")):
        pair.client.receive_eof()
        error = broken_by(events_of(pair.client))
        assert isinstance(error, ConnectionLossError)
        assert error.reason == f"closed by the server while {stage}"


def test_an_answer_read_when_the_session_may_have_ended_does_not_connect() -> None:
    """The process was stopped after it had sent its greeting."""
    pair = Pair(Greeting(T, session_id=SESSION_ID, password=PASSWORD))
    pair.greet()
    pair.now = T
    assert isinstance(broken_by(pair.accept()), ConnectionLossError)
    assert not pair.has_unsent()


def test_making_a_new_session_may_take_longer_than_its_timeout() -> None:
    """The server counts from the time at which it made the session."""
    pair = Pair()
    pair.greet()
    pair.now = 2 * T
    assert isinstance(one(pair.accept()), Connected)


def test_time_counts_from_when_the_greeting_was_sent() -> None:
    pair = Pair()
    pair.now = 5.0  # connecting took this long
    pair.greet()
    pair.now = 6.0
    assert one(pair.accept()).sent_at == 5.0
    assert pair.client.answered_sent_at == 5.0
    assert pair.client.next_deadline() == 5.0 + T / 3


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28" + bytes(8),
        b"\xff\xff\xff\xff" + bytes(8),
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x04abcd",
    ],
    ids=["HTTP", "TLS alert", "negative", "empty", "short"],
)
def test_bytes_that_are_not_an_answer_break_the_protocol(data: bytes) -> None:
    pair = Pair()
    pair.greet()
    pair.client.receive_data(data, 0.0)
    assert isinstance(broken_by(events_of(pair.client)), ProtocolError)


# --- authenticating and restoring watches ------------------------------------------------------------------


def set_up_pair(**options: Any) -> Pair:
    """Return a pair that authenticates twice and restores one watch."""
    greeting = Greeting(T, SESSION_ID, PASSWORD, last_zxid=50, credentials=CREDENTIALS)
    pair = Pair(greeting, watches=watching((WatchKind.DATA, "/a")), **options)
    pair.greet()
    assert pair.accept() == []
    return pair


def test_credentials_go_before_the_watches_and_both_before_any_request() -> None:
    """Case 68."""
    pair = set_up_pair()
    assert pair.stage() is Stage.AUTHENTICATING
    pair.ask(GET)
    assert pair.has_unsent()
    assert [(each.xid, each.request) for each in pair.flush()] == [
        (AUTH, AuthRequest(0, *CREDENTIALS[0])),
        (AUTH, AuthRequest(0, *CREDENTIALS[1])),
        (SET_WATCHES, SetWatchesRequest(50, ["/a"], [], [])),
    ]
    assert not pair.has_unsent()
    assert pair.reply(AUTH) == []
    assert pair.reply(AUTH) == []
    assert pair.flush() == []
    assert isinstance(one(pair.reply(SET_WATCHES)), Connected)
    assert pair.has_unsent()
    assert [each.request for each in pair.flush()] == [GET]


def test_the_answers_to_credentials_and_watches_may_come_in_any_order() -> None:
    """Case 38."""
    pair = set_up_pair()
    pair.flush()
    pair.client.tick(T / 3)
    assert pair.reply(SET_WATCHES) == []
    assert pair.reply(PING) == []
    assert pair.reply(AUTH) == []
    assert isinstance(one(pair.reply(AUTH)), Connected)


def test_a_superfluous_answer_to_a_credential_does_not_count_for_the_watches() -> None:
    pair = set_up_pair()
    pair.reply(AUTH)
    pair.reply(AUTH)
    assert isinstance(broken_by(pair.reply(AUTH)), ProtocolError)


def test_refused_credentials_end_the_session() -> None:
    """Case 63."""
    pair = set_up_pair()
    error = broken_by(pair.reply(AUTH, err=-115))
    assert isinstance(error, AuthFailedError)
    assert error.session_id == SESSION_ID
    assert pair.client.data_to_send(1.0) == b""


@pytest.mark.parametrize(("code", "words"), [(-6, "not implemented"), (-127, "throttled"), (-4711, "-4711")])
def test_the_client_leaves_a_server_that_does_not_restore_the_watches(code: int, words: str) -> None:
    """The server may be overloaded; its answer does not break the protocol."""
    pair = set_up_pair()
    error = broken_by(pair.reply(SET_WATCHES, err=code))
    assert isinstance(error, ConnectionLossError)
    assert error.reason.startswith("the server did not restore the watches: ")
    assert words in error.reason


def test_a_session_that_ended_before_its_watches_were_restored_has_expired() -> None:
    pair = set_up_pair()
    assert isinstance(broken_by(pair.reply(SET_WATCHES, err=-112)), SessionExpiredError)


def test_watches_are_restored_in_batches_of_128_kib() -> None:
    paths = [f"/{'x' * 1000}{number}" for number in range(300)]
    pair = Pair(RESUMED, watches=watching(*((WatchKind.CHILD, path) for path in paths)))
    pair.greet()
    pair.accept()
    sizes = [len(data) for data in iter(lambda: pair.client.data_to_send(0.0), b"")]
    assert len(sizes) == 3, "each batch is a separate piece"
    pair = Pair(RESUMED, watches=pair.watches)
    pair.greet()
    pair.accept()
    batches = pair.flush()
    assert len(batches) == 3
    assert [path for batch in batches for path in batch.request.child_watches] == paths  # type: ignore[union-attr]
    assert pair.reply(SET_WATCHES) == pair.reply(SET_WATCHES) == []
    assert isinstance(one(pair.reply(SET_WATCHES)), Connected)


def test_persistent_watches_are_restored_if_the_server_has_them() -> None:
    pair = Pair(RESUMED, watches=watching((WatchKind.RECURSIVE, "/a")))
    pair.greet()
    pair.accept()
    assert [each.request for each in pair.flush()] == [SetWatches2Request(50, [], [], [], [], ["/a"])]
    older = Capabilities(ServerVersion.V3_5, below=ServerVersion.V3_6)
    pair = Pair(RESUMED, watches=watching((WatchKind.RECURSIVE, "/a")), guess=older)
    pair.greet()
    assert isinstance(one(pair.accept()), Connected)


def test_connected_comes_before_the_events_of_restored_watches() -> None:
    pair = set_up_pair()
    assert pair.notify(EventType.DATA_CHANGED, "/a", zxid=60) == []
    pair.reply(AUTH)
    pair.reply(AUTH)
    connected, fired = pair.reply(SET_WATCHES)
    assert isinstance(connected, Connected)
    assert fired == WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a", 60))
    assert len(pair.watches) == 0


def test_an_event_of_a_restored_watch_fires_no_persistent_one() -> None:
    """Persistent ones get a `RESYNC`; the reported event may not be what happened."""
    watches = watching((WatchKind.DATA, "/a"))
    watches.add(WatchKind.PERSISTENT, "/a", "you")
    watches.add(WatchKind.RECURSIVE, "/", "third")
    pair = Pair(RESUMED, watches=watches)
    pair.greet()
    pair.accept()
    pair.flush()
    pair.notify(EventType.DATA_CHANGED, "/a")
    _, fired = pair.reply(SET_WATCHES)
    assert fired == WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a"))


def test_a_restored_watch_that_fires_on_a_connection_that_never_goes_live_has_not_fired() -> None:
    """The next connection restores it, and it fires there; otherwise its owner would never be notified."""
    pair = set_up_pair()
    pair.notify(EventType.DATA_CHANGED, "/a")
    pair.client.receive_eof()
    events = events_of(pair.client)
    assert [type(event) for event in events] == [Broken]
    assert pair.watches.is_watched(WatchKind.DATA, "/a")


def test_events_before_connected_are_bounded_by_the_watches() -> None:
    pair = Pair(RESUMED, watches=watching((WatchKind.DATA, "/a"), (WatchKind.RECURSIVE, "/r")))
    pair.greet()
    pair.accept()
    for number in range(100):
        pair.notify(EventType.DATA_CHANGED, "/a", zxid=number)
        pair.notify(EventType.CREATED, f"/r/{number}", zxid=number)
        pair.notify(EventType.CREATED, f"/other/{number}", zxid=number)
    _, fired = pair.reply(SET_WATCHES)
    assert fired == WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a", 99))


def test_a_credential_may_be_added_later_and_may_be_refused() -> None:
    pair = live_pair()
    pair.client.authenticate("digest", b"late:pw")
    assert pair.has_unsent()
    assert [each.request for each in pair.flush()] == [AuthRequest(0, "digest", b"late:pw")]
    assert pair.reply(AUTH) == []
    pair.client.authenticate("digest", b"bad:pw")
    assert isinstance(broken_by(pair.reply(AUTH, err=-115)), AuthFailedError)
    pair.client.authenticate("digest", b"too late")
    assert pair.flush() == []


# --- requests and replies ----------------------------------------------------------------------------------


def test_requests_are_numbered_from_1_and_their_replies_come_back_in_order() -> None:
    pair = live_pair()
    pair.now = 3.0
    tickets = [pair.ask(GET), pair.ask(CreateRequest("/b", b"", [], 0)), pair.ask(SyncRequest("/"))]
    assert pair.has_unsent()
    assert pair.client.outstanding == 3
    assert [each.xid for each in pair.flush()] == [1, 2, 3]
    assert not pair.has_unsent()
    assert {ticket.sent_at for ticket in tickets} == {3.0}
    pair.server.reply(1, 70, 0, NODE)
    pair.server.reply(2, 71, 0, CreateReply("/b"))
    pair.server.reply(3, 72, 0, SyncReply("/"))
    assert pair.deliver() == [
        Replied(tickets[0], NODE, None, 70),
        Replied(tickets[1], CreateReply("/b"), None, 71),
        Replied(tickets[2], SyncReply("/"), None, 72),
    ]
    assert pair.client.outstanding == 0
    assert pair.client.last_zxid == 72


def test_requests_sent_together_leave_in_one_piece_and_once() -> None:
    pair = live_pair()
    pair.ask(GET)
    pair.ask(GET)
    assert pair.client.data_to_send(1.0) == GET.encode_frame(1) + GET.encode_frame(2)
    assert pair.client.data_to_send(1.0) == b""


def test_after_the_largest_xid_comes_1() -> None:
    """Case 37."""
    pair = live_pair(first_xid=2**31 - 1)
    first, second = asked(pair, GET, GET)
    assert (first.xid, second.xid) == (2**31 - 1, 1)
    assert one(pair.reply(2**31 - 1, NODE)).ticket is first
    assert one(pair.reply(1, NODE)).ticket is second


def test_an_error_names_its_path_and_the_connection_stays() -> None:
    pair = live_pair()
    (ticket,) = asked(pair, GET)
    replied = one(pair.reply(1, err=-101, zxid=9))
    assert replied == (ticket, None, replied.error, 9)
    assert isinstance(replied.error, NoNodeError)
    assert replied.error.path == "/a"
    assert not pair.client.is_dead


def test_an_unknown_code_is_an_error_with_its_number() -> None:
    """Case 34."""
    pair = live_pair()
    asked(pair, GET)
    replied = one(pair.reply(1, err=-9999))
    assert isinstance(replied.error, UnknownServerError)
    assert replied.error.code == -9999


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (-112, SessionExpiredError),
        (-118, SessionMovedError),
        (-115, AuthFailedError),
        (-124, AuthFailedError),
    ],
)
def test_an_error_that_concerns_the_session_ends_the_connection(
    code: int, error: type[ZooKeeperError]
) -> None:
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    replied, broken = pair.reply(1, err=code)
    assert isinstance(replied, Replied)
    assert replied.ticket is first
    assert isinstance(replied.error, error)
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, error)
    assert pair.client.leftover() == ([second], [])


@pytest.mark.parametrize("results", [[0, -118, -2], [-118, -2], [-118]])
def test_a_multi_that_failed_since_the_session_moved_ends_the_connection(results: list[int]) -> None:
    """Case 22. Servers before 3.5 report a move like this; later ones close the connection."""
    pair = live_pair()
    multi, other = asked(pair, MultiRequest((CheckRequest("/a", 1),) * len(results)), GET)
    reply = MultiReply(tuple(ErrorReply(code) for code in results))
    pair.server.reply_multi(1, 5, [OpCode.CHECK] * len(results), reply)
    replied, broken = pair.deliver()
    assert isinstance(replied, Replied)
    assert replied.ticket is multi
    assert replied.reply is None
    assert isinstance(replied.error, ConnectionLossError)
    assert "moved" in replied.error.reason
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, ConnectionLossError)
    assert pair.client.leftover() == ([other], [])
    assert pair.client.committed_sent_at == float("-inf"), "a failed multi proves nothing"


@pytest.mark.parametrize("xid", [7, 2, 0, -1000, PING, AUTH, SET_WATCHES])
def test_a_reply_to_no_request_breaks_the_protocol(xid: int) -> None:
    """Case 36. The xid is unknown, out of order, or that of a ping that was not sent."""
    pair = live_pair()
    tickets = asked(pair, GET, GET)
    error = broken_by(pair.reply(xid, NODE))
    assert isinstance(error, ProtocolError)
    assert str(int(xid)) in str(error)
    assert pair.client.leftover() == (tickets, [])


def test_a_read_only_server_may_refuse_a_write_before_it_answers_earlier_reads() -> None:
    """Case 24. The server answers all other requests in order."""
    pair = live_pair()
    read, write, last = asked(pair, GET, SetDataRequest("/a", b"", 0), GET)
    refused = one(pair.reply(2, err=-119))
    assert refused.ticket is write
    assert isinstance(refused.error, NotReadOnlyError)
    assert one(pair.reply(1, NODE)).ticket is read
    assert one(pair.reply(3, NODE)).ticket is last
    assert isinstance(broken_by(pair.reply(2, err=-119)), ProtocolError)


def test_a_reply_without_a_request_breaks_the_protocol() -> None:
    assert isinstance(broken_by(live_pair().reply(1, NODE)), ProtocolError)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_reply_shorter_than_a_header_breaks_the_protocol(size: int) -> None:
    pair = live_pair()
    pair.client.receive_data(struct.pack("!i", size) + bytes(size), 0.0)
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ProtocolError)
    assert "shorter" in str(error)


def test_bytes_behind_a_reply_are_ignored() -> None:
    """Case 33. A newer server may append fields."""
    pair = live_pair()
    (ticket,) = asked(pair, GET)
    body = struct.pack("!iqi", 1, 5, 0) + NODE.encode() + b"something new"
    pair.client.receive_data(struct.pack("!i", len(body)) + body, 0.0)
    assert events_of(pair.client) == [Replied(ticket, NODE, None, 5)]


def test_a_malformed_reply_fails_its_request_and_breaks_the_connection() -> None:
    """Case 32. If the client repeated the request, the server would repeat the reply, on each connection."""
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    replied, broken = pair.reply(1, SyncReply("/"))
    assert isinstance(replied, Replied)
    assert replied.ticket is first
    assert isinstance(replied.error, ProtocolError)
    assert "GetDataRequest /a" in str(replied.error)
    assert broken == Broken(replied.error)
    assert pair.client.leftover() == ([second], [])


def test_a_reply_larger_than_the_limit_fails_only_its_own_request() -> None:
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    third = pair.ask(GET)
    pair.server.reply(1, 5, 0, Node(bytes(LIMIT), stat_at(1)))
    replied, broken = pair.deliver(chunk_size=1000)
    assert isinstance(replied, Replied)
    assert replied.ticket is first
    assert isinstance(replied.error, PacketTooLargeError)
    assert (replied.error.path, replied.error.limit) == ("/a", LIMIT)
    assert replied.error.size > LIMIT
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, ProtocolError)
    assert pair.client.leftover() == ([second], [third])


@pytest.mark.parametrize("chunk_size", [1000, None])
def test_a_request_may_accept_a_larger_reply_than_its_connection(chunk_size: int | None) -> None:
    pair = live_pair()
    node = Node(bytes(LIMIT), stat_at(1))
    ticket = Ticket(GET)
    ticket.reply_size_max = 2 * LIMIT
    pair.client.send(ticket)
    (other,) = asked(pair, GET)
    pair.server.reply(1, 5, 0, node)
    pair.server.reply(2, 6, 0, NODE)
    assert pair.deliver(chunk_size=chunk_size) == [
        Replied(ticket, node, None, 5),
        Replied(other, NODE, None, 6),
    ]


@pytest.mark.parametrize(("asked_first", "reply_size_max"), [(True, 2 * LIMIT), (False, LIMIT)])
def test_a_larger_reply_than_its_own_request_accepts_is_refused(
    asked_first: bool, reply_size_max: int
) -> None:
    pair = live_pair()
    ticket = Ticket(GET)
    ticket.reply_size_max = reply_size_max
    before = asked(pair, GET) if asked_first else []
    pair.client.send(ticket)
    pair.flush()
    pair.server.reply(1, 5, 0, Node(bytes(LIMIT), stat_at(1)))
    replied, broken = pair.deliver()
    assert isinstance(replied, Replied)
    assert replied.ticket is (before or [ticket])[0]
    assert isinstance(replied.error, PacketTooLargeError)
    assert isinstance(broken, Broken)


def test_a_large_message_that_answers_nothing_fails_no_request() -> None:
    pair = live_pair()
    tickets = asked(pair, GET)
    pair.client.receive_data(struct.pack("!ii", LIMIT + 1, -1), 0.0)
    assert isinstance(one(events_of(pair.client)), Broken)
    assert pair.client.leftover() == (tickets, [])


def test_a_negative_length_breaks_the_protocol() -> None:
    """Case 31."""
    pair = live_pair()
    pair.client.receive_data(b"\xff\xff\xff\xfe", 0.0)
    assert isinstance(broken_by(events_of(pair.client)), ProtocolError)


def test_replies_before_garbage_count_and_those_behind_it_do_not() -> None:
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    pair.server.reply(1, 5, 0, NODE)
    data = pair.server.data_to_send()
    pair.server.reply(2, 6, 0, NODE)
    pair.client.receive_data(data + b"\xff" * 4 + pair.server.data_to_send(), 0.0)
    replied, broken = events_of(pair.client)
    assert replied == Replied(first, NODE, None, 5)
    assert isinstance(broken, Broken)
    pair.client.receive_data(data, 0.0)
    pair.client.receive_eof()
    assert events_of(pair.client) == []
    assert pair.client.leftover() == ([second], [])


def test_a_request_that_was_dropped_is_not_sent() -> None:
    pair = live_pair()
    dropped, kept = pair.ask(GET_AND_WATCH, "me"), pair.ask(GET)
    dropped.is_dropped = True
    assert [each.request for each in pair.flush()] == [GET]
    assert kept.xid == 1
    pair.ask(GET).is_dropped = True
    assert pair.client.data_to_send(1.0) == b""


def test_urgent_requests_leave_first_even_if_the_window_is_full() -> None:
    pair = live_pair()
    pair.client.window.is_limited = True
    for _ in range(1000):
        pair.ask(GET)
    sent = len(pair.flush())
    assert 0 < sent < 1000
    assert not pair.has_unsent()
    urgent = [pair.ask(SyncRequest("/"), urgent=True), pair.ask(SyncRequest("/b"), urgent=True)]
    assert pair.has_unsent()
    assert [each.request for each in pair.flush()] == [ticket.request for ticket in urgent]
    assert pair.client.outstanding == 1002


def test_the_window_opens_with_every_reply() -> None:
    pair = live_pair()
    pair.client.window.is_limited = True
    for _ in range(100):
        pair.ask(GET)
    in_flight = len(pair.flush())
    pair.reply(1, NODE)
    assert pair.has_unsent()
    assert len(pair.flush()) >= 1
    assert pair.client.outstanding == 99
    assert in_flight < 100


def test_no_more_bytes_leave_at_once_than_a_ping_can_wait_for() -> None:
    pair = live_pair()
    for _ in range(6):
        pair.ask(SetDataRequest("/a", b"x" * 50_000, -1))
    assert [len(pair.client.data_to_send(pair.now)) for _ in range(4)] == [100_052] * 3 + [0]


def test_the_window_follows_the_rate_of_the_answers() -> None:
    pair = live_pair()
    tickets = [pair.ask(GET) for _ in range(1000)]
    for size in (16, 32, 64):
        requests = pair.flush()
        assert len(requests) == size
        assert pair.flush() == []
        pair.now += T / 16
        for request in requests:
            pair.reply(request.xid, NODE)
    pair.flush()
    pair.now += T / 8 + 0.001
    pair.reply(tickets[112].xid, NODE)  # the oldest; the window shrinks, and the next are not sent
    assert pair.client.window.size == 64
    assert not pair.has_unsent()


def test_a_window_that_is_never_full_does_not_grow() -> None:
    pair = live_pair()
    for _ in range(100):
        [ticket] = asked(pair, GET)
        pair.reply(ticket.xid, NODE)
    assert pair.client.window.size == 16


def test_time_during_which_the_loop_was_blocked_does_not_shrink_the_window() -> None:
    pair = live_pair()
    [ticket] = asked(pair, GET)
    pair.now = T / 2
    pair.client.was_blocked(0.0, pair.now)
    pair.reply(ticket.xid, NODE)
    assert pair.client.window.size == 16


def test_a_suspect_is_in_flight_alone() -> None:
    pair = live_pair()
    before, suspect, other = pair.ask(SyncRequest("/")), pair.ask(GET), pair.ask(GET)
    pair.client.window.suspect = suspect
    assert [each.xid for each in pair.flush()] == [1]
    assert one(pair.reply(before.xid, SyncReply("/"))).ticket is before
    assert [each.xid for each in pair.flush()] == [2]
    urgent = pair.ask(SyncRequest("/"), urgent=True)
    assert [each.request for each in pair.flush()] == [urgent.request]
    assert not pair.has_unsent()
    assert one(pair.reply(suspect.xid, NODE)).ticket is suspect
    assert [each.xid for each in pair.flush()] == [4]
    assert other.xid == 4


def test_a_suspect_that_is_not_sent_holds_back_no_other() -> None:
    pair = live_pair()
    suspect, *_ = tickets = [pair.ask(GET) for _ in range(3)]
    pair.client.window.suspect = suspect
    suspect.is_dropped = True
    assert len(pair.flush()) == 2
    assert tickets[1].xid == 1


def test_a_request_that_cannot_be_encoded_fails_alone() -> None:
    pair = live_pair()
    bad = pair.ask(SetDataRequest("/a", b"", 2**40))
    bad_watch = pair.ask(ExistsRequest(5, True), "me")  # type: ignore[arg-type]
    good = pair.ask(GET)
    assert [(each.xid, each.request) for each in pair.flush()] == [(1, GET)]
    first, second = events_of(pair.client)
    assert isinstance(first, Replied)
    assert isinstance(second, Replied)
    assert (first.ticket, second.ticket) == (bad, bad_watch)
    assert isinstance(first.error, BadArgumentsError)
    assert first.error.path == "/a"
    assert isinstance(first.error.__cause__, ValueError)
    assert isinstance(second.error, BadArgumentsError)
    assert isinstance(second.error.__cause__, TypeError)
    assert one(pair.reply(1, NODE)).ticket is good


def test_leftover_requests_are_in_order() -> None:
    pair = live_pair()
    in_flight = asked(pair, GET, GET)
    unsent = [pair.ask(GET), pair.ask(GET)]
    dropped = pair.ask(GET)
    dropped.is_dropped = True
    pair.client.lose("cut")
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert error.reason == "cut"
    assert pair.client.leftover() == (in_flight, unsent)
    pair.client.lose("cut again")
    assert events_of(pair.client) == []


def test_a_dead_connection_sends_nothing_and_has_no_deadline() -> None:
    pair = live_pair()
    pair.ask(GET)
    pair.client.authenticate("digest", b"user:pw")
    pair.client.lose("cut")
    assert pair.client.data_to_send(1.0) == b""
    assert not pair.has_unsent()
    assert pair.client.next_deadline() == NEVER
    pair.client.tick(1000.0)
    assert [type(event) for event in events_of(pair.client)] == [Broken]


def test_only_writes_that_succeeded_count_as_committed() -> None:
    pair = live_pair()
    write = SetDataRequest("/a", b"", 0)
    for now, (request, code) in enumerate([(write, 0), (write, -103), (GET, 0)], start=1):
        pair.now = float(now)
        (ticket,) = asked(pair, request)
        pair.reply(ticket.xid, StatReply(stat_at(1)) if request is write else NODE, err=code)
    assert pair.client.committed_sent_at == 1.0
    assert pair.client.answered_sent_at == 3.0


def test_only_replies_raise_the_newest_zxid() -> None:
    """More events of an event's transaction may follow: after a reconnect, the server would not repeat them
    to a client that claims to have seen the transaction.
    """
    pair = live_pair(watches=watching((WatchKind.CHILD, "/a")))
    pair.notify(EventType.CHILDREN_CHANGED, "/a", zxid=90)
    pair.client.tick(T / 3)
    pair.reply(PING, zxid=95)
    assert pair.client.last_zxid == 0
    asked(pair, GET, GET, GET)
    pair.reply(1, NODE, zxid=80)
    assert pair.client.last_zxid == 80
    pair.reply(2, NODE, zxid=-1)
    pair.reply(3, NODE, zxid=70)
    assert pair.client.last_zxid == 80


# --- watches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "reply", "code", "kind"),
    [
        (GET_AND_WATCH, NODE, 0, WatchKind.DATA),
        (ExistsRequest("/a", True), StatReply(stat_at(1)), 0, WatchKind.DATA),
        (ExistsRequest("/a", True), None, -101, WatchKind.EXIST),
        (GetChildrenRequest("/a", True), ChildrenReply([]), 0, WatchKind.CHILD),
        (AddWatchRequest("/a", AddWatchMode.PERSISTENT), ErrorReply(0), 0, WatchKind.PERSISTENT),
        (AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE), ErrorReply(0), 0, WatchKind.RECURSIVE),
    ],
)
def test_a_reply_sets_the_watch_of_its_request(request_: Any, reply: Any, code: int, kind: WatchKind) -> None:
    pair = live_pair()
    pair.ask(request_, "me")
    pair.flush()
    assert len(pair.watches) == 0
    pair.reply(1, reply, err=code)
    assert list(pair.watches) == [(kind, "/a", "me")]


def test_a_one_shot_watch_fires_once_each_time_it_is_set() -> None:
    """Case 40."""
    pair = live_pair()
    pair.ask(GET_AND_WATCH, "me")
    pair.flush()
    pair.reply(1, NODE)
    fired = one(pair.notify(EventType.DATA_CHANGED, "/a", zxid=9))
    assert fired == WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a", 9))
    assert pair.notify(EventType.DATA_CHANGED, "/a", zxid=9) == []


def test_an_event_of_a_server_before_3_9_has_no_zxid() -> None:
    pair = live_pair(watches=watching((WatchKind.DATA, "/a")))
    assert one(pair.notify(EventType.DELETED, "/a")).event.zxid is None


def test_beside_a_recursive_watch_a_change_of_children_follows_the_event_of_the_child() -> None:
    pair = live_pair(watches=watching((WatchKind.RECURSIVE, "/a")))
    pair.watches.add(WatchKind.PERSISTENT, "/a", "you")
    assert pair.notify(EventType.CREATED, "/a/b") == [
        WatchFired(["me"], WatchEvent(EventType.CREATED, "/a/b")),
        WatchFired(["you"], WatchEvent(EventType.CHILDREN_CHANGED, "/a")),
    ]
    assert len(pair.notify(EventType.CREATED, "/a/b", zxid=9)) == 1  # servers from 3.9 report the other
    pair.watches.drop("me")
    pair.tidy("/a")
    (narrowing,) = pair.flush()
    assert narrowing.request == AddWatchRequest("/a", AddWatchMode.PERSISTENT)
    pair.reply(narrowing.xid, ErrorReply(0))
    assert pair.notify(EventType.CREATED, "/a/b") == []


ADD_WATCH = AddWatchRequest("/a", AddWatchMode.PERSISTENT)


def test_a_read_does_not_rely_on_a_persistent_watch_that_was_dropped_before_it_left() -> None:
    pair = live_pair()
    pair.ask(ADD_WATCH, "you").is_dropped = True
    pair.ask(GET_AND_WATCH, "me")
    assert [each.request for each in pair.flush()] == [GET_AND_WATCH]


def test_the_next_connection_decides_again_which_request_sets_the_watch() -> None:
    pair = live_pair()
    adding, reading = pair.ask(ADD_WATCH, "you"), pair.ask(GET_AND_WATCH, "me")
    assert [each.request for each in pair.flush()] == [ADD_WATCH, GET]
    pair.client.lose("cut")
    next_pair = live_pair()
    for ticket in (reading, adding):
        next_pair.client.send(ticket)
    assert [each.request for each in next_pair.flush()] == [GET_AND_WATCH, ADD_WATCH]


def test_a_read_that_relied_on_a_refused_watch_gets_its_own() -> None:
    pair = live_pair()
    pair.ask(ADD_WATCH, "you")
    reading = pair.ask(GET_AND_WATCH, "me")
    pair.flush()
    pair.reply(1, err=-127, zxid=70)
    read = Node(b"", stat_at(60))
    assert one(pair.reply(2, read, zxid=70)) == Replied(reading, read, None, 70)
    (repair,) = pair.flush()
    assert (repair.xid, repair.request) == (3, ExistsRequest("/a", True))
    _, fired = pair.reply(3, StatReply(stat_at(75)), zxid=75)
    assert fired == WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a"))


def test_an_unneeded_removal_is_answered_without_being_sent() -> None:
    pair = live_pair()
    pair.ask(GET_AND_WATCH, "me")
    removal = pair.tidy("/a")
    assert [each.request for each in pair.flush()] == [GET_AND_WATCH]
    assert pair.client.has_events
    assert events_of(pair.client) == [Replied(removal, None, None, 0)]


def test_an_event_before_the_reply_that_sets_its_watch_is_held_until_the_reply() -> None:
    """Case 39."""
    pair = live_pair()
    pair.ask(GET)
    ticket = pair.ask(GET_AND_WATCH, "me")
    pair.flush()
    assert pair.notify(EventType.DATA_CHANGED, "/a", zxid=9) == []
    pair.reply(1, NODE)
    assert pair.reply(2, NODE, zxid=8) == [
        Replied(ticket, NODE, None, 8),
        WatchFired(["me"], WatchEvent(EventType.DATA_CHANGED, "/a", 9)),
    ]
    assert pair.notify(EventType.DATA_CHANGED, "/a", zxid=9) == []


def test_an_event_of_another_watch_of_the_znode_does_not_fire_the_one_being_set() -> None:
    pair = live_pair(watches=watching((WatchKind.DATA, "/a")))
    pair.ask(GET_AND_WATCH, "you")
    pair.flush()
    assert one(pair.notify(EventType.DATA_CHANGED, "/a", zxid=9)).owners == ["me"]
    pair.reply(1, Node(b"new", stat_at(9)))
    assert list(pair.watches) == [(WatchKind.DATA, "/a", "you")]


@pytest.mark.parametrize("event", [EventType.NONE, 5, 6, 7, 99, EventType.RESYNC, -(2**31)])
def test_events_of_other_types_are_dropped(event: int) -> None:
    """Case 35."""
    pair = live_pair(watches=watching((WatchKind.DATA, "/a"), (WatchKind.RECURSIVE, "/")))
    assert pair.notify(event, "" if event == EventType.NONE else "/a") == []
    assert not pair.client.is_dead
    assert len(pair.watches) == 2


@pytest.mark.parametrize("path", ["", "a", "x" * 1000])
def test_an_event_of_an_impossible_path_breaks_the_protocol(path: str) -> None:
    pair = live_pair(watches=watching((WatchKind.RECURSIVE, "/")))
    assert isinstance(broken_by(pair.notify(EventType.CREATED, path)), ProtocolError)


# --- time --------------------------------------------------------------------------------------------------


def test_a_ping_goes_out_a_third_of_the_timeout_after_the_last_send() -> None:
    pair = live_pair()
    assert pair.client.next_deadline() == T / 3
    pair.now = 3.0
    asked(pair, GET)
    pair.reply(1, NODE)
    assert pair.client.next_deadline() == 3.0 + T / 3
    pair.client.tick(T / 3)
    assert not pair.has_unsent()
    pair.now = 3.0 + T / 3
    pair.client.tick(pair.now)
    assert pair.has_unsent()
    assert [(each.xid, each.request) for each in pair.flush()] == [(PING, PingRequest())]
    assert pair.reply(PING) == []
    assert pair.client.answered_sent_at == pair.now
    assert pair.client.next_deadline() == pair.now + T / 3


def test_pings_keep_an_idle_connection_alive() -> None:
    pair = live_pair()
    for _ in range(20):
        pair.now = pair.client.next_deadline()
        pair.client.tick(pair.now)
        assert len(pair.flush()) == 1
        assert pair.reply(PING) == []
    assert pair.now == pytest.approx(20 * T / 3)


def test_a_clogged_stream_gets_only_one_ping() -> None:
    """The ping waits in the client while the network is clogged; no second one may queue behind it."""
    pair = live_pair()
    ticks = 0
    while not pair.client.is_dead:
        ticks += 1
        pair.now = pair.client.next_deadline()
        pair.client.tick(pair.now)
    assert ticks == 2
    assert pair.now == 2 * T / 3


def test_a_connection_that_is_silent_for_two_thirds_of_the_timeout_is_dead() -> None:
    pair = live_pair()
    asked(pair, GET)
    pair.now = 1.0
    assert one(pair.reply(1, NODE))
    for now in (5.0, 8.999):
        pair.client.tick(now)
        pair.client.data_to_send(now)
    assert not pair.client.is_dead
    pair.client.tick(9.0)
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert error.reason == "nothing heard for 8.0 of 12.0 seconds"


@pytest.mark.parametrize("lost", [1, FIRST_SIZE])
def test_a_lost_reply_ends_the_connection_although_pings_are_answered(lost: int) -> None:
    """The reply to a later request would show the loss, but a full window permits no later request."""
    pair = live_pair()
    in_flight = [pair.ask(GetDataRequest("/lost")) for _ in range(lost)]
    pair.flush()
    waiting = [pair.ask(GetDataRequest("/waiting"))] if lost == FIRST_SIZE else []
    events: list[ClientEvent] = []
    while not events:
        assert pair.now < 2 * T
        pair.now = pair.client.next_deadline()
        pair.client.tick(pair.now)
        if pair.has_unsent():
            assert all(request.opcode == OpCode.PING for request in pair.flush())
            events = pair.reply(SpecialXid.PING)
    assert T <= pair.now <= 4 / 3 * T
    assert "did not answer GetDataRequest within" in str(broken_by(events))
    assert pair.client.leftover() == (in_flight, waiting)


def test_any_byte_breaks_the_silence() -> None:
    pair = live_pair()
    pair.client.receive_data(b"\x00", 7.0)
    pair.client.tick(8.0)
    assert not pair.client.is_dead


def test_while_bytes_are_heard_the_session_is_not_given_up() -> None:
    """A reply may take any time, because the server reports the end of a session."""
    pair = live_pair()
    asked(pair, GET)
    pair.server.reply(1, 1, 0, NODE)
    reply = pair.server.data_to_send()
    for byte in reply[:-1]:
        pair.now += T / 3
        pair.client.tick(pair.now)
        assert [each.xid for each in pair.flush()] == [PING]
        pair.client.receive_data(bytes([byte]), pair.now)
        assert events_of(pair.client) == []
    assert pair.now > 10 * T
    pair.client.receive_data(reply[-1:], pair.now)
    assert isinstance(one(events_of(pair.client)), Replied)
    assert pair.client.answered_sent_at == 0.0
    assert pair.client.heard_at == pair.now


def arriving_at(pair: Pair) -> PartialReply | None:
    return pair.client.partial_reply


def test_an_incomplete_reply_is_known_by_its_request() -> None:
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    pair.server.reply(first.xid, 1, 0, NODE)
    pair.server.reply(second.xid, 1, 0, NODE)
    data = pair.server.data_to_send()
    size = len(data) // 2
    assert arriving_at(pair) is None
    pair.client.receive_data(data[:7], 1.0)
    assert arriving_at(pair) is None  # its xid has not arrived
    pair.client.receive_data(data[7:20], 2.0)
    assert arriving_at(pair) == PartialReply(first, size - 4, 16, 2.0)
    pair.client.receive_data(data[20:30], 3.0)
    assert arriving_at(pair) == PartialReply(first, size - 4, 26, 2.0)
    pair.client.receive_data(data[30 : size + 8], 4.0)
    assert arriving_at(pair) == PartialReply(second, size - 4, 4, 4.0)
    pair.client.receive_data(data[size + 8 :], 5.0)
    assert arriving_at(pair) is None


def test_a_frame_that_announces_more_than_the_server_sent_ends_the_connection() -> None:
    """All later bytes are taken for its rest, and as bytes arrive, nothing else would end the wait."""
    pair = live_pair()
    asked(pair, GET)
    pair.client.receive_data((50_000).to_bytes(4) + b"\x00\x00\x00\x01 and no more", pair.now)
    answers = []
    for _ in range(2):
        pair.now = pair.client.next_deadline()
        pair.client.tick(pair.now)
        assert [each.xid for each in pair.flush()] == [PING]
        answers.append(pair.reply(PING))
    assert answers[0] == []
    assert "its length was wrong" in str(broken_by(answers[1]))


def test_an_incomplete_event_is_not_a_partial_reply() -> None:
    pair = live_pair()
    asked(pair, GET)
    pair.server.notify(1, WatchEventMessage(EventType.CREATED, KeeperState.CONNECTED, "/a"))
    pair.client.receive_data(pair.server.data_to_send()[:-1], 1.0)
    assert arriving_at(pair) is None


def test_after_a_block_the_client_pings_and_silence_counts_from_its_end() -> None:
    pair = live_pair()
    pair.now = 0.9 * T
    pair.client.was_blocked(0.1 * T, pair.now)
    pair.client.tick(pair.now)
    assert [each.xid for each in pair.flush()] == [PING]
    pair.now = 0.99 * T
    pair.client.tick(pair.now)
    assert pair.reply(PING) == []
    pair.now = 0.9 * T + 2 * T / 3
    pair.client.tick(pair.now - 0.001)
    assert not pair.client.is_dead


def test_bytes_that_waited_during_a_block_count_as_heard_when_the_loop_last_ran() -> None:
    pair = live_pair()
    pair.now = 0.3 * T
    asked(pair, GET)
    pair.now = 1.2 * T  # a timeout after the last byte, but not after the loop's last turn
    pair.client.was_blocked(0.3 * T, pair.now)
    pair.client.tick(pair.now)
    assert isinstance(one(pair.reply(1, NODE)), Replied)
    assert pair.client.heard_at == 0.3 * T
    assert pair.client.answered_sent_at == 0.3 * T


def test_after_a_block_longer_than_the_session_waiting_bytes_prove_nothing() -> None:
    pair = live_pair()
    asked(pair, GET)
    pair.now = 1.3 * T
    pair.client.was_blocked(0.3 * T, pair.now)
    assert isinstance(broken_by(pair.reply(1, NODE)), ConnectionLossError)


def test_without_waiting_bytes_the_session_is_given_up_soon_after_a_block() -> None:
    pair = live_pair()
    pair.now = 1.2 * T
    pair.client.was_blocked(0.3 * T, pair.now)
    pair.client.tick(pair.now)
    assert not pair.client.is_dead
    pair.now = pair.client.next_deadline()
    assert pair.now == pytest.approx(1.2 * T + T / 16)
    pair.client.tick(pair.now)
    assert isinstance(broken_by(events_of(pair.client)), ConnectionLossError)


def test_after_a_sleep_longer_than_the_session_old_bytes_prove_nothing() -> None:
    """Case 19."""
    pair = live_pair()
    tickets = asked(pair, GET)
    pair.now = T
    error = broken_by(pair.reply(1, NODE))
    assert isinstance(error, ConnectionLossError)
    assert pair.client.answered_sent_at == 0.0
    assert pair.client.leftover() == (tickets, [])


def test_after_a_shorter_sleep_the_connection_continues() -> None:
    pair = live_pair()
    asked(pair, GET)
    pair.now = T - 0.001
    assert isinstance(one(pair.reply(1, NODE)), Replied)


def test_an_answer_to_an_older_request_does_not_lower_the_answered_time() -> None:
    pair = live_pair()
    asked(pair, GET)
    pair.now = T / 3
    pair.client.tick(pair.now)
    pair.flush()
    pair.reply(PING)
    pair.reply(1, NODE)
    assert pair.client.answered_sent_at == T / 3


def test_a_suspended_machine_loses_the_connection_and_ages_its_answers() -> None:
    pair = live_pair()
    pair.client.suspended(5.0)
    error = broken_by(events_of(pair.client))
    assert isinstance(error, ConnectionLossError)
    assert error.reason == "the machine was suspended for 5.0 seconds"
    assert pair.client.answered_sent_at == -5.0


def test_progress_changes_with_each_step_of_the_set_up() -> None:
    pair = set_up_pair()
    seen = [pair.client.progress]
    for xid in (AUTH, AUTH, SET_WATCHES):
        pair.reply(xid)
        seen.append(pair.client.progress)
    assert len(set(seen)) == 4
    assert pair.client.timeout == T


def test_time_does_nothing_before_the_greeting_is_answered() -> None:
    """The caller bounds the time for the answer."""
    pair = Pair()
    pair.greet()
    pair.client.tick(1e9)
    assert not pair.has_unsent()
    assert not pair.client.is_dead


# --- retiring ----------------------------------------------------------------------------------------------


def test_a_retired_connection_sends_no_requests_and_ends_when_all_are_answered() -> None:
    pair = live_pair()
    first, second = asked(pair, GET, GET)
    pair.client.retire("there is a better one")
    later = pair.ask(GET)
    assert not pair.has_unsent()
    pair.server.reply(1, 5, 0, NODE)
    assert [event.ticket for event in pair.deliver() if isinstance(event, Replied)] == [first]
    pair.server.reply(2, 6, 0, NODE)
    events = pair.deliver()
    assert isinstance(events[0], Replied)
    assert events[0].ticket is second
    assert "there is a better one" in str(broken_by(events))
    assert pair.client.leftover() == ([], [later])


def test_a_retired_connection_with_nothing_in_flight_ends_immediately() -> None:
    pair = live_pair()
    pair.client.retire("there is a better one")
    assert pair.client.is_dead


# --- arbitrary bytes ---------------------------------------------------------------------------------------

LIMIT_SMALL = 2000


def side_in(stage: Stage) -> ClientSide:
    """Return a client side in that stage, with many types of requests in flight and all kinds of watches."""
    watches = watching(*((kind, "/a") for kind in WatchKind), (WatchKind.RECURSIVE, "/"))
    greeting = Greeting(T, SESSION_ID, PASSWORD, last_zxid=50, credentials=CREDENTIALS)
    pair = Pair(greeting, watches=watches, packet_size_max=LIMIT_SMALL)
    for request in (GET_AND_WATCH, ExistsRequest("/a", True), AddWatchRequest("/b", 1)):
        pair.ask(request, "you")
    pair.ask(GET)
    pair.greet()
    if stage is Stage.GREETING:
        return pair.client
    pair.accept()
    pair.flush()
    if stage is Stage.LIVE:
        for xid in (AUTH, AUTH, SET_WATCHES):
            pair.reply(xid)
        pair.client.tick(T / 3)
        pair.flush()
    assert pair.stage() is stage
    return pair.client


def messages() -> st.SearchStrategy[bytes]:
    """Generate frames that are almost right: expected headers with any body."""
    xids = st.sampled_from([1, 2, 3, 4, 5, 0, -1, -2, -4, -8, -9, 2**31 - 1])
    headers = st.builds(
        struct.Struct("!iqi").pack,
        xids,
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from([0, 0, -101, -112, 7]),
    )
    events = st.builds(
        struct.Struct("!iii").pack, st.integers(-2, 8), st.just(3), st.sampled_from([-1, 0, 2, 1000, -2])
    )
    bodies = st.one_of(
        st.binary(max_size=120), st.just(NODE.encode()), st.builds(bytes.__add__, events, st.binary())
    )
    return st.builds(
        lambda header, body: struct.pack("!i", len(header + body)) + header + body, headers, bodies
    )


def feed(side: ClientSide, data: bytes, sizes: Iterator[int]) -> list[ClientEvent]:
    """Feed the data in chunks of those sizes, check the invariants after each, and return the events."""
    position, now = 0, 5.0
    events: list[ClientEvent] = []
    while position < len(data):
        chunk = data[position : position + next(sizes)]
        position += len(chunk)
        now += 0.001
        was_dead = side.is_dead
        side.receive_data(chunk, now)
        side.data_to_send(now)
        new = events_of(side)
        assert not (was_dead and new), "nothing follows the end"
        assert not any(isinstance(event, Broken) for event in new[:-1])
        assert side.is_dead == (was_dead or (bool(new) and isinstance(new[-1], Broken)))
        assert side.is_dead or side.unfinished <= LIMIT_SMALL + 4 + len(chunk)
        assert side.is_dead or side.next_deadline() > 0
        events += new
    return events


SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=5)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(
    stage=st.sampled_from([Stage.GREETING, Stage.AUTHENTICATING, Stage.LIVE]),
    data=st.one_of(
        st.binary(max_size=5000),
        st.lists(st.one_of(messages(), st.binary(max_size=20)), max_size=12).map(b"".join),
    ),
    sizes=SIZES,
)
def test_arbitrary_bytes_raise_no_error_and_at_most_one_frame_is_buffered(
    stage: Stage, data: bytes, sizes: list[int]
) -> None:
    feed(side_in(stage), data, cycle(sizes))


def recorded_conversation() -> list[bytes]:
    """Return a server's bytes to `side_in(Stage.GREETING)`: until it is live, and later."""
    pair = Pair(
        Greeting(T, SESSION_ID, PASSWORD, last_zxid=50, credentials=CREDENTIALS),
        watches=watching(*((kind, "/a") for kind in WatchKind), (WatchKind.RECURSIVE, "/")),
    )
    for request in (GET_AND_WATCH, ExistsRequest("/a", True), AddWatchRequest("/b", 1)):
        pair.ask(request, "you")
    pair.ask(GET)
    pair.greet()
    pair.accept()
    pair.flush()
    pair.notify(EventType.DATA_CHANGED, "/a", zxid=60)
    for xid in (AUTH, AUTH, SET_WATCHES):
        pair.reply(xid)
    set_up, pair.to_client = pair.to_client, b""
    pair.flush()
    pair.reply(1, NODE, zxid=61)
    pair.notify(EventType.CREATED, "/b/c", zxid=62)
    pair.reply(2, err=-101, zxid=61)
    pair.reply(3, ErrorReply(0), zxid=61)
    pair.notify(EventType.CHILDREN_CHANGED, "/a", zxid=63)
    pair.reply(4, NODE, zxid=63)
    assert not pair.client.is_dead
    assert pair.client.outstanding == 0
    return [set_up, pair.to_client]


CONVERSATION = recorded_conversation()


@st.composite
def mutations(draw: st.DrawFn) -> list[bytes]:
    """Generate the conversation with bytes flipped, cut out or repeated."""
    parts = [bytearray(part) for part in CONVERSATION]
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(parts))
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.integers(1, 60))
        how = draw(st.sampled_from(["flip", "cut", "repeat", "truncate"]))
        if how == "flip" and start < len(data):
            data[start] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[start:stop]
        elif how == "repeat":
            data[stop:stop] = data[start:stop]
        else:
            del data[start:]
    return [bytes(part) for part in parts]


@FUZZ
@given(parts=mutations(), sizes=SIZES)
def test_a_modified_conversation_raises_no_error(parts: list[bytes], sizes: list[int]) -> None:
    side = side_in(Stage.GREETING)
    for part in parts:
        feed(side, part, cycle(sizes))


@FUZZ
@given(sizes=SIZES)
def test_a_conversation_yields_the_same_events_however_it_is_split(sizes: list[int]) -> None:
    side = side_in(Stage.GREETING)
    kinds = [type(event) for part in CONVERSATION for event in feed(side, part, cycle(sizes))]
    set_up = [Connected, WatchFired]
    # The recursive watch gets the event of /b/c; the watch being set gets it after its reply.
    live = [Replied, WatchFired, Replied, Replied, WatchFired, WatchFired, Replied]
    assert kinds == set_up + live
