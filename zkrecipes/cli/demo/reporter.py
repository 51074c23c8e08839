"""A worker's end of the pipes to the demo: it reports events and waits for the answers to some of them."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import final

import trio

from zkrecipes.cli.demo.events import Event, EventKind, Instruction

__all__ = ["Reporter"]

_STDIN = 0


@final
class Reporter:
    """The reporter of one worker: it writes events to standard output, and reads answers from standard input.

    Args:
        worker: the worker's name.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._send, self._receive = trio.open_memory_channel[Instruction](math.inf)
        self._expected = 0

    def report(
        self,
        kind: EventKind,
        *,
        at: float | None = None,
        token: int | None = None,
        job: int | None = None,
        detail: str = "",
    ) -> None:
        """Report an event that happened at the time `at` of the monotonic clock; None means now."""
        event = Event(kind, self._worker, time.monotonic() if at is None else at, token, job, detail)
        sys.stdout.buffer.write(event.to_line())
        sys.stdout.buffer.flush()

    async def report_and_wait(
        self, kind: EventKind, *, token: int | None = None, job: int | None = None, detail: str = ""
    ) -> Instruction:
        """Report an event that happens now, and wait until the demo has recorded and answered it.

        If the demo has ended, the answer is CONTINUE.

        Cancellation: the event is reported, and its answer is discarded when it arrives.
        """
        self.report(kind, token=token, job=job, detail=detail)
        self._expected += 1
        async for instruction in self._receive:
            self._expected -= 1
            if self._expected == 0:
                return instruction
        return Instruction.CONTINUE

    async def receive_instructions(self) -> None:
        """Receive answers until the demo has ended."""
        rest = b""
        with self._send:
            # A thread reads, because Windows has no other way to wait for a pipe. It uses `os.read`, because
            # a thread blocked in `sys.stdin` at the end of the process crashes Python.
            while data := await trio.to_thread.run_sync(os.read, _STDIN, 4096, abandon_on_cancel=True):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._send.send_nowait(Instruction(line.decode()))
