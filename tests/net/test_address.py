"""A table by address stays bounded, however many addresses arrive."""

from __future__ import annotations

from zkrecipes.net.transport.address import ADDRESSES_MAX, Address, AddressTable


def test_a_table_keeps_the_entries_that_were_set_last() -> None:
    table: AddressTable[int] = AddressTable()
    kept = Address("10.0.0.1", 2181)
    for number in range(3 * ADDRESSES_MAX):
        table[Address("10.0.0.2", number)] = number
        table[kept] = number
    assert len(table) == ADDRESSES_MAX
    assert table[kept] == 3 * ADDRESSES_MAX - 1
    assert Address("10.0.0.2", 3 * ADDRESSES_MAX - 1) in table
    assert Address("10.0.0.2", 0) not in table
