"""Removes on the server what no watcher needs any longer, slice by slice.

`protocol/watch_registration.py` knows which paths these are, and decides about each request when it is
encoded. Here is only what waits: whether the server can remove watches at all (servers before 3.5 cannot;
there a watch stays until it fires unheard), and the pace.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, final

import anyio
import anyio.lowlevel

from zkrecipes.codec.messages import RemoveWatchesRequest
from zkrecipes.enums import ServerVersion, WatcherType
from zkrecipes.errors import ThrottledError, ZooKeeperError
from zkrecipes.net.connection import Connection
from zkrecipes.net.pending import Pending
from zkrecipes.net.wakeup import Parking
from zkrecipes.net.watch_requests import WatchOwner
from zkrecipes.protocol.watch_registration import UPKEEP
from zkrecipes.protocol.watch_table import WatchTable

__all__ = ["WatchRemover"]

_SLICE: Final = 200
"""How many removals are on their way at once: some milliseconds of the loop, and of other requests' time."""
_DROPPED_SLICE: Final = 1000
"""How many watches of one owner are dropped in one go: two milliseconds."""
_THROTTLED_PAUSE: Final = 0.1
"""Seconds to wait if the server says that it has too much to do."""


class Carrier(Protocol):
    """The client's session, as far as it is needed here."""

    parking: Parking
    watches: WatchTable[WatchOwner]

    @property
    def connection(self) -> Connection | None:
        """The current connection, or None."""

    def submit(self, pending: Pending[Any]) -> None:
        """Send a request in its turn."""

    async def has(self, version: ServerVersion) -> bool:
        """Whether the server is of this version or a later one."""
        raise NotImplementedError

    def start_chore(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run `func` in a task that ends with the client."""


@final
class WatchRemover:
    """Takes watchers out of the table, and unneeded watches from the server with one task for all of them.

    Args:
        carrier: where the watches and the connection are.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._left: dict[str, None] = {}
        self._is_removing = False
        self._removals: list[Pending[None]] = []

    def unwatch(self, owner: WatchOwner) -> None:
        """Note that the block of `owner` has been left; the server's watch goes if no other one needs it."""
        owner.left()
        if self._drop_slice(owner) == _DROPPED_SLICE:
            self._carrier.start_chore(self._drop_rest, owner)

    async def _drop_rest(self, owner: WatchOwner) -> None:
        while self._drop_slice(owner) == _DROPPED_SLICE:
            await anyio.lowlevel.checkpoint()

    def _drop_slice(self, owner: WatchOwner) -> int:
        """Drop some watches of an owner, which may have very many; return how many."""
        paths = [path for _, path in self._carrier.watches.drop(owner, at_most=_DROPPED_SLICE)]
        connection = self._carrier.connection
        if connection is None:
            # The next connection may be setting them again at this moment.
            self._left.update(dict.fromkeys(paths))
            return len(paths)
        for path in paths:
            connection.side.registrations.left(path)
        self.remove_unneeded()
        return len(paths)

    def attached(self) -> None:
        """Look at the paths that were left while the connection set their watches again."""
        connection = self._carrier.connection
        assert connection is not None
        left, self._left = self._left, {}
        for path in left:
            connection.side.registrations.left(path)
        self.remove_unneeded()

    def detached(self) -> None:
        """Forget the removals under way: the next server has nothing to remove, and may not know how."""
        removals, self._removals = self._removals, []
        for removal in removals:
            if not removal.is_done:
                removal.drop()
                removal.complete(None, None)

    def remove_unneeded(self) -> None:
        """Let the task begin, if there is something for it to do and it does not run."""
        connection = self._carrier.connection
        if connection is not None and connection.side.registrations.unneeded and not self._is_removing:
            self._is_removing = True
            self._carrier.start_chore(self._remove)

    async def _remove(self) -> None:
        carrier = self._carrier
        try:
            while (connection := carrier.connection) is not None and connection.side.registrations.unneeded:
                can_remove = await carrier.has(ServerVersion.V3_5)
                if connection is carrier.connection:
                    paths = connection.side.registrations.take_unneeded(_SLICE)
                    await self._remove_slice(paths if can_remove else [])
        except ZooKeeperError:
            pass  # the client is over
        finally:
            self._is_removing = False

    async def _remove_slice(self, paths: list[str]) -> None:
        """Ask for each path whether the server's watch is still unneeded, and wait for the answers."""
        parking = self._carrier.parking
        self._removals = [
            Pending(RemoveWatchesRequest(path, WatcherType.ANY), _nothing, parking, watcher=UPKEEP)
            for path in paths
        ]
        for removal in self._removals:
            self._carrier.submit(removal)
        await anyio.lowlevel.checkpoint()
        for removal in self._removals:
            await removal.wait_done()
        if any(isinstance(removal.error, ThrottledError) for removal in self._removals):
            await anyio.sleep(_THROTTLED_PAUSE)


def _nothing(_: object) -> None:
    """For requests whose answer says nothing."""
