"""How the contenders of kazoo's and Curator's recipes are named, so that ours contend with theirs.

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
"""The layouts of mutexes, read-write locks and semaphores."""
ElectionLayoutName = Literal["kazoo", "curator-latch", "curator-selector"]
"""The layouts of elections."""


@final
@dataclass(frozen=True, slots=True)
class ForeignContenders:
    """The contenders of another library's clients in the same directory, whose numbers are of one counter.

    Attributes:
        whose: how the log names them.
        tag: what stands directly before the number.
        form: a whole name; its first group is the number. It is strict: what only looks like one of these
            must not be waited for.
    """

    whose: str
    tag: str
    form: re.Pattern[str]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LockLayout:
    """The names of the contenders in one directory, and who of them goes before whom.

    Attributes:
        name: what the layout is called.
        form: a contender's name without its number; `{hex}` and `{dashed}` stand for its GUID.
        tag: what stands directly before the number.
        blocked_by: the tags of those who go first when they came first.
        seen: every tag that belongs to the recipe; other names are no contenders.
        is_container: whether the directory is a container where the server has them, which goes when nobody
            has been in it for a while. Curator makes it so; kazoo's locks would break, as they remember that
            they have made it.
        others: who else is waited for, though it may not wait for us.
    """

    name: str
    form: str
    tag: str
    blocked_by: tuple[str, ...]
    seen: tuple[str, ...]
    is_container: bool
    others: tuple[ForeignContenders, ...] = ()

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

    def other_family_and_sequence_of(self, name: str) -> tuple[ForeignContenders, int] | None:
        """Whose contender it is that another library has made, and its number; or None."""
        for other in self.others:
            found = other.form.fullmatch(name)
            if found is not None:
                return other, int(found.group(1))
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
        whole: what a whole name of a permit looks like, also of one that the other library has made.
        is_sequential: whether the server appends a number to it.
        has_limit: whether the permits' directory holds the limit, as ASCII digits.
    """

    name: str
    permits: str
    queue: str
    lock: LockLayout
    form: str
    whole: re.Pattern[str]
    is_sequential: bool
    has_limit: bool

    def prefix(self, guid: str) -> str:
        """The name of a permit, without the number that the server may append."""
        return _fill_in(self.form, guid)

    def is_permit(self, name: str) -> bool:
        """Whether a child of the permits' directory has the name of one; all of them count."""
        return self.whole.fullmatch(name) is not None


def _fill_in(form: str, guid: str) -> str:
    dashed = "-".join((guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]))
    return form.format(hex=guid, dashed=dashed)


def _alone(name: str, form: str, tag: str, others: tuple[ForeignContenders, ...] = ()) -> LockLayout:
    blocked_by = (tag, *(other.tag for other in others))
    return LockLayout(name, form, tag, blocked_by, (tag,), is_container=name != "kazoo", others=others)


_KAZOO: Final = "{hex}"
_CURATOR: Final = "_c_{dashed}-"

_KAZOOS: Final = ForeignContenders("kazoo", "__lock__", re.compile(r"[0-9a-f]{32}__lock__(-?[0-9]{1,19})"))
_CURATORS: Final = ForeignContenders(
    "Curator", "lock-", re.compile(r"_c_(?:[0-9a-f]{32}|[0-9a-f-]{36})-lock-(-?[0-9]{1,19})")
)
"""The same names are made by clients for Go and Rust, which take kazoo's into account, too, or do not."""

_KAZOO_LOCK: Final = _alone("kazoo", _KAZOO + "__lock__", "__lock__", (_CURATORS,))
_CURATOR_LOCK: Final = _alone("curator", _CURATOR + "lock-", "lock-", (_KAZOOS,))

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
        permits="",
        queue="-__lock__",
        lock=_KAZOO_LOCK,
        form=_KAZOO,
        whole=re.compile(r"[0-9a-f]{32}"),
        is_sequential=False,
        has_limit=True,
    ),
    "curator": SemaphoreLayout(
        name="curator",
        permits="/leases",
        queue="/locks",
        lock=_CURATOR_LOCK,
        form=_CURATOR + "lease-",
        whole=re.compile(r"_c_[0-9a-f-]{36}-lease--?[0-9]{1,19}"),
        is_sequential=True,
        has_limit=False,
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
