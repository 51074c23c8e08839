"""Looks for a server that has a quorum, while the client makes do with a read-only one.

The word `isro` tells: `rw` or `ro`. The Java client asks one host after another in the same way, with pauses
from 0.1 s, doubled up to a minute (`ClientCnxn.SendThread.pingRwServer`, ZooKeeper 3.8). A server that is
started with `readonlymode.enabled` answers the word without being told to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import anyio

from zkrecipes.net.hosts import Host
from zkrecipes.net.transport import Network

__all__ = ["find_full_server"]

_PAUSE_FIRST: Final = 0.1
_PAUSE_MAX: Final = 60.0
_ANSWER_WITHIN: Final = 1.0


async def find_full_server(
    network: Network, hosts: Callable[[], Sequence[Host]], is_wanted: Callable[[], bool]
) -> Host | None:
    """Ask the hosts in turn until one has a quorum, or until it is no longer wanted.

    Args:
        network: where the hosts are.
        hosts: all of them, asked for anew in each round.
        is_wanted: whether the client still is attached to the read-only server.
    """
    pause = _PAUSE_FIRST
    while is_wanted():
        for host in hosts():
            if await _is_full(network, host):
                return host
            await anyio.sleep(pause)
            if not is_wanted():
                break
        pause = min(2 * pause, _PAUSE_MAX)
    return None


async def _is_full(network: Network, host: Host) -> bool:
    """Whether a server answers at one of the host's addresses that it takes writes."""
    with anyio.move_on_after(_ANSWER_WITHIN):
        try:
            for address in await network.resolve(host.name, host.port):
                stream = await network.connect(*address)
                try:
                    await stream.send(b"isro")
                    if await stream.receive() == b"rw":
                        return True
                finally:
                    with anyio.CancelScope(shield=True):
                        await stream.aclose()
        except OSError:
            return False
    return False
