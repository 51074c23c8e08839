"""The watches of one server: requested, confirmed, needed; and events that overtake replies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.protocol.pair import stat_at
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ChildrenReply,
    ErrorReply,
    ExistsRequest,
    GetChildren2Reply,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    RemoveWatchesRequest,
    Request,
    SetWatches2Request,
    SetWatchesRequest,
    StatReply,
)
from zkrecipes.codec.records import Node
from zkrecipes.enums import AddWatchMode, EventType, WatcherType
from zkrecipes.errors import NoNodeError, NoWatcherError, ThrottledError
from zkrecipes.protocol.events import Ticket, WatchEvent, WatchFired
from zkrecipes.protocol.watch_registration import UPKEEP, WatchRegistrations
from zkrecipes.protocol.watch_table import WatchKind, WatchTable
from zkrecipes.protocol.watches_in_flight import EARLY_EVENTS_MAX

CREATED, DELETED = EventType.CREATED, EventType.DELETED
CHANGED, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
NO_NODE, THROTTLED = NoNodeError.code, ThrottledError.code
PERSISTENT = AddWatchRequest("/a", AddWatchMode.PERSISTENT)
RECURSIVE = AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE)
REMOVAL = RemoveWatchesRequest("/a", WatcherType.ANY)
GET = GetDataRequest("/a", True)
OF_DATA = (GetDataRequest, ExistsRequest)
OF_CHILDREN = (GetChildrenRequest, GetChildren2Request)
BOTH = SetWatches2Request(0, [], [], [], ["/a"], ["/a"])


class Fixture:
    """The registrations of one server with the client's table, and perhaps a request in flight."""

    def __init__(self, request: Request[Any] | None = None) -> None:
        self.watches: WatchTable[str] = WatchTable()
        self.server = WatchRegistrations(self.watches)
        if request is not None:
            self.ticket = self.send(request, "me")

    def send(self, request: Request[Any], owner: object) -> Ticket:
        """Send a request that is needed."""
        ticket = Ticket(request, owner)
        assert self.server.decide(ticket)
        self.server.sent(ticket)
        return ticket

    def done(self, request: Request[Any], owner: object = "me", code: int = 0) -> Ticket:
        """Send a request, and answer it."""
        ticket = self.send(request, owner)
        self.server.replied(ticket, code, None, 0)
        return ticket

    def sets_watch(self, request: Request[Any]) -> bool:
        """Whether this read would set a watch, if it were encoded now."""
        ticket = Ticket(request, "reader")
        assert self.server.decide(ticket)
        return bool(getattr(ticket.request, "watch"))  # noqa: B009 - each of them has it

    def tidied(self, path: str = "/a") -> Request[Any] | None:
        """Return the request that an upkeep of the path would send, if it were encoded now."""
        ticket = Ticket(RemoveWatchesRequest(path, WatcherType.ANY), UPKEEP)
        return ticket.request if self.server.decide(ticket) else None

    def leave(self, owner: str) -> None:
        for _, path in self.watches.drop(owner):
            self.server.left(path)

    def hold(self, event_type: EventType, path: str = "/a", zxid: int | None = None) -> WatchEvent:
        event = WatchEvent(event_type, path, zxid)
        self.server.hold(event)
        return event

    def fire(self, event_type: EventType, path: str = "/a") -> None:
        """Deliver an event."""
        event = self.hold(event_type, path)
        self.watches.fire(event_type, path)
        self.server.fired(event)

    def replied(self, reply: Record | None = None, code: int = 0) -> list[WatchFired]:
        return self.server.replied(self.ticket, code, reply, 0)

    def implied_event(self, event: WatchEvent) -> WatchEvent | None:
        return self.server.implied_event(event)


