"""A lock that is held while servers fail, and a session beside it that only pings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

import zkrecipes as zk
from tests.apache.raw_session import RawSession
from tests.apache.recorder import Recorder


class Holding:
    """A lock that is held as long as possible, and the circumstances of its end.

    Attributes:
        ended_at: the end of its body, on the clock of the loop.
        proven_until: the last `valid_until` of the hold.
        is_lost: whether the hold reported a loss.
    """

    def __init__(self) -> None:
        self.hold: zk.Hold
        self.ended_at = 0.0
        self.proven_until = 0.0
        self.is_lost = False
        self.release = anyio.Event()
        self._is_held = anyio.Event()

    async def wait_held(self) -> None:
        with anyio.fail_after(20):
            await self._is_held.wait()

    @property
    def was_in_time(self) -> bool:
        return self.ended_at < self.proven_until

    async def run(self, client: zk.Client, path: str, recorder: Recorder) -> None:
        try:
            async with zk.Mutex(client, path, identifier="holder") as self.hold:
                with recorder.entered("holder", self.hold.fencing_token):
                    self._is_held.set()
                    try:
                        while not self.release.is_set():
                            self.proven_until = self.hold.valid_until
                            await anyio.sleep(0.01)
                    finally:
                        self.ended_at = anyio.current_time()
        except zk.LockLostError:
            self.is_lost = True


@asynccontextmanager
async def pinged(session: RawSession) -> AsyncIterator[Callable[[], float]]:
    """Ping continuously; the yielded call returns the send time of the newest answered ping."""
    answered = float("-inf")

    async def ping() -> None:
        nonlocal answered
        while True:
            sent_at = anyio.current_time()
            await session.ping()
            answered = sent_at
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ping)
        yield lambda: answered
        tasks.cancel_scope.cancel()
