"""What a client watches, and what that asks of the server, which keeps one watch per path for all of them.

Before 3.9 it keeps one mode per path as well: a one-shot watch set where a persistent one stands would
replace it (ZOOKEEPER-4466), so a read sets none there; the persistent one tells all that it would.
"""

from __future__ import annotations

from typing import Any, Final, final

from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
)
from zkrecipes.enums import AddWatchMode
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["ClientWatches"]

_READS_OF_DATA: Final = (ExistsRequest, GetDataRequest)
_READS: Final = (*_READS_OF_DATA, GetChildrenRequest, GetChildren2Request)
_KINDS: Final = {
    AddWatchMode.PERSISTENT: WatchKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatchKind.RECURSIVE,
}


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
        elif pending not in self._adding:
            self._adding.append(pending)

    def _is_covered(self, path: str, *, of_data: bool) -> bool:
        """Whether a persistent watch tells all that a one-shot one would: a recursive one not of children."""
        kinds = {WatchKind.PERSISTENT, WatchKind.RECURSIVE} if of_data else {WatchKind.PERSISTENT}
        return any(self._table.is_watched(kind, path) for kind in kinds) or any(
            _KINDS[AddWatchMode(request.mode)] in kinds
            for request in self._requests()
            if request.path == path
        )

    def _requests(self) -> list[AddWatchRequest]:
        """Those under way; they reach the server before whatever is sent next."""
        self._adding = [each for each in self._adding if not (each.is_done or each.is_dropped)]
        return [each.request for each in self._adding if isinstance(each.request, AddWatchRequest)]
