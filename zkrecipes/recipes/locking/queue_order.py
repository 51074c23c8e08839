"""The order of the contenders in a queue, and the pure question of which goes first.

The contender with the lowest number goes first; each other one watches the last before it that blocks it, so
that each departure wakes one (the herd-free lock of ZooKeeper's recipes page).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from typing import Final, NamedTuple, final

from zkrecipes.recipes.locking.layouts import LockLayout

__all__ = ["QueueOrder", "QueuedName", "in_order", "who_goes_before"]

_HALF_CIRCLE: Final = 2**31
_CIRCLE: Final = 2**32
_DIGITS: Final = 10
"""Of a number that the server appends, usually (`PrepRequestProcessor`, format `%010d`)."""


_Contender = tuple[int, str, str]
"""A number, a name and a tag: a plain tuple is made and sorted several times as fast as an `QueuedName`."""


class QueuedName(NamedTuple):
    """A contender's znode among the children of the queue's directory."""

    name: str
    sequence: int
    tag: str


def in_order(children: Iterable[str], layout: LockLayout) -> list[QueuedName]:
    """The contenders among `children`, first come first; names that are no contender's are left out.

    Those that another library has made stand among them: their numbers are of the same counter.
    """
    return [QueuedName(name, sequence, tag) for sequence, name, tag in _parse(children, layout, [])]


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
        unexpected: the names that are not of the layout: those of other libraries' contenders, and strangers.
    """

    __slots__ = ("_blockers", "_contenders", "_positions", "unexpected")

    def __init__(self, children: Iterable[str], layout: LockLayout) -> None:
        self.unexpected: list[str] = []
        self._contenders = _parse(children, layout, self.unexpected)
        self._positions: dict[str, int] = {}
        # By the tags that block: for each position, that of the last contender before it that blocks.
        self._blockers: dict[tuple[str, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._contenders)

    def __iter__(self) -> Iterator[str]:
        """The names of the contenders, first come first."""
        return (name for _, name, _ in self._contenders)

    def first(self, is_ignored: Callable[[str], bool] = lambda _: False) -> str | None:
        """The name of the first contender that is not ignored, or None."""
        return next((name for name in self if not is_ignored(name)), None)

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
        if self._contenders and self._contenders[0][1] == own_name:
            return None
        if not self._positions:
            self._positions = {name: position for position, (_, name, _) in enumerate(self._contenders)}
        blockers = self._blockers_for(layout.blocked_by)
        position = blockers[self._positions[own_name]]
        while position >= 0 and is_ignored(self._contenders[position][1]):
            position = blockers[position]
        return None if position < 0 else self._contenders[position][1]

    def _blockers_for(self, tags: tuple[str, ...]) -> list[int]:
        if tags not in self._blockers:
            last = -1
            blockers = self._blockers[tags] = []
            for position, (_, _, tag) in enumerate(self._contenders):
                blockers.append(last)
                if tag in tags:
                    last = position
        return self._blockers[tags]


def _parse(children: Iterable[str], layout: LockLayout, unexpected: list[str]) -> list[_Contender]:
    """The contenders in order. The names that are not of the layout are added to `unexpected`."""
    contenders: list[_Contender] = []
    for name in children:
        # What nearly every name looks like, in a fifth of the time: a queue may have thousands.
        digits = name[-_DIGITS:]
        if digits.isdigit() and digits.isascii():
            for tag in layout.seen:
                if name.endswith(tag, 0, -_DIGITS):
                    contenders.append((int(digits), name, tag))
                    break
            else:
                _parse_unusual(name, layout, contenders, unexpected)
        else:
            _parse_unusual(name, layout, contenders, unexpected)
    numbers = [contender[0] for contender in contenders]
    if not numbers or max(numbers) - min(numbers) < _HALF_CIRCLE or max(map(abs, numbers)) > _HALF_CIRCLE:
        # none has wrapped; longer numbers than the 32 bits of today (ZOOKEEPER-4706) do not
        contenders.sort()
    else:
        contenders.sort(key=cmp_to_key(_compare))
    return contenders


def _parse_unusual(
    name: str, layout: LockLayout, contenders: list[_Contender], unexpected: list[str]
) -> None:
    found = layout.tag_and_sequence_of(name)
    if found is not None:
        contenders.append((found[1], name, found[0]))
        return
    unexpected.append(name)
    other = layout.other_family_and_sequence_of(name)
    if other is not None:
        contenders.append((other[1], name, other[0].tag))


def _compare(one: _Contender, other: _Contender) -> int:
    """Serial number arithmetic (RFC 1982): the counter wraps; the living are never half a circle apart."""
    ahead = (other[0] - one[0]) % _CIRCLE
    if ahead == 0:
        return -1 if one[1] < other[1] else int(one[1] > other[1])
    return -1 if ahead < _HALF_CIRCLE else 1
