"""Many one-shot watches with one owner: it collects which znodes to read again.

`ChangedPaths` is the handle that recipes get. `ChangedPathsOwner` implements it, and the engine calls it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

import anyio

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.events import WatchEvent

__all__ = ["ChangedPaths", "ChangedPathsOwner"]

T = TypeVar("T")

_ANSWERED_MAX: Final = 1000
"""The number of kept requests at which the answered ones, whose answers cost memory, are removed."""


@final
class ChangedPaths:
    """The paths whose one-shot watches have fired. `RecipeApi.changed_paths` creates it.

    A one-shot watch ends when it fires, so after taking a path the caller reads it again, with a watch.

    Replies and events arrive in the order in which the server sent them. So if each read sets a watch and
    `has_news` is False when the last reply has arrived, all the results were still current when the server
    sent that reply.
    """

    __slots__ = ("__weakref__", "_calls", "_owner")

    def __init__(self, owner: ChangedPathsOwner, calls: Dispatcher) -> None:
        self._owner = owner
        self._calls = calls

    def submit(self, read: Operation[T]) -> Pending[T]:
        """Send a read now and await it later, as `RecipeApi.submit` does; this block owns its watch.

        Args:
            read: an operation made with `watch=True`, which sets a watch.
        """
        pending = self._calls.submit(read, watcher=self._owner)
        self._owner.submitted(pending)
        return pending

    @property
    def has_news(self) -> bool:
        """Whether `wait` would return or raise immediately."""
        return self._owner.has_news

    @property
    def is_over(self) -> bool:
        """Whether the watches have ended, with their session or their client."""
        return self._owner.is_over

    async def wait(self) -> list[str]:
        """Wait for a change, and take the changed paths, each once.

        Raises:
            SessionExpiredError: the session ended, and all watches with it.
            ZooKeeperError: the client ended.
            RuntimeError: the block of the watches has been left.

        Cancellation: no path is taken.
        """
        return await self._owner.wait()


@final
class ChangedPathsOwner:
    """The owner of the watches of a `ChangedPaths`.

    Args:
        seen: turns a full path into the path as the caller sees it.
        and_reconnects: whether `wait` also returns, perhaps without a path, on each new connection: a znode
            that was created and deleted without a connection fires no watch.
    """

    def __init__(self, seen: Callable[[str], str], *, and_reconnects: bool = False) -> None:
        self._seen = seen
        self._and_reconnects = and_reconnects
        self._paths: dict[str, None] = {}
        self._submitted: list[Pending[Any]] = []
        self._remove_answered_at = _ANSWERED_MAX
        self._error: ZooKeeperError | RuntimeError | None = None
        self._news = anyio.Event()
        self.is_left: bool = False
        """Whether the block has been left."""

    @property
    def has_news(self) -> bool:
        """See `ChangedPaths.has_news`."""
        return self._news.is_set()

    @property
    def is_over(self) -> bool:
        """See `ChangedPaths.is_over`."""
        return self._error is not None

    async def wait(self) -> list[str]:
        """Wait for a change, as `ChangedPaths.wait` does."""
        await self._news.wait()
        if self._error is not None:
            raise copy.copy(self._error)
        self._news = anyio.Event()
        paths, self._paths = self._paths, {}
        return list(paths)

    def submitted(self, pending: Pending[Any]) -> None:
        """Note a submitted request that sets a watch."""
        if len(self._submitted) >= self._remove_answered_at:
            self._submitted = [each for each in self._submitted if not each.is_done]
            self._remove_answered_at = max(_ANSWERED_MAX, 2 * len(self._submitted))
        self._submitted.append(pending)

    def fired(self, event: WatchEvent) -> None:
        """Note that a watch fired."""
        self._paths[self._seen(event.path)] = None
        self._news.set()

    def missed(self) -> None:
        """Note a new connection, on which the server fires the watches that are due."""
        if self._and_reconnects:
            self._news.set()

    def ended(self, error: ZooKeeperError) -> None:
        """Note that the watches are over."""
        self._end(error)

    def left(self) -> None:
        """Note that the block has been left, and drop the requests that were not sent."""
        if self.is_left:
            return
        self.is_left = True
        for pending in self._submitted:
            pending.drop()
        self._submitted.clear()
        self._end(RuntimeError("the block of these watches has been left: no more changes are reported"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        self._error = error
        self._news.set()
