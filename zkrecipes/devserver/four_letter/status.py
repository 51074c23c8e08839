"""What four-letter words tell of a server, at the moment when it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.packet_stats import PacketStats
from zkrecipes.devserver.processor import Processor

__all__ = ["VERSION", "ConnectionStatus", "Status"]

# Clients look for the number (kazoo: what a server can do; aiozk: whether there is create2).
VERSION = "3.9.5-zkrecipes, built on 2025-01-01 00:00 UTC"
"""What the server says it is: the version whose behaviour it has."""


@final
@dataclass(frozen=True)
class ConnectionStatus:
    """One connection."""

    peer: ConnectedClient
    traffic: PacketStats


@final
@dataclass(frozen=True)
class Status:
    """What the words tell of a server, at the moment when it was asked."""

    processor: Processor
    clients: Sequence[ConnectionStatus]
    traffic: PacketStats
    """Of the whole server."""
    now: float
    """By which sessions live, in seconds."""
    time: float
    """Seconds since 1970."""
    port: int
    data_dir: Path | None = None
    """None where everything is in memory."""
    data_size: int = 0
    """How many bytes its files have."""
    clients_max: int = 0
    """How many connections one address may have; 0 is any number."""
    refused: int = 0
    """How many connections were one too many."""
    cut_off: int = 0
    """How many ended before they said who they are."""
