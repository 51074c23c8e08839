"""What one server watches for this client: asked, confirmed, and still needed.

There is one `WatchRegistrations` for each connection. `ClientSide` asks it about each request that concerns
watches at the moment in which it encodes the frame. So the answer takes into account exactly the requests
that reach the server earlier, and no request that may still be dropped. The watch table says which watchers
need a watch; this class says what the server has.

A server keeps one watch of each path for all watchers of a client. Servers from 3.6 to 3.8 also keep one mode
for each path (ZOOKEEPER-4466), which leads to three rules:

- A read sets no watch if a persistent one reports the same changes: it would replace the persistent one.
- A persistent watch beside a recursive one is set together with a recursive one, which then lasts.
- In recursive mode such a server reports no change of a list of children. It follows from the events of the
  children (`implied_event`).
"""

# Between a request and its reply: the server sets the watch when it executes the request, and the table
# learns of it when the reply is read. An event in between belongs to a watch that the table does not know.
# It is held until the reply says whether the request has set a watch, and whether the reader has seen the
# change already (the event was then meant for an earlier watch of the same znode). If that is unknown the
# watch fires: a change may be read once too often, never once too seldom.

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
    RemoveWatchesRequest,
    Request,
    SetWatches2Request,
    SetWatchesRequest,
)
from zkrecipes.enums import AddWatchMode, EventType, WatcherType
from zkrecipes.errors import NoNodeError, ThrottledError
from zkrecipes.paths import parent_of
from zkrecipes.protocol.events import Ticket, WatchEvent, WatchFired
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchKind, WatchTable

__all__ = ["EARLY_EVENTS_MAX", "UPKEEP", "WatchRegistrations"]

EARLY_EVENTS_MAX: Final = 100
"""How many events are held for one request. Of more, a one-shot watch needs the newest only; a persistent one
is told to resync."""

UPKEEP: Final = object()
"""The watcher of a request that the client itself makes, to bring the server's watch of a path into line.
Whether it is sent, and in which form, is decided when it is encoded."""

_READS: Final = (ExistsRequest, GetDataRequest, GetChildrenRequest, GetChildren2Request)
_READS_OF_CHILDREN: Final = (GetChildrenRequest, GetChildren2Request)
_DATA, _EXIST, _CHILD = WatchKind.DATA, WatchKind.EXIST, WatchKind.CHILD
_PERSISTENT, _RECURSIVE = WatchKind.PERSISTENT, WatchKind.RECURSIVE


@final
class _InFlight:
    """The requests for watches of one path that were sent and are not answered.

    Attributes:
        tickets: each with the events that may belong to its watch, or None while there are none.
        persistent: how many of them ask for a persistent watch.
        recursive: how many of them ask for recursive mode.
        for_recursive: how many of those do it for a watcher of their own.
    """

    __slots__ = ("for_recursive", "persistent", "recursive", "tickets")

    def __init__(self) -> None:
        self.tickets: dict[Ticket, deque[WatchEvent] | None] = {}
        self.persistent = self.recursive = self.for_recursive = 0

    def count(self, request: Request[Any], change: int) -> None:
        """Count a request that was sent (1), or answered (-1)."""
        self.persistent += change * _asks_for_persistent(request)
        self.recursive += change * _asks_for_recursive(request)
        self.for_recursive += change * _is_for_recursive(request)

    def hold(self, event: WatchEvent, *, is_below: bool) -> None:
        """Keep an event of the path, or of a znode below it, for each ticket that may have caused it."""
        for ticket, early in self.tickets.items():
            if is_below and not _is_for_recursive(ticket.request):
                continue
            if early is None:
                self.tickets[ticket] = deque((event,), maxlen=EARLY_EVENTS_MAX)
            else:
                early.append(event)


@final
class _Repair(Ticket):
    """Sets a one-shot watch that relied on one that the server refused, and looks whether it is due by now.

    Args:
        kind: of the watch.
        path: the znode.
        owner: whose watch it is.
        read: the newest change that the owner has read.
    """

    __slots__ = ("kind", "owner", "read")

    def __init__(self, kind: WatchKind, path: str, owner: Any, read: int) -> None:
        request = GetChildren2Request if kind is _CHILD else ExistsRequest
        super().__init__(request(path, True), UPKEEP)
        self.kind = kind
        self.owner = owner
        self.read = read


