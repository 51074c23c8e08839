"""A TCP proxy to a server, whose connections can be cut."""

from __future__ import annotations

from contextlib import suppress

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus


class Proxy:
    """A proxy that relays bytes to a server at 127.0.0.1 while `serve` runs.

    Args:
        port: the server's port.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ways: set[anyio.CancelScope] = set()

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        """Relay bytes; the task status is the proxy's port."""
        (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        async with listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(self._pass_on)

    def cut(self) -> int:
        """End every connection, and return their number. New ones are accepted."""
        ways = list(self._ways)
        for way in ways:
            way.cancel()
        return len(ways)

    async def _pass_on(self, client: SocketStream) -> None:
        with suppress(OSError), anyio.CancelScope() as way:
            self._ways.add(way)
            try:
                async with (
                    client,
                    await anyio.connect_tcp("127.0.0.1", self._port) as server,
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(self._pump, client, server, way)
                    tasks.start_soon(self._pump, server, client, way)
            finally:
                self._ways.discard(way)

    async def _pump(self, source: SocketStream, sink: SocketStream, way: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await sink.send(await source.receive())
        way.cancel()
