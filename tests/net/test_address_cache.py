"""Memory stays bounded, however many addresses come."""

from __future__ import annotations

from zkrecipes.net.address_cache import ADDRESSES_MAX, remember
from zkrecipes.net.transport.network import Address


def test_the_newest_are_remembered() -> None:
    table: dict[Address, int] = {}
    kept = Address("10.0.0.1", 2181)
    for number in range(3 * ADDRESSES_MAX):
        remember(table, Address("10.0.0.2", number), number)
        remember(table, kept, number)
    assert len(table) == ADDRESSES_MAX
    assert table[kept] == 3 * ADDRESSES_MAX - 1
    assert Address("10.0.0.2", 3 * ADDRESSES_MAX - 1) in table
    assert Address("10.0.0.2", 0) not in table