@pytest.mark.parametrize(
    ("request_", "code", "kind"),
    [
        (ExistsRequest("/a", True), 0, WatchKind.DATA),
        (ExistsRequest("/a", True), NO_NODE, WatchKind.EXIST),
        (ExistsRequest("/a", True), -102, None),
        (GetDataRequest("/a", True), 0, WatchKind.DATA),
        (GetDataRequest("/a", True), NO_NODE, None),
        (GetChildrenRequest("/a", True), 0, WatchKind.CHILD),
        (GetChildren2Request("/a", True), 0, WatchKind.CHILD),
        (GetChildren2Request("/a", True), NO_NODE, None),
        (PERSISTENT, 0, WatchKind.PERSISTENT),
        (RECURSIVE, 0, WatchKind.RECURSIVE),
        (RECURSIVE, -6, None),
    ],
)
def test_a_reply_enters_the_watch_of_its_request_into_the_table(
    request_: Request[Any], code: int, kind: WatchKind | None
) -> None:
    fixture = Fixture(request_)
    assert fixture.replied(code=code) == []
    assert list(fixture.watches) == ([] if kind is None else [(kind, "/a", "me")])


def test_an_event_that_overtakes_the_reply_fires_the_watch_at_the_reply() -> None:
    """Otherwise its owner would wait forever."""
    fixture = Fixture(GetDataRequest("/a", True))
    event = fixture.hold(CHANGED, zxid=9)
    assert fixture.replied(Node(b"", stat_at(8))) == [WatchFired(["me"], event)]
    assert len(fixture.watches) == 0


def test_an_event_that_the_reader_has_seen_was_meant_for_an_earlier_watch() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(CHANGED, zxid=9)
    assert fixture.replied(Node(b"", stat_at(9))) == []
    assert list(fixture.watches) == [(WatchKind.DATA, "/a", "me")]


@pytest.mark.parametrize(
    ("request_", "reply", "event_type", "is_unseen"),
    [
        (ExistsRequest("/a", True), StatReply, DELETED, {8: True, 9: False, 10: False}),
        (GetChildren2Request("/a", True), None, CHILDREN, {8: True, 9: False, 10: False}),
        (GetChildren2Request("/a", True), None, DELETED, {8: True, 10: False}),
    ],
)
def test_the_stat_that_was_read_decides_which_events_are_unseen(
    request_: Request[Any], reply: type[StatReply] | None, event_type: EventType, is_unseen: dict[int, bool]
) -> None:
    for read_at, expected in is_unseen.items():
        fixture = Fixture(request_)
        fixture.hold(event_type, zxid=9)
        stat = stat_at(read_at)
        fired = fixture.replied(GetChildren2Reply([], stat) if reply is None else reply(stat))
        assert bool(fired) == expected


def test_a_server_that_names_no_zxid_makes_the_watch_fire_once_too_often() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    event = fixture.hold(CHANGED)
    assert fixture.replied(Node(b"", stat_at(50))) == [WatchFired(["me"], event)]


def test_a_reply_without_a_stat_makes_the_watch_fire_once_too_often() -> None:
    fixture = Fixture(GetChildrenRequest("/a", True))
    event = fixture.hold(CHILDREN, zxid=9)
    assert fixture.replied(ChildrenReply([])) == [WatchFired(["me"], event)]


def test_after_reading_a_missing_znode_only_its_creation_is_unseen() -> None:
    fixture = Fixture(ExistsRequest("/a", True))
    fixture.hold(DELETED, zxid=8)
    created = fixture.hold(CREATED, zxid=9)
    assert fixture.replied(code=NO_NODE) == [WatchFired(["me"], created)]
    fixture = Fixture(ExistsRequest("/a", True))
    fixture.hold(DELETED, zxid=8)
    assert fixture.replied(code=NO_NODE) == []
    assert list(fixture.watches) == [(WatchKind.EXIST, "/a", "me")]


def test_an_event_of_another_znode_or_kind_fires_nothing() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(CHANGED, "/b")
    fixture.hold(CHANGED, "/a/b")
    fixture.hold(CHILDREN, "/a")
    assert fixture.replied(Node(b"", stat_at(1))) == []


