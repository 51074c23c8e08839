"""Tools for tests, ours and our users': servers and networks that fail on request, and a pytest plugin.

Each name is loaded on first use: pytest imports this package in every run with zkrecipes installed, and must
not pay for an event loop and a server that no test uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zkrecipes.testing.hosted import hosted as hosted
    from zkrecipes.testing.memory_link import Direction as Direction, Link as Link
    from zkrecipes.testing.memory_network import MemoryNetwork as MemoryNetwork, NetworkView as NetworkView
    from zkrecipes.testing.memory_stream import MemoryStream as MemoryStream
    from zkrecipes.testing.simulated.history import CommittedTransaction as CommittedTransaction
    from zkrecipes.testing.simulated_ensemble import SimulatedEnsemble as SimulatedEnsemble
    from zkrecipes.testing.threaded_server import (
        ThreadedDevServer as ThreadedDevServer,
        ThreadedFault as ThreadedFault,
        ThreadedFaults as ThreadedFaults,
        ThreadedHold as ThreadedHold,
    )

_MODULE_BY_NAME = {
    "CommittedTransaction": "zkrecipes.testing.simulated.history",
    "Direction": "zkrecipes.testing.memory_link",
    "Link": "zkrecipes.testing.memory_link",
    "MemoryNetwork": "zkrecipes.testing.memory_network",
    "MemoryStream": "zkrecipes.testing.memory_stream",
    "SimulatedEnsemble": "zkrecipes.testing.simulated_ensemble",
    "ThreadedDevServer": "zkrecipes.testing.threaded_server",
    "ThreadedFault": "zkrecipes.testing.threaded_server",
    "ThreadedFaults": "zkrecipes.testing.threaded_server",
    "ThreadedHold": "zkrecipes.testing.threaded_server",
    "NetworkView": "zkrecipes.testing.memory_network",
    "hosted": "zkrecipes.testing.hosted",
}

__all__ = sorted(_MODULE_BY_NAME)  # noqa: PLE0605 - type checkers read the block above


if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> object:
        module = _MODULE_BY_NAME.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(module), name)
        globals()[name] = value  # the next look-up finds it without this function
        return value
