"""The async fixtures of the pytest plugin for pytest-asyncio; registered only if that is used.

In strict mode, pytest-asyncio sets up only the fixtures that its own decorator made. Each fixture belongs to
the loop of one scope, and a client cannot change its loop, so there is one fixture for each scope that a test
may name (`loop_scope`). As in `pytest_plugin`, a fixture imports its modules when a test uses it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from zkrecipes.client.client import Client
    from zkrecipes.devserver.server import DevServer
    from zkrecipes.testing.threaded_server import ThreadedDevServer

__all__: list[str] = []

_Scope = Literal["function", "class", "module", "package", "session"]


def _fixtures(scope: _Scope) -> dict[str, object]:
    """Return the fixtures for the loop of one scope, by name."""
    client = f"_zk_client_in_{scope}_loop"
    client_in_memory = f"_zk_client_of_dev_server_in_{scope}_loop"
    server = f"_dev_server_in_{scope}_loop"

    @pytest_asyncio.fixture(loop_scope=scope, name=client)
    async def zk_client(
        zk_server: ThreadedDevServer, zk_connect_options: Mapping[str, Any]
    ) -> AsyncIterator[Client]:
        from zkrecipes.testing.fixture_values import client_of_server

        async with client_of_server(zk_server, zk_connect_options) as client:
            yield client

    @pytest_asyncio.fixture(loop_scope=scope, name=client_in_memory)
    async def zk_client_of_dev_server(
        dev_server: DevServer, zk_connect_options: Mapping[str, Any]
    ) -> AsyncIterator[Client]:
        from zkrecipes.testing.fixture_values import client_of_dev_server

        async with client_of_dev_server(dev_server, zk_connect_options) as client:
            yield client

    @pytest_asyncio.fixture(loop_scope=scope, name=server)
    async def dev_server(request: pytest.FixtureRequest) -> AsyncIterator[DevServer]:
        from zkrecipes.testing.fixture_values import dev_server_in_memory

        async with dev_server_in_memory(request.node.nodeid) as server:
            yield server

    return {client: zk_client, client_in_memory: zk_client_of_dev_server, server: dev_server}


# pytest finds fixtures among a module's names.
for _scope in get_args(_Scope):
    globals().update(_fixtures(_scope))