def test_an_event_that_came_before_the_request_was_sent_belongs_to_an_earlier_watch() -> None:
    fixture = Fixture()
    fixture.hold(CHANGED)
    ticket = fixture.send(GetDataRequest("/a", True), "me")
    assert fixture.server.replied(ticket, 0, Node(b"", stat_at(1)), 0) == []


@pytest.mark.parametrize(
    ("request_", "code", "event_type"),
    [
        (PERSISTENT, 0, CHANGED),
        (RECURSIVE, 0, CHANGED),
        (GetChildrenRequest("/a", True), 0, CHILDREN),
        (ExistsRequest("/a", True), NO_NODE, CREATED),
    ],
)
def test_without_a_stat_the_zxid_in_the_header_decides_which_events_are_unseen(
    request_: Request[Any], code: int, event_type: EventType
) -> None:
    """An event of an earlier watch was still in flight when the server executed the request."""
    for zxid, is_unseen in ((8, False), (9, False), (10, True)):
        fixture = Fixture(request_)
        fixture.hold(event_type, zxid=zxid)
        assert bool(fixture.server.replied(fixture.ticket, code, None, 9)) == is_unseen


def test_a_request_that_sets_no_watch_has_no_events() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(DELETED)
    assert fixture.replied(code=NO_NODE) == []


def test_a_one_shot_watch_fires_once_with_the_first_unseen() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(CHANGED, zxid=4)
    first = fixture.hold(CHANGED, zxid=9)
    fixture.hold(DELETED, zxid=10)
    assert fixture.replied(Node(b"", stat_at(5))) == [WatchFired(["me"], first)]
    assert len(fixture.watches) == 0


def test_each_request_in_flight_has_its_own_events() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    early = fixture.hold(CHANGED)
    second = fixture.send(GetChildrenRequest("/a", True), "you")
    both = fixture.hold(DELETED)
    assert fixture.replied(None) == [WatchFired(["me"], early)]
    assert fixture.server.replied(second, 0, None, 0) == [WatchFired(["you"], both)]


def test_a_persistent_watch_gets_every_event_and_stays() -> None:
    fixture = Fixture(PERSISTENT)
    events = [fixture.hold(CHANGED), fixture.hold(CHILDREN), fixture.hold(DELETED)]
    fixture.hold(CHANGED, "/a/b")
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], event) for event in events]
    assert list(fixture.watches) == [(WatchKind.PERSISTENT, "/a", "me")]


@pytest.mark.parametrize(("path", "below", "beside"), [("/a", "/a/b/c", "/ab"), ("/", "/a", None)])
def test_a_recursive_watch_gets_the_events_below_but_no_change_of_children(
    path: str, below: str, beside: str | None
) -> None:
    fixture = Fixture(AddWatchRequest(path, AddWatchMode.PERSISTENT_RECURSIVE))
    events = [fixture.hold(CREATED, below), fixture.hold(CHANGED, path)]
    fixture.hold(CHILDREN, below)
    if beside is not None:
        fixture.hold(CREATED, beside)
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], event) for event in events]
    assert list(fixture.watches) == [(WatchKind.RECURSIVE, path, "me")]


def test_of_two_requests_in_flight_only_the_recursive_one_gets_the_events_below() -> None:
    fixture = Fixture(RECURSIVE)
    persistent = fixture.send(PERSISTENT, "you")
    event = fixture.hold(CREATED, "/a/b")
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], event)]
    assert fixture.server.replied(persistent, 0, ErrorReply(0), 0) == []


def test_too_many_early_events_of_a_persistent_watch_become_a_resync() -> None:
    fixture = Fixture(RECURSIVE)
    for number in range(EARLY_EVENTS_MAX * 2):
        fixture.hold(CREATED, f"/a/{number}")
    resync = WatchEvent(EventType.RESYNC, "/a")
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], resync)]
    assert list(fixture.watches) == [(WatchKind.RECURSIVE, "/a", "me")]


