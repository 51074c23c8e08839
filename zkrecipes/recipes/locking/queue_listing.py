"""Lists of a queue's directory, each requested once for all tasks of a client that need it at the same time.

When a writer leaves, each reader behind it asks for the list: they share one request, one reply and one
`QueueOrder`. A task may join a list only until it is sent, because a list already sent may miss the change
that woke the task.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, final
from weakref import WeakKeyDictionary, WeakValueDictionary

from zkrecipes.client.recipe_api import Operation, RecipeApi
from zkrecipes.errors import ZooKeeperError
from zkrecipes.recipes.locking.lock_layouts import LockLayout
from zkrecipes.recipes.locking.queue_order import QueueOrder

__all__ = ["SharedListing", "list_in_order", "share_list"]

# By client, then by directory and layout. A list exists as long as a task waits for it.
_shared: Final[WeakKeyDictionary[object, WeakValueDictionary[object, SharedListing]]] = WeakKeyDictionary()


@final
class SharedListing:
    """A list that several tasks wait for."""

    def __init__(self, api: RecipeApi, operation: Operation[QueueOrder]) -> None:
        self._pending = api.submit(operation, survives_cancel=True)
        self._waiters = 0

    @property
    def is_unsent(self) -> bool:
        """Whether it is not sent yet, so that it will show everything that has happened so far."""
        return self._pending.is_unsent

    def join(self) -> None:
        """Count one more waiting task. The task calls `drop` if it stops waiting."""
        self._waiters += 1

    async def wait(self) -> QueueOrder:
        """Wait for the order.

        Raises:
            ZooKeeperError: the server's answer, or the loss of the connection or the session.
        """
        try:
            return await self._pending.wait()
        except ZooKeeperError as error:
            raise copy.copy(error) from error  # a separate exception for each task

    def drop(self) -> None:
        """Count one waiting task less. An unsent list without a waiting task is not sent."""
        self._waiters -= 1
        if self._waiters == 0:
            self._pending.drop()


def share_list(api: RecipeApi, directory: str, layout: LockLayout) -> SharedListing:
    """Request the list of a directory, together with the other tasks that request it before it is sent.

    It may be sent before other queued requests of the caller, so it need not show their effects.
    """
    listings = _shared.setdefault(api.root, WeakValueDictionary())
    key = (api.full_path(directory), layout.known_tags, layout.foreign)
    listing = listings.get(key)
    if listing is None or not listing.is_unsent:
        listing = listings[key] = SharedListing(api, list_in_order(api, directory, layout))
    listing.join()
    return listing


def list_in_order(api: RecipeApi, directory: str, layout: LockLayout) -> Operation[QueueOrder]:
    """Return the operation that lists a directory. All tasks that read its result get one `QueueOrder`."""
    operation = api.operations.get_children(directory)
    return Operation(operation.request, _CachedOrder(operation.convert, layout))


@final
class _CachedOrder:
    """A conversion from the reply to a `QueueOrder` that is done once."""

    def __init__(self, names_of: Callable[[Any], list[str]], layout: LockLayout) -> None:
        self._names_of = names_of
        self._layout = layout
        self._order: QueueOrder | None = None

    def __call__(self, reply: Any) -> QueueOrder:
        if self._order is None:
            self._order = QueueOrder(self._names_of(reply), self._layout)
        return self._order
