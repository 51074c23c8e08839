"""The choice of the next host, and the pause before it."""

from __future__ import annotations

import random

from zkrecipes.net.connect_string import Host
from zkrecipes.net.host_list import HostList
from zkrecipes.net.transport.network import Address

A, B, C = Host("a", 2181), Host("b", 2181), Host("c", 2181)


def test_every_host_has_its_turn_in_each_pass_and_the_order_is_random() -> None:
    hosts = HostList((A, B, C), random.Random(1))
    passes = [[hosts.next_host() for _ in range(3)] for _ in range(50)]
    assert all(sorted(each) == [A, B, C] for each in passes)
    assert len({tuple(each) for each in passes}) > 3


def test_the_host_that_has_just_failed_is_not_the_next_one() -> None:
    hosts = HostList((A, B, C), random.Random(2))
    last = None
    for _ in range(300):
        host = hosts.next_host()
        assert host != last
        last = host


def test_the_host_that_was_just_lost_has_its_turn_last() -> None:
    hosts = HostList((A, B, C), random.Random(3))
    for _ in range(50):
        lost = hosts.next_host()
        hosts.note_success()
        assert hosts.next_host() != lost
        hosts.note_success()


def test_a_pass_is_over_when_all_have_had_their_turn_without_success() -> None:
    hosts = HostList((A, B), random.Random(4))
    seen = [hosts.is_pass_over]
    for move in (hosts.next_host, hosts.next_host, hosts.note_success):
        move()
        seen.append(hosts.is_pass_over)
    assert seen == [False, False, True, False]


def test_pauses_grow_from_pass_to_pass_with_full_jitter_up_to_five_seconds() -> None:
    bounds = [min(5.0, 0.1 * 1.5**number) for number in range(14)]
    assert bounds[-3:] == [5.0] * 3
    longest = [0.0] * len(bounds)
    for seed in range(200):
        hosts = HostList((A,), random.Random(seed))
        for index, bound in enumerate(bounds):
            pause = hosts.end_pass()
            assert 0 <= pause <= bound
            longest[index] = max(longest[index], pause)
    assert all(seen > 0.9 * bound for seen, bound in zip(longest, bounds, strict=True))


def test_pauses_stay_bounded_after_thousands_of_passes() -> None:
    hosts = HostList((A,), random.Random(5))
    assert all(hosts.end_pass() <= 5 for _ in range(5000))


def test_a_success_makes_the_next_pause_short_again() -> None:
    hosts = HostList((A,), random.Random(6))
    for _ in range(10):
        hosts.end_pass()
    hosts.note_success()
    assert hosts.passes == 0
    assert hosts.end_pass() <= 0.1


def test_other_hosts_are_used_from_the_next_attempt_on() -> None:
    hosts = HostList((A,), random.Random(7))
    hosts.next_host()
    hosts.replace((B, C))
    assert hosts.hosts == (B, C)
    assert not hosts.is_pass_over
    assert {hosts.next_host(), hosts.next_host()} == {B, C}


def test_a_preferred_host_has_the_next_turn_and_only_that_one() -> None:
    for seed in range(20):
        hosts = HostList((A, B, C), random.Random(seed))
        hosts.next_host()
        hosts.prefer(B)
        hosts.note_success()
        assert [hosts.next_host() for _ in range(3)].count(B) == 1
        hosts.note_success()
        hosts.prefer(B)
        assert hosts.next_host() == B


def test_a_preferred_host_that_is_not_in_the_list_is_not_tried() -> None:
    hosts = HostList((A, B), random.Random(8))
    hosts.prefer(C)
    assert {hosts.next_host(), hosts.next_host()} == {A, B}


def test_spare_hosts_are_tried_once_a_whole_pass_has_failed() -> None:
    hosts = HostList((C,), random.Random(1))
    hosts.replace((A, B), spare=(B, C))
    assert {hosts.next_host(), hosts.next_host()} == {A, B}
    hosts.end_pass()
    assert sorted(hosts.next_host() for _ in range(3)) == [A, B, C]
    hosts.note_success()
    assert {hosts.next_host(), hosts.next_host()} == {A, B}
    assert hosts.hosts == (A, B)
    hosts.rebalance((A,), A)
    hosts.end_pass()
    assert sorted(hosts.next_host() for _ in range(3)) == [A, B, C]
    hosts.replace((A,))
    hosts.end_pass()
    assert hosts.next_host() == A
    assert hosts.is_pass_over


def test_addresses_of_a_name_are_shuffled_within_their_family() -> None:
    v6 = [Address(f"::{number}", 2181) for number in range(4)]
    v4 = [Address(f"10.0.0.{number}", 2181) for number in range(4)]
    hosts = HostList((A,), random.Random(1))
    orders = [hosts.order_addresses([*v6, *v4]) for _ in range(50)]
    assert all(set(order[:4]) == set(v6) and set(order[4:]) == set(v4) for order in orders)
    assert {order[0] for order in orders} == set(v6)
    assert {order[4] for order in orders} == set(v4)
    assert hosts.order_addresses([]) == []


def test_the_address_that_was_tried_last_has_its_turn_last_and_a_preferred_one_first() -> None:
    addresses = [Address("::1", 2181), Address("10.0.0.1", 2181), Address("10.0.0.2", 2181)]
    hosts = HostList((A,), random.Random(1))
    hosts.last_address = addresses[0]
    assert hosts.order_addresses(addresses)[-1] == addresses[0]
    hosts.prefer(A, addresses[2])
    assert hosts.order_addresses(addresses) == [addresses[2], addresses[1], addresses[0]]
    assert hosts.order_addresses(addresses)[-1] == addresses[0], "once"
