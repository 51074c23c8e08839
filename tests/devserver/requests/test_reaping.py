"""The containers and TTL znodes that are due for deletion."""

from __future__ import annotations

import pytest

from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.data_tree import DataTree, ZNodeKind
from zkrecipes.devserver.requests.reaping import due_paths

OPEN = (ACL(31, Id("world", "anyone")),)


@pytest.mark.parametrize("start", [0, 100])
def test_a_container_is_due_after_its_last_child(start: int) -> None:
    tree = DataTree(start_counter=start)
    tree.add("/c", b"", OPEN, 1, 0, kind=ZNodeKind.CONTAINER)
    assert due_paths(tree, 1000, start_counter=start) == []
    tree.add("/c/x", b"", OPEN, 2, 0)
    assert due_paths(tree, 1000, start_counter=start) == []
    tree.remove("/c/x", 3)
    assert due_paths(tree, 1000, start_counter=start) == ["/c"]


def test_a_container_that_was_never_used_stays() -> None:
    tree = DataTree()
    tree.add("/c", b"", OPEN, 1, 5000, kind=ZNodeKind.CONTAINER)
    a_year_later = 365 * 24 * 3600 * 1000
    assert due_paths(tree, a_year_later) == []


def test_a_ttl_counts_from_the_last_change_and_waits_for_children() -> None:
    tree = DataTree()
    node = tree.add("/t", b"", OPEN, 1, 5000, kind=ZNodeKind.TTL, ttl_ms=100)
    tree.add("/p", b"", OPEN, 1, 5000)
    assert due_paths(tree, 5100) == []
    assert due_paths(tree, 5101) == ["/t"]
    tree.set_data(node, b"x", 1, 2, 5101)
    assert due_paths(tree, 5201) == []
    tree.add("/t/x", b"", OPEN, 3, 5101)
    assert due_paths(tree, 9999) == []
    tree.remove("/t/x", 4)
    assert due_paths(tree, 9999) == ["/t"]
