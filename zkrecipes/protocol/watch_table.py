"""The table of watches and their opaque owners: add, remove, drop, fire.

Both ends use it: on the client an owner is a watch handle, on the server a connection. The table `FIRES`
defines which watches an event fires (`WatchManager.java`, `WatchManagerOptimized.java`,
`ZKWatchManager.java`, 3.9).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, final

from zkrecipes.enums import EventType
from zkrecipes.paths import parent_of

__all__ = ["FIRES", "ONE_SHOT", "WatchKind", "WatchTable"]

Owner = TypeVar("Owner", bound=Hashable)


class WatchKind(Enum):
    """The kind of a watch: the request that set it, which decides the events that fire it."""

    DATA = "data"
    """One-shot, set by get, or by exists on an existing znode."""
    EXIST = "exist"
    """One-shot, set by exists on a missing znode."""
    CHILD = "child"
    """One-shot, set by get_children."""
    PERSISTENT = "persistent"
    """Persistent: data and children of one znode."""
    RECURSIVE = "recursive"
    """Persistent: the znode and all below it, but no change of children, which their own events report."""

    # An enum's own `__hash__` is a Python function, called for each access to a table below.
    if not TYPE_CHECKING:  # pragma: no branch - type checkers expect a method
        __hash__ = object.__hash__


ONE_SHOT = frozenset({WatchKind.DATA, WatchKind.EXIST, WatchKind.CHILD})
"""The kinds that leave the table when they fire."""

FIRES: dict[EventType, tuple[WatchKind, ...]] = {
    EventType.CREATED: (WatchKind.DATA, WatchKind.EXIST, WatchKind.PERSISTENT, WatchKind.RECURSIVE),
    EventType.DELETED: (
        WatchKind.DATA,
        WatchKind.EXIST,
        WatchKind.CHILD,
        WatchKind.PERSISTENT,
        WatchKind.RECURSIVE,
    ),
    EventType.DATA_CHANGED: (WatchKind.DATA, WatchKind.EXIST, WatchKind.PERSISTENT, WatchKind.RECURSIVE),
    EventType.CHILDREN_CHANGED: (WatchKind.CHILD, WatchKind.PERSISTENT),
}
"""The kinds of watch that an event fires on its path. `RECURSIVE` watches on paths above fire as well."""


@final
class WatchTable(Generic[Owner]):
    """Watches by kind and path, each with its owners in the order in which they were added."""

    def __init__(self) -> None:
        # dicts instead of sets: owners are notified, and watches dropped, in the order in which they were
        # added
        self._owners: dict[WatchKind, dict[str, dict[Owner, None]]] = {kind: {} for kind in WatchKind}
        self._watches: dict[Owner, dict[tuple[WatchKind, str], None]] = {}

    def add(self, kind: WatchKind, path: str, owner: Owner) -> None:
        """Add a watch; adding the same watch twice has no effect."""
        self._owners[kind].setdefault(path, {})[owner] = None
        self._watches.setdefault(owner, {})[kind, path] = None

    def remove(self, kind: WatchKind, path: str, owner: Owner) -> bool:
        """Remove a watch, and return whether it was in the table."""
        owners = self._owners[kind].get(path)
        if owners is None or owner not in owners:
            return False
        del owners[owner]
        if not owners:
            del self._owners[kind][path]
        self._forget(kind, path, owner)
        return True

    def drop(self, owner: Owner, *, at_most: int | None = None) -> list[tuple[WatchKind, str]]:
        """Remove the watches of an owner, and return them, oldest first.

        Args:
            owner: the owner.
            at_most: the number of watches to remove; None for all.
        """
        watches = list(islice(self._watches.get(owner, ()), at_most))
        for kind, path in watches:
            self.remove(kind, path, owner)
        return watches

    def fire(self, event: EventType, path: str, *, is_replay: bool = False) -> list[Owner]:
        """Remove the one-shot watches that an event fires, and return the owners of all it fires, each once.

        Args:
            event: the type of change.
            path: the changed znode.
            is_replay: whether the server fired it while restoring watches, which fires one-shot ones only.
        """
        fired: dict[Owner, None] = {}
        for kind in FIRES.get(event, ()):
            if is_replay and kind not in ONE_SHOT:
                continue
            owners = self._owners[kind].get(path)
            if owners:
                fired.update(owners)
                if kind in ONE_SHOT:
                    for owner in owners:
                        self._forget(kind, path, owner)
                    del self._owners[kind][path]
        recursive = self._owners[WatchKind.RECURSIVE]
        if recursive and not is_replay and WatchKind.RECURSIVE in FIRES.get(event, ()):
            above = path
            while above != "/":
                above = parent_of(above)
                fired.update(recursive.get(above, {}))
        return list(fired)

    def is_watched(self, kind: WatchKind, path: str) -> bool:
        """Whether `path` has a watch of this kind."""
        return path in self._owners[kind]

    def has_watcher(self, path: str) -> bool:
        """Whether `path` has a watch of any kind."""
        return any(path in owners for owners in self._owners.values())

    def paths(self, kind: WatchKind) -> list[str]:
        """Return the paths that have a watch of this kind."""
        return list(self._owners[kind])

    def owners(self, *kinds: WatchKind) -> list[Owner]:
        """Return the owners of watches of these kinds (of any kind if none is named), each once."""
        if not kinds:
            return list(self._watches)
        found: dict[Owner, None] = {}
        for kind in kinds:
            for owners in self._owners[kind].values():
                found.update(owners)
        return list(found)

    def watches_of(self, owner: Owner) -> frozenset[tuple[WatchKind, str]]:
        """Return the watches of an owner."""
        return frozenset(self._watches.get(owner, ()))

    def __len__(self) -> int:
        return sum(map(len, self._watches.values()))

    def __iter__(self) -> Iterator[tuple[WatchKind, str, Owner]]:
        for kind, paths in self._owners.items():
            for path, owners in paths.items():
                for owner in owners:
                    yield kind, path, owner

    def _forget(self, kind: WatchKind, path: str, owner: Owner) -> None:
        watches = self._watches[owner]
        del watches[kind, path]
        if not watches:
            del self._watches[owner]
