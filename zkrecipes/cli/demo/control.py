"""A worker's end of the pipes to the demo: it says what happens, and where it must, waits for an answer."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import final

import trio

from zkrecipes.cli.demo.events import Event, EventKind, Order

__all__ = ["Control"]

_STDIN = 0


@final
class Control:
    """Reports the events of one worker on standard output; answers come on standard input.

    Args:
        worker: its name.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._send, self._receive = trio.open_memory_channel[Order](math.inf)
        self._expected = 0

    def say(
        self,
        kind: EventKind,
        *,
        at: float | None = None,
        token: int | None = None,
        job: int | None = None,
        detail: str = "",
    ) -> None:
        """Report an event that happened at the time `at` of the monotonic clock, or happens now."""
        event = Event(kind, self._worker, time.monotonic() if at is None else at, token, job, detail)
        sys.stdout.buffer.write(event.to_line())
        sys.stdout.buffer.flush()

    async def ask(
        self, kind: EventKind, *, token: int | None = None, job: int | None = None, detail: str = ""
    ) -> Order:
        """Report an event that happens now, and wait until the demo has taken note of it and answers.

        Once the demo is gone the answer is GO.

        Cancellation: the event is reported, and its answer is thrown away when it comes.
        """
        self.say(kind, token=token, job=job, detail=detail)
        self._expected += 1
        async for order in self._receive:
            self._expected -= 1
            if self._expected == 0:
                return order
        return Order.GO

    async def listen(self) -> None:
        """Take the answers, until the demo is gone."""
        rest = b""
        with self._send:
            # A thread, because Windows has no other way to wait for a pipe; of `os`, because one that is
            # blocked in `sys.stdin` when the process ends takes Python down with it.
            while data := await trio.to_thread.run_sync(os.read, _STDIN, 4096, abandon_on_cancel=True):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._send.send_nowait(Order(line.decode()))
