"""What the async fixtures of the pytest plugin give: async context managers, each in a task of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import trio
from trio.testing import MockClock

from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.devserver.server import DevServer
from zkrecipes.testing.hosting import hosted
from zkrecipes.testing.memory_network import MemoryNetwork
from zkrecipes.testing.seeds import seed_of

__all__ = ["client_of_dev_server", "client_of_server", "dev_server_in_memory"]


class _Reachable(Protocol):
    @property
    def connect_string(self) -> str: ...


def client_of_server(server: _Reachable, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Client]:
    """A client over TCP.

    Raises:
        RuntimeError: the test's clock jumps whenever all tasks wait, so also while bytes are on their way.
    """
    if trio.lowlevel.in_trio_run():
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock) and clock.autojump_threshold != math.inf:
            raise RuntimeError(
                "autojump_clock would jump while zk_client waits for TCP: let the test use dev_server, "
                "and zk_client is its client, in memory"
            )
    return hosted(connect(server.connect_string, **options))


def client_of_dev_server(
    server: DevServer, options: Mapping[str, Any]
) -> AbstractAsyncContextManager[Client]:
    """A client over the server's own network."""
    return hosted(connect(server.connect_string, network=server.network, **options))


def dev_server_in_memory(node_id: str) -> AbstractAsyncContextManager[DevServer]:
    """A server for the test of that name, on a `MemoryNetwork` of its own."""
    return hosted(DevServer(host="zk", port=2181, network=MemoryNetwork(), seed=seed_of(node_id)))
