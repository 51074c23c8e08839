"""The names of contenders: made and read as kazoo does."""

from __future__ import annotations

import re

import pytest
from kazoo.recipe.lock import Lock

from zkrecipes.recipes.layouts import KAZOO_LOCK, lock_layout

GUID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("counter", [0, 7, 2147483647, 2147483648, -2147483648, -1, 12345678901])
def test_a_name_is_read_as_it_is_made(counter: int) -> None:
    name = f"{KAZOO_LOCK.prefix(GUID)}{counter:010d}"  # what the server appends
    assert KAZOO_LOCK.sequence_of(name) == counter


@pytest.mark.parametrize(
    "name",
    [
        "",
        "foreign",
        GUID,
        KAZOO_LOCK.prefix(GUID),
        f"{GUID}__lock__00000x0001",
        f"{GUID}__lock__0000000001 ",
        f"{GUID}__lock__--00000001",
        f"{GUID}__rlock__0000000001",
        f"_c_{GUID}-lock-0000000001",
        f"{GUID}__lock__0000000001__lock__",
        f"{GUID}__lock__000000000\u0661",  # a digit, but none of the server's
    ],
)
def test_a_name_of_another_make_is_no_contender(name: str) -> None:
    assert KAZOO_LOCK.sequence_of(name) is None


def test_the_number_stands_behind_the_last_tag() -> None:
    assert KAZOO_LOCK.sequence_of("a__lock__0000000009__lock__0000000001") == 1


def test_the_tag_is_kazoos() -> None:
    assert KAZOO_LOCK.tag == Lock._NODE_NAME  # noqa: SLF001 - kazoo has no public name for it
    assert re.fullmatch(r"[0-9a-f]{32}__lock__", KAZOO_LOCK.prefix(GUID))


def test_a_layout_is_found_by_its_name() -> None:
    assert lock_layout("kazoo") is KAZOO_LOCK
    with pytest.raises(ValueError, match=r"unknown layout 'zoo': one of kazoo"):
        lock_layout("zoo")
