"""A server that is not ours alone: each test gets a chroot of its own, which goes when the test ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, final

import pytest
from anyio.from_thread import start_blocking_portal

from zkrecipes.client.opening import connect
from zkrecipes.net.hosts import parse_connect_string
from zkrecipes.net.transport import Address
from zkrecipes.testing.threaded_server import ThreadedDevServer

__all__ = ["SharedServer", "fresh_chroot"]


@final
class SharedServer:
    """What `zk_server` is where it is not the dev server.

    It has no faults: a test that asks for one is skipped, and says why.

    Args:
        hosts: the connect string with the test's own chroot.
    """

    def __init__(self, hosts: str) -> None:
        self.hosts = hosts
        """The connect string."""

    @property
    def address(self) -> Address:
        """The `(host, port)` of the first server that is named."""
        return Address(*parse_connect_string(self.hosts).hosts[0])

    def __getattr__(self, name: str) -> NoReturn:
        if name in dir(ThreadedDevServer) or name in ("faults", "server"):
            pytest.skip(f"zk_server.{name} needs the dev server: run with --zookeeper=dev")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


@contextmanager
def fresh_chroot(hosts: str) -> Iterator[SharedServer]:
    """Make a chroot that nobody else uses, below the one that `hosts` names if any, and delete it at the end.

    Raises:
        ConnectTimeoutError: no server answered within 15 seconds.
    """
    path = f"/zkrecipes-test-{uuid.uuid4().hex}"

    async def make() -> None:
        async with connect(hosts, create_chroot=True) as client:
            await client.create(path, b"")

    async def remove() -> None:
        async with connect(hosts) as client:
            await client.delete(path, recursive=True)

    # The loop of a test may be around in this thread.
    with start_blocking_portal("asyncio", name="zkrecipes chroot") as portal:
        portal.call(make)
        try:
            yield SharedServer(hosts.rstrip("/") + path)
        finally:
            portal.call(remove)
