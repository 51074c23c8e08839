"""How the contenders of kazoo's and Curator's recipes are named, so that ours contend with theirs.

Read in kazoo 2.11 (`kazoo/recipe/lock.py`) and Curator 5.4 (`LockInternals`, `StandardLockInternalsDriver`,
`InterProcessReadWriteLock`, `InterProcessSemaphoreV2`, `LeaderLatch`, `ProtectedUtils`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, final

from zkrecipes.paths import sequence_number

__all__ = [
    "ELECTIONS",
    "MUTEXES",
    "READERS",
    "SEMAPHORES",
    "WRITERS",
    "LockLayout",
    "SemaphoreLayout",
    "choose_layout",
]

L = TypeVar("L")


@final
@dataclass(frozen=True, slots=True)
class LockLayout:
    """The names of the contenders in one directory, and who of them goes before whom.

    Attributes:
        name: what the layout is called.
        form: a contender's name without its number; `{hex}` and `{dashed}` stand for its GUID.
        tag: what stands directly before the number.
        blocked_by: the tags of those who go first when they came first.
        seen: every tag that belongs to the recipe; other names are no contenders.
    """

    name: str
    form: str
    tag: str
    blocked_by: tuple[str, ...]
    seen: tuple[str, ...]

    def prefix(self, guid: str) -> str:
        """The name of a contender, without the number that the server appends.

        Args:
            guid: 32 hex digits, as `uuid4().hex`.
        """
        return _fill_in(self.form, guid)

    def tag_and_sequence_of(self, name: str) -> tuple[str, int] | None:
        """The tag and the number of a contender, or None for a name that is none."""
        for tag in self.seen:
            sequence = sequence_number(name, after=tag)
            if sequence is not None:
                return tag, sequence
        return None


@final
@dataclass(frozen=True, slots=True)
class SemaphoreLayout:
    """Where a semaphore's permits lie, what they are called, and where to queue for some.

    Attributes:
        name: what the layout is called.
        permits: what follows the semaphore's path in that of the permits' directory.
        queue: the same for the queue's directory.
        lock: the names in the queue.
        form: a permit's name, as in `LockLayout`.
        is_sequential: whether the server appends a number to it.
        has_limit: whether the permits' directory holds the limit, as ASCII digits.
    """

    name: str
    permits: str
    queue: str
    lock: LockLayout
    form: str
    is_sequential: bool
    has_limit: bool

    def prefix(self, guid: str) -> str:
        """The name of a permit, without the number that the server may append."""
        return _fill_in(self.form, guid)


def _fill_in(form: str, guid: str) -> str:
    dashed = "-".join((guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]))
    return form.format(hex=guid, dashed=dashed)


def _alone(name: str, form: str, tag: str) -> LockLayout:
    return LockLayout(name, form, tag, (tag,), (tag,))


_KAZOO: Final = "{hex}"
_CURATOR: Final = "_c_{dashed}-"

_KAZOO_LOCK: Final = _alone("kazoo", _KAZOO + "__lock__", "__lock__")
_CURATOR_LOCK: Final = _alone("curator", _CURATOR + "lock-", "lock-")

MUTEXES: Final[Mapping[str, LockLayout]] = {"kazoo": _KAZOO_LOCK, "curator": _CURATOR_LOCK}
"""kazoo's `Lock`, Curator's `InterProcessMutex`."""

ELECTIONS: Final[Mapping[str, LockLayout]] = {
    "kazoo": _KAZOO_LOCK,
    "curator-latch": _alone("curator-latch", _CURATOR + "latch-", "latch-"),
    "curator-selector": _CURATOR_LOCK,
}
"""kazoo's `Election`, Curator's `LeaderLatch` and `LeaderSelector`."""

_KAZOO_BOTH: Final = ("__lock__", "__rlock__")
_CURATOR_BOTH: Final = ("__WRIT__", "__READ__")

WRITERS: Final[Mapping[str, LockLayout]] = {
    "kazoo": LockLayout("kazoo", _KAZOO + "__lock__", "__lock__", _KAZOO_BOTH, _KAZOO_BOTH),
    "curator": LockLayout("curator", _CURATOR + "__WRIT__", "__WRIT__", _CURATOR_BOTH, _CURATOR_BOTH),
}
"""kazoo's `WriteLock`, the write half of Curator's `InterProcessReadWriteLock`."""

READERS: Final[Mapping[str, LockLayout]] = {
    "kazoo": LockLayout("kazoo", _KAZOO + "__rlock__", "__rlock__", ("__lock__",), _KAZOO_BOTH),
    "curator": LockLayout("curator", _CURATOR + "__READ__", "__READ__", ("__WRIT__",), _CURATOR_BOTH),
}
"""kazoo's `ReadLock`, the read half of Curator's `InterProcessReadWriteLock`."""


SEMAPHORES: Final[Mapping[str, SemaphoreLayout]] = {
    "kazoo": SemaphoreLayout("kazoo", "", "-__lock__", _KAZOO_LOCK, _KAZOO, False, True),
    "curator": SemaphoreLayout(
        "curator", "/leases", "/locks", _CURATOR_LOCK, _CURATOR + "lease-", True, False
    ),
}
"""kazoo's `Semaphore`, Curator's `InterProcessSemaphoreV2`."""


def choose_layout(name: str, table: Mapping[str, L]) -> L:
    """The layout of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return table[name]
    except KeyError:
        raise ValueError(f"unknown layout {name!r}: one of {', '.join(table)}") from None
