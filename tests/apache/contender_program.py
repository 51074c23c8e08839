"""A contender in a separate process: it takes a mutex repeatedly, and reports each hold to the monitor.

It waits for an answer to each line that it sends, so that the monitor receives events in their order.
"""

from __future__ import annotations

import sys

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

import zkrecipes as zk

SESSION_TIMEOUT = 4.0
STAYS = (0.5, *[0.02] * 7)
"""The seconds of a hold. A few are long, so that a server fails while the lock is held."""


class Monitor:
    """The connection to the monitor."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._answers = BufferedByteReceiveStream(stream)

    async def send(self, *words: object) -> bool:
        """Send a line, and return the answer: whether to continue."""
        await self._stream.send((" ".join(map(str, words)) + "\n").encode())
        return await self._answers.receive_until(b"\n", 10) == b"on"


async def contend(connect_string: str, path: str, name: str, port: int, stay: float) -> None:
    """Take the lock repeatedly until the monitor answers that it has seen enough."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        monitor = Monitor(stream)
        must_continue = await monitor.send("hello", name)
        async with zk.connect(connect_string, session_timeout=SESSION_TIMEOUT, connect_timeout=60) as client:
            mutex = zk.Mutex(client, path, identifier=name)
            while must_continue:
                try:
                    async with mutex as hold:
                        must_continue = await _be_inside(monitor, hold, stay)
                except zk.LockLostError:
                    must_continue = await monitor.send("lost")


async def _be_inside(monitor: Monitor, hold: zk.Hold, stay: float) -> bool:
    hold.check()
    # Shielded, because a cancellation could cut a line in two.
    with anyio.CancelScope(shield=True):
        must_continue = await monitor.send("enter", hold.fencing_token)
    try:
        await anyio.sleep(stay)
    finally:
        with anyio.CancelScope(shield=True):
            await monitor.send("leave", hold.fencing_token)
    return must_continue


if __name__ == "__main__":
    hosts, lock, number, monitor_port = sys.argv[1:]
    anyio.run(
        contend,
        hosts,
        lock,
        f"contender-{number}",
        int(monitor_port),
        STAYS[int(number) % len(STAYS)],
        backend=("trio", "asyncio")[int(number) % 2],
    )
