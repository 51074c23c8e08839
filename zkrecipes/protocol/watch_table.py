"""Who watches what, and which watches an event fires: add, fire, drop, over opaque owners.

Both ends use it: on the client an owner is a watch handle, on the server a connection. The rule of what fires
is `FIRES`, one table (`WatchManager.java`, `WatchManagerOptimized.java`, `ZKWatchManager.java`, 3.9).
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
    """How a watch was set, which is what it listens to."""

    DATA = "data"
    """One-shot, by get or by exists on a znode that is there."""
    EXIST = "exist"
    """One-shot, by exists on a znode that is not there."""
    CHILD = "child"
    """One-shot, by get_children."""
    PERSISTENT = "persistent"
    """Stays: data and children of one znode."""
    RECURSIVE = "recursive"
    """Stays: the znode and all below it, but never a change of children, which their own events tell."""

    # An enum's own is a Python function, called for each look into each table below.
    if not TYPE_CHECKING:  # checkers know it as a method
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
"""Which kinds on the event's path it fires; `RECURSIVE` also where it stands on a path above."""


@final
class WatchTable(Generic[Owner]):
    """Watches by kind and path, each with its owners in the order in which they came."""

    def __init__(self) -> None:
        # dicts in place of sets: owners are told, and watches dropped, in the order in which they came
        self._owners: dict[WatchKind, dict[str, dict[Owner, None]]] = {kind: {} for kind in WatchKind}
        self._watches: dict[Owner, dict[tuple[WatchKind, str], None]] = {}

    def add(self, kind: WatchKind, path: str, owner: Owner) -> None:
        """`owner` watches `path`; the same watch twice is one."""
        self._owners[kind].setdefault(path, {})[owner] = None
        self._watches.setdefault(owner, {})[kind, path] = None

    def remove(self, kind: WatchKind, path: str, owner: Owner) -> bool:
        """`owner` watches `path` no longer; whether it did."""
        owners = self._owners[kind].get(path)
        if owners is None or owner not in owners:
            return False
        del owners[owner]
        if not owners:
            del self._owners[kind][path]
        self._forget(kind, path, owner)
        return True

    def drop(self, owner: Owner, *, at_most: int | None = None) -> list[tuple[WatchKind, str]]:
        """`owner` watches nothing any longer; what it watched, oldest first.

        Args:
            owner: which one.
            at_most: how many watches to drop; None for all.
        """
        watches = list(islice(self._watches.get(owner, ()), at_most))
        for kind, path in watches:
            self.remove(kind, path, owner)
        return watches

    def fire(self, event: EventType, path: str, *, is_replay: bool = False) -> list[Owner]:
        """The owners that the event concerns, each once; their one-shot watches of it are gone.

        Args:
            event: what happened.
            path: to which znode.
            is_replay: it is the server's answer to setWatches, which concerns one-shot watches only.
        """
        told: dict[Owner, None] = {}
        for kind in FIRES.get(event, ()):
            if is_replay and kind not in ONE_SHOT:
                continue
            owners = self._owners[kind].get(path)
            if owners:
                told.update(owners)
                if kind in ONE_SHOT:
                    for owner in owners:
                        self._forget(kind, path, owner)
                    del self._owners[kind][path]
        recursive = self._owners[WatchKind.RECURSIVE]
        if recursive and not is_replay and WatchKind.RECURSIVE in FIRES.get(event, ()):
            above = path
            while above != "/":
                above = parent_of(above)
                told.update(recursive.get(above, {}))
        return list(told)

    def is_watched(self, kind: WatchKind, path: str) -> bool:
        """Whether anybody watches `path` this way."""
        return path in self._owners[kind]

    def has_watcher(self, path: str) -> bool:
        """Whether anybody watches `path` in any way."""
        return any(path in owners for owners in self._owners.values())

    def paths(self, kind: WatchKind) -> list[str]:
        """Every path that is watched this way."""
        return list(self._owners[kind])

    def owners(self, *kinds: WatchKind) -> list[Owner]:
        """Every owner of a watch of one of these kinds (of any kind where none is named), each once."""
        if not kinds:
            return list(self._watches)
        found: dict[Owner, None] = {}
        for kind in kinds:
            for owners in self._owners[kind].values():
                found.update(owners)
        return list(found)

    def watches_of(self, owner: Owner) -> frozenset[tuple[WatchKind, str]]:
        """What `owner` watches."""
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
