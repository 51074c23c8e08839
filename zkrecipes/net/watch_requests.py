"""Who watches: what the session reports to the owner of a watch, and which watches a server cannot carry."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Protocol

from zkrecipes.errors import UnimplementedError, ZooKeeperError
from zkrecipes.protocol.events import WatchEvent
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["PERSISTENT", "WatchOwner", "end_persistent"]

PERSISTENT: Final = (WatchKind.PERSISTENT, WatchKind.RECURSIVE)
"""The kinds that servers before 3.6 do not have."""


class WatchOwner(Hashable, Protocol):
    """Who is told what becomes of a watch. Nothing here may wait."""

    def fired(self, event: WatchEvent) -> None:
        """The watch fired."""

    def missed(self) -> None:
        """A new connection: events may have been missed, unless the watch is a one-shot one."""

    def ended(self, error: ZooKeeperError) -> None:
        """The watch is over, with its session or its client."""

    def left(self) -> None:
        """The block of the watch has been left: every wait for an event ends with an error."""

    @property
    def is_left(self) -> bool:
        """Whether it has: a request under way must leave no watch behind."""


def end_persistent(table: WatchTable[WatchOwner]) -> None:
    """End the watches that a server before 3.6 does not have, if any: nothing would ever be told.

    So it goes where the members of an ensemble are of different releases, while it is upgraded.
    """
    for owner in table.owners(*PERSISTENT):
        paths = [path for kind, path in table.drop(owner) if kind in PERSISTENT]
        detail = "the client came to a server that cannot go on with this watch, which needs ZooKeeper 3.6"
        owner.ended(UnimplementedError(paths[0], detail=detail))
