"""The watches that one server keeps for this client: requested, confirmed, and still needed. Sans-I/O.

There is one `WatchRegistrations` for each connection. The watch table records which watchers need a watch;
this class records which watches the server has.
"""

# The life of a watch.
#
# 1. Asking. `Client.watch` submits an `AddWatchRequest`; `get_and_watch` and its relatives submit a read with
#    `watch` set. The ticket names the owner (`client/watching.py`). On a server before 3.6,
#    `client/watch_emulation.py` emulates a persistent watch: it reads again after each event.
#    When `RequestExchange` encodes the request, `decide` gives it the form that this server needs; when it
#    reads the reply, `replied` enters the owner into the watch table.
# 2. Firing. `watch_delivery.py` takes an event, fires the owners in the table (one-shot watches leave it) and
#    notes here that the server's one-shot watches have fired. `net/attached_connection.py` passes the event
#    to the owners. An event that overtakes the reply of its request is held in `watches_in_flight.py`.
# 3. Removing. When the block of a watch is left, `net/watch_removal.py` drops the owner from the table and
#    reports `left`. If the server now has more than any watcher needs, the path is `unneeded`, and the
#    remover submits an `UPKEEP` request for it. `decide` checks the need again when it is encoded.
# 4. Reconnecting. The table survives; the registrations and the requests in flight do not. Before any other
#    request, `watch_restore.py` sends the table's watches to the new server (`restored`), which fires the
#    one-shot watches that are due. `net/watch_requests.py` notifies the owners: a persistent watch yields a
#    `RESYNC`; on a server before 3.6 it ends with an error. A request for a watch that was not answered is
#    sent again (`net/backlog.py`) and decided again.
# 5. Ending. One-shot watches end with the session; persistent ones continue in the next session, restored as
#    after a reconnect. All watches end with the client.
#
# The problem. A server keeps one watch of each path for all watchers of a client, and servers from 3.6 to 3.8
# also keep one mode for each path (ZOOKEEPER-4466). A request for a watch may still be dropped, refused or
# sent to another server. So which request a watcher needs depends on the requests before it.
#
# The trick. Each request that concerns watches is decided when its frame is encoded. The decision takes into
# account exactly the requests that reach the server earlier, and no request that may still be dropped.
#
# The consequences:
#
# - A read sets no watch if a persistent one reports the same changes: it would replace the persistent one. If
#   the server refuses the persistent watch that a read relied on, a repair reads again and sets a watch.
# - A persistent watch beside a recursive one is set together with a recursive one, which then lasts.
# - In recursive mode such a server reports no change of a list of children. It follows from the events of the
#   children (`implied_event`).

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    RemoveWatchesRequest,
    SetWatches2Request,
    SetWatchesRequest,
)
from zkrecipes.enums import EventType, WatcherType
from zkrecipes.errors import ThrottledError
from zkrecipes.paths import parent_of
from zkrecipes.protocol.events import Ticket, WatchEvent, WatchFired
from zkrecipes.protocol.watch_messages import (
    READS,
    READS_OF_CHILDREN,
    both_watches,
    change_since,
    persistent_watch,
    requests_recursive,
    watch_set_by,
    watched_path,
    zxid_read,
)
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchKind, WatchTable
from zkrecipes.protocol.watches_in_flight import EARLY_EVENTS_MAX, WatchesInFlight, is_unseen

__all__ = ["UPKEEP", "WatchRegistrations"]

UPKEEP: Final = object()
"""The watcher of a request by which the client adapts the server's watch of a path to the watchers' needs.
Whether it is sent, and in which form, is decided when it is encoded."""

_DATA, _CHILD = WatchKind.DATA, WatchKind.CHILD
_PERSISTENT, _RECURSIVE = WatchKind.PERSISTENT, WatchKind.RECURSIVE


