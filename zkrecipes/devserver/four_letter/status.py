"""The status of a server and its connections, which four-letter words report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.packet_stats import PacketStats
from zkrecipes.devserver.processor import Processor

__all__ = ["VERSION", "ConnectionStatus", "ServerStatus"]

# Clients parse the number: kazoo for the capabilities of the server, aiozk for create2.
VERSION = "3.9.5-zkrecipes, built on 2025-01-01 00:00 UTC"
"""The version that the server reports: the one that it behaves like."""


@final
@dataclass(frozen=True)
class ConnectionStatus:
    """One connection."""

    client: ConnectedClient
    stats: PacketStats


@final
@dataclass(frozen=True)
class ServerStatus:
    """The status of a server when a client asked for it."""

    processor: Processor
    connections: Sequence[ConnectionStatus]
    stats: PacketStats
    """The statistics of the whole server."""
    now: float
    """The time in seconds, on the clock that sessions expire by."""
    time: float
    """Seconds since 1970."""
    port: int
    data_dir: Path | None = None
    """The data directory; None if everything is in memory."""
    data_size: int = 0
    """The size of the data directory in bytes."""
    connections_per_address_max: int = 0
    """The most connections that one address may have; 0 means any number."""
    rejected_count: int = 0
    """The number of connections beyond the limit for their address."""
    sessionless_count: int = 0
    """The number of connections closed because they did not request a session in time."""
