"""Removes on the server the watches that no watcher needs, slice by slice.

`protocol/watch_registration.py` knows their paths, and decides about each request when it is encoded. This
file only waits: for the answer whether the server can remove watches (servers before 3.5 cannot, and a watch
stays there until it fires unheard), and between the slices.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, final

import anyio
import anyio.lowlevel

from zkrecipes.codec.messages import RemoveWatchesRequest
from zkrecipes.enums import ServerVersion, WatcherType
from zkrecipes.errors import ThrottledError, ZooKeeperError
from zkrecipes.net.capability_cache import has_version
from zkrecipes.net.pending import PendingRequest, ignore_reply
from zkrecipes.net.wakeup import Parking
from zkrecipes.net.watch_requests import WatchOwner
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.watch_registration import UPKEEP
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["WatchRemover"]

_SLICE: Final = 200
"""The number of removals in flight: this many delay the loop and other requests by some milliseconds."""
_DROPPED_SLICE: Final = 1000
"""The number of watches of one owner that are dropped before the loop gets a turn: two milliseconds."""
_THROTTLED_PAUSE: Final = 0.1
"""The seconds to wait if the server answers that it has too much to do."""


class Carrier(Protocol):
    """The engine, as far as it is needed here."""

    parking: Parking
    watches: WatchTable[WatchOwner]

    @property
    def side(self) -> ClientSide | None:
        """The protocol of the current connection, or None."""

    def submit(self, pending: PendingRequest[Any]) -> None:
        """Send a request in its turn."""

    def start_task(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run `func` in a task that ends with the client."""


@final
class WatchRemover:
    """The part of a client that drops watchers and, in one task, removes unneeded watches from the server.

    Args:
        carrier: has the watches and the connection.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._paths_left: dict[str, None] = {}
        self._is_removing = False
        self._removals: list[PendingRequest[None]] = []

    def unwatch(self, owner: WatchOwner) -> None:
        """Drop the watches of `owner`, whose block has been left; remove unneeded ones from the server."""
        owner.left()
        if self._drop_slice(owner) == _DROPPED_SLICE:
            self._carrier.start_task(self._drop_rest, owner)

    async def _drop_rest(self, owner: WatchOwner) -> None:
        while self._drop_slice(owner) == _DROPPED_SLICE:
            await anyio.lowlevel.checkpoint()

    def _drop_slice(self, owner: WatchOwner) -> int:
        """Drop some watches of an owner, which may have very many; return their number."""
        paths = [path for _, path in self._carrier.watches.drop(owner, at_most=_DROPPED_SLICE)]
        side = self._carrier.side
        if side is None:
            # The next connection may be setting them again right now.
            self._paths_left.update(dict.fromkeys(paths))
            return len(paths)
        for path in paths:
            side.registrations.left(path)
        self.remove_unneeded()
        return len(paths)

    def attached(self) -> None:
        """Check the paths whose watchers left while the connection restored its watches."""
        side = self._carrier.side
        assert side is not None
        paths, self._paths_left = self._paths_left, {}
        for path in paths:
            side.registrations.left(path)
        self.remove_unneeded()

    def detached(self) -> None:
        """Forget the removals in flight: the next server has nothing to remove, and may not know how."""
        removals, self._removals = self._removals, []
        for removal in removals:
            if not removal.is_done:
                removal.drop()
                removal.complete(None, None)

    def remove_unneeded(self) -> None:
        """Start the task that removes unneeded watches, if there are any and the task does not run."""
        side = self._carrier.side
        if side is not None and side.registrations.unneeded and not self._is_removing:
            self._is_removing = True
            self._carrier.start_task(self._remove)

    async def _remove(self) -> None:
        carrier = self._carrier
        try:
            while (side := carrier.side) is not None and side.registrations.unneeded:
                can_remove = await has_version(carrier, ServerVersion.V3_5)
                if side is carrier.side:
                    paths = side.registrations.take_unneeded(_SLICE)
                    await self._remove_slice(paths if can_remove else [])
        except ZooKeeperError:
            pass  # the client has ended
        finally:
            self._is_removing = False

    async def _remove_slice(self, paths: list[str]) -> None:
        """Remove the watches at `paths` that are still unneeded, and wait for the answers."""
        parking = self._carrier.parking
        self._removals = [
            PendingRequest(RemoveWatchesRequest(path, WatcherType.ANY), ignore_reply, parking, watcher=UPKEEP)
            for path in paths
        ]
        for removal in self._removals:
            self._carrier.submit(removal)
        await anyio.lowlevel.checkpoint()
        for removal in self._removals:
            await removal.wait_done()
        if any(isinstance(removal.error, ThrottledError) for removal in self._removals):
            await anyio.sleep(_THROTTLED_PAUSE)