def test_too_many_early_events_of_a_one_shot_watch_leave_the_newest() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    for zxid in range(1, EARLY_EVENTS_MAX * 2):
        fixture.hold(CHANGED, zxid=zxid)
    unseen = fixture.hold(CHANGED, zxid=1000)
    assert fixture.replied(Node(b"", stat_at(999))) == [WatchFired(["me"], unseen)]


# --- a server in recursive mode, which reports no change of children ----------------------------------------

CHILD_CREATED = WatchEvent(CREATED, "/a/b")
IMPLIED = WatchEvent(CHILDREN, "/a")


@pytest.mark.parametrize(
    ("event", "implied_event"),
    [
        (CHILD_CREATED, IMPLIED),
        (WatchEvent(DELETED, "/a/b"), IMPLIED),
        (WatchEvent(CREATED, "/a/b", 7), None),  # servers from 3.9 report it
        (WatchEvent(CHANGED, "/a/b"), None),
        (WatchEvent(CREATED, "/a/b/c"), None),
        (WatchEvent(CREATED, "/a"), None),
    ],
)
def test_the_event_of_a_child_implies_a_change_of_children(
    event: WatchEvent, implied_event: WatchEvent | None
) -> None:
    assert Fixture(RECURSIVE).implied_event(event) == implied_event


def test_the_root_has_no_parent() -> None:
    fixture = Fixture(AddWatchRequest("/", AddWatchMode.PERSISTENT_RECURSIVE))
    assert fixture.implied_event(WatchEvent(CREATED, "/a")) == WatchEvent(CHILDREN, "/")
    assert fixture.implied_event(WatchEvent(DELETED, "/")) is None


def test_a_server_is_in_recursive_mode_from_the_request_to_the_removal() -> None:
    fixture = Fixture(RECURSIVE)
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED
    fixture.replied(ErrorReply(0))
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED
    fixture.leave("me")
    fixture.done(REMOVAL, UPKEEP)
    assert fixture.implied_event(CHILD_CREATED) is None


def test_a_server_that_refuses_recursive_mode_is_not_in_it() -> None:
    """Otherwise a change of children that the server reports would be reported twice."""
    fixture = Fixture()
    fixture.done(PERSISTENT)
    fixture.done(RECURSIVE, "you", code=THROTTLED)
    assert fixture.implied_event(CHILD_CREATED) is None


def test_a_server_is_in_recursive_mode_after_recursive_watches_are_restored() -> None:
    fixture = Fixture()
    fixture.watches.add(WatchKind.RECURSIVE, "/a", "me")
    fixture.server.restored(SetWatches2Request(7, [], [], [], [], ["/a"]))
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED


def test_a_persistent_watch_that_is_set_alone_ends_the_recursive_mode_when_it_is_answered() -> None:
    fixture = Fixture(RECURSIVE)
    fixture.replied(ErrorReply(0))
    fixture.leave("me")
    persistent = fixture.send(PERSISTENT, "you")
    assert persistent.request == PERSISTENT
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED
    fixture.server.replied(persistent, 0, ErrorReply(0), 0)
    assert fixture.implied_event(CHILD_CREATED) is None


def test_the_last_request_that_was_sent_decides_on_the_mode() -> None:
    fixture = Fixture(PERSISTENT)
    recursive = fixture.send(RECURSIVE, "you")
    fixture.replied(ErrorReply(0))
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED
    fixture.server.replied(recursive, 0, ErrorReply(0), 0)
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED


def test_a_persistent_watch_set_with_a_recursive_one_keeps_the_mode_and_gets_no_events_below() -> None:
    fixture = Fixture()
    fixture.done(RECURSIVE)
    both = fixture.send(PERSISTENT, "you")
    assert both.request == BOTH
    fixture.hold(CREATED, "/a/b")
    children = fixture.hold(CHILDREN)
    assert fixture.server.replied(both, 0, None, 0) == [WatchFired(["you"], children)]
    assert fixture.implied_event(CHILD_CREATED) == IMPLIED


