"""The values of the pytest plugin's fixtures: async context managers, each run in its own task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from zlib import crc32

import trio
from trio.testing import MockClock

from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.devserver.server import DevServer
from zkrecipes.testing.hosted import hosted
from zkrecipes.testing.memory_network import MemoryNetwork

__all__ = ["client_of_dev_server", "client_of_server", "dev_server_in_memory", "seed_of"]


class _Reachable(Protocol):
    @property
    def connect_string(self) -> str: ...


def client_of_server(server: _Reachable, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Client]:
    """Return a client over TCP.

    Raises:
        RuntimeError: the test's clock jumps whenever all tasks wait, so it would jump while bytes are in
            transit.
    """
    if trio.lowlevel.in_trio_run():
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock) and clock.autojump_threshold != math.inf:
            raise RuntimeError(
                "autojump_clock would jump while zk_client waits for TCP: request dev_server in the test, "
                "and zk_client connects to it in memory"
            )
    return hosted(connect(server.connect_string, **options))


def client_of_dev_server(
    server: DevServer, options: Mapping[str, Any]
) -> AbstractAsyncContextManager[Client]:
    """Return a client over the server's own network."""
    return hosted(connect(server.connect_string, network=server.network, **options))


def dev_server_in_memory(node_id: str) -> AbstractAsyncContextManager[DevServer]:
    """Return a dev server on a new `MemoryNetwork` for the test with this node id."""
    return hosted(DevServer(host="zk", port=2181, network=MemoryNetwork(), seed=seed_of(node_id)))


def seed_of(node_id: str) -> int:
    """Return the seed for a test's server: different for each test, the same in each run.

    A test that fails because of the server's random choices therefore fails in every run.

    Args:
        node_id: pytest's id of the test.
    """
    return crc32(node_id.encode())
