"""A lock that makes two starts of one server run one after the other.

Without the lock, both starts find no running server. Each launches a process, both write the same pid file,
and each may report the answer of the other process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

if sys.platform != "win32":
    import fcntl

__all__ = ["one_start"]

_POLL_INTERVAL = 0.1


@asynccontextmanager
async def one_start(config: Path, *, wait: float) -> AsyncIterator[None]:
    """Hold the lock on a configuration file. The system releases it if this program ends.

    After `wait` seconds the block runs without the lock, and finds the process that the other start has
    launched. Windows has no such lock.
    """
    try:
        descriptor = os.open(config, os.O_RDONLY)
    except OSError:  # it has been deleted
        yield
        return
    try:
        with anyio.move_on_after(wait):
            while True:
                if _try_lock(descriptor):
                    break
                await anyio.sleep(_POLL_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True
