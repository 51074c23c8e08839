"""The znodes: the numbers of a Stat, and a roll-back without side effects."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from zkrecipes.codec.records import ACL, Id, Stat
from zkrecipes.devserver.data_tree import DataTree, ZNodeKind, wrapped
from zkrecipes.errors import NoNodeError

OPEN = (ACL(31, Id("world", "anyone")),)


def _tree(*paths: str, start_counter: int = 0) -> DataTree:
    tree = DataTree(start_counter=start_counter)
    for number, path in enumerate(paths, 1):
        tree.add(path, b"", OPEN, number, 1000 * number)
    return tree


def _stats(tree: DataTree) -> dict[str, tuple[Any, ...]]:
    found = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        node = tree.get(path)
        found[path] = (node.stat(), node.data, node.acl, node.creates, sorted(node.children or ()))
        waiting += [f"{path.rstrip('/')}/{name}" for name in node.children or ()]
    return found


def test_a_new_tree_has_what_every_server_has() -> None:
    tree = DataTree()
    assert sorted(_stats(tree)) == ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]
    assert len(tree) == 4
    assert tree.get("/").stat().num_children == 1
    assert tree.get("/zookeeper/config").stat().aversion == -1


def test_a_new_znode_has_its_zxid_three_times() -> None:
    tree = DataTree()
    node = tree.add("/a", b"data", OPEN, 7, 1234)
    assert node.stat() == Stat(7, 7, 1234, 1234, 0, 0, 0, 0, 4, 0, 7)
    assert tree.add("/b", None, OPEN, 8, 1234).stat().data_length == 0


def test_pzxid_follows_children_and_not_their_data() -> None:
    tree = _tree("/a", "/a/b")
    assert tree.get("/a").pzxid == 2
    tree.set_data(tree.get("/a/b"), b"x", 1, 3, 5000)
    assert tree.get("/a").pzxid == 2
    tree.remove("/a/b", 4)
    assert tree.get("/a").pzxid == 4
    assert tree.get("/a").mzxid == 1


def test_cversion_counts_creates_and_deletes() -> None:
    tree = _tree("/a")
    seen = []
    for step in range(3):
        tree.add(f"/a/{step}", b"", OPEN, 10, 0)
        seen.append(tree.get("/a").stat().cversion)
    tree.remove("/a/0", 11)
    seen.append(tree.get("/a").stat().cversion)
    assert seen == [1, 2, 3, 4]
    assert tree.get("/a").creates == 3


def test_data_changes_its_own_numbers_only() -> None:
    tree = _tree("/a")
    tree.set_data(tree.get("/a"), b"new", 1, 9, 9000)
    assert tree.get("/a").stat() == Stat(1, 9, 1000, 9000, 1, 0, 0, 0, 3, 0, 1)


def test_the_acl_has_a_version_of_its_own() -> None:
    tree = _tree("/a")
    tree.set_acl(tree.get("/a"), (ACL(1, Id("world", "anyone")),), 1)
    assert tree.get("/a").stat() == Stat(1, 1, 1000, 1000, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize("kind", [ZNodeKind.CONTAINER, ZNodeKind.TTL])
def test_what_may_be_reaped_is_listed_and_has_no_owner(kind: ZNodeKind) -> None:
    tree = DataTree()
    tree.add("/a", b"", OPEN, 1, 0, kind=kind, ttl_ms=5)
    assert [path for path, _ in tree.reapable()] == ["/a"]
    assert tree.get("/a").stat().ephemeral_owner == 0
    tree.remove("/a", 2)
    assert list(tree.reapable()) == []


def test_ephemerals_are_listed_by_session() -> None:
    tree = DataTree()
    for number, owner in enumerate([5, 6, 5], 1):
        tree.add(f"/e{number}", b"", OPEN, number, 0, kind=ZNodeKind.EPHEMERAL, owner=owner)
    assert tree.ephemerals(5) == ["/e1", "/e3"]
    assert tree.all_ephemerals() == {5: ["/e1", "/e3"], 6: ["/e2"]}
    assert tree.get("/e1").stat().ephemeral_owner == 5
    tree.remove("/e2", 9)
    assert tree.ephemerals(6) == []
    assert tree.all_ephemerals() == {5: ["/e1", "/e3"]}


def test_the_counter_starts_at_the_start_counter_and_wraps_like_java() -> None:
    tree = _tree("/a", start_counter=2**31 - 1)
    assert tree.get("/a").creates == 2**31 - 1
    tree.add("/a/x", b"", OPEN, 5, 0)
    assert tree.get("/a").creates == -(2**31)
    assert wrapped(2**31) == -(2**31)
    assert wrapped(-1) == -1


def test_descendants_are_counted() -> None:
    tree = _tree("/a", "/a/b", "/a/b/c", "/ab")
    assert tree.count_below("/a") == 2
    assert tree.count_below("/a/b/c") == 0
    assert tree.count_below("/") == 7


def test_a_missing_znode_is_an_error_or_none() -> None:
    tree = DataTree()
    with pytest.raises(NoNodeError, match="/a"):
        tree.get("/a")
    assert tree.find("/a") is None
    assert "/a" not in tree
    assert "/" in tree


def test_equal_acls_are_one_object() -> None:
    tree = DataTree()
    first = tree.add("/a", b"", (ACL(1, Id("world", "anyone")),), 1, 0)
    second = tree.add("/b", b"", (ACL(1, Id("world", "anyone")),), 2, 0)
    assert first.acl is second.acl


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 30))
def test_a_roll_back_leaves_no_trace(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    tree = _tree("/a", "/a/b", "/c")
    tree.add("/e", b"", OPEN, 4, 0, kind=ZNodeKind.EPHEMERAL, owner=9)
    tree.add("/t", b"", OPEN, 5, 0, kind=ZNodeKind.TTL, ttl_ms=9)
    before = _stats(tree), tree.all_ephemerals(), sorted(path for path, _ in tree.reapable()), len(tree)
    tree.begin()
    _change_at_random(tree, dice, steps)
    tree.roll_back()
    after = _stats(tree), tree.all_ephemerals(), sorted(path for path, _ in tree.reapable()), len(tree)
    assert after == before


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 30))
def test_a_commit_leaves_what_no_journal_would(seed: int, steps: int) -> None:
    trees = []
    for with_journal in (False, True):
        tree = _tree("/a", "/a/b", "/c")
        if with_journal:
            tree.begin()
        _change_at_random(tree, random.Random(seed), steps)
        tree.commit()
        tree.roll_back()  # nothing is left to undo
        trees.append(_stats(tree))
    assert trees[0] == trees[1]


def _change_at_random(tree: DataTree, dice: random.Random, steps: int) -> None:
    for zxid in range(100, 100 + steps):
        path = dice.choice(["/a", "/a/b", "/a/b/c", "/c", "/e", "/t", "/n"])
        node = tree.find(path)
        if node is None:
            if path[: path.rfind("/")] in tree:
                kind = dice.choice(list(ZNodeKind))
                tree.add(path, b"new", OPEN, zxid, zxid, kind=kind, owner=5, ttl_ms=7)
        elif dice.random() < 0.5:
            tree.set_data(node, b"set", node.version + 1, zxid, zxid)
        elif not node.children:
            tree.remove(path, zxid)
