"""The order of the contenders in a queue: a pure function of one list of the directory's children.

The contender with the lowest sequence number goes first. Each other contender watches the last one before it
that blocks it, so each departure wakes one contender (the herd-free lock of ZooKeeper's recipes page).

Two complications. The server's counter is a signed 32-bit number that wraps to negative numbers, so the order
is that of RFC 1982. A queue may have thousands of waiters that all need the order: a `QueueOrder` is parsed
and sorted once, and then answers every waiter at constant cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from typing import Final, NamedTuple, final

from zkrecipes.recipes.locking.lock_layouts import LockLayout

__all__ = ["QueueOrder", "QueuedName", "in_order"]

_HALF_CIRCLE: Final = 2**31
_CIRCLE: Final = 2**32
_DIGITS: Final = 10
"""The usual length of the sequence number that the server appends (`PrepRequestProcessor`, `%010d`)."""


_Contender = tuple[int, str, str]
"""A sequence number, a name and a tag: a plain tuple is several times as fast to create and to sort as a
`QueuedName`."""


class QueuedName(NamedTuple):
    """The name of a contender's znode, with its parts."""

    name: str
    sequence: int
    tag: str


def in_order(children: Iterable[str], layout: LockLayout) -> list[QueuedName]:
    """Return the contenders among `children`, first come first; other names are left out.

    Contenders of another library are among them, because their sequence numbers are from the same counter.
    """
    return [QueuedName(name, sequence, tag) for sequence, name, tag in _parse(children, layout, [])]


@final
class QueueOrder:
    """One list of a queue's directory, in order.

    Attributes:
        unexpected: the names that do not fit the layout: contenders of other libraries, and other children.
    """

    __slots__ = ("_blockers", "_contenders", "_positions", "unexpected")

    def __init__(self, children: Iterable[str], layout: LockLayout) -> None:
        self.unexpected: list[str] = []
        self._contenders = _parse(children, layout, self.unexpected)
        self._positions: dict[str, int] = {}
        # By blocking tags: for each position, the position of the last blocking contender before it, or -1.
        self._blockers: dict[tuple[str, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._contenders)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the contenders, first come first."""
        return (name for _, name, _ in self._contenders)

    def first(self, is_ignored: Callable[[str], bool] = lambda _: False) -> str | None:
        """Return the name of the first contender that is not ignored, or None."""
        return next((name for name in self if not is_ignored(name)), None)

    def before(
        self, own_name: str, layout: LockLayout, is_ignored: Callable[[str], bool] = lambda _: False
    ) -> str | None:
        """Return the name of the last contender before `own_name` that blocks it, or None if it may go.

        Args:
            own_name: a contender's name.
            layout: the layout of that contender.
            is_ignored: whether to ignore a contender that would block it.

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
    """Return the contenders in order; append the names that do not fit the layout to `unexpected`."""
    contenders: list[_Contender] = []
    for name in children:
        # Testing for the usual form of a name takes a fifth of the time of the general test.
        digits = name[-_DIGITS:]
        if digits.isdigit() and digits.isascii():
            for tag in layout.known_tags:
                if name.endswith(tag, 0, -_DIGITS):
                    contenders.append((int(digits), name, tag))
                    break
            else:
                _parse_unusual(name, layout, contenders, unexpected)
        else:
            _parse_unusual(name, layout, contenders, unexpected)
    numbers = [contender[0] for contender in contenders]
    if not numbers or max(numbers) - min(numbers) < _HALF_CIRCLE or max(map(abs, numbers)) > _HALF_CIRCLE:
        # No number has wrapped. Numbers longer than today's 32 bits (ZOOKEEPER-4706) do not wrap.
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
    foreign = layout.foreign_and_sequence_of(name)
    if foreign is not None:
        contenders.append((foreign[1], name, foreign[0].tag))


def _compare(one: _Contender, other: _Contender) -> int:
    """Compare by serial number arithmetic (RFC 1982): living contenders are never half a circle apart."""
    ahead = (other[0] - one[0]) % _CIRCLE
    if ahead == 0:
        return -1 if one[1] < other[1] else int(one[1] > other[1])
    return -1 if ahead < _HALF_CIRCLE else 1
