"""The order of the contenders in a queue, and the pure question of which goes first.

The contender with the lowest number goes first; each other one watches the last before it that blocks it, so
that each departure wakes one (the herd-free lock of ZooKeeper's recipes page).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cmp_to_key
from operator import itemgetter
from typing import Final, NamedTuple, final

from zkrecipes.recipes.layouts import LockLayout

__all__ = ["Entry", "QueueOrder", "in_order", "who_goes_before"]

_HALF_CIRCLE: Final = 2**31
_CIRCLE: Final = 2**32
_BY_NUMBER: Final = itemgetter(1, 0)
_DIGITS: Final = 10
"""Of a number that the server appends, usually (`PrepRequestProcessor`, format `%010d`)."""


class Entry(NamedTuple):
    """A contender's znode among the children of the queue's directory."""

    name: str
    sequence: int
    tag: str


def in_order(children: Iterable[str], layout: LockLayout) -> list[Entry]:
    """The contenders among `children`, first come first; names that are no contender's are left out.

    Those that another library has made stand among them: their numbers are of the same counter.
    """
    return _sorted([entry for name in children if (entry := _entry(name, layout)) is not None])


def who_goes_before(children: Iterable[str], own_name: str, layout: LockLayout) -> str | None:
    """The name of the last contender before `own_name` that blocks it, or None if that may go.

    Raises:
        LookupError: `own_name` is not among them.
    """
    return QueueOrder(children, layout).before(own_name, layout)


@final
class QueueOrder:
    """One list of a queue's directory, in order; many waiters can ask it, at constant cost each.

    Attributes:
        entries: the contenders, first come first.
        unexpected: the names that are not of the layout: those of other libraries' contenders, and strangers.
    """

    __slots__ = ("_blockers", "_positions", "entries", "unexpected")

    def __init__(self, children: Iterable[str], layout: LockLayout) -> None:
        entries: list[Entry] = []
        self.unexpected: list[str] = []
        for name in children:
            entry = _entry(name, layout)
            if entry is not None:
                entries.append(entry)
            if entry is None or entry.tag not in layout.seen:
                self.unexpected.append(name)
        self.entries = _sorted(entries)
        self._positions: dict[str, int] = {}
        # By the tags that block: for each position, that of the last entry before it that blocks.
        self._blockers: dict[tuple[str, ...], list[int]] = {}

    def first(self, is_ignored: Callable[[str], bool] = lambda _: False) -> str | None:
        """The name of the first contender that is not ignored, or None."""
        return next((entry.name for entry in self.entries if not is_ignored(entry.name)), None)

    def before(
        self, own_name: str, layout: LockLayout, is_ignored: Callable[[str], bool] = lambda _: False
    ) -> str | None:
        """The name of the last contender before `own_name` that blocks it, or None if that may go.

        Args:
            own_name: a contender's name.
            layout: of that contender.
            is_ignored: whether a contender that would block it does not count.

        Raises:
            LookupError: `own_name` is not among the contenders.
        """
        if not self._positions:
            self._positions = {entry.name: position for position, entry in enumerate(self.entries)}
        blockers = self._blockers_for(layout.blocked_by)
        position = blockers[self._positions[own_name]]
        while position >= 0 and is_ignored(self.entries[position].name):
            position = blockers[position]
        return None if position < 0 else self.entries[position].name

    def _blockers_for(self, tags: tuple[str, ...]) -> list[int]:
        if tags not in self._blockers:
            last = -1
            blockers = self._blockers[tags] = []
            for position, entry in enumerate(self.entries):
                blockers.append(last)
                if entry.tag in tags:
                    last = position
        return self._blockers[tags]


def _sorted(entries: list[Entry]) -> list[Entry]:
    numbers = [entry.sequence for entry in entries]
    if not numbers or max(numbers) - min(numbers) < _HALF_CIRCLE or max(map(abs, numbers)) > _HALF_CIRCLE:
        # none has wrapped; longer numbers than the 32 bits of today (ZOOKEEPER-4706) do not
        return sorted(entries, key=_BY_NUMBER)
    return sorted(entries, key=cmp_to_key(_compare))


def _entry(name: str, layout: LockLayout) -> Entry | None:
    digits = name[-_DIGITS:]
    if digits.isdigit() and digits.isascii():
        # what nearly every name looks like, in a fifth of the time
        for tag in layout.seen:
            if name.endswith(tag, 0, -_DIGITS):
                return Entry(name, int(digits), tag)
    found = layout.tag_and_sequence_of(name)
    if found is not None:
        return Entry(name, found[1], found[0])
    other = layout.other_family_and_sequence_of(name)
    return None if other is None else Entry(name, other[1], other[0].tag)


def _compare(one: Entry, other: Entry) -> int:
    """Serial number arithmetic (RFC 1982): the counter wraps; the living are never half a circle apart."""
    ahead = (other.sequence - one.sequence) % _CIRCLE
    if ahead == 0:
        return -1 if one.name < other.name else int(one.name > other.name)
    return -1 if ahead < _HALF_CIRCLE else 1
