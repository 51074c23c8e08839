"""Looks for a server that has a quorum while the client is attached to a read-only one.

The answer to the four-letter word `isro` is `rw` or `ro`. The Java client asks one host after another in the
same way, with pauses from 0.1 s, doubled up to a minute (`ClientCnxn.SendThread.pingRwServer`, 3.8). A server
that is started with `readonlymode.enabled` answers the word even if its configuration does not list it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from zkrecipes.net.connect_string import Host
from zkrecipes.net.four_letter import ask
from zkrecipes.net.transport.network import Address, Network

__all__ = ["find_read_write_server"]

_PAUSE_FIRST: Final = 0.1
_PAUSE_MAX: Final = 60.0
_ANSWER_TIMEOUT: Final = 1.0
_READ_WRITE: Final = b"rw"


async def find_read_write_server(
    network: Network, hosts: Callable[[], Sequence[Host]], is_needed: Callable[[], bool]
) -> tuple[Host, Address] | None:
    """Ask the hosts in turn until one has a quorum; return it and its address, or None if none is needed.

    The address counts as well, because a name may stand for many servers.

    Args:
        network: resolves and connects.
        hosts: returns all hosts; called in each round.
        is_needed: returns whether the client is still attached to the read-only server.
    """
    pause = _PAUSE_FIRST
    while is_needed():
        for host in hosts():
            address = await _read_write_address(network, host)
            if address is not None:
                return host, address
            await anyio.sleep(pause)
            if not is_needed():
                break
        pause = min(2 * pause, _PAUSE_MAX)
    return None


async def _read_write_address(network: Network, host: Host) -> Address | None:
    """Return one of the host's addresses whose server answers that it accepts writes."""
    addresses: list[Address] = []
    with suppress(OSError), anyio.move_on_after(_ANSWER_TIMEOUT):
        addresses = await network.resolve(host.name, host.port)
    for address in addresses:
        with suppress(OSError), anyio.move_on_after(_ANSWER_TIMEOUT):
            if await ask(network, address, b"isro", is_enough=_READ_WRITE.__eq__) == _READ_WRITE:
                return address
    return None
