"""SnapshotDict: snapshots share their equal parts."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, strategies as st

from zkrecipes.recipes.following.snapshots import Snapshot, SnapshotDict

KEYS = st.integers(0, 3000).map("node-{}".format)
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 9)), max_size=40)


def filled(count: int) -> SnapshotDict[object]:
    mutable: SnapshotDict[object] = SnapshotDict()
    for number in range(count):
        mutable[f"node-{number}"] = object()
    return mutable


def test_an_empty_snapshot_is_an_empty_mapping() -> None:
    assert dict(Snapshot[int]()) == {}
    assert Snapshot[int]() == {}
    assert "a" not in Snapshot[int]()


def test_a_small_dict_keeps_the_order_of_its_keys() -> None:
    mutable: SnapshotDict[int] = SnapshotDict()
    for number, key in enumerate("zyxwa"):
        mutable[key] = number
    assert list(mutable.snapshot()) == list("zyxwa")
    assert repr(mutable.snapshot()) == "{'z': 0, 'y': 1, 'x': 2, 'w': 3, 'a': 4}"


@given(count=st.sampled_from([0, 1, 500, 513, 2000]), rounds=st.lists(STEPS, max_size=4))
def test_snapshots_equal_a_plain_dict_and_never_change(
    count: int, rounds: list[list[tuple[str, int | None]]]
) -> None:
    mutable = filled(count)
    model: dict[str, object] = dict(mutable.snapshot())
    taken = []
    for steps in rounds:
        for key, value in steps:
            if value is None:
                mutable.discard(key)
                model.pop(key, None)
            else:
                mutable[key] = model[key] = value
        taken.append((mutable.snapshot(), dict(model)))
        assert len(mutable) == len(model)
    for snapshot, expected in taken:
        assert dict(snapshot) == expected
        assert len(snapshot) == len(expected)


@given(
    counts=st.tuples(st.sampled_from([0, 500, 1000]), st.sampled_from([0, 20, 1500])),
    steps=STEPS,
)
def test_changes_since_an_older_snapshot_are_those_of_plain_dicts(
    counts: tuple[int, int], steps: list[tuple[str, int | None]]
) -> None:
    mutable = filled(counts[0])
    old = mutable.snapshot()
    for number in range(counts[1]):  # may double the buckets
        mutable[f"more-{number}"] = object()
    for key, value in steps:
        if value is None:
            mutable.discard(key)
        else:
            mutable[key] = value
    new = mutable.snapshot()
    before, after = dict(old), dict(new)
    expected = {
        key: (before.get(key), after.get(key))
        for key in before | after
        if before.get(key) is not after.get(key)
    }
    changes = list(new.changes_since(old))
    assert {key: (was, now) for key, was, now in changes} == expected
    assert len(changes) == len(expected), "a key was named twice"


def test_the_cost_of_a_change_does_not_depend_on_the_size_of_the_dict() -> None:
    for count in (1000, 10_000, 100_000):
        mutable = filled(count)
        old = mutable.snapshot()
        tracemalloc.start()
        mutable["node-7"] = object()
        mutable.discard("is not there")
        new = mutable.snapshot()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 64 * 1024  # a copy of 100,000 entries takes 5 MiB
        assert [key for key, *_ in new.changes_since(old)] == ["node-7"]
