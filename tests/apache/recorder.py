"""A resource that a lock protects; it records its users for every test of locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import final

import anyio

import zkrecipes as zk
from tests.apache.waiting import until


@final
class Recorder:
    """A resource that admits every contender, and records overlaps and entries in the wrong order.

    It belongs to no event loop, so threads may also enter.

    Attributes:
        tokens: the fencing tokens of the contenders, in the order of entering.
        names: the names of the contenders, in that order.
        losses: the number of reported losses of the lock.
        faults: the violations that were found.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.names: list[str] = []
        self.losses = 0
        self.faults: list[str] = []
        self._inside: dict[str, int] = {}
        self._lock = Lock()

    @contextmanager
    def entered(self, name: str, token: int) -> Iterator[None]:
        """Record that `name` is inside while the block runs."""
        with self._lock:
            if self._inside:
                self.faults.append(f"{name} ({token}) entered while {self._inside} had not left")
            if self.tokens and token <= self.tokens[-1]:
                self.faults.append(f"{name} has the token {token}, not above {self.tokens[-1]}")
            self._inside[name] = token
            self.tokens.append(token)
            self.names.append(name)
        try:
            yield
        finally:
            with self._lock:
                del self._inside[name]

    async def until_entered(self, count: int) -> None:
        """Wait until this many contenders have entered."""

        async def have_entered() -> bool:
            return len(self.tokens) >= count

        await until(have_entered, within=40)


async def take_turns(
    client: zk.Client, path: str, recorder: Recorder, name: str, *, turns: int, pause: float = 0.0
) -> None:
    """Hold the lock at `path` this many times; a lost hold does not count."""
    mutex = zk.Mutex(client, path, identifier=name)
    done = 0
    while done < turns:
        try:
            async with mutex as hold:
                with recorder.entered(name, hold.fencing_token):
                    hold.check()
                    await anyio.sleep(pause)
            done += 1
        except zk.LockLostError:
            recorder.losses += 1
