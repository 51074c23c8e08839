"""A contender in a process of its own: takes a mutex again and again, and tells the judge when it is in.

Each line that it sends is answered before it goes on, so that what the judge has heard first happened first.
"""

from __future__ import annotations

import sys

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

import zkrecipes as zk

SESSION_TIMEOUT = 4.0
STAYS = (0.5, *[0.02] * 7)
"""Seconds inside; some stay long, so that a server fails while the lock is held, and most do not."""


class Judge:
    """The other end of the line."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._answers = BufferedByteReceiveStream(stream)

    async def tell(self, *words: object) -> bool:
        """Say something and wait for the answer: whether to go on."""
        await self._stream.send((" ".join(map(str, words)) + "\n").encode())
        return await self._answers.receive_until(b"\n", 10) == b"on"


async def contend(connect_string: str, path: str, name: str, port: int, stay: float) -> None:
    """Until the judge says that it is enough."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        judge = Judge(stream)
        goes_on = await judge.tell("hello", name)
        async with zk.connect(connect_string, session_timeout=SESSION_TIMEOUT, connect_timeout=60) as client:
            mutex = zk.Mutex(client, path, identifier=name)
            while goes_on:
                try:
                    async with mutex as hold:
                        goes_on = await _be_inside(judge, hold, stay)
                except zk.LockLostError:
                    goes_on = await judge.tell("lost")


async def _be_inside(judge: Judge, hold: zk.Hold, stay: float) -> bool:
    hold.check()
    # A line that is cut in two by a cancellation would be no line: what is told is told to its end.
    with anyio.CancelScope(shield=True):
        goes_on = await judge.tell("enter", hold.fencing_token)
    try:
        await anyio.sleep(stay)
    finally:
        with anyio.CancelScope(shield=True):
            await judge.tell("leave", hold.fencing_token)
    return goes_on


if __name__ == "__main__":
    hosts, lock, number, judges_port = sys.argv[1:]
    anyio.run(
        contend,
        hosts,
        lock,
        f"contender-{number}",
        int(judges_port),
        STAYS[int(number) % len(STAYS)],
        backend=("trio", "asyncio")[int(number) % 2],
    )