# --- what is decided when a frame is encoded ----------------------------------------------------------------


@pytest.mark.parametrize("read", [*OF_DATA, *OF_CHILDREN])
def test_a_read_sets_a_watch_if_the_server_has_none(read: type[GetDataRequest]) -> None:
    fixture = Fixture()
    assert fixture.sets_watch(read("/a", True))
    assert fixture.sets_watch(read("/a", False)), "the read may be repeated on another connection"


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("request_", [PERSISTENT, RECURSIVE])
def test_a_read_sets_no_watch_if_a_persistent_one_reports_the_same_events(
    request_: Request[Any], is_answered: bool
) -> None:
    fixture = Fixture(request_)
    if is_answered:
        fixture.replied(ErrorReply(0))
    assert not any(fixture.sets_watch(read("/a", True)) for read in OF_DATA)
    for read in OF_CHILDREN:
        assert fixture.sets_watch(read("/a", True)) == (request_ is RECURSIVE)
    assert all(fixture.sets_watch(read("/other", True)) for read in (*OF_DATA, *OF_CHILDREN))


def test_a_read_relies_on_no_persistent_watch_whose_request_was_not_sent() -> None:
    """The request may still be dropped, or reach this server after the read."""
    fixture = Fixture()
    adding = Ticket(PERSISTENT, "you")
    assert fixture.sets_watch(GET)
    assert fixture.server.decide(adding)
    assert fixture.sets_watch(GET)
    fixture.server.sent(adding)
    assert not fixture.sets_watch(GET)


def test_a_read_relies_on_no_persistent_watch_of_another_connection() -> None:
    """The table contains it, but a server before 3.6 cannot restore it."""
    fixture = Fixture()
    fixture.watches.add(WatchKind.PERSISTENT, "/a", "you")
    assert fixture.sets_watch(GET)
    fixture.server.restored(SetWatchesRequest(7, ["/a"], [], []))
    assert fixture.sets_watch(GET)
    fixture.server.restored(SetWatches2Request(7, ["/a"], [], [], ["/a"], []))
    assert not fixture.sets_watch(GET)


READS_THAT_RELIED = [
    (GET, Node(b"", stat_at(5)), 0, ExistsRequest("/a", True), StatReply),
    (ExistsRequest("/a", True), StatReply(stat_at(5)), 0, ExistsRequest("/a", True), StatReply),
    (
        GetChildren2Request("/a", True),
        GetChildren2Reply([], stat_at(5)),
        0,
        GetChildren2Request("/a", True),
        lambda stat: GetChildren2Reply([], stat),
    ),
    (
        GetChildrenRequest("/a", True),
        ChildrenReply([]),
        0,
        GetChildren2Request("/a", True),
        lambda stat: GetChildren2Reply([], stat),
    ),
    (ExistsRequest("/a", True), None, NO_NODE, ExistsRequest("/a", True), lambda _: None),
]
that_relied = pytest.mark.parametrize(("read", "reply", "code", "repair", "reread"), READS_THAT_RELIED)


def _reader_that_relied(read: Request[Any], reply: Record | None, code: int) -> tuple[Fixture, Ticket]:
    """Return a fixture after a read that relied on a refused watch, and the repair, which is in flight."""
    fixture = Fixture(PERSISTENT)
    reading = fixture.send(read, "reader")
    assert not getattr(reading.request, "watch")  # noqa: B009
    fixture.replied(code=THROTTLED)
    assert fixture.server.replied(reading, code, reply, 5) == []
    (ticket,) = fixture.server.repairs
    fixture.server.repairs.clear()
    assert fixture.server.decide(ticket)
    assert fixture.sets_watch(read), "no other read may rely on it"
    fixture.server.sent(ticket)
    return fixture, ticket


