"""The demo's handle on a worker: a process that reports events and waits for answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from subprocess import PIPE
from types import TracebackType
from typing import Self, final

import trio

from zkrecipes.cli.demo.events import Event, Instruction

__all__ = ["WorkerProcess"]

_ERRORS_KEPT = 4096


@final
class WorkerProcess:
    """One worker's process, which is killed at the end of the block.

    Args:
        name: the worker's name.
        arguments: the arguments of `zkrecipes.cli.demo.worker`.
    """

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        # -P prevents imports from the user's current directory.
        self._command = [sys.executable, "-P", "-m", "zkrecipes.cli.demo.worker", *arguments]
        self._received = b""
        self._errors = b""
        self._process: trio.Process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await trio.lowlevel.open_process(self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self.kill()
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    await pipe.aclose()

    async def next_event(self) -> Event | None:
        """Return the next event that the worker reports; None when its process has ended.

        Raises:
            ValueError: it wrote something other than an event.
        """
        assert self._process.stdout is not None
        while b"\n" not in self._received:
            data = await self._process.stdout.receive_some()
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return Event.from_line(line)

    async def answer(self, instruction: Instruction) -> None:
        """Answer the event for which the worker waits. Do nothing if its process has ended."""
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(instruction.encode() + b"\n")
        except trio.BrokenResourceError:
            return

    async def kill(self) -> None:
        """End the process with SIGKILL, if it runs, and wait until it has ended."""
        self._process.kill()
        await self._process.wait()

    async def why_failed(self) -> str:
        """Wait until the process has ended; return the last line of its errors, or empty if it succeeded."""
        assert self._process.stderr is not None
        async for chunk in self._process.stderr:
            self._errors = (self._errors + chunk)[-_ERRORS_KEPT:]
        code = await self._process.wait()
        if code == 0:
            return ""
        lines = self._errors.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"
