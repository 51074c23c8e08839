"""An async handle for another client library in a separate process.

The process reads commands and writes answers, a line each. Every command has a tag, so several may be
outstanding, and each is answered when it is done. `kazoo_program.py` lists the commands for kazoo, and
`java/Recipes.java` those for Curator.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, final
from urllib.parse import quote_plus

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.streams.buffered import BufferedByteReceiveStream

_CLOSE_LIMIT = 3.0
_LINE_LENGTH_MAX = 1_000_000


class StartPeer(Protocol):
    """A function that starts a peer at the test's server: `async with start() as peer`."""

    def __call__(self, *, session_timeout: float = ...) -> AbstractAsyncContextManager[Peer]: ...


class PeerError(Exception):
    """A command failed in the peer.

    Attributes:
        error: the name of the peer's exception class.
    """

    def __init__(self, command: str, error: str, message: str) -> None:
        super().__init__(f"{command}: {error}: {message}")
        self.error = error


class PeerEndedError(Exception):
    """The peer's process has ended, and answers no more commands."""


class _Waiting:
    """A command without an answer."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.done = anyio.Event()
        self.value: Any = None
        self.error: Exception | None = None


@final
class Peer:
    """A client of another library, connected to a server, with any number of named objects.

    Attributes:
        pid: the id of its process.
    """

    def __init__(self, process: anyio.abc.Process, log: Path) -> None:
        assert process.stdin is not None
        self.pid = process.pid
        self._process = process
        self._log = log
        self._stdin = process.stdin
        self._sending = anyio.Lock()
        self._tags = 0
        self._waiting: dict[str, _Waiting] = {}
        self._has_ended = False

    async def call(self, command: str, *words: object) -> Any:
        """Send a command, and wait for the answer.

        Args:
            command: the name of a class, to create an object of it; or a command of an object; or
                `session-id`, `expire-session`, `close`.
            words: the object's name, then the arguments of the command; text or numbers.

        Returns:
            A bool, a number, a text, a list, a dict or None.

        Raises:
            PeerError: the command failed in the peer.
            PeerEndedError: the process has ended.

        Cancellation: the command is not withdrawn, and its answer is discarded.
        """
        self._tags += 1
        tag = str(self._tags)
        waiting = self._waiting[tag] = _Waiting(" ".join([command, *map(str, words)]))
        try:
            await self._send(tag, command, words)
            await waiting.done.wait()
        finally:
            self._waiting.pop(tag, None)
        if waiting.error is not None:
            raise waiting.error
        return waiting.value

    def kill(self) -> None:
        """Kill the process; its session, and with it its holds, ends after the session timeout."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """Close the peer's session if it still answers, and end the process in any case.

        Cancellation: it is shielded, and bounded.
        """
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_CLOSE_LIMIT):
                with suppress(PeerError, PeerEndedError):
                    await self.call("close")
            self.kill()
            await self._process.wait()
            await self._process.aclose()

    async def read_answers(self) -> None:
        """Pass each answer to its waiter, until the process ends."""
        assert self._process.stdout is not None
        lines = BufferedByteReceiveStream(self._process.stdout)
        try:
            while True:
                line = await lines.receive_until(b"\n", _LINE_LENGTH_MAX)
                self._take_answer(line.decode("ascii").strip())
        except (
            anyio.EndOfStream,
            anyio.IncompleteRead,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
        ):
            pass
        finally:
            self._has_ended = True
            for waiting in self._waiting.values():
                waiting.error = self._ended_error(waiting.command)
                waiting.done.set()

    async def _send(self, tag: str, command: str, words: Sequence[object]) -> None:
        line = " ".join(quote_plus(str(word)) for word in (tag, command, *words))
        try:
            if self._has_ended:
                raise self._ended_error(command)
            # A line that a cancellation cuts off would corrupt the next one.
            with anyio.CancelScope(shield=True):
                async with self._sending:
                    await self._stdin.send(f"{line}\n".encode("ascii"))
            await anyio.lowlevel.checkpoint()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._ended_error(command) from None

    def _take_answer(self, line: str) -> None:
        tag, outcome, rest = line.split(" ", 2)
        waiting = self._waiting.get(tag)
        if waiting is None:
            return  # the caller was cancelled
        if outcome == "ok":
            waiting.value = json.loads(rest)
        else:
            error, message = rest.split(" ", 1)
            waiting.error = PeerError(waiting.command, error, json.loads(message))
        waiting.done.set()

    def _ended_error(self, command: str) -> PeerEndedError:
        text = self._log.read_text("utf-8", "replace")[-2000:]
        return PeerEndedError(f"{command}: the process {self.pid} has ended; it wrote:\n{text}")

    def __repr__(self) -> str:
        return f"<Peer {self.pid}>"


@asynccontextmanager
async def run_peer(command: Sequence[str], *, log: Path) -> AsyncIterator[Peer]:
    """A peer whose process runs as long as the block; its other output goes to `log`."""
    with log.open("wb") as stderr:
        process = await anyio.open_process(command, stdin=subprocess.PIPE, stderr=stderr)
    peer = Peer(process, log)
    # Errors of the block are raised bare, not in a group.
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            tasks.start_soon(peer.read_answers)
            yield peer
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
        finally:
            await peer.close()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def whole_milliseconds(seconds: float) -> int:
    """Return a session timeout as a Java program takes it."""
    return math.ceil(seconds * 1000)