@that_relied
def test_a_read_that_relied_on_a_refused_watch_gets_its_own(
    read: Request[Any], reply: Record | None, code: int, repair: Request[Any], reread: Any
) -> None:
    fixture, ticket = _reader_that_relied(read, reply, code)
    assert (ticket.request, ticket.watcher) == (repair, UPKEEP)
    assert fixture.server.replied(ticket, code, reread(stat_at(5)), 5) == []
    assert (len(fixture.watches), fixture.tidied()) == (1, None)
    fixture.leave("reader")
    assert fixture.tidied() == REMOVAL


@pytest.mark.parametrize("is_gone", [True, False])
@that_relied
def test_a_repair_fires_the_watch_if_the_znode_has_changed(
    read: Request[Any], reply: Record | None, code: int, repair: Request[Any], reread: Any, is_gone: bool
) -> None:
    fixture, ticket = _reader_that_relied(read, reply, code)
    fixture.watches.add(WatchKind.RECURSIVE, "/", "another")
    if code == NO_NODE:
        expected, code, reread = CREATED, 0, StatReply
    elif is_gone:
        expected, code = DELETED, NO_NODE
    else:
        expected = CHANGED if isinstance(repair, ExistsRequest) else CHILDREN
    fired = fixture.server.replied(ticket, code, reread(stat_at(6)), 6)
    assert fired == [WatchFired(["reader"], WatchEvent(expected, "/a"))]
    assert len(fixture.watches) == 1
    assert fixture.tidied() == REMOVAL, "the repair has set a watch"


def test_an_event_that_overtakes_the_reply_to_a_repair_fires_the_watch_and_only_once() -> None:
    fixture, ticket = _reader_that_relied(GET, Node(b"", stat_at(5)), 0)
    fixture.fire(CHANGED)
    assert len(fixture.watches) == 0
    assert fixture.server.replied(ticket, 0, StatReply(stat_at(6)), 6) == []


def test_a_read_that_relied_on_two_watches_needs_one_of_them() -> None:
    fixture = Fixture(PERSISTENT)
    other = fixture.send(PERSISTENT, "you")
    reading = fixture.send(GET, "reader")
    fixture.replied(code=THROTTLED)
    fixture.server.replied(other, 0, ErrorReply(0), 0)
    fixture.server.replied(reading, 0, Node(b"", stat_at(5)), 0)
    assert fixture.server.repairs == []


def test_a_refused_repair_is_sent_again_and_one_without_a_watcher_is_not_sent() -> None:
    fixture, repair = _reader_that_relied(GET, Node(b"", stat_at(5)), 0)
    fixture.server.replied(repair, THROTTLED, None, 0)
    (again,) = fixture.server.repairs
    assert again.request == repair.request
    fixture.leave("reader")
    assert not fixture.server.decide(again)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_persistent_watch_beside_a_recursive_one_is_set_with_a_recursive_one(is_answered: bool) -> None:
    fixture = Fixture(RECURSIVE)
    if is_answered:
        fixture.replied(ErrorReply(0))
    for request, expected in ((PERSISTENT, BOTH), (BOTH, BOTH), (RECURSIVE, RECURSIVE)):
        ticket = Ticket(request, "you")
        assert fixture.server.decide(ticket)
        assert ticket.request == expected
    below = Ticket(AddWatchRequest("/a/below", AddWatchMode.PERSISTENT), "you")
    assert fixture.server.decide(below)
    assert isinstance(below.request, AddWatchRequest)


def test_a_persistent_watch_that_is_sent_again_is_decided_again() -> None:
    fixture = Fixture()
    ticket = Ticket(BOTH, "me")  # its form on an earlier connection
    assert fixture.server.decide(ticket)
    assert ticket.request == PERSISTENT


# --- what is removed --------------------------------------------------------------------------------------


