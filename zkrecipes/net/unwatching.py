"""Takes back on the server what nobody watches any longer.

A server keeps one watch of each path for all of a client's (`net/watches.py`), so the last one to leave
removes it. A server before 3.5 cannot do that: there the watch stays until it fires unheard.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, final

from zkrecipes.codec.messages import AddWatchRequest, RemoveWatchesRequest
from zkrecipes.enums import AddWatchMode, ServerGeneration, WatcherType
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.connection import Connection
from zkrecipes.net.pending import Pending
from zkrecipes.net.wakeup import Parking
from zkrecipes.net.watches import ClientWatches, WatchOwner
from zkrecipes.protocol.events import WatchEvent
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["Unwatching"]


class Carrier(Protocol):
    """The client's session, as far as it is needed here."""

    parking: Parking
    watches: WatchTable[WatchOwner]

    @property
    def connection(self) -> Connection | None:
        """The present connection, or None."""

    def submit(self, pending: Pending[Any]) -> None:
        """Send a request in its turn."""

    async def generation(self) -> ServerGeneration:
        """What the server can do."""
        raise NotImplementedError

    def start_chore(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run `func` in a task that ends with the client."""


@final
class Unwatching:
    """Removes unneeded watches, one request for each, and one task for however many there are at once.

    Args:
        carrier: where the watches and the connection are.
        arming: the watches that requests are about to set.
    """

    def __init__(self, carrier: Carrier, arming: ClientWatches) -> None:
        self._carrier = carrier
        self._arming = arming
        self._lingering: set[str] = set()  # to be looked at again when others have gone
        self._unneeded: dict[str, None] = {}  # on this connection, to be removed
        self._is_removing = False
        self._removals: list[Pending[None]] = []  # on their way

    def unwatch(self, owner: WatchOwner) -> None:
        """`owner` is no longer interested; a watch that nobody needs any more is removed on the server."""
        carrier = self._carrier
        watches = carrier.watches.drop(owner)
        self._remove_unneeded(dict.fromkeys([*(path for _, path in watches), *self._lingering]))
        for kind, path in watches:
            if kind is WatchKind.RECURSIVE and carrier.connection is not None and self._is_too_wide(path):
                carrier.start_chore(self._narrow_watch, path, carrier.connection)

    def fired(self, path: str) -> None:
        """A watch of `path` fired, and one-shot ones are gone with that."""
        if path in self._lingering:
            self._remove_unneeded((path,))

    def attached(self) -> None:
        """A connection is up, and has set watches again that perhaps nobody needs by now."""
        connection = self._carrier.connection
        assert connection is not None
        lingering, self._lingering = self._lingering, set()
        self._remove_unneeded(lingering & connection.side.rearmed)

    def detached(self) -> None:
        """The connection is gone, and with it all that it had set."""
        self._lingering.clear()
        self._unneeded.clear()
        for removal in self._removals:
            removal.drop()  # the next server has nothing to remove, and may not even know how
        self._removals.clear()

    def _remove_unneeded(self, paths: Iterable[str]) -> None:
        if self._carrier.connection is None:
            # Watches die with their connection; but the next one may be setting them again this very moment.
            self._lingering.update(paths)
            return
        for path in paths:
            if self._is_watched(path):
                self._lingering.add(path)
            else:
                self._lingering.discard(path)
                self._unneeded[path] = None
        if self._unneeded and not self._is_removing:
            self._is_removing = True
            self._carrier.start_chore(self._remove_watches)

    async def _remove_watches(self) -> None:
        try:
            while self._unneeded and (connection := self._carrier.connection) is not None:
                can_remove = await self._is_at_least(ServerGeneration.V3_5)
                if connection is self._carrier.connection:
                    unneeded, self._unneeded = self._unneeded, {}
                    self._removals = [each for each in self._removals if not each.is_done]
                    for path in unneeded if can_remove else ():
                        self._remove_watch(path, connection)
        finally:
            self._is_removing = False

    def _remove_watch(self, path: str, connection: Connection) -> None:
        if self._is_watched(path):
            self._lingering.add(path)
            return
        removal = Pending(RemoveWatchesRequest(path, WatcherType.ANY), _nothing, self._carrier.parking)
        self._carrier.submit(removal)
        self._removals.append(removal)
        connection.side.removes_watch(path)

    async def _narrow_watch(self, path: str, connection: Connection) -> None:
        """Take the server out of recursive mode, with a watch of nobody's that comes and goes."""
        if not await self._is_at_least(ServerGeneration.V3_6):
            return
        if self._carrier.connection is connection and self._is_too_wide(path):
            nobody = _Nobody()
            request = AddWatchRequest(path, AddWatchMode.PERSISTENT)
            narrowing = Pending(request, _nothing, self._carrier.parking, watcher=nobody)
            self._carrier.submit(narrowing)
            await narrowing.wait_done()
            self.unwatch(nobody)

    async def _is_at_least(self, generation: ServerGeneration) -> bool:
        try:
            return await self._carrier.generation() >= generation
        except ZooKeeperError:
            return False  # the client is over

    def _is_too_wide(self, path: str) -> bool:
        """Whether nobody watches `path` recursively any longer, but somebody does so without that."""
        is_persistent = self._carrier.watches.is_watched(WatchKind.PERSISTENT, path)
        return is_persistent and not self._arming.is_recursive(path)

    def _is_watched(self, path: str) -> bool:
        """Whether anybody watches `path`, or has asked to: the server keeps one watch for all of them."""
        carrier = self._carrier
        return any(carrier.watches.is_watched(kind, path) for kind in WatchKind) or (
            carrier.connection is not None and carrier.connection.side.is_arming(path)
        )


@final
class _Nobody:
    """The owner of a watch that nobody reads."""

    def fired(self, event: WatchEvent) -> None:
        """Nobody is told."""

    def missed(self) -> None:
        """Nobody is told."""

    def ended(self, error: ZooKeeperError) -> None:
        """Nobody is told."""


def _nothing(_: object) -> None:
    """For requests whose answer says nothing."""
