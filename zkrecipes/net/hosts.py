"""Which server is tried next, and after how long.

Every name is resolved afresh at every attempt, because pods move. Hosts come in random order, the next one at
once; only after a whole pass without success there is a pause, exponential with full jitter
("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that a thousand clients do not come back
together.
"""

from __future__ import annotations

import random
from typing import Final, final

from zkrecipes.net.connect_string import DEFAULT_PORT, ConnectString, Host, parse_connect_string
from zkrecipes.net.rebalancing import host_to_move_to
from zkrecipes.net.transport.network import Address

__all__ = ["DEFAULT_PORT", "ConnectString", "Host", "HostList", "parse_connect_string"]

_PAUSE_FIRST: Final = 0.1
_PAUSE_GROWS: Final = 1.5
"""Not twice, as is usual: most outages are elections of less than a second, and half of what a pause is too
long is waited for nothing."""
_PAUSE_MAX: Final = 5.0
_GROWS_AT_MOST: Final = 20


@final
class HostList:
    """Which host is next, and which of its addresses.

    Args:
        hosts: where servers are.
        rng: shuffles them and draws the pauses.

    Attributes:
        last_address: the newest one that was tried; whoever tries one says so.
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
        self.succeeded()

    def rebalance(self, hosts: tuple[Host, ...], current: Host | None) -> Host | None:
        """Use other hosts from the next attempt on, and decide whether this client is one of those that move.

        Args:
            hosts: all of them, from now on.
            current: the one whose server the client is attached to, among those until now; None if it is of
                none of them.

        Returns:
            Where it moves, which is tried first; None if it stays.
        """
        host = host_to_move_to(self._hosts, hosts, current, self._rng)
        self.replace(hosts, self._spare)
        self._preferred = host
        return host

    @property
    def last_tried(self) -> Host | None:
        """The host of the newest attempt: where the client is attached, while it is."""
        return self._last

    def next_host(self) -> Host:
        """The host to try now; a new pass begins when all have had their turn."""
        self._has_begun = True
        if not self._order:
            spare = self._spare if self._passes else ()
            self._order = list(dict.fromkeys([*self._hosts, *spare]))
            self._rng.shuffle(self._order)
            if len(self._order) > 1 and self._order[-1] == self._last:
                # not the one that has just failed
                self._order.insert(0, self._order.pop())
        preferred, self._preferred = self._preferred, None
        if preferred is not None and preferred in self._hosts:
            # also where it has had its turn in this pass
            self._order = [host for host in self._order if host != preferred] + [preferred]
        self._last = self._order.pop()
        return self._last

    def prefer(self, host: Host, address: Address | None = None) -> None:
        """Let `host` have the next turn, if it still is one of the hosts, and begin with this address."""
        self._preferred = host
        self._preferred_address = address

    def in_order(self, addresses: list[Address]) -> list[Address]:
        """The addresses of the host whose turn it is, in the order in which to try them.

        A name may stand for all servers, so they are shuffled: a resolver's order is much the same for all
        clients, and the first server would have most of them. Which of IPv6 and IPv4 comes first is the
        resolver's say, though: it knows what can be reached (RFC 6724). The last one tried has its turn last.
        """
        families = list(dict.fromkeys(map(_is_ipv6, addresses)))
        preferred, self._preferred_address = self._preferred_address, None
        last = self.last_address

        def rank(address: Address) -> tuple[bool, bool, int]:
            return address != preferred, address == last, families.index(_is_ipv6(address))

        return sorted(self._rng.sample(addresses, len(addresses)), key=rank)

    def end_pass(self, at_most: float = _PAUSE_MAX) -> float:
        """How long to wait before the next pass, in seconds: longer from pass to pass, up to 5 s.

        Args:
            at_most: the longest pause that the session can afford, in seconds.
        """
        longest = min(_PAUSE_MAX, at_most, _PAUSE_FIRST * _PAUSE_GROWS ** min(self._passes, _GROWS_AT_MOST))
        self._passes += 1
        return self._rng.uniform(0, longest)

    @property
    def is_pass_over(self) -> bool:
        """Whether every host has had its turn, and none of them has succeeded since."""
        return self._has_begun and not self._order

    @property
    def passes(self) -> int:
        """How many passes have ended since the last success."""
        return self._passes

    def succeeded(self) -> None:
        """A host served for a while: the next failure starts from the shortest pause, with a new order."""
        self._has_begun = False
        self._passes = 0
        self._order.clear()


def _is_ipv6(address: Address) -> bool:
    return ":" in address.host