def test_a_watch_that_no_watcher_needs_is_removed_once() -> None:
    fixture = Fixture()
    fixture.done(PERSISTENT)
    assert (fixture.server.unneeded, fixture.tidied()) == ({}, None)
    fixture.leave("me")
    assert fixture.server.take_unneeded(10) == ["/a"]
    fixture.done(REMOVAL, UPKEEP)
    assert (fixture.server.unneeded, fixture.tidied()) == ({}, None)
    assert fixture.sets_watch(GET)


def test_a_removal_is_dropped_if_the_path_is_needed_again_when_it_is_encoded() -> None:
    fixture = Fixture()
    fixture.done(GET)
    fixture.leave("me")
    assert fixture.server.take_unneeded(10) == ["/a"]
    reading = fixture.send(GET, "you")
    assert fixture.tidied() is None
    fixture.server.replied(reading, 0, Node(b"", stat_at(5)), 0)
    assert fixture.tidied() is None
    fixture.leave("you")
    assert fixture.tidied() == REMOVAL


def test_a_watch_that_a_failed_read_still_needed_is_removed_later() -> None:
    fixture = Fixture()
    fixture.done(PERSISTENT)
    reading = fixture.send(GET, "you")
    fixture.leave("me")
    assert fixture.server.unneeded == {}
    fixture.server.replied(reading, NO_NODE, None, 0)
    assert fixture.server.take_unneeded(10) == ["/a"]


def test_a_persistent_watch_needed_only_by_a_one_shot_one_is_removed_when_that_fires() -> None:
    fixture = Fixture()
    fixture.done(PERSISTENT)
    fixture.done(GET, "you")
    fixture.leave("me")
    assert fixture.server.unneeded == {}
    fixture.fire(CHANGED)
    assert fixture.server.take_unneeded(10) == ["/a"]
    assert fixture.tidied() == REMOVAL


@pytest.mark.parametrize(
    ("read", "event_type", "is_gone"),
    [
        (GET, CHANGED, True),
        (GET, DELETED, True),
        (GET, CHILDREN, False),
        (GetChildrenRequest("/a", True), CHILDREN, True),
        (GetChildrenRequest("/a", True), CHANGED, False),
    ],
)
def test_a_one_shot_watch_that_has_fired_needs_no_removal(
    read: Request[Any], event_type: EventType, is_gone: bool
) -> None:
    fixture = Fixture()
    fixture.done(read)
    fixture.fire(event_type)
    fixture.leave("me")
    assert (fixture.tidied() is None) == is_gone


def test_a_watch_that_may_have_been_fired_by_an_earlier_event_is_removed() -> None:
    """Without a zxid it is unknown whether the event was meant for it: it fires, and may still exist."""
    fixture = Fixture(GET)
    fixture.hold(CHANGED)
    assert fixture.replied(Node(b"", stat_at(5)))
    assert fixture.server.take_unneeded(10) == ["/a"]
    fixture = Fixture(GET)
    fixture.hold(CHANGED, zxid=6)
    assert fixture.replied(Node(b"", stat_at(5)))
    assert fixture.server.unneeded == {}


@pytest.mark.parametrize(
    ("code", "is_repeated"), [(THROTTLED, True), (NoWatcherError.code, False), (-6, False)]
)
def test_a_removal_that_the_server_has_not_executed_is_sent_again(code: int, is_repeated: bool) -> None:
    fixture = Fixture()
    fixture.done(GET)
    fixture.leave("me")
    fixture.server.take_unneeded(10)
    fixture.done(REMOVAL, UPKEEP, code=code)
    assert bool(fixture.server.unneeded) == is_repeated
    assert (fixture.tidied() == REMOVAL) == is_repeated
    assert fixture.sets_watch(GET), "no read may rely on the remaining watch"