@final
class WatchRegistrations:
    """What the server at the other end of one connection watches for the client.

    Attributes:
        repairs: requests that must be sent because a one-shot watch relied on one that the server refused.
        unneeded: paths on which the server has more than any watcher needs, for `take_unneeded`.

    Args:
        watches: the client's watch table, which answered requests enter.
    """

    def __init__(self, watches: WatchTable[Any]) -> None:
        self.repairs: list[Ticket] = []
        self.unneeded: dict[str, None] = {}
        self._watches = watches
        self._in_flight: dict[str, _InFlight] = {}
        # What the server has confirmed. It keeps watches of existence with those of data.
        self._confirmed: dict[WatchKind, set[str]] = {
            kind: set() for kind in (_DATA, _CHILD, _PERSISTENT, _RECURSIVE)
        }
        # Where it may have something that nothing can rely on.
        self._doubtful: set[str] = set()

    # --- sending -------------------------------------------------------------------------------------------

    def restored(self, request: SetWatchesRequest | SetWatches2Request) -> None:
        """Note a request that sets watches of the previous connection again; the server must confirm it."""
        confirmed = self._confirmed
        confirmed[_DATA].update(request.data_watches or (), request.exist_watches or ())
        confirmed[_CHILD].update(request.child_watches or ())
        if isinstance(request, SetWatches2Request):
            confirmed[_PERSISTENT].update(request.persistent_watches or ())
            confirmed[_RECURSIVE].update(request.persistent_recursive_watches or ())

    def decide(self, ticket: Ticket) -> bool:
        """Give a request that is about to be encoded the form that the server needs.

        Returns:
            Whether the request is still needed.
        """
        if ticket.watcher is UPKEEP:
            return self._decide_upkeep(ticket)
        request, path = ticket.request, _path_of(ticket.request)
        if isinstance(request, _READS):
            must_watch = not self._is_covered(path, of_children=isinstance(request, _READS_OF_CHILDREN))
            if request.watch != must_watch:
                ticket.request = type(request)(path, must_watch)
        elif isinstance(request, SetWatches2Request) or not _asks_for_recursive(request):
            # In one request, so that the recursive watch misses nothing in between.
            ticket.request = _beside_recursive(path) if self._needs_recursive(path) else _persistent(path)
        return True

    def sent(self, ticket: Ticket) -> None:
        """Note a request that was encoded: the server may execute it at any moment."""
        request, path = ticket.request, _path_of(ticket.request)
        if ticket.watcher is not UPKEEP:
            in_flight = self._in_flight.setdefault(path, _InFlight())
            in_flight.tickets[ticket] = None
            in_flight.count(request, 1)
        elif isinstance(request, RemoveWatchesRequest):
            self._doubtful.discard(path)
            for paths in self._confirmed.values():
                paths.discard(path)

    def _decide_upkeep(self, ticket: Ticket) -> bool:
        path = _path_of(ticket.request)
        if isinstance(ticket, _Repair):
            return (ticket.kind, path) in self._watches.watches_of(ticket.owner)
        if not self._is_needed(path):
            ticket.request = RemoveWatchesRequest(path, WatcherType.ANY)
            return self._is_on_server(path)
        ticket.request = _persistent(path)  # takes the server out of recursive mode
        return self._is_too_wide(path)

    # --- receiving -----------------------------------------------------------------------------------------

    def replied(self, ticket: Ticket, code: int, reply: Record | None, zxid: int) -> list[WatchFired]:
        """Take a reply: the watch of its request, if it has set one, is in the table now.

        Args:
            ticket: the request.
            code: the one in the reply's header.
            reply: the reply's body, or None if there is an error.
            zxid: the one in the reply's header: the last that the server had applied at that moment.

        Returns:
            The events that its watch was already fired with.
        """
        if isinstance(ticket, _Repair):
            return self._repaired(ticket, code, reply, zxid)
        if ticket.watcher is UPKEEP:
            self._upkeep_replied(ticket, code)
            return []
        request, path = ticket.request, _path_of(ticket.request)
        early = self._answered(ticket, path)
        kind = _watch_set_by(request, code)
        fired: list[WatchFired] = []
        if kind in ONE_SHOT:
            fired = self._one_shot_set(ticket, kind, early, _zxid_read(kind, reply, zxid))
        elif kind is not None:
            fired = self._persistent_set(ticket, kind, early, zxid)
        self._look_at(path)
        return fired

    def _answered(self, ticket: Ticket, path: str) -> deque[WatchEvent]:
        in_flight = self._in_flight[path]
        early = in_flight.tickets.pop(ticket)
        in_flight.count(ticket.request, -1)
        if not in_flight.tickets:
            del self._in_flight[path]
        return early or deque()

    def _one_shot_set(
        self, ticket: Ticket, kind: WatchKind, early: deque[WatchEvent], read: int
    ) -> list[WatchFired]:
        path, has_own_watch = _path_of(ticket.request), ticket.request.watch  # type: ignore[attr-defined] # a read
        news = [event for event in early if _is_news(event, kind, read)]
        if news:
            if has_own_watch and news[0].zxid is None:
                self._doubtful.add(path)  # perhaps an event of an earlier watch, and this one stands
            return [WatchFired([ticket.watcher], news[0])]
        self._watches.add(kind, path, ticket.watcher)
        if has_own_watch:
            self._confirmed[_CHILD if kind is _CHILD else _DATA].add(path)
        elif not self._is_confirmed(path, of_children=kind is _CHILD):
            # It relied on a persistent watch that the server has refused.
            self.repairs.append(_Repair(kind, path, ticket.watcher, read))
        return []

    def _repaired(self, repair: _Repair, code: int, reply: Record | None, zxid: int) -> list[WatchFired]:
        """Take the reply to a repair, which has set a watch now, or shows that it is already due."""
        kind, owner, path = repair.kind, repair.owner, _path_of(repair.request)
        if code == ThrottledError.code:
            self.repairs.append(_Repair(kind, path, owner, repair.read))
            return []
        event_type = _change_since(repair, code, _zxid_read(kind, reply, zxid))
        if event_type is None:
            self._confirmed[_CHILD if kind is _CHILD else _DATA].add(path)
        else:
            self._doubtful.add(path)
        is_due = event_type is not None and self._watches.remove(kind, path, owner)
        self._look_at(path)
        return [WatchFired([owner], WatchEvent(event_type, path))] if event_type and is_due else []

    def _persistent_set(
        self, ticket: Ticket, kind: WatchKind, early: deque[WatchEvent], zxid: int
    ) -> list[WatchFired]:
        path, owner = _path_of(ticket.request), ticket.watcher
        self._watches.add(kind, path, owner)
        self._confirmed[kind].add(path)
        if kind is _PERSISTENT:
            self._set_recursive(path, is_recursive=_asks_for_recursive(ticket.request))
        if len(early) == EARLY_EVENTS_MAX:
            return [WatchFired([owner], WatchEvent(EventType.RESYNC, path))]
        return [WatchFired([owner], event) for event in early if _is_news(event, kind, zxid)]

    def _set_recursive(self, path: str, *, is_recursive: bool) -> None:
        recursive = self._confirmed[_RECURSIVE]
        (recursive.add if is_recursive else recursive.discard)(path)

    def _upkeep_replied(self, ticket: Ticket, code: int) -> None:
        request, path = ticket.request, _path_of(ticket.request)
        if code == ThrottledError.code and isinstance(request, RemoveWatchesRequest):
            self._doubtful.add(path)  # the server has not executed it
        elif code == 0 and isinstance(request, AddWatchRequest):
            self._set_recursive(path, is_recursive=False)
        self._look_at(path)

    # --- events --------------------------------------------------------------------------------------------

    def implied_event(self, event: WatchEvent) -> WatchEvent | None:
        """The change of children that comes with an event and that the server does not report, or None.

        Servers from 3.9 report it; they also name the zxid of each event.
        """
        if event.zxid is not None or event.type not in {EventType.CREATED, EventType.DELETED}:
            return None
        parent = parent_of(event.path)
        if event.path == "/" or not self._may_be_recursive(parent):
            return None
        return WatchEvent(EventType.CHILDREN_CHANGED, parent)

    def hold(self, event: WatchEvent) -> None:
        """Keep an event for each request on its way whose watch may have caused it."""
        if not self._in_flight:
            return
        in_flight = self._in_flight.get(event.path)
        if in_flight is not None:
            in_flight.hold(event, is_below=False)
        above = event.path
        while above != "/":
            above = parent_of(above)
            in_flight = self._in_flight.get(above)
            if in_flight is not None and in_flight.for_recursive:
                in_flight.hold(event, is_below=True)

    def fired(self, event: WatchEvent) -> None:
        """Note an event: the one-shot watches that it has fired are gone on the server, too."""
        kinds = FIRES[event.type]
        if _DATA in kinds:
            self._confirmed[_DATA].discard(event.path)
        if _CHILD in kinds:
            self._confirmed[_CHILD].discard(event.path)
        self._look_at(event.path)

    # --- what is needed ------------------------------------------------------------------------------------

    def left(self, path: str) -> None:
        """Note that a watcher of `path` has left the table."""
        self._look_at(path)

    def take_unneeded(self, count: int) -> list[str]:
        """Take at most `count` paths, each for an `UPKEEP` request."""
        return [self.unneeded.popitem()[0] for _ in range(min(count, len(self.unneeded)))]

    def _look_at(self, path: str) -> None:
        if self._is_too_wide(path) if self._is_needed(path) else self._is_on_server(path):
            self.unneeded[path] = None

    def _is_needed(self, path: str) -> bool:
        """Whether the path has a watcher, or a request on its way that will give it one."""
        return path in self._in_flight or self._watches.has_watcher(path)

    def _is_on_server(self, path: str) -> bool:
        return path in self._doubtful or any(path in paths for paths in self._confirmed.values())

    def _is_too_wide(self, path: str) -> bool:
        """Whether the server reports what happens below, although only the path itself is still watched."""
        is_recursive = self._may_be_recursive(path) and not self._needs_recursive(path)
        return is_recursive and self._watches.is_watched(_PERSISTENT, path)

    def _needs_recursive(self, path: str) -> bool:
        in_flight = self._in_flight.get(path)
        is_asked = in_flight is not None and in_flight.for_recursive > 0
        return is_asked or self._watches.is_watched(_RECURSIVE, path)

    def _may_be_recursive(self, path: str) -> bool:
        in_flight = self._in_flight.get(path)
        return path in self._confirmed[_RECURSIVE] or (in_flight is not None and in_flight.recursive > 0)

    def _is_covered(self, path: str, *, of_children: bool) -> bool:
        """Whether a persistent watch will report all that a one-shot one would, unless it is refused."""
        if self._is_confirmed(path, of_children=of_children):
            return True
        in_flight = self._in_flight.get(path)
        if in_flight is None:
            return False
        return in_flight.persistent > 0 or (in_flight.recursive > 0 and not of_children)

    def _is_confirmed(self, path: str, *, of_children: bool) -> bool:
        """The same, of the watches that the server has confirmed. A recursive one reports no lists."""
        confirmed = self._confirmed
        return path in confirmed[_PERSISTENT] or (path in confirmed[_RECURSIVE] and not of_children)


