"""A network in memory: names, listeners, connections, and the faults of a network.

It replaces `TcpNetwork`, on trio and on asyncio. It uses neither a clock nor random numbers, so under trio's
`MockClock` a test with it takes no time and has the same result in each run.
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
from zkrecipes.testing.memory_link import Connection, Link

__all__ = ["MemoryNetwork", "NetworkView"]

# The first port given to a listener on port 0; any number works.
_FIRST_PORT = 20001


class _NetworkFault(Enum):
    """A fault between clients and servers; the first one listed takes precedence."""

    CUT = "cut"
    """Nothing arrives, and neither end is notified."""
    BLACK_HOLE = "black hole"
    """New connections are never answered; existing ones work."""
    REFUSED = "refused"
    """New connections are refused; existing ones work."""


class _FaultRule(NamedTuple):
    fault: _NetworkFault
    source: str | None
    host: str | None
    port: int | None

    def applies_to(self, source: str, server: Address) -> bool:
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
    """A `Network` in memory. Servers can listen on any host name.

    Args:
        chunk_size: the size limit of a receive in bytes: 1 delivers single bytes, None as many as there are.
            It applies to new connections; existing ones keep their own.
        record: whether each connection keeps all bytes that it carried, for `Direction.recorded`.
    """

    def __init__(self, *, chunk_size: int | None = None, record: bool = False) -> None:
        self.chunk_size = chunk_size
        self.names: dict[str, list[str]] = {}
        """The addresses of each name. The name of a listener resolves to itself without an entry here."""
        self._record = record
        self._connections: list[Connection] = []
        self._listeners: dict[Address, _Listener] = {}
        self._rules: list[_FaultRule] = []
        self._changed = anyio.Event()
        self._client_port = 0

    @property
    def links(self) -> list[Link]:
        """The connections, oldest first.

        Ended connections leave the list when the next one is opened, unless `record` is set.
        """
        return [connection.link for connection in self._connections]

    # --- the methods of a Network --------------------------------------------------------------------------

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Resolve a name through `names`; see `Network.resolve`."""
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
        """Open a stream as the client named `source`; see `view`."""
        await anyio.lowlevel.checkpoint()
        server = Address(host, port)
        while (fault := self._fault(source, server)) in (_NetworkFault.CUT, _NetworkFault.BLACK_HOLE):
            await self._changed.wait()
        listener = self._listeners.get(server)
        if listener is None or fault is _NetworkFault.REFUSED:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._client_port += 1
        connection = Connection(
            source,
            Address("127.0.0.1", self._client_port),
            server,
            chunk_size=self.chunk_size,
            record=self._record,
        )
        if not self._record:
            self._connections = [other for other in self._connections if other.is_open]
        self._connections.append(connection)
        listener.tasks.start_soon(listener.handler, connection.server_end)
        return connection.client_end

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
                self._announce_change()
                try:
                    yield address
                finally:
                    del self._listeners[address]
                    tasks.cancel_scope.cancel()

    def view(self, source: str) -> NetworkView:
        """Return a view of the network for one client, whose connections faults can select by `source`."""
        return NetworkView(self, source)

    # --- faults --------------------------------------------------------------------------------------------
    #
    # Each fault applies to connections from `source` (None: any client) to servers at `host` and `port`
    # (None: any).

    def cut(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Let nothing arrive until `heal`: existing connections hang, and new ones are not answered.

        Nothing is lost: bytes sent during the cut arrive after it, because TCP would send them again.
        """
        self._add(_FaultRule(_NetworkFault.CUT, source, host, port))

    def black_hole(
        self, *, source: str | None = None, host: str | None = None, port: int | None = None
    ) -> None:
        """Never answer new connections."""
        self._add(_FaultRule(_NetworkFault.BLACK_HOLE, source, host, port))

    def refuse(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Refuse new connections."""
        self._add(_FaultRule(_NetworkFault.REFUSED, source, host, port))

    def heal(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """End the faults that have the same arguments; without arguments, end all faults."""
        everything = (source, host, port) == (None, None, None)
        self._rules = [rule for rule in self._rules if not everything and rule[1:] != (source, host, port)]
        self._apply_cuts()
        self._announce_change()

    def reset(self, *, source: str | None = None, host: str | None = None, port: int | None = None) -> None:
        """Break existing connections; both ends are notified at once."""
        rule = _FaultRule(_NetworkFault.CUT, source, host, port)
        for connection in self._connections_under([rule]):
            connection.reset()

    # --- internals -----------------------------------------------------------------------------------------

    def _fault(self, source: str, server: Address) -> _NetworkFault | None:
        found = {rule.fault for rule in self._rules if rule.applies_to(source, server)}
        return next((fault for fault in _NetworkFault if fault in found), None)

    def _add(self, rule: _FaultRule) -> None:
        self._rules.append(rule)
        self._apply_cuts()
        self._announce_change()

    def _apply_cuts(self) -> None:
        """Cut the connections to which a cut applies, and heal the others. Leave a test's own holds alone."""
        cuts = [rule for rule in self._rules if rule.fault is _NetworkFault.CUT]
        cut = set(map(id, self._connections_under(cuts)))
        for connection in self._connections:
            if (id(connection) in cut) != connection.is_cut:
                connection.set_cut(not connection.is_cut)

    def _connections_under(self, rules: Iterable[_FaultRule]) -> list[Connection]:
        return [
            connection
            for connection in self._connections
            if any(rule.applies_to(connection.source, connection.server) for rule in rules)
        ]

    def _free_port(self, host: str) -> int:
        port = _FIRST_PORT
        while Address(host, port) in self._listeners:
            port += 1
        return port

    def _announce_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@final
class NetworkView:
    """A `MemoryNetwork` as one client uses it; made by `MemoryNetwork.view`."""

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
