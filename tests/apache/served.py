"""A server to test the client against: Apache's, or the dev server in a thread of its own.

Both are asked the same questions, so that a test is written once and a difference between the two shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, final

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal, start_blocking_portal

from zkrecipes.devserver import DevServer
from zkrecipes.ensemble import ApacheServer, ask

_POLL_INTERVAL = 0.02


class Served(Protocol):
    """A server that serves."""

    @property
    def connect_string(self) -> str:
        """`host:port`."""

    async def watched_paths(self) -> set[str]:
        """Every path that any connection watches, however it does."""

    async def reap(self) -> None:
        """Let it delete the containers and TTL znodes that are due, soon or now."""


@final
class ServedByApache:
    def __init__(self, server: ApacheServer) -> None:
        self._server = server

    @property
    def connect_string(self) -> str:
        return self._server.connect_string

    async def watched_paths(self) -> set[str]:
        return await watched_paths(self._server)

    async def reap(self) -> None:
        await anyio.sleep(_POLL_INTERVAL)  # it looks by itself, twice a second


@final
class ServedByDevServer:
    def __init__(self, server: DevServer, portal: BlockingPortal) -> None:
        self._server = server
        self._portal = portal

    @property
    def connect_string(self) -> str:
        return self._server.connect_string

    async def watched_paths(self) -> set[str]:
        await anyio.lowlevel.checkpoint()
        return self._portal.call(lambda: {path for _, path, _ in self._server.processor.watches})

    async def reap(self) -> None:
        await anyio.sleep(_POLL_INTERVAL)
        self._portal.call(self._server.reap)


@contextmanager
def dev_server_in_thread() -> Iterator[Served]:
    """A dev server with the settings that Apache's have in these tests."""
    server = DevServer(tick_time=0.5, session_timeout_max=60.0, extended_types=True)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(server):
        yield ServedByDevServer(server, portal)


async def watched_paths(server: ApacheServer) -> set[str]:
    """Every path that a connection to this server watches (`wchp`: a path a line, then its sessions)."""
    answer = await ask(server.host, server.port, "wchp")
    return {line for line in answer.splitlines() if line.startswith("/")}
