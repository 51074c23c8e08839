"""One member of a double barrier in a separate process: it goes through rounds until it is killed.

It prints a line when its block begins, and one when the block has ended: `in` or `out`, the round's fencing
token, and the time by the clock that all processes share.
"""

# ruff: noqa: T201 - a program

from __future__ import annotations

import logging
import random
import sys
import time

import anyio

import zkrecipes as zk


async def take_part(connect_string: str, path: str, parties: int, session_timeout: float, name: str) -> None:
    """Enter the barrier repeatedly, in sessions of this timeout."""
    async with zk.connect(connect_string, session_timeout=session_timeout, connect_timeout=60) as client:
        barrier = zk.DoubleBarrier(client, path, parties=parties, identifier=name)
        while True:
            try:
                async with barrier as hold:
                    print("in", hold.fencing_token, time.monotonic(), flush=True)
                    try:
                        await anyio.sleep(random.choice([0, 0.01, 0.1, 0.3]))
                    finally:
                        print("out", hold.fencing_token, time.monotonic(), flush=True)
            except zk.BrokenBarrierError:
                pass


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    _, servers, where, parties, timeout, name = sys.argv
    anyio.run(take_part, servers, where, int(parties), float(timeout), name, backend="trio")
