"""The connect string, and which server is tried next and after how long.

Every name is resolved afresh at every attempt, because pods move. Hosts come in random order, the next one at
once; only after a whole pass without success there is a pause, exponential with full jitter
("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that a thousand clients do not come back
together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from zkrecipes.net.rebalancing import host_to_move_to
from zkrecipes.net.transport import Address
from zkrecipes.paths import check_path

__all__ = ["DEFAULT_PORT", "ConnectString", "Host", "HostList", "parse_connect_string"]

DEFAULT_PORT: Final = 2181
_PAUSE_FIRST: Final = 0.1
_PAUSE_GROWS: Final = 1.5
"""Not twice, as is usual: most outages are elections of less than a second, and half of what a pause is too
long is waited for nothing."""
_PAUSE_MAX: Final = 5.0
_GROWS_AT_MOST: Final = 20


class Host(NamedTuple):
    """One entry of a connect string: a name or an address, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@final
@dataclass(frozen=True, slots=True)
class ConnectString:
    """A connect string taken apart.

    Attributes:
        hosts: in the order in which they were written, without repetitions.
        chroot: the path under which the client lives; empty for none.
    """

    hosts: tuple[Host, ...]
    chroot: str


def parse_connect_string(text: str) -> ConnectString:
    """Read `host:port,host:port/chroot`.

    Ports may be left out (2181); IPv6 addresses with a port stand in brackets; blanks around hosts are
    ignored.

    Raises:
        ValueError: it is empty, or a host, a port or the chroot is wrong; the message names it.
        TypeError: it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"a connect string is a str, not {type(text).__name__}: {text!r}")
    slash = text.find("/")
    hosts_text, chroot = (text, "") if slash < 0 else (text[:slash], text[slash:])
    if chroot == "/":
        chroot = ""
    if chroot:
        try:
            check_path(chroot)
        except ValueError as error:
            raise ValueError(f"connect string {text!r}: the chroot is wrong: {error}") from None
    hosts = tuple(dict.fromkeys(_parse_host(each.strip(), text) for each in hosts_text.split(",")))
    return ConnectString(hosts, chroot)


def _parse_host(text: str, whole: str) -> Host:
    if not text:
        raise ValueError(f"connect string {whole!r}: a host is empty")
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket or not name or (rest and not rest.startswith(":")):
            raise ValueError(f"connect string {whole!r}: unbalanced bracket in {text!r}")
        return Host(name, _parse_port(rest[1:], whole) if rest else DEFAULT_PORT)
    if "[" in text or "]" in text:
        raise ValueError(f"connect string {whole!r}: unbalanced bracket in {text!r}")
    if text.count(":") > 1:  # a bare IPv6 address
        return Host(text, DEFAULT_PORT)
    name, colon, port = text.partition(":")
    if not name:
        raise ValueError(f"connect string {whole!r}: a host is empty")
    if any(each.isspace() for each in name):
        raise ValueError(f"connect string {whole!r}: the host {name!r} has a blank in it")
    return Host(name, _parse_port(port, whole) if colon else DEFAULT_PORT)


def _parse_port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(f"connect string {whole!r}: {text!r} is not a port")
    return int(text)


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
