"""Clients stay evenly spread after a change of the list, and no more of them move than must."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from zkrecipes.net.connect_string import Host
from zkrecipes.net.host_list import HostList
from zkrecipes.net.rebalancing import host_to_move_to

CLIENTS = 20_000


@pytest.mark.parametrize(
    ("old", "new", "moving"),
    [
        ("abc", "abcde", 2 / 5),  # a larger list: the share of the added ones
        ("a", "ab", 1 / 2),
        ("abc", "adefg", 4 / 5),
        ("abcde", "abc", 2 / 5),  # a smaller one: those whose server was removed
        ("abcd", "abe", 1 / 2),
        ("abcde", "afg", 4 / 5),
        ("abc", "abd", 1 / 3),  # the same number: those whose server was replaced
        ("abc", "def", 1),
        ("abc", "cba", 0),
    ],
)
def test_the_load_is_even_afterwards_and_as_few_as_possible_move(old: str, new: str, moving: float) -> None:
    rng = random.Random(7)
    load: Counter[str] = Counter()
    moved = 0
    for number in range(CLIENTS):
        current = old[number % len(old)]
        target = host_to_move_to(old, new, current, rng)
        moved += target is not None
        load[target or current] += 1
    assert set(load) == set(new)
    assert all(count == pytest.approx(CLIENTS / len(new), rel=0.07) for count in load.values())
    assert moved == pytest.approx(CLIENTS * moving, rel=0.05)


@pytest.mark.parametrize(("old", "new"), [("abc", "abc"), ("abc", "ab"), ("abc", "abcd"), ("a", "b")])
def test_one_that_is_attached_to_none_of_them_goes_to_one_of_them(old: str, new: str) -> None:
    assert host_to_move_to(old, new, None, random.Random(7)) in set(new)


def test_where_a_client_moves_is_tried_first() -> None:
    old, new = (Host("a", 1),), (Host("b", 1), Host("c", 1), Host("d", 1))
    for seed in range(20):
        hosts = HostList(old, random.Random(seed))
        assert hosts.next_host() == hosts.last_tried == old[0]
        target = hosts.rebalance(new, hosts.last_tried)
        assert target is not None
        assert hosts.next_host() == target


def test_a_client_that_stays_has_the_new_list_as_well() -> None:
    old, new = (Host("a", 1), Host("b", 1)), (Host("a", 1),)
    hosts = HostList(old, random.Random(7))
    assert hosts.rebalance(new, Host("a", 1)) is None
    assert hosts.hosts == new
