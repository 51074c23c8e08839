"""kazoo's real client, in a separate process; `kazoo_program.py` lists its commands."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.interop.peer import Peer, run_peer

_PROGRAM = Path(__file__).with_name("kazoo_program.py")


def start_kazoo(
    connect_string: str, *, session_timeout: float, log: Path
) -> AbstractAsyncContextManager[Peer]:
    """Start a kazoo client with its own session."""
    return run_peer([sys.executable, str(_PROGRAM), connect_string, str(session_timeout)], log=log)
