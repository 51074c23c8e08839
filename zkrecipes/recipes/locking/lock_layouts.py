"""Names of the znodes that contenders create, so that they contend with kazoo's and Curator's recipes.

One rule for the `layout=` of every recipe: the default is `"kazoo"`, because kazoo is the other library for
Python. A `Group` is the exception: its default is `"curator"`, because kazoo's groups do not notice two
members with the same name.

Read in kazoo 2.11 (`kazoo/recipe/lock.py`) and Curator 5.4 (`LockInternals`, `StandardLockInternalsDriver`,
`InterProcessReadWriteLock`, `InterProcessSemaphoreV2`, `LeaderLatch`, `ProtectedUtils`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, final

from zkrecipes.paths import sequence_number

__all__ = [
    "ELECTIONS",
    "MUTEXES",
    "READERS",
    "SEMAPHORES",
    "WRITERS",
    "ElectionLayoutName",
    "ForeignContenders",
    "LockLayout",
    "LockLayoutName",
    "SemaphoreLayout",
    "choose_layout",
]

L = TypeVar("L")

LockLayoutName = Literal["kazoo", "curator"]
"""The layouts of mutexes, read-write locks and semaphores. The default is `"kazoo"`."""
ElectionLayoutName = Literal["kazoo", "curator-latch", "curator-selector"]
"""The layouts of elections. The default is `"kazoo"`."""


@final
@dataclass(frozen=True, slots=True)
class ForeignContenders:
    """Contenders in another library's layout; their sequence numbers come from the same counter as ours.

    Attributes:
        library: the library, for the log.
        tag: the text directly before the sequence number.
        pattern: matches a whole name; its first group is the sequence number. The pattern is strict: our
            contenders must not wait for a znode that only resembles one of these.
    """

    library: str
    tag: str
    pattern: re.Pattern[str]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LockLayout:
    """The names of the contenders in one directory, and the order among them.

    Attributes:
        name: the value of `layout=`.
        name_format: a contender's name without its sequence number; `{hex}` and `{dashed}` are its GUID.
        tag: the text directly before the sequence number.
        blocked_by: the tags of the contenders that block this one if they came first.
        known_tags: every tag of the recipe; a name without one is not a contender's.
        is_container: whether the directory is a container, if the server has containers; the server removes a
            container some time after its last child. Only Curator's layouts use containers: kazoo's locks
            remember that they have created the directory, and would break if the server removed it.
        foreign: contenders of other libraries. Ours wait for them, although they may not wait for ours.
    """

    name: str
    name_format: str
    tag: str
    blocked_by: tuple[str, ...]
    known_tags: tuple[str, ...]
    is_container: bool
    foreign: tuple[ForeignContenders, ...] = ()

    def prefix(self, guid: str) -> str:
        """Return the name of a contender without the sequence number, which the server appends.

        Args:
            guid: 32 hex digits, as `uuid4().hex`.
        """
        return _fill_in(self.name_format, guid)

    def tag_and_sequence_of(self, name: str) -> tuple[str, int] | None:
        """Return the tag and the sequence number of a contender, or None if the name is not a contender's."""
        for tag in self.known_tags:
            sequence = sequence_number(name, after=tag)
            if sequence is not None:
                return tag, sequence
        return None

    def foreign_and_sequence_of(self, name: str) -> tuple[ForeignContenders, int] | None:
        """Return the entry and the sequence number of another library's contender, or None."""
        for foreign in self.foreign:
            found = foreign.pattern.fullmatch(name)
            if found is not None:
                return foreign, int(found.group(1))
        return None


@final
@dataclass(frozen=True, slots=True)
class SemaphoreLayout:
    """The names of a semaphore's permits, their directory, and the queue for them.

    Attributes:
        name: the value of `layout=`.
        permits_suffix: the suffix that turns the semaphore's path into the directory of the permits.
        queue_suffix: the suffix that turns the semaphore's path into the directory of the queue.
        queue_layout: the layout of the queue.
        name_format: a permit's name, as in `LockLayout`.
        pattern: matches the whole name of a permit, including those that the other library has created.
        is_sequential: whether the server appends a sequence number to a permit's name.
        has_limit: whether the permits' directory holds the limit, as ASCII digits.
    """

    name: str
    permits_suffix: str
    queue_suffix: str
    queue_layout: LockLayout
    name_format: str
    pattern: re.Pattern[str]
    is_sequential: bool
    has_limit: bool

    def prefix(self, guid: str) -> str:
        """Return the name of a permit without the sequence number that the server may append."""
        return _fill_in(self.name_format, guid)

    def is_permit(self, name: str) -> bool:
        """Whether a child of the permits' directory has a permit's name; the other children count as well."""
        return self.pattern.fullmatch(name) is not None


