"""Several clients of one in-memory server, for the tests of recipes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import zkrecipes as zk
from tests.recipes.fault_sweep import World, world

__all__ = ["connected_clients"]


@asynccontextmanager
async def connected_clients(*names: str, **options: Any) -> AsyncIterator[tuple[World, list[zk.Client]]]:
    """Run a server and connect one client per name; the options are those of `DevServer`."""
    async with world(**options) as there, AsyncExitStack() as stack:
        yield there, [await stack.enter_async_context(there.connect(name)) for name in names]
