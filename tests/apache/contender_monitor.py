"""Checks the reports of contenders in other processes: never two holders, and growing tokens."""

from __future__ import annotations

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream


class ContenderMonitor:
    """A monitor that listens on a port while `serve` runs.

    Attributes:
        turns: the number of holds of each contender.
        losses: the number of reported losses of the lock.
        tokens: the fencing tokens in the order of entering.
        faults: the violations that were found.
        must_stop: whether the answers stop the contenders.
        inside: the current holder.
        pauses: the seconds from each release to the next hold.
    """

    def __init__(self) -> None:
        self.turns: dict[str, int] = {}
        self.losses = 0
        self.tokens: list[int] = []
        self.faults: list[str] = []
        self.must_stop = False
        self.inside: str | None = None
        self.pauses: list[float] = []
        self._left_at: float | None = None

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        """Serve all contenders; the task status is the port."""
        (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        async with listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(self._serve_contender)

    async def _serve_contender(self, stream: SocketStream) -> None:
        name = ""
        lines = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    line = (await lines.receive_until(b"\n", 200)).decode()
                    kind, _, detail = line.partition(" ")
                    name = detail if kind == "hello" else name
                    self._record(name, kind, detail)
                    await stream.send(b"enough\n" if self.must_stop else b"on\n")
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                if self.inside == name:
                    self._leave(name)  # it was killed

    def _record(self, name: str, kind: str, detail: str) -> None:
        if kind == "enter":
            self._enter(name, int(detail))
        elif kind == "leave":
            self._leave(name)
        elif kind == "lost":
            self.losses += 1

    def _enter(self, name: str, token: int) -> None:
        if self.inside is not None:
            self.faults.append(f"{name} ({token}) came in while {self.inside} was inside")
        if self.tokens and token <= self.tokens[-1]:
            self.faults.append(f"{name} has the token {token}, after {self.tokens[-1]}")
        if self._left_at is not None:
            self.pauses.append(anyio.current_time() - self._left_at)
        self.inside = name
        self.tokens.append(token)
        self.turns[name] = self.turns.get(name, 0) + 1

    def _leave(self, name: str) -> None:
        if self.inside == name:
            self.inside, self._left_at = None, anyio.current_time()
