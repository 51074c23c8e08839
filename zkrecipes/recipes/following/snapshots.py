"""A dict whose snapshots cost in proportion to the changes since the last one, not to the size of the dict.

Problem: a follower returns a whole view for each change. Copying 64,000 entries takes 10 ms, and comparing
    two
copies takes longer, although only one entry differs.

Trick: the entries are in buckets. A snapshot shares all buckets, and the dict copies a bucket before its
    first
write to it after a snapshot. Two snapshots are compared bucket by bucket, and a shared bucket is skipped.

Consequences: a snapshot never changes, so threads may read it. One change costs a bucket and a pointer to
each of the others. Up to `_BUCKET_SIZE` entries there is one bucket, in order of insertion; beyond that, the
order has no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar, final

__all__ = ["Snapshot", "SnapshotDict"]

V = TypeVar("V")

_BUCKET_SIZE: Final = 512
"""The average number of entries in a bucket above which a bucket is added. At 200,000 entries, one change
then
copies about 500 entries and 400 pointers."""


def _index_in(buckets: Sequence[object], key: str) -> int:
    """Return the index of the bucket for a key.

    Buckets are added one at a time (linear hashing: W. Litwin, VLDB 1980), so that no insertion has to move
    more than the entries of one bucket. Buckets not yet split use one bit of the hash less.
    """
    count = len(buckets)
    base = 1 << (count.bit_length() - 1)
    index = hash(key) & (2 * base - 1)
    return index if index < count else index - base


@final
class Snapshot(Mapping[str, V]):
    """The content of a `SnapshotDict` at one point in time; it never changes. Values are never None."""

    __slots__ = ("_buckets", "_count")

    def __init__(self, buckets: tuple[dict[str, V], ...] = ({},), count: int = 0) -> None:
        self._buckets = buckets
        self._count = count

    def __getitem__(self, key: str) -> V:
        return self._buckets[_index_in(self._buckets, key)][key]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._buckets)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return repr(dict(self))

    def changes_since(self, old: Snapshot[V]) -> Iterator[tuple[str, V | None, V | None]]:
        """Compare with an older snapshot, by the identity of the values.

        Returns:
            Yields, for each key whose value is another object, the key, its old value and its new value; None
            stands for a missing key. The iterator works lazily, so a caller may pause between two items.
        """
        if len(self._buckets) == len(old._buckets):
            for before, now in zip(old._buckets, self._buckets, strict=True):
                if before is not now:
                    yield from _changes(before, now)
        else:
            yield from _changes(old, self)


def _changes(old: Mapping[str, V], new: Mapping[str, V]) -> Iterator[tuple[str, V | None, V | None]]:
    for key, value in new.items():
        before = old.get(key)
        if before is not value:
            yield key, before, value
    for key, value in old.items():
        if key not in new:
            yield key, value, None


@final
class SnapshotDict(Generic[V]):
    """A mutable dict with cheap snapshots."""

    def __init__(self) -> None:
        self._buckets: list[dict[str, V]] = [{}]
        self._count = 0
        self._unshared: set[int] = set()  # the indexes of buckets that no snapshot shares

    def __len__(self) -> int:
        return self._count

    def __setitem__(self, key: str, value: V) -> None:
        bucket = self._bucket_to_change(key)
        if key not in bucket:
            self._count += 1
        bucket[key] = value
        if self._count > _BUCKET_SIZE * len(self._buckets):
            self._add_bucket()

    def discard(self, key: str) -> None:
        """Remove a key if it is in the dict."""
        if key in self._buckets[_index_in(self._buckets, key)]:
            del self._bucket_to_change(key)[key]
            self._count -= 1

    def snapshot(self) -> Snapshot[V]:
        """Return the current content of the dict."""
        self._unshared.clear()
        return Snapshot(tuple(self._buckets), self._count)

    def _bucket_to_change(self, key: str) -> dict[str, V]:
        index = _index_in(self._buckets, key)
        if index not in self._unshared:
            self._unshared.add(index)
            self._buckets[index] = self._buckets[index].copy()
        return self._buckets[index]

    def _add_bucket(self) -> None:
        count = len(self._buckets)
        base = 1 << (count.bit_length() - 1)
        split = count - base
        stay: dict[str, V] = {}
        move: dict[str, V] = {}
        for key, value in self._buckets[split].items():
            (move if hash(key) & base else stay)[key] = value
        self._buckets[split] = stay
        self._buckets.append(move)
        self._unshared |= {split, count}
