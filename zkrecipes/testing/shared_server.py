"""A server that is not ours alone: each test gets a chroot of its own, which goes when the test ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, final

import pytest
from anyio.from_thread import start_blocking_portal

from zkrecipes.client.connect import connect
from zkrecipes.net.hosts import parse_connect_string
from zkrecipes.net.transport.network import Address
from zkrecipes.testing.threaded_server import ThreadedDevServer

__all__ = ["FAULTS", "SharedServer", "fresh_chroot", "needs_dev_server"]


@final
class SharedServer:
    """What `zk_server` is where it is not the dev server.

    It has no faults. A test that asks for one is skipped when it is set up, if its own source shows it or the
    marker `zk_faults` says so, and otherwise when it asks.

    Args:
        connect_string: the connect string with the test's own chroot.
    """

    def __init__(self, connect_string: str) -> None:
        self.connect_string = connect_string
        """The connect string."""

    @property
    def address(self) -> Address:
        """The `(host, port)` of the first server that is named."""
        return Address(*parse_connect_string(self.connect_string).hosts[0])

    def __getattr__(self, name: str) -> NoReturn:
        if name in FAULTS:
            pytest.skip(needs_dev_server(name))
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


FAULTS: Final = frozenset(name for name in dir(ThreadedDevServer) if not name.startswith("_")) - {
    "connect_string",
    "address",
} | {"faults", "server"}
"""What only the dev server offers."""


def needs_dev_server(name: str) -> str:
    """Why a test that uses `zk_server.<name>` is skipped."""
    return f"zk_server.{name} needs the dev server: run with --zookeeper=dev"


@contextmanager
def fresh_chroot(connect_string: str) -> Iterator[SharedServer]:
    """Create a fresh chroot below the one in `connect_string`, if any, and delete it at the end.

    Raises:
        ConnectTimeoutError: no server answered within 15 seconds.
    """
    path = f"/zkrecipes-test-{uuid.uuid4().hex}"

    async def make() -> None:
        async with connect(connect_string, create_chroot=True) as client:
            await client.create(path, b"")

    async def remove() -> None:
        async with connect(connect_string) as client:
            await client.delete(path, recursive=True)

    # The loop of a test may be around in this thread.
    with start_blocking_portal("asyncio", name="zkrecipes chroot") as portal:
        portal.call(make)
        try:
            yield SharedServer(connect_string.rstrip("/") + path)
        finally:
            portal.call(remove)
