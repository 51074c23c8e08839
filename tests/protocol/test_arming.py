"""Watches that are being set, and events that overtake the replies of the requests that set them."""

from __future__ import annotations

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
    Request,
    SetWatches2Request,
    StatReply,
)
from zkrecipes.codec.records import Node
from zkrecipes.enums import AddWatchMode, EventType
from zkrecipes.errors import NoNodeError
from zkrecipes.protocol.arming import EARLY_EVENTS_MAX, Arming
from zkrecipes.protocol.events import Ticket, WatchEvent, WatchFired
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

CREATED, DELETED = EventType.CREATED, EventType.DELETED
CHANGED, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
NO_NODE = NoNodeError.code
PERSISTENT = AddWatchRequest("/a", AddWatchMode.PERSISTENT)
RECURSIVE = AddWatchRequest("/a", AddWatchMode.PERSISTENT_RECURSIVE)
BOTH = SetWatches2Request(0, [], [], [], ["/a"], ["/a"])


class Fixture:
    """One `Arming` with its table, and a request in flight."""

    def __init__(self, request: Request[Any]) -> None:
        self.watches: WatchTable[str] = WatchTable()
        self.arming = Arming(self.watches)
        self.ticket = self.send(request, "me")

    def send(self, request: Request[Any], owner: str) -> Ticket:
        ticket = Ticket(request, owner)
        self.arming.queued(ticket)
        self.arming.sent(ticket)
        return ticket

    def hold(self, event_type: EventType, path: str = "/a", zxid: int | None = None) -> WatchEvent:
        event = WatchEvent(event_type, path, zxid)
        self.arming.hold(event)
        return event

    def replied(self, reply: Record | None = None, code: int = 0) -> list[WatchFired]:
        return self.arming.replied(self.ticket, code, reply)


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
        (BOTH, 0, WatchKind.PERSISTENT),
        (RECURSIVE, -6, None),
    ],
)
def test_a_reply_puts_into_the_table_what_its_request_has_set(
    request_: Request[Any], code: int, kind: WatchKind | None
) -> None:
    fixture = Fixture(request_)
    assert fixture.replied(code=code) == []
    assert list(fixture.watches) == ([] if kind is None else [(kind, "/a", "me")])


def test_a_request_is_arming_from_the_queue_to_its_reply() -> None:
    arming = Arming(WatchTable())
    ticket = Ticket(GetDataRequest("/a", True), "me")
    assert not arming.is_arming("/a")
    arming.queued(ticket)
    assert arming.is_arming("/a")
    assert not arming.is_arming("/b")
    arming.sent(ticket)
    assert arming.is_arming("/a")
    arming.replied(ticket, 0, None)
    assert not arming.is_arming("/a")


def test_a_request_that_was_given_up_is_arming_only_if_it_was_sent() -> None:
    """Else the watch of another on the same znode would never be removed from the server."""
    arming = Arming(WatchTable())
    sent, unsent = Ticket(GetDataRequest("/a", True), "me"), Ticket(GetDataRequest("/b", True), "me")
    for ticket in (sent, unsent):
        arming.queued(ticket)
        ticket.is_dropped = True
    arming.sent(sent)
    assert arming.is_arming("/a")
    assert not arming.is_arming("/b")
    other = Ticket(GetDataRequest("/b", True), "you")
    arming.queued(other)
    assert arming.is_arming("/b")
    arming.forget(unsent)
    assert arming.is_arming("/b")
    arming.forget(other)
    assert not arming.is_arming("/b")


