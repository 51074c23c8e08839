"""Emulates a persistent watch on servers that have none (before 3.6): one-shot watches, set again and again.

A change between the firing of a watch and the next setting does not get a separate event, but it is not lost:
setting a watch reads the znode, and every difference from the previous reading becomes an event. The zxids
show the differences, because a zxid never repeats.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from zkrecipes.client.backoff import Backoff
from zkrecipes.client.watching import OneShotOwner, PersistentOwner
from zkrecipes.codec.records import Stat
from zkrecipes.enums import EventType
from zkrecipes.errors import NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.net.connection import Traffic
from zkrecipes.protocol.events import WatchEvent

__all__ = ["keep_watching"]


Read = Callable[[OneShotOwner], Awaitable[Stat | None]]
"""A function that reads the znode's stat (None: it does not exist) and sets watches that fire when the data,
the children or the existence of the znode may have changed."""


class Engine(Protocol):
    """The part of the client's engine that this module uses."""

    traffic: Traffic
    """The number of connections: the server of a new one has none of the earlier watches."""

    @property
    def final_error(self) -> ZooKeeperError | None:
        """The error that ended the client, or None."""

    def unwatch(self, owner: OneShotOwner) -> None:
        """Remove a watch."""


async def keep_watching(
    read: Read, engine: Engine, full_path: str, events: PersistentOwner, on_set: Callable[[], None]
) -> None:
    """Feed `events` until the client has ended.

    Args:
        read: reads the znode and sets the watches.
        engine: the client's engine.
        full_path: the znode's path on the server, for the events.
        events: receives the events.
        on_set: called once the watch is set: every later change is reported. It is also called if the watch
            will never be set.
    """
    last: Stat | None = None
    is_set = False
    pauses = Backoff()
    connections = engine.traffic.connections

    def missed() -> None:
        nonlocal connections
        connections = engine.traffic.connections
        events.missed()

    while True:
        watch = OneShotOwner(str, missed)
        try:
            stat = await read(watch)
            if is_set:
                if connections != engine.traffic.connections:
                    missed()  # the connection was replaced while no watch was set, so nothing reported it
                for event_type, zxid in _differences(last, stat):
                    events.fired(WatchEvent(event_type, full_path, zxid))
            else:
                connections, is_set = engine.traffic.connections, True
                on_set()
            last = stat
            pauses.reset()
            await watch.wait()
        except NoNodeError:
            continue  # deleted between two reads: the next reading shows it
        except ZooKeeperError as error:
            if engine.final_error is None and isinstance(error, SessionExpiredError):
                continue
            if engine.final_error is None and is_set and error.is_transient:
                await pauses.wait()  # the next reading finds the changes made during the pause
                continue
            events.ended(error)
            on_set()
            return
        finally:
            engine.unwatch(watch)


def _differences(old: Stat | None, new: Stat | None) -> Iterator[tuple[EventType, int | None]]:
    """Return the events that lead from one reading to the next, as far as the two stats show them."""
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
