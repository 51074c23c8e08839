"""How other clients name the znodes of their recipes, in one table, so that our programs contend with theirs.

Read in kazoo 2.11 (`kazoo/recipe/lock.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from zkrecipes.paths import sequence_number

__all__ = ["KAZOO_LOCK", "LockLayout", "lock_layout"]


@final
@dataclass(frozen=True, slots=True)
class LockLayout:
    """The names of the contenders in one directory.

    Attributes:
        name: what the layout is called.
        tag: what stands between a contender's GUID and its sequence number.
    """

    name: str
    tag: str

    def prefix(self, guid: str) -> str:
        """The name of a contender, without the number that the server appends."""
        return f"{guid}{self.tag}"

    def sequence_of(self, name: str) -> int | None:
        """The number of a contender, or None for a name that is none."""
        return sequence_number(name, after=self.tag)


KAZOO_LOCK: Final = LockLayout("kazoo", "__lock__")
"""`<32 hex digits>__lock__<number>`: kazoo's `Lock`."""

_LOCKS: Final = {layout.name: layout for layout in (KAZOO_LOCK,)}


def lock_layout(name: str) -> LockLayout:
    """The layout of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return _LOCKS[name]
    except KeyError:
        raise ValueError(f"unknown layout {name!r}: one of {', '.join(sorted(_LOCKS))}") from None
