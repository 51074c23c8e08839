"""The names of contenders, built and parsed as kazoo and Curator do it."""

from __future__ import annotations

import re

import pytest
from kazoo.recipe.lock import Lock, ReadLock, WriteLock

from zkrecipes.recipes.locking.lock_layouts import (
    ELECTIONS,
    MUTEXES,
    READERS,
    WRITERS,
    LockLayout,
    choose_layout,
)

GUID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
KAZOO = MUTEXES["kazoo"]
ALL = [*MUTEXES.values(), *ELECTIONS.values(), *READERS.values(), *WRITERS.values()]


@pytest.mark.parametrize("counter", [0, 7, 2147483647, 2147483648, -2147483648, -1, 12345678901])
@pytest.mark.parametrize("layout", ALL, ids=lambda layout: f"{layout.name}-{layout.tag}")
def test_a_built_name_is_parsed(layout: LockLayout, counter: int) -> None:
    name = f"{layout.prefix(GUID)}{counter:010d}"  # the server appends it
    assert layout.tag_and_sequence_of(name) == (layout.tag, counter)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "foreign",
        GUID,
        KAZOO.prefix(GUID),
        f"{GUID}__lock__00000x0001",
        f"{GUID}__lock__0000000001 ",
        f"{GUID}__lock__--00000001",
        f"{GUID}__rlock__0000000001",
        f"_c_{DASHED}-lock-0000000001",
        f"{GUID}__lock__0000000001__lock__",
        f"{GUID}__lock__000000000\u0661",  # a digit, but not an ASCII digit
    ],
)
def test_a_name_of_another_form_is_not_a_contender(name: str) -> None:
    assert KAZOO.tag_and_sequence_of(name) is None


def test_the_number_is_after_the_last_tag() -> None:
    assert KAZOO.tag_and_sequence_of("a__lock__0000000009__lock__0000000001") == ("__lock__", 1)


def test_a_dash_belongs_to_curators_name_and_is_not_a_sign() -> None:
    assert MUTEXES["curator"].tag_and_sequence_of(f"_c_{DASHED}-lock-0000000005") == ("lock-", 5)
    assert MUTEXES["curator"].tag_and_sequence_of(f"_c_{DASHED}-lock--2147483648") == ("lock-", -(2**31))


def test_the_names_are_kazoos() -> None:
    assert KAZOO.tag == Lock._NODE_NAME == WriteLock._NODE_NAME  # noqa: SLF001 - kazoo has no public name for it
    assert WRITERS["kazoo"].tag == WriteLock._NODE_NAME  # noqa: SLF001
    assert READERS["kazoo"].tag == ReadLock._NODE_NAME  # noqa: SLF001
    assert set(WRITERS["kazoo"].blocked_by) == set(WriteLock._EXCLUDE_NAMES)  # noqa: SLF001
    assert set(READERS["kazoo"].blocked_by) == set(ReadLock._EXCLUDE_NAMES)  # noqa: SLF001
    assert re.fullmatch(r"[0-9a-f]{32}__lock__", KAZOO.prefix(GUID))


def test_the_names_are_curators() -> None:
    assert MUTEXES["curator"].prefix(GUID) == f"_c_{DASHED}-lock-"
    assert WRITERS["curator"].prefix(GUID) == f"_c_{DASHED}-__WRIT__"
    assert READERS["curator"].prefix(GUID) == f"_c_{DASHED}-__READ__"
    assert ELECTIONS["curator-latch"].prefix(GUID) == f"_c_{DASHED}-latch-"
    assert ELECTIONS["curator-selector"].prefix(GUID) == MUTEXES["curator"].prefix(GUID)


def test_a_layout_is_found_by_its_name() -> None:
    assert choose_layout("kazoo", MUTEXES) is KAZOO
    with pytest.raises(ValueError, match=r"layout must be one of kazoo, curator, not 'zoo'"):
        choose_layout("zoo", MUTEXES)
