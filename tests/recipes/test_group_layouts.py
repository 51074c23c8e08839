"""The names of the znodes of group members."""

from __future__ import annotations

import pytest

from zkrecipes.recipes.group_layouts import CURATOR_GROUP, KAZOO_GROUP, group_layout


def test_curators_znodes_have_the_names_of_their_members() -> None:
    assert CURATOR_GROUP.node_name("worker-7") == "worker-7"
    assert CURATOR_GROUP.member_name("worker-7") == "worker-7"


def test_kazoos_znodes_have_digits_before_the_names_of_their_members() -> None:
    node = KAZOO_GROUP.node_name("worker-7")
    digits, dash, name = node.partition("-")
    assert (len(digits), dash, name) == (32, "-", "worker-7")
    assert int(digits, 16) > 0
    assert KAZOO_GROUP.member_name(node) == "worker-7"


def test_the_digits_depend_on_the_name() -> None:
    assert KAZOO_GROUP.node_name("a") == KAZOO_GROUP.node_name("a")
    assert KAZOO_GROUP.node_name("a")[:32] != KAZOO_GROUP.node_name("b")[:32]


@pytest.mark.parametrize("name", ["a", "a-b", "-", "ä ö", "0" * 32 + "-x", "__party__"])
def test_the_name_is_found_in_the_znodes_name(name: str) -> None:
    for layout in (CURATOR_GROUP, KAZOO_GROUP):
        assert layout.member_name(layout.node_name(name)) == name


@pytest.mark.parametrize(
    "node", ["worker-7", "0" * 31 + "-a", "0" * 32, "0" * 32 + "__party__", "G" * 32 + "-a"]
)
def test_other_names_are_not_those_of_kazoo_members(node: str) -> None:
    assert KAZOO_GROUP.member_name(node) is None


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\0b", "\ud800"])
def test_an_invalid_znode_name_is_refused(name: str) -> None:
    for layout in (CURATOR_GROUP, KAZOO_GROUP):
        with pytest.raises(ValueError, match="znode"):
            layout.node_name(name)


def test_an_unknown_layout_is_refused() -> None:
    assert group_layout("kazoo") is KAZOO_GROUP
    assert group_layout("curator") is CURATOR_GROUP
    with pytest.raises(ValueError, match="layout must be one of curator, kazoo, not 'etcd'"):
        group_layout("etcd")
