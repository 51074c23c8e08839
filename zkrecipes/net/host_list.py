"""Chooses the server to try next, and the pause before it.

Every name is resolved afresh at every attempt, because pods move. Hosts are tried in random order, the next
one at once. Only after a whole pass without success there is a pause, exponential with full jitter
("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that a thousand clients do not return
together.
"""

from __future__ import annotations

import random
from typing import Final, final

from zkrecipes.net.connect_string import Host
from zkrecipes.net.rebalancing import host_to_move_to
from zkrecipes.net.transport.network import Address

__all__ = ["HostList"]

_PAUSE_FIRST: Final = 0.1
_PAUSE_GROWS: Final = 1.5
"""Less than the usual factor 2: most outages are elections of less than a second, and on average half of a
pause that is too long is wasted."""
_PAUSE_MAX: Final = 5.0
_GROWTHS_MAX: Final = 20


@final
class HostList:
    """The hosts of a client, with the choice of the next one and of the order of its addresses.

    Args:
        hosts: the servers of the connect string.
        rng: shuffles them and draws the pauses.

    Attributes:
        last_address: the newest address that was tried; the connector sets it.
    """

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._rng = rng
        self._hosts = hosts
        self._spare: tuple[Host, ...] = ()
        self._order: list[Host] = []
        self._has_begun = False
        self._passes = 0
        self._last: Host | None = None
        self._preferred: Host | None = None
        self._preferred_address: Address | None = None
        self.last_address: Address | None = None

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, as given."""
        return self._hosts

    def replace(self, hosts: tuple[Host, ...], spare: tuple[Host, ...] = ()) -> None:
        """Use other hosts from the next attempt on, and `spare` as well once all of them have failed."""
        self._hosts = hosts
        self._spare = spare
        self.note_success()

    def rebalance(self, hosts: tuple[Host, ...], current: Host | None) -> Host | None:
        """Use other hosts from the next attempt on, and decide whether this client moves to another one.

        Args:
            hosts: all hosts from now on.
            current: the former host whose server the client is attached to, or None.

        Returns:
            The host to move to, which is tried first; None if the client stays.
        """
        host = host_to_move_to(self._hosts, hosts, current, self._rng)
        self.replace(hosts, self._spare)
        self._preferred = host
        return host

    @property
    def last_tried(self) -> Host | None:
        """The host of the newest attempt; while the client is attached, the host of its server."""
        return self._last

    def next_host(self) -> Host:
        """Return the host to try now; start a new pass when all have been tried."""
        self._has_begun = True
        if not self._order:
            spare = self._spare if self._passes else ()
            self._order = list(dict.fromkeys([*self._hosts, *spare]))
            self._rng.shuffle(self._order)
            if len(self._order) > 1 and self._order[-1] == self._last:
                # the host that has just failed must not be the first one
                self._order.insert(0, self._order.pop())
        preferred, self._preferred = self._preferred, None
        if preferred is not None and preferred in self._hosts:
            # the preferred host is next even if it was tried in this pass
            self._order = [host for host in self._order if host != preferred] + [preferred]
        self._last = self._order.pop()
        return self._last

    def prefer(self, host: Host, address: Address | None = None) -> None:
        """Try `host` next if it is still one of the hosts, and this address of it first."""
        self._preferred = host
        self._preferred_address = address

    def order_addresses(self, addresses: list[Address]) -> list[Address]:
        """Return the addresses of the current host in the order in which to try them.

        A name may stand for all servers, so its addresses are shuffled: a resolver's order is much the same
        for all clients, so the first server would get most of them. The resolver decides whether IPv6 or IPv4
        is tried first, because it knows what can be reached (RFC 6724). The address that was tried last comes
        last.
        """
        families = list(dict.fromkeys(map(_is_ipv6, addresses)))
        preferred, self._preferred_address = self._preferred_address, None
        last = self.last_address

        def rank(address: Address) -> tuple[bool, bool, int]:
            return address != preferred, address == last, families.index(_is_ipv6(address))

        return sorted(self._rng.sample(addresses, len(addresses)), key=rank)

    def end_pass(self, pause_max: float = _PAUSE_MAX) -> float:
        """End the pass, and return the seconds to wait before the next one: ever longer, up to 5 s.

        Args:
            pause_max: the longest pause that the session can afford, in seconds.
        """
        longest = min(_PAUSE_MAX, pause_max, _PAUSE_FIRST * _PAUSE_GROWS ** min(self._passes, _GROWTHS_MAX))
        self._passes += 1
        return self._rng.uniform(0, longest)

    @property
    def is_pass_over(self) -> bool:
        """Whether every host was tried, and none has succeeded since."""
        return self._has_begun and not self._order

    @property
    def passes(self) -> int:
        """The number of passes that have ended since the last success."""
        return self._passes

    def note_success(self) -> None:
        """Start again from the shortest pause and a new order, because a host served for a while."""
        self._has_begun = False
        self._passes = 0
        self._order.clear()


def _is_ipv6(address: Address) -> bool:
    return ":" in address.host
