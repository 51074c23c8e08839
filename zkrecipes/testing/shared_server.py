"""A server that tests share: each test gets its own chroot, which is deleted when the test ends."""

from __future__ import annotations

import ast
import inspect
import textwrap
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, final

import pytest
from anyio.from_thread import start_blocking_portal

from zkrecipes.client.connect import connect
from zkrecipes.net.connect_string import parse_connect_string
from zkrecipes.net.transport.network import Address
from zkrecipes.testing.threaded_server import ThreadedDevServer

__all__ = ["SharedServer", "fault_used_by", "fresh_chroot", "needs_dev_server"]


@final
class SharedServer:
    """The value of `zk_server` if that is not the dev server.

    It has no faults. A test that uses a fault is skipped: before it runs if its source shows the use or it
    has the marker `zk_faults`, otherwise when it uses the fault.

    Args:
        connect_string: the connect string with the test's own chroot.
    """

    def __init__(self, connect_string: str) -> None:
        self.connect_string = connect_string
        """The connect string."""

    @property
    def address(self) -> Address:
        """The `(host, port)` of the first server in the connect string."""
        return Address(*parse_connect_string(self.connect_string).hosts[0])

    def __getattr__(self, name: str) -> NoReturn:
        if name in _FAULTS:
            pytest.skip(needs_dev_server(name))
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


_FAULTS: Final = frozenset(name for name in dir(ThreadedDevServer) if not name.startswith("_")) - {
    "connect_string",
    "address",
} | {"faults", "server"}
"""The attributes of `zk_server` that only the dev server has."""


def needs_dev_server(name: str) -> str:
    """Return the reason to skip a test that uses `zk_server.<name>`."""
    return f"zk_server.{name} needs the dev server: run with --zookeeper=dev"


def fault_used_by(test: Callable[..., object]) -> str | None:
    """Return the first fault that the source of a test reads from its `zk_server`, or None.

    Call it before the test runs, because a skip from inside a test comes too late in a task group,
    which wraps it like any other exception.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(test)))
    except (OSError, TypeError, SyntaxError):  # a function that was created at run time has no source
        return None
    used = (
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "zk_server"
    )
    return next((name for name in used if name in _FAULTS), None)


@contextmanager
def fresh_chroot(connect_string: str) -> Iterator[SharedServer]:
    """Create a fresh chroot below the one in `connect_string`, if any, and delete it at the end.

    Raises:
        ConnectTimeoutError: no server answered within 15 seconds.
    """
    path = f"/zkrecipes-test-{uuid.uuid4().hex}"

    async def create() -> None:
        async with connect(connect_string, create_chroot=True) as client:
            await client.create(path, b"")

    async def delete() -> None:
        async with connect(connect_string) as client:
            await client.delete(path, recursive=True)

    # This thread may be running the test's event loop, so the client runs in another thread.
    with start_blocking_portal("asyncio", name="zkrecipes chroot") as portal:
        portal.call(create)
        try:
            yield SharedServer(connect_string.rstrip("/") + path)
        finally:
            portal.call(delete)
