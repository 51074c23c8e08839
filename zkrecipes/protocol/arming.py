"""Requests on their way that set a watch, and the events that overtake their replies.

A watch is set on the server when the request is executed there, and in our table when the reply is read. An
event between the two belongs to a watch that the table does not know yet: it is held until the reply says
whether the request has set one, and whether the reader has seen the change already (it was then meant for an
earlier watch of the same znode). Where that cannot be told the watch fires: read once too often, never once
too seldom.

A server before 3.9 keeps one mode per path for a connection, the last that it was asked for (ZOOKEEPER-4466):
in recursive mode it tells no change of children, which is then told from what happens to the children.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetWatches2Request,
)
from zkrecipes.enums import AddWatchMode, EventType
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import parent_of
from zkrecipes.protocol.events import Ticket, WatchEvent, WatchFired
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchKind, WatchTable

__all__ = ["EARLY_EVENTS_MAX", "Arming", "path_watched_by"]

EARLY_EVENTS_MAX: Final = 100
"""How many events are held for one request. Of more, a one-shot watch needs the newest only; a persistent one
is told to resync."""


@final
class Arming:
    """The unanswered requests of one connection that set a watch.

    Args:
        watches: the client's watch table, which answered requests enter.
    """

    def __init__(self, watches: WatchTable[Any]) -> None:
        self._watches = watches
        # By path; None in place of events for a request that was not sent: no event can be meant for it.
        self._unanswered: dict[str, dict[Ticket, deque[WatchEvent] | None]] = {}
        self._subtrees: dict[Ticket, str] = {}
        # Where the server may be in recursive mode; at first, where it is about to be re-armed so.
        self._recursive = set(watches.paths(WatchKind.RECURSIVE))

    def queued(self, ticket: Ticket) -> None:
        """A request that sets a watch waits to be sent."""
        self._unanswered.setdefault(path_watched_by(ticket.request), {})[ticket] = None

    def sent(self, ticket: Ticket) -> None:
        """A queued request was sent; it may be executed at any moment."""
        path, request = path_watched_by(ticket.request), ticket.request
        self._unanswered[path][ticket] = deque(maxlen=EARLY_EVENTS_MAX)
        if _makes_recursive(request):
            self._recursive.add(path)
            if isinstance(request, AddWatchRequest):
                self._subtrees[ticket] = path.rstrip("/") + "/"

    def removed(self, path: str) -> None:
        """The server is asked to remove its watch of `path`, which nobody needs."""
        self._recursive.discard(path)

    def forget(self, ticket: Ticket) -> deque[WatchEvent] | None:
        """The request sets no watch any longer; the events that were held for it."""
        path = path_watched_by(ticket.request)
        tickets = self._unanswered[path]
        early = tickets.pop(ticket)
        if not tickets:
            del self._unanswered[path]
        self._subtrees.pop(ticket, None)
        return early

    def is_arming(self, path: str) -> bool:
        """Whether a request sets a watch on `path`; one that is given up unsent does not."""
        tickets = self._unanswered.get(path, {})
        return any(early is not None or not ticket.is_dropped for ticket, early in tickets.items())

    def untold(self, event: WatchEvent) -> WatchEvent | None:
        """The change of children that comes with an event and that the server does not tell, or None.

        From 3.9 on it tells it, and names the zxid of each event.
        """
        if event.zxid is not None or event.type not in {EventType.CREATED, EventType.DELETED}:
            return None
        parent = parent_of(event.path)
        if parent not in self._recursive or event.path == "/":
            return None
        return WatchEvent(EventType.CHILDREN_CHANGED, parent)

    def hold(self, event: WatchEvent) -> None:
        """An event has come: keep it for each request on its way whose watch may have caused it."""
        for early in self._unanswered.get(event.path, {}).values():
            if early is not None:
                early.append(event)
        for ticket, subtree in self._subtrees.items():
            path = path_watched_by(ticket.request)
            early = self._unanswered[path][ticket]
            if early is not None and event.path != path and event.path.startswith(subtree):
                early.append(event)

    def replied(self, ticket: Ticket, code: int, reply: Record | None) -> list[WatchFired]:
        """A request was answered: its watch, if it has set one, is in the table now.

        Args:
            ticket: the request.
            code: the one in the reply's header.
            reply: the reply's body, or None where there is an error.

        Returns:
            What its watch was already fired with.
        """
        early = self.forget(ticket)
        kind = _watch_set_by(ticket.request, code)
        if kind is None:
            return []
        path, owner = path_watched_by(ticket.request), ticket.watcher
        self._watches.add(kind, path, owner)
        if kind is WatchKind.PERSISTENT and not self._will_be_recursive(ticket):
            self._recursive.discard(path)
        if not early:
            return []
        if kind not in ONE_SHOT and len(early) == EARLY_EVENTS_MAX:
            return [WatchFired([owner], WatchEvent(EventType.RESYNC, path))]
        news = [event for event in early if kind in FIRES[event.type] and _is_news(event, kind, reply)]
        if kind in ONE_SHOT and news:
            del news[1:]
            self._watches.remove(kind, path, owner)
        return [WatchFired([owner], event) for event in news]

    def _will_be_recursive(self, answered: Ticket) -> bool:
        """Whether a request, or one that was sent after it to the same path, has asked for recursive mode."""
        later = self._unanswered.get(path_watched_by(answered.request), {})
        return _makes_recursive(answered.request) or any(
            early is not None and _makes_recursive(ticket.request) for ticket, early in later.items()
        )


def path_watched_by(request: Request[Any]) -> str:
    """The path on which a request sets a watch; of `SetWatches2Request`, the one with which it stands in."""
    if isinstance(request, SetWatches2Request):
        assert request.persistent_watches
        return request.persistent_watches[0]
    path: str = request.path  # type: ignore[attr-defined] # whatever else sets a watch has a path
    return path


def _makes_recursive(request: Request[Any]) -> bool:
    return isinstance(request, SetWatches2Request) or (
        isinstance(request, AddWatchRequest) and request.mode == AddWatchMode.PERSISTENT_RECURSIVE
    )


def _watch_set_by(request: Request[Any], code: int) -> WatchKind | None:
    """The watch that a request has set, given the code of its reply."""
    if isinstance(request, ExistsRequest):
        return {0: WatchKind.DATA, NoNodeError.code: WatchKind.EXIST}.get(code)
    if code != 0:
        return None
    if isinstance(request, GetDataRequest):
        return WatchKind.DATA
    if isinstance(request, (GetChildrenRequest, GetChildren2Request)):
        return WatchKind.CHILD
    if isinstance(request, SetWatches2Request):
        return WatchKind.PERSISTENT  # beside a recursive one, which is there already
    assert isinstance(request, AddWatchRequest)
    return WatchKind.RECURSIVE if _makes_recursive(request) else WatchKind.PERSISTENT


def _is_news(event: WatchEvent, kind: WatchKind, reply: Record | None) -> bool:
    """Whether what was read may be from before the event."""
    if kind is WatchKind.EXIST:
        return event.type is EventType.CREATED  # nothing else can happen first to a znode that is not there
    stat = getattr(reply, "stat", None)
    if stat is None or event.zxid is None:
        return True  # no telling
    # Each is at least the zxid of the znode's creation, so this holds for a znode that was deleted and made
    # again, too.
    seen: int = stat.pzxid if kind is WatchKind.CHILD else stat.mzxid
    return event.zxid > seen