def test_an_event_that_overtakes_the_reply_fires_the_watch_when_the_reply_is_there() -> None:
    """Else whoever waits for it waits for ever."""
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
    ("request_", "reply", "event_type", "is_news"),
    [
        (ExistsRequest("/a", True), StatReply, DELETED, {8: True, 9: False, 10: False}),
        (GetChildren2Request("/a", True), None, CHILDREN, {8: True, 9: False, 10: False}),
        (GetChildren2Request("/a", True), None, DELETED, {8: True, 10: False}),
    ],
)
def test_the_stat_that_was_read_tells_what_is_news(
    request_: Request[Any], reply: type[StatReply] | None, event_type: EventType, is_news: dict[int, bool]
) -> None:
    for read_at, expected in is_news.items():
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


def test_where_no_znode_was_found_only_its_creation_is_news() -> None:
    fixture = Fixture(ExistsRequest("/a", True))
    fixture.hold(DELETED, zxid=8)
    created = fixture.hold(CREATED, zxid=9)
    assert fixture.replied(code=NO_NODE) == [WatchFired(["me"], created)]
    fixture = Fixture(ExistsRequest("/a", True))
    fixture.hold(DELETED, zxid=8)
    assert fixture.replied(code=NO_NODE) == []
    assert list(fixture.watches) == [(WatchKind.EXIST, "/a", "me")]


def test_an_event_of_another_znode_or_of_another_kind_is_nobodys() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(CHANGED, "/b")
    fixture.hold(CHANGED, "/a/b")
    fixture.hold(CHILDREN, "/a")
    assert fixture.replied(Node(b"", stat_at(1))) == []


def test_an_event_that_came_before_the_request_was_sent_is_nobodys() -> None:
    watches: WatchTable[str] = WatchTable()
    arming = Arming(watches)
    ticket = Ticket(GetDataRequest("/a", True), "me")
    arming.queued(ticket)
    arming.hold(WatchEvent(CHANGED, "/a"))
    arming.sent(ticket)
    assert arming.replied(ticket, 0, Node(b"", stat_at(1))) == []


def test_a_request_that_sets_no_watch_after_all_has_no_events() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(DELETED)
    assert fixture.replied(code=NO_NODE) == []


def test_a_one_shot_watch_fires_once_with_the_first_news() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    fixture.hold(CHANGED, zxid=4)
    first = fixture.hold(CHANGED, zxid=9)
    fixture.hold(DELETED, zxid=10)
    assert fixture.replied(Node(b"", stat_at(5))) == [WatchFired(["me"], first)]
    assert len(fixture.watches) == 0


def test_each_request_on_its_way_has_its_own_events() -> None:
    fixture = Fixture(GetDataRequest("/a", True))
    early = fixture.hold(CHANGED)
    second = fixture.send(GetChildrenRequest("/a", True), "you")
    both = fixture.hold(DELETED)
    assert fixture.replied(None) == [WatchFired(["me"], early)]
    assert fixture.arming.replied(second, 0, None) == [WatchFired(["you"], both)]


def test_a_persistent_watch_is_told_every_event_and_stays() -> None:
    fixture = Fixture(PERSISTENT)
    events = [fixture.hold(CHANGED), fixture.hold(CHILDREN), fixture.hold(DELETED)]
    fixture.hold(CHANGED, "/a/b")
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], event) for event in events]
    assert list(fixture.watches) == [(WatchKind.PERSISTENT, "/a", "me")]


@pytest.mark.parametrize(("path", "below", "beside"), [("/a", "/a/b/c", "/ab"), ("/", "/a", "a")])
def test_a_recursive_watch_is_told_what_happens_below_but_no_change_of_children(
    path: str, below: str, beside: str
) -> None:
    fixture = Fixture(AddWatchRequest(path, AddWatchMode.PERSISTENT_RECURSIVE))
    events = [fixture.hold(CREATED, below), fixture.hold(CHANGED, path)]
    fixture.hold(CHILDREN, below)
    fixture.hold(CREATED, beside)
    assert fixture.replied(ErrorReply(0)) == [WatchFired(["me"], event) for event in events]
    assert list(fixture.watches) == [(WatchKind.RECURSIVE, path, "me")]


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
    news = fixture.hold(CHANGED, zxid=1000)
    assert fixture.replied(Node(b"", stat_at(999))) == [WatchFired(["me"], news)]


