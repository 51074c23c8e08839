"""The delivery of one connection's watch events: which owners the client must notify, and when. Sans-I/O.

The problem. Two events must not be delivered when they arrive. First, an event may belong to a watch whose
request is not answered; `WatchRegistrations` holds it until the reply. Second, while the watches of the
previous connection are being restored, the connection may still fail.

The trick. The events of restored watches are kept until the connection is live. If it never is, the watch
has not fired: it stays in the table, and the server fires it on the next connection.

The consequences. `Connected` comes before every event. Only one-shot watches need a kept event: each
persistent watch gets a `RESYNC` with `Connected`, and reads everything again. So the newest event of each
type and path is enough, and the number of kept events is bounded by the watches.
"""

from __future__ import annotations

from typing import Any, final

from zkrecipes.codec.messages import WatchEventMessage
from zkrecipes.enums import EventType
from zkrecipes.errors import ProtocolError
from zkrecipes.protocol.events import WatchEvent, WatchFired
from zkrecipes.protocol.watch_registration import WatchRegistrations
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchTable

__all__ = ["WatchDelivery"]


@final
class WatchDelivery:
    """The delivery of one connection's events, which fire the watches of the table.

    Args:
        watches: the client's watch table; events take one-shot watches from it.
        registrations: the watches of the server at the other end.
    """

    __slots__ = ("_kept", "_registrations", "_watches")

    def __init__(self, watches: WatchTable[Any], registrations: WatchRegistrations) -> None:
        self._watches = watches
        self._registrations = registrations
        self._kept: dict[tuple[EventType, str], WatchEvent] = {}

    def take(self, message: WatchEventMessage, zxid: int, *, is_restoring: bool) -> list[WatchFired]:
        """Process an event from the server, and return the watches that it fires.

        Args:
            message: the event.
            zxid: the one in the event's header; below 1 before 3.9.
            is_restoring: whether watches are being restored, so that the event must wait for `release`.

        Raises:
            ProtocolError: the event's path is not absolute.
        """
        if message.type not in FIRES:
            # A change of state, which the connection itself shows better; the removal of a watch, which a
            # reply shows; or a newer server's event, which no request of this client asks for.
            return []
        if not message.path.startswith("/"):
            raise ProtocolError(f"a watch event must have an absolute path, not {message.path[:100]!r}")
        event = WatchEvent(EventType(message.type), message.path, zxid if zxid > 0 else None)
        implied = self._registrations.implied_event(event)
        events = [event] if implied is None else [event, implied]
        if is_restoring:
            for each in events:
                self._keep(each)
            return []
        fired = []
        for each in events:
            self._registrations.hold(each)
            fired += self._fire(each)
        return fired

    def release(self) -> list[WatchFired]:
        """Return the watches that the kept events fire. Call it when the connection is live."""
        fired = [each for event in self._kept.values() for each in self._fire(event, is_replay=True)]
        self._kept.clear()
        return fired

    def _keep(self, event: WatchEvent) -> None:
        kinds = ONE_SHOT.intersection(FIRES[event.type])
        if any(self._watches.is_watched(kind, event.path) for kind in kinds):
            self._kept[event.type, event.path] = event

    def _fire(self, event: WatchEvent, *, is_replay: bool = False) -> list[WatchFired]:
        owners = self._watches.fire(event.type, event.path, is_replay=is_replay)
        self._registrations.fired(event)
        return [WatchFired(owners, event)] if owners else []