def _fill_in(name_format: str, guid: str) -> str:
    dashed = "-".join((guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]))
    return name_format.format(hex=guid, dashed=dashed)


def _exclusive(
    name: str, name_format: str, tag: str, foreign: tuple[ForeignContenders, ...] = ()
) -> LockLayout:
    """Return a layout in which each contender blocks every later one."""
    blocked_by = (tag, *(each.tag for each in foreign))
    return LockLayout(
        name, name_format, tag, blocked_by, (tag,), is_container=name != "kazoo", foreign=foreign
    )


_KAZOO: Final = "{hex}"
_CURATOR: Final = "_c_{dashed}-"

_KAZOO_CONTENDERS: Final = ForeignContenders(
    "kazoo", "__lock__", re.compile(r"[0-9a-f]{32}__lock__(-?[0-9]{1,19})")
)
_CURATOR_CONTENDERS: Final = ForeignContenders(
    "Curator", "lock-", re.compile(r"_c_(?:[0-9a-f]{32}|[0-9a-f-]{36})-lock-(-?[0-9]{1,19})")
)
"""Clients for Go and Rust create the same names; some of them also wait for kazoo's contenders."""

_KAZOO_LOCK: Final = _exclusive("kazoo", _KAZOO + "__lock__", "__lock__", (_CURATOR_CONTENDERS,))
_CURATOR_LOCK: Final = _exclusive("curator", _CURATOR + "lock-", "lock-", (_KAZOO_CONTENDERS,))

MUTEXES: Final[Mapping[str, LockLayout]] = {"kazoo": _KAZOO_LOCK, "curator": _CURATOR_LOCK}
"""kazoo's `Lock`, Curator's `InterProcessMutex`."""

ELECTIONS: Final[Mapping[str, LockLayout]] = {
    "kazoo": _KAZOO_LOCK,
    "curator-latch": _exclusive("curator-latch", _CURATOR + "latch-", "latch-"),
    "curator-selector": _CURATOR_LOCK,
}
"""kazoo's `Election`, Curator's `LeaderLatch` and `LeaderSelector`."""

_KAZOO_BOTH: Final = ("__lock__", "__rlock__")
_CURATOR_BOTH: Final = ("__WRIT__", "__READ__")

WRITERS: Final[Mapping[str, LockLayout]] = {
    "kazoo": LockLayout("kazoo", _KAZOO + "__lock__", "__lock__", _KAZOO_BOTH, _KAZOO_BOTH, False),
    "curator": LockLayout("curator", _CURATOR + "__WRIT__", "__WRIT__", _CURATOR_BOTH, _CURATOR_BOTH, True),
}
"""kazoo's `WriteLock`, the write half of Curator's `InterProcessReadWriteLock`."""

READERS: Final[Mapping[str, LockLayout]] = {
    "kazoo": LockLayout("kazoo", _KAZOO + "__rlock__", "__rlock__", ("__lock__",), _KAZOO_BOTH, False),
    "curator": LockLayout("curator", _CURATOR + "__READ__", "__READ__", ("__WRIT__",), _CURATOR_BOTH, True),
}
"""kazoo's `ReadLock`, the read half of Curator's `InterProcessReadWriteLock`."""


SEMAPHORES: Final[Mapping[str, SemaphoreLayout]] = {
    "kazoo": SemaphoreLayout(
        name="kazoo",
        permits_suffix="",
        queue_suffix="-__lock__",
        queue_layout=_KAZOO_LOCK,
        name_format=_KAZOO,
        pattern=re.compile(r"[0-9a-f]{32}"),
        is_sequential=False,
        has_limit=True,
    ),
    "curator": SemaphoreLayout(
        name="curator",
        permits_suffix="/leases",
        queue_suffix="/locks",
        queue_layout=_CURATOR_LOCK,
        name_format=_CURATOR + "lease-",
        pattern=re.compile(r"_c_[0-9a-f-]{36}-lease--?[0-9]{1,19}"),
        is_sequential=True,
        has_limit=False,
    ),
}
"""kazoo's `Semaphore`, Curator's `InterProcessSemaphoreV2`."""


def choose_layout(name: str, layouts: Mapping[str, L]) -> L:
    """Return the layout with that name.

    Raises:
        ValueError: no layout has that name.
    """
    try:
        return layouts[name]
    except KeyError:
        raise ValueError(f"layout must be one of {', '.join(layouts)}, not {name!r}") from None
