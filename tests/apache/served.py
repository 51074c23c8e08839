"""A server for tests of the client: Apache's, or the dev server in a separate thread.

Both have the same interface, so that one test runs against both and finds differences between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, final

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.apache.server_versions import version_of_server
from zkrecipes.devserver import DevServer
from zkrecipes.ensemble import ApacheServer
from zkrecipes.enums import ServerVersion

_POLL_INTERVAL = 0.02


class Served(Protocol):
    """A running server.

    Attributes:
        version: the server's version.
    """

    version: ServerVersion

    @property
    def connect_string(self) -> str:
        """`host:port`."""

    async def watch_count(self) -> int:
        """Return the number of watches of all connections; a persistent one may count twice."""

    async def reap(self) -> None:
        """Delete the containers and TTL znodes that are due, now or soon."""


@final
class ServedByApache:
    def __init__(self, server: ApacheServer) -> None:
        self.version = version_of_server(server)
        self._server = server

    @property
    def connect_string(self) -> str:
        return self._server.connect_string

    async def watch_count(self) -> int:
        return await watch_count(self._server)

    async def reap(self) -> None:
        await anyio.sleep(_POLL_INTERVAL)  # the server checks twice a second


@final
class ServedByDevServer:
    def __init__(self, server: DevServer, portal: BlockingPortal) -> None:
        self.version = ServerVersion.V3_7
        self._server = server
        self._portal = portal

    @property
    def connect_string(self) -> str:
        return self._server.connect_string

    async def watch_count(self) -> int:
        await anyio.lowlevel.checkpoint()
        return self._portal.call(lambda: len(self._server.processor.watches))

    async def reap(self) -> None:
        await anyio.sleep(_POLL_INTERVAL)
        self._portal.call(self._server.reap)


@contextmanager
def dev_server_in_thread() -> Iterator[Served]:
    """Run a dev server with the settings that Apache's servers have in these tests."""
    server = DevServer(tick_time=0.5, session_timeout_max=60.0, extended_types=True)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(server):
        yield ServedByDevServer(server, portal)


async def watch_count(server: ApacheServer) -> int:
    """Return the number of watches of all connections to this server; wait while it does not serve."""
    while (count := (await server.metrics()).get("zk_watch_count")) is None:  # noqa: ASYNC110 - polling
        await anyio.sleep(_POLL_INTERVAL)
    return int(count)
