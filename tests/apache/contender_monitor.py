"""Hears from contenders in other processes who is inside: never two, and each with a new token."""

from __future__ import annotations

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream


class ContenderMonitor:
    """Serves at a port of its own while `serve` runs.

    Attributes:
        turns: how often each contender came inside.
        losses: how often one was told that it had lost the lock.
        tokens: the fencing tokens in the order of entering.
        faults: what must not have happened.
        is_enough: whether contenders are told to stop.
        inside: who is inside.
        pauses: seconds from each departure to the next entry.
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
        """Hear everybody; the status is the port."""
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
