"""The requests for watches that are in flight on one connection, and the events that overtake their replies.

The problem. The server sets a watch when it executes the request, and the client's table learns of it when
the reply is read. An event that arrives in between belongs to a watch that the table does not know; or it
was meant for an earlier watch of the same znode.

The trick. Such an event is held until the reply. The reply shows whether the request has set a watch, and the
newest change that the reader has seen: an event up to that change was meant for an earlier watch. If the
server does not name the event's transaction (before 3.9), the watch fires.

The consequences. A change may be read once too often, never once too seldom. The number of held events is
bounded: beyond it, a one-shot watch needs only the newest event, and a persistent one gets a `RESYNC`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

from zkrecipes.codec.messages import Request
from zkrecipes.enums import EventType
from zkrecipes.paths import parent_of
from zkrecipes.protocol.events import Ticket, WatchEvent
from zkrecipes.protocol.watch_messages import (
    requests_persistent,
    requests_recursive,
    requests_recursive_only,
)
from zkrecipes.protocol.watch_table import FIRES, WatchKind

__all__ = ["EARLY_EVENTS_MAX", "WatchesInFlight", "is_unseen"]

EARLY_EVENTS_MAX: Final = 100
"""The number of events that are held for one request."""


@final
class _PathRequests:
    """The requests for watches of one path that are in flight.

    Attributes:
        tickets: each ticket, with the events that may belong to its watch, or None before the first event.
        persistent: the number of requests for a persistent watch.
        recursive: the number of requests for recursive mode.
        for_recursive: the number of those that have their own recursive watcher.
    """

    __slots__ = ("for_recursive", "persistent", "recursive", "tickets")

    def __init__(self) -> None:
        self.tickets: dict[Ticket, deque[WatchEvent] | None] = {}
        self.persistent = self.recursive = self.for_recursive = 0

    def count(self, request: Request[Any], change: int) -> None:
        """Count a request that was sent (1) or answered (-1)."""
        self.persistent += change * requests_persistent(request)
        self.recursive += change * requests_recursive(request)
        self.for_recursive += change * requests_recursive_only(request)

    def hold(self, event: WatchEvent, *, is_below: bool) -> None:
        """Hold an event of the path, or of a znode below it, for each ticket that may have caused it."""
        for ticket, early in self.tickets.items():
            if is_below and not requests_recursive_only(ticket.request):
                continue
            if early is None:
                self.tickets[ticket] = deque((event,), maxlen=EARLY_EVENTS_MAX)
            else:
                early.append(event)


@final
class WatchesInFlight:
    """The requests for watches that are in flight, by path."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[str, _PathRequests] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def sent(self, ticket: Ticket, path: str) -> None:
        """Note a request that was encoded."""
        requests = self._paths.setdefault(path, _PathRequests())
        requests.tickets[ticket] = None
        requests.count(ticket.request, 1)

    def answered(self, ticket: Ticket, path: str) -> deque[WatchEvent]:
        """Remove a request that was answered; return the events that were held for it."""
        requests = self._paths[path]
        early = requests.tickets.pop(ticket)
        requests.count(ticket.request, -1)
        if not requests.tickets:
            del self._paths[path]
        return early or deque()

    def hold(self, event: WatchEvent) -> None:
        """Hold an event for each request whose watch may have caused it."""
        if not self._paths:
            return
        requests = self._paths.get(event.path)
        if requests is not None:
            requests.hold(event, is_below=False)
        above = event.path
        while above != "/":
            above = parent_of(above)
            requests = self._paths.get(above)
            if requests is not None and requests.for_recursive:
                requests.hold(event, is_below=True)

    def may_be_recursive(self, path: str) -> bool:
        """Whether a request for recursive mode of the path is in flight."""
        requests = self._paths.get(path)
        return requests is not None and requests.recursive > 0

    def has_recursive_watcher(self, path: str) -> bool:
        """Whether a request in flight will give the path a recursive watcher."""
        requests = self._paths.get(path)
        return requests is not None and requests.for_recursive > 0

    def covers(self, path: str, *, of_children: bool) -> bool:
        """Whether a request in flight will report all that a one-shot watch would, unless it is refused."""
        requests = self._paths.get(path)
        if requests is None:
            return False
        return requests.persistent > 0 or (requests.recursive > 0 and not of_children)


def is_unseen(event: WatchEvent, kind: WatchKind, zxid: int) -> bool:
    """Whether an early event must fire a watch, given the newest change that its request has seen."""
    if kind is WatchKind.EXIST and event.type is not EventType.CREATED:
        return False  # the first event of a missing znode can only be its creation
    return kind in FIRES[event.type] and (event.zxid is None or event.zxid > zxid)
