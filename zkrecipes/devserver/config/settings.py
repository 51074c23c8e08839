"""The settings of a dev server that runs as a program; `DevServer` explains each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from zkrecipes.devserver.server import DevServer
from zkrecipes.protocol.server_side import FRAME_SIZE_MAX

__all__ = ["Settings"]


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings for a `DevServer`. Times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 2181
    data_dir: Path | None = None
    tick_time: float = 2.0
    session_timeout_min: float | None = None
    session_timeout_max: float | None = None
    connections_per_address_max: int = 0
    four_letter_words: frozenset[str] | None = None
    max_packet_size: int = FRAME_SIZE_MAX
    extended_types: bool = False
    super_digest: str | None = None

    @property
    def address(self) -> str:
        """The address as `host:port`, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def create_server(self) -> DevServer:
        """Create a server with these settings, not yet entered."""
        return DevServer(
            host=self.host,
            port=self.port,
            data_dir=self.data_dir,
            tick_time=self.tick_time,
            session_timeout_min=self.session_timeout_min,
            session_timeout_max=self.session_timeout_max,
            connections_per_address_max=self.connections_per_address_max,
            four_letter_words=self.four_letter_words,
            max_packet_size=self.max_packet_size,
            extended_types=self.extended_types,
            super_digest=self.super_digest,
        )
