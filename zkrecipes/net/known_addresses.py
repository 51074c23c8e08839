"""Resolves the hosts afresh for each attempt; keeps the last known addresses for a resolver that hangs."""

# The problem: pods change their addresses, so each attempt must ask the resolver; but in an outage of the
# name service a look-up hangs, and would end sessions whose servers are well.
#
# The trick: while a look-up hangs, the client tries the addresses that the name had last. If the previous
# look-up of the name hung as well, it waits only an eighth of a step for this one.
#
# The consequences: a server of another ensemble may have such an address by now. So only a session that may
# be alive uses them, never a new one, and the expiry that such a server reports is only a failed attempt.

from __future__ import annotations

from typing import Final, final

import anyio

from zkrecipes.net.connect_string import Host
from zkrecipes.net.transport.network import Address, Network

__all__ = ["KnownAddresses"]

_WAIT_IF_KNOWN: Final = 1 / 2
_WAIT_IF_HANGING: Final = 1 / 8
"""In steps: the time to wait for a resolver if there are known addresses to try instead."""


@final
class KnownAddresses:
    """The addresses of one client's hosts.

    Args:
        network: resolves the names.

    Attributes:
        is_resolving: whether a name is being resolved now.
    """

    def __init__(self, network: Network) -> None:
        self.is_resolving: bool = False
        self._network = network
        self._last: dict[Host, list[Address]] = {}
        self._hanging: set[Host] = set()

    async def resolve(self, host: Host, step: float, *, may_guess: bool) -> tuple[list[Address], bool]:
        """Return the addresses of a host, and whether they are only the last known ones.

        Args:
            host: the host to resolve.
            step: the seconds that this may take.
            may_guess: whether the last known addresses are enough while the resolver does not answer. The
                servers of another ensemble may have them by now.

        Raises:
            OSError: the name does not resolve, or not in time.
        """
        last = self._last.get(host, []) if may_guess else []
        wait = step * (1.0 if not last else _WAIT_IF_HANGING if host in self._hanging else _WAIT_IF_KNOWN)
        self.is_resolving = True
        try:
            with anyio.move_on_after(wait):
                found = await self._resolve(host)
                return found, False
        finally:
            self.is_resolving = False
        self._hanging.add(host)
        if last:
            return last, True
        raise TimeoutError(f"resolving: no answer from the name service within {wait:.3g} seconds")

    def keep_only(self, hosts: tuple[Host, ...]) -> None:
        """Forget the addresses of all other hosts."""
        self._last = {host: found for host, found in self._last.items() if host in hosts}
        self._hanging.intersection_update(hosts)

    async def _resolve(self, host: Host) -> list[Address]:
        try:
            found = await self._network.resolve(host.name, host.port)
        except OSError as error:
            self._hanging.discard(host)
            raise OSError(f"the name does not resolve: {error}") from error
        self._hanging.discard(host)
        if not found:
            raise OSError("the name resolves to no address")
        self._last[host] = found
        return found
