"""Looks for a server that has a quorum, while the client makes do with a read-only one.

The word `isro` tells: `rw` or `ro`. The Java client asks one host after another in the same way, with pauses
from 0.1 s, doubled up to a minute (`ClientCnxn.SendThread.pingRwServer`, ZooKeeper 3.8). A server that is
started with `readonlymode.enabled` answers the word without being told to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from zkrecipes.net.four_letter import ask
from zkrecipes.net.hosts import Host
from zkrecipes.net.transport.network import Address, Network

__all__ = ["find_read_write_server"]

_PAUSE_FIRST: Final = 0.1
_PAUSE_MAX: Final = 60.0
_ANSWER_WITHIN: Final = 1.0
_FULL: Final = b"rw"


async def find_read_write_server(
    network: Network, hosts: Callable[[], Sequence[Host]], is_wanted: Callable[[], bool]
) -> tuple[Host, Address] | None:
    """Ask the hosts in turn until one has a quorum, or until it is no longer wanted.

    A name may stand for many servers, so the address counts as well.

    Args:
        network: where the hosts are.
        hosts: all of them, asked for anew in each round.
        is_wanted: whether the client still is attached to the read-only server.
    """
    pause = _PAUSE_FIRST
    while is_wanted():
        for host in hosts():
            address = await _full_address(network, host)
            if address is not None:
                return host, address
            await anyio.sleep(pause)
            if not is_wanted():
                break
        pause = min(2 * pause, _PAUSE_MAX)
    return None


async def _full_address(network: Network, host: Host) -> Address | None:
    """One of the host's addresses at which a server answers that it takes writes."""
    addresses: list[Address] = []
    with suppress(OSError), anyio.move_on_after(_ANSWER_WITHIN):
        addresses = await network.resolve(host.name, host.port)
    for address in addresses:
        with suppress(OSError), anyio.move_on_after(_ANSWER_WITHIN):
            if await ask(network, address, b"isro", is_enough=_FULL.__eq__) == _FULL:
                return address
    return None