def _path_of(request: Request[Any]) -> str:
    """The one path whose watch a request changes."""
    if isinstance(request, SetWatches2Request):
        assert request.persistent_watches
        return request.persistent_watches[0]
    assert request.path is not None, "every other request that concerns watches has a path"
    return request.path


def _persistent(path: str) -> AddWatchRequest:
    return AddWatchRequest(path, AddWatchMode.PERSISTENT)


def _beside_recursive(path: str) -> SetWatches2Request:
    return SetWatches2Request(0, [], [], [], [path], [path])


def _change_since(repair: _Repair, code: int, zxid: int) -> EventType | None:
    """What has happened since the owner of a repaired watch has read; None if nothing has."""
    if repair.kind is _EXIST:
        return None if code == NoNodeError.code else EventType.CREATED
    if code == NoNodeError.code:
        return EventType.DELETED
    if code == 0 and zxid <= repair.read:
        return None
    return EventType.CHILDREN_CHANGED if repair.kind is _CHILD else EventType.DATA_CHANGED


def _asks_for_persistent(request: Request[Any]) -> bool:
    return isinstance(request, SetWatches2Request) or (
        isinstance(request, AddWatchRequest) and request.mode == AddWatchMode.PERSISTENT
    )


def _asks_for_recursive(request: Request[Any]) -> bool:
    return isinstance(request, SetWatches2Request) or _is_for_recursive(request)


