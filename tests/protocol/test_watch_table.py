"""The firing table pair by pair, and the watch table against a plain list of watches."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zkrecipes.enums import EventType
from zkrecipes.protocol.watch_table import FIRES, ONE_SHOT, WatchKind, WatchTable

DATA, EXIST, CHILD = WatchKind.DATA, WatchKind.EXIST, WatchKind.CHILD
PERSISTENT, RECURSIVE = WatchKind.PERSISTENT, WatchKind.RECURSIVE

# WatchManager.java and ZKWatchManager.java, read at 3.9.5.
TOLD = {
    (EventType.CREATED, DATA),
    (EventType.CREATED, EXIST),
    (EventType.CREATED, PERSISTENT),
    (EventType.CREATED, RECURSIVE),
    (EventType.DELETED, DATA),
    (EventType.DELETED, EXIST),
    (EventType.DELETED, CHILD),
    (EventType.DELETED, PERSISTENT),
    (EventType.DELETED, RECURSIVE),
    (EventType.DATA_CHANGED, DATA),
    (EventType.DATA_CHANGED, EXIST),
    (EventType.DATA_CHANGED, PERSISTENT),
    (EventType.DATA_CHANGED, RECURSIVE),
    (EventType.CHILDREN_CHANGED, CHILD),
    (EventType.CHILDREN_CHANGED, PERSISTENT),
}
PAIRS = [(event, kind) for event in EventType for kind in WatchKind]


@pytest.mark.parametrize(("event", "kind"), PAIRS)
def test_an_event_at_the_path_fires_the_kinds_of_the_table(event: EventType, kind: WatchKind) -> None:
    table: WatchTable[str] = WatchTable()
    table.add(kind, "/a", "me")
    is_told = (event, kind) in TOLD
    assert table.fire(event, "/a") == (["me"] if is_told else [])
    stays = not (is_told and kind in ONE_SHOT)
    assert table.is_watched(kind, "/a") == table.has_watcher("/a") == stays
    assert table.watches_of("me") == ({(kind, "/a")} if stays else set())
    assert table.fire(event, "/a") == (["me"] if is_told and stays else [])


@pytest.mark.parametrize(("event", "kind"), PAIRS)
def test_an_event_below_the_path_fires_recursive_watches(event: EventType, kind: WatchKind) -> None:
    table: WatchTable[str] = WatchTable()
    for path in ("/", "/a", "/a/b"):
        table.add(kind, path, path)
    reached = kind is RECURSIVE and (event, kind) in TOLD
    assert table.fire(event, "/a/b/c/d") == (["/a/b", "/a", "/"] if reached else [])
    assert len(table) == 3


def test_an_event_above_or_beside_the_path_fires_nothing() -> None:
    table: WatchTable[str] = WatchTable()
    for kind in WatchKind:
        table.add(kind, "/a/b", "me")
    for event in EventType:
        for path in ("/", "/a", "/a/bc", "/a/c", "/b"):
            assert table.fire(event, path) == []
    assert len(table) == len(WatchKind)


def test_an_owner_of_several_watches_is_named_once() -> None:
    table: WatchTable[str] = WatchTable()
    for kind in WatchKind:
        table.add(kind, "/a", "me")
    table.add(RECURSIVE, "/", "me")
    assert table.fire(EventType.DELETED, "/a") == ["me"]
    assert table.watches_of("me") == {(PERSISTENT, "/a"), (RECURSIVE, "/a"), (RECURSIVE, "/")}


def test_owners_are_named_in_the_order_in_which_they_were_added() -> None:
    table: WatchTable[int] = WatchTable()
    for owner in (5, 3, 9, 1, 3):
        table.add(DATA, "/a", owner)
    assert table.fire(EventType.DATA_CHANGED, "/a") == [5, 3, 9, 1]
    assert len(table) == 0


def test_the_same_watch_twice_is_one() -> None:
    table: WatchTable[str] = WatchTable()
    table.add(DATA, "/a", "me")
    table.add(DATA, "/a", "me")
    assert len(table) == 1
    assert table.remove(DATA, "/a", "me")
    assert not table.remove(DATA, "/a", "me")


def test_remove_takes_one_watch_of_one_owner() -> None:
    table: WatchTable[str] = WatchTable()
    table.add(DATA, "/a", "me")
    table.add(DATA, "/a", "you")
    table.add(CHILD, "/a", "me")
    assert not table.remove(DATA, "/b", "me")
    assert not table.remove(EXIST, "/a", "me")
    assert table.remove(DATA, "/a", "me")
    assert table.owners(DATA) == ["you"]
    assert table.watches_of("me") == {(CHILD, "/a")}


def test_drop_removes_all_watches_of_one_owner_and_returns_them_oldest_first() -> None:
    table: WatchTable[str] = WatchTable()
    watches = [(kind, f"/{number}") for number in range(5) for kind in WatchKind]
    for kind, path in watches:
        table.add(kind, path, "me")
    table.add(DATA, "/0", "you")
    assert table.drop("me") == watches
    assert table.drop("me") == []
    assert list(table) == [(DATA, "/0", "you")]


def test_paths_and_owners_can_be_listed_by_kind() -> None:
    table: WatchTable[str] = WatchTable()
    table.add(DATA, "/b", "me")
    table.add(DATA, "/a", "you")
    table.add(RECURSIVE, "/a", "me")
    assert table.paths(DATA) == ["/b", "/a"]
    assert table.paths(CHILD) == []
    assert table.owners(DATA) == ["me", "you"]
    assert table.owners(CHILD, RECURSIVE) == ["me"]
    assert table.owners() == ["me", "you"]
    assert table.watches_of("nobody") == frozenset()


PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"])
OWNERS = st.integers(0, 3)
KINDS = st.sampled_from(WatchKind)


def reaches(watch: tuple[WatchKind, str, int], path: str) -> bool:
    kind, watched, _ = watch
    is_below = path.startswith(watched.rstrip("/") + "/")
    return path == watched or (kind is RECURSIVE and is_below)


class WatchTableMatchesAPlainList(RuleBasedStateMachine):
    """The same calls on the table and on a list of (kind, path, owner)."""

    def __init__(self) -> None:
        super().__init__()
        self.table: WatchTable[int] = WatchTable()
        self.watches: list[tuple[WatchKind, str, int]] = []

    def take(self, gone: list[tuple[WatchKind, str, int]]) -> None:
        self.watches = [watch for watch in self.watches if watch not in gone]

    @rule(kind=KINDS, path=PATHS, owner=OWNERS)
    def add(self, kind: WatchKind, path: str, owner: int) -> None:
        self.table.add(kind, path, owner)
        if (kind, path, owner) not in self.watches:
            self.watches.append((kind, path, owner))

    @rule(kind=KINDS, path=PATHS, owner=OWNERS)
    def remove(self, kind: WatchKind, path: str, owner: int) -> None:
        watch = (kind, path, owner)
        assert self.table.remove(kind, path, owner) == (watch in self.watches)
        self.take([watch])

    @rule(owner=OWNERS)
    def drop(self, owner: int) -> None:
        gone = [watch for watch in self.watches if watch[2] == owner]
        assert self.table.drop(owner) == [(kind, path) for kind, path, _ in gone]
        self.take(gone)

    @rule(event=st.sampled_from(EventType), path=PATHS)
    def fire(self, event: EventType, path: str) -> None:
        told = [watch for watch in self.watches if (event, watch[0]) in TOLD and reaches(watch, path)]
        found = self.table.fire(event, path)
        assert len(found) == len(set(found))
        assert set(found) == {owner for *_, owner in told}
        self.take([watch for watch in told if watch[0] in ONE_SHOT])

    @invariant()
    def they_agree(self) -> None:
        assert sorted(map(repr, self.table)) == sorted(map(repr, self.watches))
        assert len(self.table) == len(self.watches)
        assert set(self.table.owners()) == {owner for *_, owner in self.watches}
        for kind in WatchKind:
            assert set(self.table.paths(kind)) == {watch[1] for watch in self.watches if watch[0] is kind}
        for owner in range(4):
            mine = {watch[:2] for watch in self.watches if watch[2] == owner}
            assert self.table.watches_of(owner) == mine


TestWatchTableMatchesAPlainList = WatchTableMatchesAPlainList.TestCase


def test_the_firing_table_is_the_one_above() -> None:
    assert {(event, kind) for event, kinds in FIRES.items() for kind in kinds} == TOLD
    assert {DATA, EXIST, CHILD} == ONE_SHOT


def test_a_replay_fires_only_one_shot_watches() -> None:
    table: WatchTable[str] = WatchTable()
    for kind in WatchKind:
        table.add(kind, "/a", kind.value)
    table.add(WatchKind.RECURSIVE, "/", "root")
    assert table.fire(EventType.DELETED, "/a", is_replay=True) == ["data", "exist", "child"]
    assert [bool(table.paths(kind)) for kind in WatchKind] == [False, False, False, True, True]
