"""Lists of a queue's directory, each sent once for all tasks of a client that ask for it together.

When a writer leaves, each reader behind it asks for the list: they share one request, one reply and one
order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, final
from weakref import WeakKeyDictionary, WeakValueDictionary

from zkrecipes.client.recipe_api import Operation, RecipeApi
from zkrecipes.errors import ZooKeeperError
from zkrecipes.recipes.locking.layouts import LockLayout
from zkrecipes.recipes.locking.queue_order import QueueOrder

__all__ = ["Listing", "list_in_order", "share_list"]

# A list lives as long as a task waits for it.
_shared: Final[WeakKeyDictionary[object, WeakValueDictionary[object, Listing]]] = WeakKeyDictionary()


@final
class Listing:
    """A list that several tasks wait for."""

    def __init__(self, api: RecipeApi, operation: Operation[QueueOrder]) -> None:
        self._pending = api.submit(operation, survives_cancel=True)
        self._askers = 0

    @property
    def is_unsent(self) -> bool:
        """Whether it is still to be sent, so that it will show all that has happened so far."""
        return self._pending.is_unsent

    def join(self) -> None:
        """Count one more task that waits, and calls `drop` when it does not any longer."""
        self._askers += 1

    async def wait(self) -> QueueOrder:
        """Wait for the order.

        Raises:
            ZooKeeperError: what the server answered, or what became of the connection or the session.
        """
        try:
            return await self._pending.wait()
        except ZooKeeperError as error:
            raise copy.copy(error) from error  # each task has its own

    def drop(self) -> None:
        """Count one task less: if none is left, an unsent list is not sent."""
        self._askers -= 1
        if self._askers == 0:
            self._pending.drop()


def share_list(api: RecipeApi, directory: str, layout: LockLayout) -> Listing:
    """Ask for the list of a directory, together with the other tasks that ask for it before it is sent.

    It may be sent before other requests of the caller that are queued: it need not show what they change.
    """
    listings = _shared.setdefault(api.root, WeakValueDictionary())
    key = (api.operations.full(directory), layout.seen, layout.others)
    listing = listings.get(key)
    if listing is None or not listing.is_unsent:
        listing = listings[key] = Listing(api, list_in_order(api, directory, layout))
    listing.join()
    return listing


def list_in_order(api: RecipeApi, directory: str, layout: LockLayout) -> Operation[QueueOrder]:
    """The operation that lists a directory. The order is made once, however many tasks read the result."""
    operation = api.operations.get_children(directory)
    return Operation(operation.request, _MadeOnce(operation.convert, layout))


@final
class _MadeOnce:
    def __init__(self, names_of: Callable[[Any], list[str]], layout: LockLayout) -> None:
        self._names_of = names_of
        self._layout = layout
        self._order: QueueOrder | None = None

    def __call__(self, reply: Any) -> QueueOrder:
        if self._order is None:
            self._order = QueueOrder(self._names_of(reply), self._layout)
        return self._order