def _is_for_recursive(request: Request[Any]) -> bool:
    """Whether it does so for a watcher of its own, not only to let a recursive watch stand."""
    return isinstance(request, AddWatchRequest) and request.mode == AddWatchMode.PERSISTENT_RECURSIVE


def _watch_set_by(request: Request[Any], code: int) -> WatchKind | None:
    """The watch that a request has set, given the code of its reply."""
    if isinstance(request, ExistsRequest):
        return {0: _DATA, NoNodeError.code: _EXIST}.get(code)
    if code != 0:
        return None
    if isinstance(request, GetDataRequest):
        return _DATA
    if isinstance(request, _READS_OF_CHILDREN):
        return _CHILD
    return _PERSISTENT if _asks_for_persistent(request) else _RECURSIVE


def _is_news(event: WatchEvent, kind: WatchKind, zxid: int) -> bool:
    """Whether a watch is told of an early event, given the newest change that its request has seen."""
    if kind is _EXIST and event.type is not EventType.CREATED:
        return False  # nothing else can happen first to a znode that is not there
    return kind in FIRES[event.type] and (event.zxid is None or event.zxid > zxid)


def _zxid_read(kind: WatchKind, reply: Record | None, zxid: int) -> int:
    """The newest change that was read.

    A stat tells it. Otherwise the zxid in the header does: no server applies a write while it answers a read
    (`CommitProcessor`, `SyncRequestProcessor`).
    """
    # Each is at least the zxid of the znode's creation, so this also holds for a znode that was deleted and
    # created again.
    stat = getattr(reply, "stat", None)
    if stat is None:
        return zxid
    read: int = stat.pzxid if kind is _CHILD else stat.mzxid
    return read
