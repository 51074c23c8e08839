"""What a client watches, and what that asks of the server, which keeps one watch per path for all of them.

Before 3.9 it keeps one mode per path as well: a one-shot watch set where a persistent one stands would
replace it (ZOOKEEPER-4466), so a read sets none there; the persistent one tells all that it would. And
where a recursive watch stands, a persistent one is set together with a recursive one, the one that lasts.
"""

from __future__ import annotations

from collections.abc import Hashable, Set as AbstractSet
from typing import Any, Final, Protocol, final

from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetWatches2Request,
)
from zkrecipes.enums import AddWatchMode, ServerGeneration
from zkrecipes.errors import UnimplementedError, ZooKeeperError
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.arming import path_watched_by
from zkrecipes.protocol.events import WatchEvent
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["PERSISTENT", "ClientWatches", "WatchOwner", "end_persistent"]

_READS_OF_DATA: Final = (ExistsRequest, GetDataRequest)
_READS: Final = (*_READS_OF_DATA, GetChildrenRequest, GetChildren2Request)
_KINDS: Final = {
    AddWatchMode.PERSISTENT: WatchKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatchKind.RECURSIVE,
}


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


@final
class ClientWatches:
    """The watches that requests are about to set, beside the table of those that are set.

    Args:
        table: the latter.
    """

    def __init__(self, table: WatchTable[Any]) -> None:
        self._table = table
        self._adding: list[Pending[Any]] = []

    def settle(self, pending: Pending[Any]) -> None:
        """`pending`, which has a watcher, is about to be sent: decide whether the server must watch."""
        request = pending.request
        if isinstance(request, _READS):
            is_needed = not self._is_covered(request.path, of_data=isinstance(request, _READS_OF_DATA))
            if request.watch != is_needed:
                pending.request = type(request)(request.path, is_needed)
            return
        if isinstance(request, SetWatches2Request):  # decided for an earlier connection
            request = pending.request = AddWatchRequest(path_watched_by(request), AddWatchMode.PERSISTENT)
        assert isinstance(request, AddWatchRequest)
        if request.mode == AddWatchMode.PERSISTENT and self.is_recursive(request.path):
            # both in one request, so that the recursive one misses nothing in between
            pending.request = SetWatches2Request(0, [], [], [], [request.path], [request.path])
        if pending not in self._adding:
            self._adding.append(pending)

    def is_recursive(self, path: str) -> bool:
        """Whether `path` is watched recursively, or a request that asks for it is under way."""
        return self._is_watched(path, {WatchKind.RECURSIVE})

    def _is_covered(self, path: str, *, of_data: bool) -> bool:
        """Whether a persistent watch tells all that a one-shot one would: a recursive one not of children."""
        kinds = {WatchKind.PERSISTENT, WatchKind.RECURSIVE} if of_data else {WatchKind.PERSISTENT}
        return self._is_watched(path, kinds)

    def _is_watched(self, path: str, kinds: AbstractSet[WatchKind]) -> bool:
        if any(self._table.is_watched(kind, path) for kind in kinds):
            return True
        # Those under way reach the server before whatever is sent next.
        self._adding = [each for each in self._adding if not (each.is_done or each.is_dropped)]
        return any(_watch_set_by(each.request) in {(kind, path) for kind in kinds} for each in self._adding)


def end_persistent(table: WatchTable[WatchOwner], generation: ServerGeneration) -> None:
    """End the watches that a server of this generation does not have, if any: nothing would ever be told.

    So it goes where the members of an ensemble are of different releases, while it is upgraded.
    """
    if generation >= ServerGeneration.V3_6:
        return
    for owner in table.owners(*PERSISTENT):
        paths = [path for kind, path in table.drop(owner) if kind in PERSISTENT]
        detail = "the client came to a server that cannot go on with this watch, which needs ZooKeeper 3.6"
        owner.ended(UnimplementedError(paths[0], detail=detail))


def _watch_set_by(request: Request[Any]) -> tuple[WatchKind, str]:
    if isinstance(request, SetWatches2Request):
        return WatchKind.PERSISTENT, path_watched_by(request)
    assert isinstance(request, AddWatchRequest)
    return _KINDS[AddWatchMode(request.mode)], request.path
