"""The order of the contenders in a queue: which one blocks which, and the effect of a wrapped counter."""

from __future__ import annotations

import itertools
import random

import pytest

from zkrecipes.recipes.locking.lock_layouts import MUTEXES, READERS, WRITERS, LockLayout
from zkrecipes.recipes.locking.queue_order import QueuedName, QueueOrder, in_order

KAZOO_LOCK = MUTEXES["kazoo"]

TOP = 2**31 - 1
BOTTOM = -(2**31)


def _name(sequence: int, guid: str = "f" * 32) -> str:
    return f"{guid}__lock__{sequence:010d}"


def _before(names: list[str], own_name: str, layout: LockLayout = KAZOO_LOCK) -> str | None:
    return QueueOrder(names, layout).before(own_name, layout)


@pytest.mark.parametrize(
    "sequences",
    [
        [0, 1, 2, 9, 10, 11, 99, 100],
        [TOP - 1, TOP, BOTTOM, BOTTOM + 1],
        [-2, -1, 0, 1],
        [BOTTOM, -1],
        [999_999_999, 1_000_000_000],
        [TOP - 5, TOP, TOP + 1, TOP + 2],  # as a server with longer numbers would continue
        [-5, TOP, 2**40, 2**40 + 1, 2**62],
    ],
)
def test_the_order_is_the_servers_order(sequences: list[int]) -> None:
    """Case 79."""
    names = [_name(sequence) for sequence in sequences]
    for shuffled in itertools.islice(itertools.permutations(names), 200):
        assert [each.name for each in in_order(shuffled, KAZOO_LOCK)] == names


def test_the_order_is_right_at_every_value_of_the_counter() -> None:
    rng = random.Random(7)
    for _ in range(300):
        first = rng.randrange(BOTTOM, TOP)
        ahead = sorted({0, *(rng.randrange(2**31) for _ in range(8))})
        wrapped = [(first + each - BOTTOM) % 2**32 + BOTTOM for each in ahead]
        names = [_name(sequence, rng.randbytes(16).hex()) for sequence in wrapped]
        shuffled = rng.sample(names, len(names))
        assert [each.name for each in in_order(shuffled, KAZOO_LOCK)] == names


def test_equal_numbers_are_ordered_by_name() -> None:
    """Case 79."""
    one, other = _name(5, "a" * 32), _name(5, "b" * 32)
    assert in_order([other, one], KAZOO_LOCK) == in_order([one, other], KAZOO_LOCK)
    assert _before([other, one], other) == one


def test_names_of_other_forms_are_left_out() -> None:
    names = ["lock", _name(3), "__lock__x", f"{'a' * 32}__rlock__0000000001", "", _name(2)]
    assert in_order(names, KAZOO_LOCK) == [
        QueuedName(_name(2), 2, "__lock__"),
        QueuedName(_name(3), 3, "__lock__"),
    ]


def test_each_contender_waits_for_the_one_directly_before_it() -> None:
    names = [_name(sequence) for sequence in (TOP - 1, TOP, BOTTOM, BOTTOM + 1)]
    before = [_before(names[::-1], name) for name in names]
    assert before == [None, *names[:-1]]


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
def test_a_reader_waits_for_the_last_writer_and_a_writer_for_every_contender(layout: str) -> None:
    write, read = WRITERS[layout], READERS[layout]
    guid = "0" * 32
    kinds = [read, read, write, read, read, write]
    names = [f"{kind.prefix(guid)}{number:010d}" for number, kind in enumerate(kinds)]
    before = [_before(names, name, kind) for name, kind in zip(names, kinds, strict=True)]
    assert before == [None, None, names[1], names[2], names[2], names[4]]


def test_a_name_that_is_not_in_the_queue_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        _before([_name(1)], _name(2))
    with pytest.raises(LookupError):
        _before([], _name(2))
