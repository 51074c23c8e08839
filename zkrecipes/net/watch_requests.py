"""The owners of watches: the engine's reports to them, and the end of watches that a server lacks."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Final, Protocol

import anyio.lowlevel

from zkrecipes.enums import ServerVersion
from zkrecipes.errors import UnimplementedError, ZooKeeperError
from zkrecipes.protocol.capabilities import Capabilities
from zkrecipes.protocol.events import WatchEvent
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["PERSISTENT", "WatchOwner", "end_watches", "report_attached"]

PERSISTENT: Final = (WatchKind.PERSISTENT, WatchKind.RECURSIVE)
"""The kinds that servers before 3.6 do not have."""

_SLICE: Final = 1000
"""The number of watches that are notified before the loop gets a turn: it takes a millisecond or two."""


class WatchOwner(Hashable, Protocol):
    """An owner of watches, notified of their events and of their end. No method may wait."""

    def fired(self, event: WatchEvent) -> None:
        """Handle an event of the watch."""

    def missed(self) -> None:
        """Note a new connection: events may have been missed, unless the watch is a one-shot one."""

    def ended(self, error: ZooKeeperError) -> None:
        """End the watch, because its session or the client has ended."""

    def left(self) -> None:
        """Fail every wait for an event, because the block of the watch has been left."""

    @property
    def is_left(self) -> bool:
        """Whether the block of the watch has been left: a request in flight must leave no watch behind."""


async def report_attached(table: WatchTable[WatchOwner], capabilities: Capabilities) -> None:
    """Notify the owners of all watches of a new connection, before any event of it is taken.

    Watches that the server does not have are ended.

    Args:
        table: the client's watches.
        capabilities: those of the server.
    """
    if capabilities.has(ServerVersion.V3_6) is False:
        _end_persistent(table)
    for number, owner in enumerate(table.owners(), 1):
        owner.missed()
        if number % _SLICE == 0:
            await anyio.lowlevel.checkpoint()


def end_watches(table: WatchTable[WatchOwner], error: ZooKeeperError, *kinds: WatchKind) -> None:
    """Drop the owners of watches of these kinds, or of any, and end each with a copy of `error`."""
    for owner in table.owners(*kinds):
        table.drop(owner)
        owner.ended(copy.copy(error))


def _end_persistent(table: WatchTable[WatchOwner]) -> None:
    """End the watches that a server before 3.6 does not have, since they would never fire.

    This happens while an ensemble is upgraded and its members are of different releases.
    """
    for owner in table.owners(*PERSISTENT):
        paths = [path for kind, path in table.drop(owner) if kind in PERSISTENT]
        detail = "the client reached a server that cannot continue this watch, which needs ZooKeeper 3.6"
        owner.ended(UnimplementedError(paths[0], detail=detail))
