"""What a client remembers of addresses: the newest only, for pods come and go under new ones for years."""

from __future__ import annotations

from typing import Final, TypeVar

from zkrecipes.net.transport.network import Address

__all__ = ["ADDRESSES_MAX", "remember"]

ADDRESSES_MAX: Final = 1000
"""No ensemble has as many."""

T = TypeVar("T")


def remember(table: dict[Address, T], address: Address, what: T) -> None:
    """Note something of an address, and forget what was noted longest ago where that is too much."""
    table.pop(address, None)
    table[address] = what
    while len(table) > ADDRESSES_MAX:
        del table[next(iter(table))]
