"""The address of a server, once its name is resolved, and bounded tables by address."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar, final

__all__ = ["ADDRESSES_MAX", "Address", "AddressTable"]

ADDRESSES_MAX: Final = 1000
"""A number of addresses that no ensemble reaches."""

T = TypeVar("T")


@final
class Address(NamedTuple):
    """An address to connect to, or one that a listener is bound to."""

    host: str
    """An IP address as text (in memory: any name)."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@final
class AddressTable(dict[Address, T]):
    """A client's table by address: only the newest entries stay, because pods change addresses for years."""

    def __setitem__(self, address: Address, value: T) -> None:
        """Set the entry of an address; drop the one that was set longest ago if there are too many."""
        self.pop(address, None)
        super().__setitem__(address, value)
        while len(self) > ADDRESSES_MAX:
            del self[next(iter(self))]
