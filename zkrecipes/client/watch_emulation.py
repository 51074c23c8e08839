"""A persistent watch on servers that have none (before 3.6): one-shot watches, set again each time they fire.

What happens between a firing and the setting is not told one by one, but it is not lost: setting a watch
reads the znode, and what differs from the last reading is told as events. The zxids tell: they never repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from zkrecipes.client.pauses import Pauses
from zkrecipes.client.watching import OneShotWatch, WatchEvents
from zkrecipes.codec.records import Stat
from zkrecipes.enums import EventType
from zkrecipes.errors import NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.net.connection import Traffic
from zkrecipes.protocol.events import WatchEvent

__all__ = ["keep_watching"]


Read = Callable[[OneShotWatch], Awaitable[Stat | None]]
"""Reads the znode's stat (None: there is none) and sets watches that fire when data, children or existence
may have changed."""


class Watcher(Protocol):
    """The client's session, as far as it is needed here."""

    traffic: Traffic
    """Counts connections: where there is another one than before, the server has forgotten all watches."""

    @property
    def final_error(self) -> ZooKeeperError | None:
        """The error that ended the client, or None."""

    def unwatch(self, owner: OneShotWatch) -> None:
        """The watch is of no more interest."""


async def keep_watching(
    read: Read, watcher: Watcher, full_path: str, events: WatchEvents, on_set: Callable[[], None]
) -> None:
    """Feed `events` until the client is over.

    Args:
        read: reads the znode and sets the watches.
        watcher: where the watches are.
        full_path: the znode's path on the server, for the events.
        events: where they go.
        on_set: called when the watch is set: each change from then on is told. Also when it never will be.
    """
    last: Stat | None = None
    is_set = False
    pauses = Pauses()
    connections = watcher.traffic.connections

    def missed() -> None:
        nonlocal connections
        connections = watcher.traffic.connections
        events.missed()

    while True:
        watch = OneShotWatch(str, missed)
        try:
            stat = await read(watch)
            if is_set:
                if connections != watcher.traffic.connections:
                    missed()  # of a connection that came and went while no watch was set nobody else tells
                for event_type, zxid in _differences(last, stat):
                    events.fired(WatchEvent(event_type, full_path, zxid))
            else:
                connections, is_set = watcher.traffic.connections, True
                on_set()
            last = stat
            pauses.reset()
            await watch.wait()
        except NoNodeError:
            continue  # deleted between two reads: the next one tells
        except ZooKeeperError as error:
            if watcher.final_error is None and isinstance(error, SessionExpiredError):
                continue
            if watcher.final_error is None and is_set and error.is_transient:
                await pauses.wait()  # what changes meanwhile is found by the next reading
                continue
            events.ended(error)
            on_set()
            return
        finally:
            watcher.unwatch(watch)


def _differences(old: Stat | None, new: Stat | None) -> Iterator[tuple[EventType, int | None]]:
    """The events that lead from one reading to the next, as far as they can be told."""
    if old is not None and (new is None or new.czxid != old.czxid):
        yield EventType.DELETED, None
        old = None
    if new is None:
        return
    if old is None:
        yield EventType.CREATED, new.czxid
        return
    if new.mzxid != old.mzxid:
        yield EventType.DATA_CHANGED, new.mzxid
    if new.pzxid != old.pzxid:
        yield EventType.CHILDREN_CHANGED, new.pzxid