# --- a server in recursive mode, which tells no change of children ------------------------------------------

CHILD_CREATED = WatchEvent(CREATED, "/a/b")
UNTOLD = WatchEvent(CHILDREN, "/a")


@pytest.mark.parametrize(
    ("event", "untold"),
    [
        (CHILD_CREATED, UNTOLD),
        (WatchEvent(DELETED, "/a/b"), UNTOLD),
        (WatchEvent(CREATED, "/a/b", 7), None),  # from 3.9 on the server tells it
        (WatchEvent(CHANGED, "/a/b"), None),
        (WatchEvent(CREATED, "/a/b/c"), None),
        (WatchEvent(CREATED, "/a"), None),
    ],
)
def test_what_happens_to_a_child_is_a_change_of_children_that_the_server_does_not_tell(
    event: WatchEvent, untold: WatchEvent | None
) -> None:
    assert Fixture(RECURSIVE).arming.untold(event) == untold


def test_the_root_is_nobodys_child() -> None:
    arming = Fixture(AddWatchRequest("/", AddWatchMode.PERSISTENT_RECURSIVE)).arming
    assert arming.untold(WatchEvent(CREATED, "/a")) == WatchEvent(CHILDREN, "/")
    assert arming.untold(WatchEvent(DELETED, "/")) is None


def test_a_server_is_in_recursive_mode_from_the_request_to_the_removal() -> None:
    fixture = Fixture(RECURSIVE)
    fixture.replied(ErrorReply(0))
    assert fixture.arming.untold(CHILD_CREATED) == UNTOLD
    fixture.arming.removed("/a")
    assert fixture.arming.untold(CHILD_CREATED) is None


def test_a_server_is_put_into_recursive_mode_when_the_watches_are_set_again() -> None:
    watches: WatchTable[str] = WatchTable()
    watches.add(WatchKind.RECURSIVE, "/a", "me")
    assert Arming(watches).untold(CHILD_CREATED) == UNTOLD


def test_a_persistent_watch_that_is_set_alone_ends_the_recursive_mode_when_it_is_answered() -> None:
    fixture = Fixture(RECURSIVE)
    fixture.replied(ErrorReply(0))
    persistent = fixture.send(PERSISTENT, "you")
    assert fixture.arming.untold(CHILD_CREATED) == UNTOLD
    fixture.arming.replied(persistent, 0, ErrorReply(0))
    assert fixture.arming.untold(CHILD_CREATED) is None


@pytest.mark.parametrize("later", [RECURSIVE, BOTH])
def test_the_last_request_that_was_sent_decides_on_the_mode(later: Request[Any]) -> None:
    fixture = Fixture(PERSISTENT)
    fixture.send(GetChildrenRequest("/a", True), "you")
    fixture.send(later, "you")
    fixture.replied(ErrorReply(0))
    assert fixture.arming.untold(CHILD_CREATED) == UNTOLD


def test_a_recursive_request_that_is_not_sent_yet_does_not_decide() -> None:
    fixture = Fixture(RECURSIVE)
    fixture.replied(ErrorReply(0))
    persistent = fixture.send(PERSISTENT, "you")
    fixture.arming.queued(Ticket(RECURSIVE, "third"))
    fixture.arming.replied(persistent, 0, ErrorReply(0))
    assert fixture.arming.untold(CHILD_CREATED) is None


def test_a_persistent_watch_that_is_set_with_a_recursive_one_leaves_the_mode_and_hears_of_nothing_below() -> (
    None
):
    fixture = Fixture(BOTH)
    fixture.hold(CREATED, "/a/b")
    children = fixture.hold(CHILDREN)
    assert fixture.replied() == [WatchFired(["me"], children)]
    assert fixture.arming.untold(CHILD_CREATED) == UNTOLD