@final
class _Repair(Ticket):
    """A request that sets a one-shot watch whose read relied on a refused one, and checks whether it is due.

    Args:
        kind: the kind of the watch.
        path: the znode.
        owner: the owner of the watch.
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
    """The watches that the server at the other end of one connection keeps for the client.

    Attributes:
        repairs: requests that must be sent because a one-shot watch relied on one that the server refused.
        unneeded: paths on which the server has more than any watcher needs, for `take_unneeded`.

    Args:
        watches: the client's watch table; answered requests enter their owners there.
    """

    def __init__(self, watches: WatchTable[Any]) -> None:
        self.repairs: list[Ticket] = []
        self.unneeded: dict[str, None] = {}
        self._watches = watches
        self._in_flight = WatchesInFlight()
        # The watches that the server has confirmed. It keeps watches of existence with those of data.
        self._confirmed: dict[WatchKind, set[str]] = {
            kind: set() for kind in (_DATA, _CHILD, _PERSISTENT, _RECURSIVE)
        }
        # Paths on which the server may have a watch that nothing can rely on.
        self._doubtful: set[str] = set()

    # --- sending -------------------------------------------------------------------------------------------

    def restored(self, request: SetWatchesRequest | SetWatches2Request) -> None:
        """Note a request that restores watches of the previous connection; the server must confirm it."""
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
        request, path = ticket.request, watched_path(ticket.request)
        if isinstance(request, READS):
            must_watch = not self._is_covered(path, of_children=isinstance(request, READS_OF_CHILDREN))
            if request.watch != must_watch:
                ticket.request = type(request)(path, must_watch)
        elif isinstance(request, SetWatches2Request) or not requests_recursive(request):
            # Both are set in one request, so that the recursive watch misses no event in between.
            ticket.request = both_watches(path) if self._needs_recursive(path) else persistent_watch(path)
        return True

    def sent(self, ticket: Ticket) -> None:
        """Note a request that was encoded: the server may execute it at any time."""
        path = watched_path(ticket.request)
        if ticket.watcher is not UPKEEP:
            self._in_flight.sent(ticket, path)
        elif isinstance(ticket.request, RemoveWatchesRequest):
            self._doubtful.discard(path)
            for paths in self._confirmed.values():
                paths.discard(path)

    def _decide_upkeep(self, ticket: Ticket) -> bool:
        path = watched_path(ticket.request)
        if isinstance(ticket, _Repair):
            return (ticket.kind, path) in self._watches.watches_of(ticket.owner)
        if not self._is_needed(path):
            ticket.request = RemoveWatchesRequest(path, WatcherType.ANY)
            return self._is_on_server(path)
        ticket.request = persistent_watch(path)  # takes the server out of recursive mode
        return self._is_too_wide(path)

    # --- receiving -----------------------------------------------------------------------------------------

    def replied(self, ticket: Ticket, code: int, reply: Record | None, zxid: int) -> list[WatchFired]:
        """Process a reply, and enter the watch that its request has set into the table.

        Args:
            ticket: the request.
            code: the one in the reply's header.
            reply: the reply's body, or None if there is an error.
            zxid: the one in the reply's header: the last that the server had applied when it answered.

        Returns:
            The early events that fire the watch.
        """
        if isinstance(ticket, _Repair):
            return self._repaired(ticket, code, reply, zxid)
        if ticket.watcher is UPKEEP:
            self._upkeep_replied(ticket, code)
            return []
        path = watched_path(ticket.request)
        early = self._in_flight.answered(ticket, path)
        kind = watch_set_by(ticket.request, code)
        fired: list[WatchFired] = []
        if kind in ONE_SHOT:
            fired = self._one_shot_set(ticket, kind, early, zxid_read(kind, reply, zxid))
        elif kind is not None:
            fired = self._persistent_set(ticket, kind, early, zxid)
        self._note_if_unneeded(path)
        return fired

    def _one_shot_set(
        self, ticket: Ticket, kind: WatchKind, early: deque[WatchEvent], read: int
    ) -> list[WatchFired]:
        path, has_own_watch = watched_path(ticket.request), ticket.request.watch  # type: ignore[attr-defined] # a read
        unseen = [event for event in early if is_unseen(event, kind, read)]
        if unseen:
            if has_own_watch and unseen[0].zxid is None:
                self._doubtful.add(path)  # perhaps an earlier watch caused the event, and this one stays
            return [WatchFired([ticket.watcher], unseen[0])]
        self._watches.add(kind, path, ticket.watcher)
        if has_own_watch:
            self._confirmed[_CHILD if kind is _CHILD else _DATA].add(path)
        elif not self._is_confirmed(path, of_children=kind is _CHILD):
            # The read relied on a persistent watch that the server has refused.
            self.repairs.append(_Repair(kind, path, ticket.watcher, read))
        return []

    def _repaired(self, repair: _Repair, code: int, reply: Record | None, zxid: int) -> list[WatchFired]:
        """Process the reply to a repair, which has set a watch, or shows that the watch is already due."""
        kind, owner, path = repair.kind, repair.owner, watched_path(repair.request)
        if code == ThrottledError.code:
            self.repairs.append(_Repair(kind, path, owner, repair.read))
            return []
        event_type = change_since(kind, repair.read, code, zxid_read(kind, reply, zxid))
        if event_type is None:
            self._confirmed[_CHILD if kind is _CHILD else _DATA].add(path)
        else:
            self._doubtful.add(path)
        is_due = event_type is not None and self._watches.remove(kind, path, owner)
        self._note_if_unneeded(path)
        return [WatchFired([owner], WatchEvent(event_type, path))] if event_type and is_due else []

    def _persistent_set(
        self, ticket: Ticket, kind: WatchKind, early: deque[WatchEvent], zxid: int
    ) -> list[WatchFired]:
        path, owner = watched_path(ticket.request), ticket.watcher
        self._watches.add(kind, path, owner)
        self._confirmed[kind].add(path)
        if kind is _PERSISTENT:
            self._set_recursive(path, is_recursive=requests_recursive(ticket.request))
        if len(early) == EARLY_EVENTS_MAX:
            return [WatchFired([owner], WatchEvent(EventType.RESYNC, path))]
        return [WatchFired([owner], event) for event in early if is_unseen(event, kind, zxid)]

    def _set_recursive(self, path: str, *, is_recursive: bool) -> None:
        recursive = self._confirmed[_RECURSIVE]
        (recursive.add if is_recursive else recursive.discard)(path)

    def _upkeep_replied(self, ticket: Ticket, code: int) -> None:
        request, path = ticket.request, watched_path(ticket.request)
        if code == ThrottledError.code and isinstance(request, RemoveWatchesRequest):
            self._doubtful.add(path)  # the server has not executed it
        elif code == 0 and isinstance(request, AddWatchRequest):
            self._set_recursive(path, is_recursive=False)
        self._note_if_unneeded(path)

    # --- events --------------------------------------------------------------------------------------------

    def implied_event(self, event: WatchEvent) -> WatchEvent | None:
        """Return the change of children that an event implies and the server does not report, or None.

        Servers from 3.9 report it; they also name the zxid of each event.
        """
        if event.zxid is not None or event.type not in {EventType.CREATED, EventType.DELETED}:
            return None
        parent = parent_of(event.path)
        if event.path == "/" or not self._may_be_recursive(parent):
            return None
        return WatchEvent(EventType.CHILDREN_CHANGED, parent)

    def hold(self, event: WatchEvent) -> None:
        """Hold an event for each request in flight whose watch may have caused it."""
        self._in_flight.hold(event)

    def fired(self, event: WatchEvent) -> None:
        """Note an event: the server has removed the one-shot watches that it fired."""
        kinds = FIRES[event.type]
        if _DATA in kinds:
            self._confirmed[_DATA].discard(event.path)
        if _CHILD in kinds:
            self._confirmed[_CHILD].discard(event.path)
        self._note_if_unneeded(event.path)

    # --- needs ---------------------------------------------------------------------------------------------

    def left(self, path: str) -> None:
        """Note that a watcher of `path` has left the table."""
        self._note_if_unneeded(path)

    def take_unneeded(self, count: int) -> list[str]:
        """Take at most `count` unneeded paths; submit an `UPKEEP` request for each."""
        return [self.unneeded.popitem()[0] for _ in range(min(count, len(self.unneeded)))]

    def _note_if_unneeded(self, path: str) -> None:
        """Note the path as unneeded if the server has more than its watchers need."""
        if self._is_too_wide(path) if self._is_needed(path) else self._is_on_server(path):
            self.unneeded[path] = None

    def _is_needed(self, path: str) -> bool:
        """Whether the path has a watcher, or a request in flight that will give it one."""
        return path in self._in_flight or self._watches.has_watcher(path)

    def _is_on_server(self, path: str) -> bool:
        return path in self._doubtful or any(path in paths for paths in self._confirmed.values())

    def _is_too_wide(self, path: str) -> bool:
        """Whether the server reports events below the path, although only the path itself is watched."""
        is_recursive = self._may_be_recursive(path) and not self._needs_recursive(path)
        return is_recursive and self._watches.is_watched(_PERSISTENT, path)

    def _needs_recursive(self, path: str) -> bool:
        return self._in_flight.has_recursive_watcher(path) or self._watches.is_watched(_RECURSIVE, path)

    def _may_be_recursive(self, path: str) -> bool:
        return path in self._confirmed[_RECURSIVE] or self._in_flight.may_be_recursive(path)

    def _is_covered(self, path: str, *, of_children: bool) -> bool:
        """Whether a persistent watch will report all that a one-shot one would, unless it is refused."""
        is_confirmed = self._is_confirmed(path, of_children=of_children)
        return is_confirmed or self._in_flight.covers(path, of_children=of_children)

    def _is_confirmed(self, path: str, *, of_children: bool) -> bool:
        """Whether a confirmed watch covers a one-shot one; a recursive one reports no change of children."""
        confirmed = self._confirmed
        return path in confirmed[_PERSISTENT] or (path in confirmed[_RECURSIVE] and not of_children)