def test_a_restored_watch_is_removed_if_its_block_was_left() -> None:
    fixture = Fixture()
    fixture.server.restored(SetWatches2Request(7, ["/d"], ["/e"], ["/c"], ["/p"], ["/r"]))
    for path in ("/d", "/e", "/c", "/p", "/r", "/other"):
        fixture.server.left(path)
    assert sorted(fixture.server.take_unneeded(10)) == ["/c", "/d", "/e", "/p", "/r"]


def test_a_server_in_recursive_mode_that_no_watcher_needs_is_taken_out_of_it() -> None:
    fixture = Fixture()
    fixture.done(PERSISTENT)
    fixture.done(RECURSIVE, "you")
    assert fixture.tidied() is None
    fixture.leave("you")
    assert fixture.server.take_unneeded(10) == ["/a"]
    assert fixture.tidied() == PERSISTENT
    again = fixture.send(RECURSIVE, "third")
    assert fixture.tidied() is None
    fixture.server.replied(again, THROTTLED, None, 0)
    assert fixture.server.take_unneeded(10) == ["/a"]
    fixture.done(REMOVAL, UPKEEP)
    assert fixture.implied_event(CHILD_CREATED) is None
    assert (fixture.server.unneeded, fixture.tidied()) == ({}, None)


def test_unneeded_paths_are_taken_in_slices_each_once() -> None:
    fixture = Fixture()
    paths = [f"/{number}" for number in range(25)]
    fixture.server.restored(SetWatchesRequest(7, paths, [], []))
    for path in [*paths, *paths]:
        fixture.server.left(path)
    slices = [fixture.server.take_unneeded(10) for _ in range(4)]
    assert [len(each) for each in slices] == [10, 10, 5, 0]
    assert sorted(path for each in slices for path in each) == sorted(paths)


# --- cost ---------------------------------------------------------------------------------------------------


def _lines_run(act: Callable[[], None]) -> int:
    """Count the lines of Python that an act runs, which the machine's load does not change."""
    count = 0

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def _many_at_once(request: Callable[[str], Request[Any]], count: int, *, one_path: bool) -> None:
    fixture = Fixture()
    paths = [f"/{0 if one_path else number}" for number in range(count)]
    tickets = [fixture.send(request(path), number) for number, path in enumerate(paths)]
    for ticket in tickets:
        fixture.server.replied(ticket, 0, None, 0)
    for number in range(count):
        fixture.leave(number)  # type: ignore[arg-type] # any owner will do
    for path in fixture.server.take_unneeded(count):
        fixture.done(RemoveWatchesRequest(path, WatcherType.ANY), UPKEEP)


def _two_of_each(count: int) -> None:
    """Set two watches on each path, and leave the first."""
    fixture = Fixture()
    for owner in ("first", "second"):
        for number in range(count):
            fixture.done(GetDataRequest(f"/{number}", True), f"{owner} {number}")
    for number in range(count):
        fixture.leave(f"first {number}")
    assert fixture.server.unneeded == {}


@pytest.mark.parametrize(
    "act",
    [
        lambda count: _many_at_once(lambda path: AddWatchRequest(path, 0), count, one_path=False),
        lambda count: _many_at_once(lambda path: AddWatchRequest(path, 1), count, one_path=False),
        lambda count: _many_at_once(lambda path: GetDataRequest(path, True), count, one_path=False),
        lambda count: _many_at_once(lambda path: AddWatchRequest(path, 0), count, one_path=True),
        lambda count: _many_at_once(lambda path: AddWatchRequest(path, 1), count, one_path=True),
        lambda count: _many_at_once(lambda path: GetDataRequest(path, True), count, one_path=True),
        _two_of_each,
    ],
    ids=[
        "persistent",
        "recursive",
        "data",
        "persistent, one path",
        "recursive, one path",
        "data, one path",
        "two",
    ],
)
def test_the_cost_of_many_watches_at_once_is_linear(act: Callable[[int], None]) -> None:
    lines = [_lines_run(lambda count=count: act(count)) for count in (200, 400)]  # type: ignore[misc]
    assert lines[1] < 2.1 * lines[0]
