"""A network in memory: names, listeners, connections, and everything that can go wrong with them.

It stands where `TcpNetwork` stands, on trio and on asyncio. It reads no clock and rolls no dice, so under
trio's `MockClock` a test that uses it takes no time and comes out the same each time.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple, final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from zkrecipes.net.transport.network import Address, Handler, Stream, bare_errors
from zkrecipes.testing.memory_stream import Link

__all__ = ["MemoryNetwork", "NetworkView"]

# Where free ports begin; any would do.
_FIRST_PORT = 20001


class _Trouble(Enum):
    """What is wrong with a way through the network."""

    CUT = "cut"
    """Nothing arrives, and nobody is told."""
    BLACK_HOLE = "black hole"
    """New connections are never answered; those that are there work."""
    REFUSED = "refused"
    """New connections are refused; those that are there work."""


class _Rule(NamedTuple):
    trouble: _Trouble
    source: str | None
    host: str | None
    port: int | None

    def concerns(self, source: str, server: Address) -> bool:
        return (
            self.source in (None, source)
            and self.host in (None, server.host)
            and self.port in (None, server.port)
        )


class _Listener(NamedTuple):
    tasks: TaskGroup
    handler: Handler


@final
class MemoryNetwork:
    """A `Network` that lives in memory. Any host name may be listened on.

    Args:
        chunk_size: how many bytes a receive gets at most; 1 splits every byte, None is as many as are there.
            New connections have it; those that are there keep theirs.
        record: whether each connection keeps all bytes that it carried, for `Direction.recorded`.
    """

    def __init__(self, *, chunk_size: int | None = None, record: bool = False) -> None:
        self.chunk_size = chunk_size
        self.names: dict[str, list[str]] = {}
        """What each name resolves to. A name that is listened on resolves to itself without being here."""
        self.links: list[Link] = []
        """The connections, oldest first. Those that have ended leave when the next one is made, unless the
        network records."""
        self._record = record
        self._listeners: dict[Address, _Listener] = {}
        self._rules: list[_Rule] = []
        self._changed = anyio.Event()
        self._client_port = 0

    # --- what a Network does -------------------------------------------------------------------------------

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a name, from `names`; see `Network.resolve`."""
        await anyio.lowlevel.checkpoint()
        if host in self.names:
            return [Address(address, port) for address in self.names[host]]
        if _is_ip_address(host) or any(listening.host == host for listening in self._listeners):
            return [Address(host, port)]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def connect(self, host: str, port: int) -> Stream:
        """Open a stream to an address; see `Network.connect`."""
        return await self.connect_from("", host, port)

    async def connect_from(self, source: str, host: str, port: int) -> Stream:
        """The same, from a named client; see `view`."""
        await anyio.lowlevel.checkpoint()
        server = Address(host, port)
        while (trouble := self._trouble(source, server)) in (_Trouble.CUT, _Trouble.BLACK_HOLE):
            await self._changed.wait()
        listener = self._listeners.get(server)
        if listener is None or trouble is _Trouble.REFUSED:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._client_port += 1
        link = Link(
            source,
            Address("127.0.0.1", self._client_port),
            server,
            chunk_size=self.chunk_size,
            record=self._record,
        )
        if not self._record:
            self.links = [other for other in self.links if other.is_open]
        self.links.append(link)
        listener.tasks.start_soon(listener.handler, link.server_end)
        return link.client_end

    @asynccontextmanager
    async def serve(self, host: str, port: int, handler: Handler) -> AsyncIterator[Address]:
        """Listen on an address; see `Network.serve`."""
        await anyio.lowlevel.checkpoint()
        address = Address(host, port or self._free_port(host))
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        with bare_errors():
            async with anyio.create_task_group() as tasks:
                self._listeners[address] = _Listener(tasks, handler)
                self._wake()
                try:
                    yield address
                finally:
                    del self._listeners[address]
                    tasks.cancel_scope.cancel()

    def view(self, source: str) -> NetworkView:
        """The network as one client sees it, so that this client alone can be cut off: by `source`."""
        return NetworkView(self, source)

    # --- what can go wrong ---------------------------------------------------------------------------------
    #
    # Each of these concerns the ways from `source` (None: from everybody) to the servers at `host` and `port`
    # (None: at any).

    def cut(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Let nothing arrive any more: connections hang, new ones are not answered. `heal` ends it.

        Nothing is lost: what was sent meanwhile arrives afterwards, as TCP sends it again.
        """
        self._add(_Rule(_Trouble.CUT, source, host, port))

    def black_hole(
        self, *, source: str | None = None, host: str | None = None, port: int | None = None
    ) -> None:
        """Never answer new connections."""
        self._add(_Rule(_Trouble.BLACK_HOLE, source, host, port))

    def refuse(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Refuse new connections."""
        self._add(_Rule(_Trouble.REFUSED, source, host, port))

    def heal(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """End what `cut`, `black_hole` and `refuse` began with the same arguments; without any, all of it."""
        everything = (source, host, port) == (None, None, None)
        self._rules = [rule for rule in self._rules if not everything and rule[1:] != (source, host, port)]
        self._apply_cuts()
        self._wake()

    def reset(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Break connections that are there; both ends learn it at once."""
        rule = _Rule(_Trouble.CUT, source, host, port)
        for link in self._links_of([rule]):
            link.reset()

    # --- inside --------------------------------------------------------------------------------------------

    def _trouble(self, source: str, server: Address) -> _Trouble | None:
        found = {rule.trouble for rule in self._rules if rule.concerns(source, server)}
        return next((trouble for trouble in _Trouble if trouble in found), None)

    def _add(self, rule: _Rule) -> None:
        self._rules.append(rule)
        self._apply_cuts()
        self._wake()

    def _apply_cuts(self) -> None:
        """A link is held while a cut concerns it; what a test holds by itself is left alone."""
        cuts = [rule for rule in self._rules if rule.trouble is _Trouble.CUT]
        cut = set(map(id, self._links_of(cuts)))
        for link in self.links:
            if (id(link) in cut) != link.is_cut:
                link.set_cut(not link.is_cut)

    def _links_of(self, rules: Iterable[_Rule]) -> list[Link]:
        return [link for link in self.links if any(rule.concerns(link.source, link.server) for rule in rules)]

    def _free_port(self, host: str) -> int:
        port = _FIRST_PORT
        while Address(host, port) in self._listeners:
            port += 1
        return port

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@final
class NetworkView:
    """A `MemoryNetwork` as one client sees it; made by `MemoryNetwork.view`."""

    def __init__(self, network: MemoryNetwork, source: str) -> None:
        self.network = network
        self.source = source

    async def resolve(self, host: str, port: int) -> list[Address]:
        """See `Network.resolve`."""
        return await self.network.resolve(host, port)

    async def connect(self, host: str, port: int) -> Stream:
        """See `Network.connect`."""
        return await self.network.connect_from(self.source, host, port)

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        """See `Network.serve`."""
        return self.network.serve(host, port, handler)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
