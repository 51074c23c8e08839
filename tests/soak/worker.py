"""One client of a soak: it writes its own register, reads and watches all, and contends for a lock.

A register's data is its version as text, so every read shows whether data and version match. The invariants:

- a client reads its own writes, and in one session no version goes back;
- a reader that reads only after watch events has the last value of each register at the end;
- every call ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar, final

import anyio

import zkrecipes as zk
from tests.apache.recorder import Recorder
from tests.soak.drain_gate import DrainGate

PATIENCE = 60.0
"""The seconds within which every call must end: more than any reconnect or new session needs."""
_CANCELLED = 0.05
"""The share of reads that are cancelled."""

T = TypeVar("T")


@dataclass
class Counts:
    """The counts of all workers' actions, and the violations that they found."""

    writes: int = 0
    unknown: int = 0
    reads: int = 0
    cancelled: int = 0
    events: int = 0
    faults: list[str] = field(default_factory=list)


class SessionView:
    """The reads of one task in order; within a session, versions must never go back."""

    def __init__(self, worker: Worker, name: str) -> None:
        self.versions: dict[str, int] = {}
        """The newest version of each register that was read in this session."""
        self._worker = worker
        self._name = f"{worker.name}, {name}"
        self._session_id = 0

    async def read(self, path: str) -> int:
        """Read a register, and return its version."""
        return await self.take(path, lambda: self._worker.client.get(path))

    async def take(self, path: str, call: Callable[[], Awaitable[zk.Node]]) -> int:
        """Check the register that a call has read, and return its version."""
        client, counts = self._worker.client, self._worker.counts
        before = client.session.id
        data, stat = await self._worker.answered(f"{self._name}: get {path}", call)
        counts.reads += 1
        if not before == client.session.id == self._session_id:
            # A new session may start at a server that is behind the server of the old one.
            self.versions.clear()
            self._session_id = client.session.id
        if data != b"%d" % stat.version:
            counts.faults.append(f"{self._name}: {path} has the data {data!r} in version {stat.version}")
        if stat.version < self.versions.get(path, 0):
            counts.faults.append(
                f"{self._name}: {path} went back from {self.versions[path]} to {stat.version} in one session"
            )
        self.versions[path] = stat.version
        version: int = stat.version
        return version


@final
class Worker:
    """One client of a soak.

    Args:
        client: the connected client.
        name: the name of the worker, also as a contender.
        registers: the paths of all registers, its own first.
        lock: the path of the lock.
        gate: the gate at which all workers wait while it is closed.
        recorder: the resource that the lock protects.
        counts: the counts of all workers.
        seed: the seed of its actions.

    Attributes:
        register: the path of its register.
        written: the version of its register.
        notified: for each watch, the version of each register that was read after its last event.
    """

    def __init__(
        self,
        client: zk.Client,
        name: str,
        registers: list[str],
        lock: str,
        gate: DrainGate,
        recorder: Recorder,
        counts: Counts,
        seed: str,
    ) -> None:
        self.client = client
        self.name = name
        self.counts = counts
        self.written = 0
        self.notified: dict[str, dict[str, int]] = {}
        self.register = registers[0]
        self._registers = registers
        self._lock = lock
        self._drain_gate = gate
        self._recorder = recorder
        self._rng = Random(seed)

    async def run(self) -> None:
        """Write, watch and contend until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._contend)
            tasks.start_soon(self._watch_below)
            for path in self._registers[1:3]:
                tasks.start_soon(self._watch, path)
                tasks.start_soon(self._watch_once, path)

    async def answered(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a call, and record a fault if it does not end in time."""
        try:
            with anyio.fail_after(PATIENCE):
                return await call()
        except TimeoutError:
            self.counts.faults.append(f"{what}: no answer within {PATIENCE:.0f} seconds")
            raise

    # --- writing and reading -------------------------------------------------------------------------------

    async def _write(self) -> None:
        session_view, others = SessionView(self, "writer"), SessionView(self, "reader")
        while True:
            async with self._drain_gate.entered(f"{self.name} writes"):
                await self._write_once(session_view)
                for _ in range(self._rng.randint(0, 4)):
                    path = self._rng.choice(self._registers)
                    if self._rng.random() < _CANCELLED:
                        with anyio.move_on_after(self._rng.random() / 200):
                            await self.client.get(path)
                        self.counts.cancelled += 1
                    else:
                        await others.read(path)
            await anyio.sleep(self._rng.random() / 50)

    async def _write_once(self, session_view: SessionView) -> None:
        """Write the next version, guarded by the previous one, so that lost and doubled writes show."""
        path, number = self._registers[0], self.written + 1
        session_id = self.client.session.id

        async def write() -> zk.Stat:
            return await self.client.set(path, b"%d" % number, version=self.written)

        try:
            await self.answered(f"{self.name}: set {path}", write)
        except (zk.ConnectionLossError, zk.SessionExpiredError):
            self.counts.unknown += 1
            # After the sync, the write has been applied or never will be, because the session has moved.
            await self.answered(f"{self.name}: sync", self.client.sync)
            found = await session_view.read(path)
            if found not in (self.written, number):
                self.counts.faults.append(f"{self.name}: wrote {number} after {self.written}, reads {found}")
            self.written = found
            return
        except zk.BadVersionError:
            self.counts.faults.append(f"{self.name}: version {self.written} of its own register has changed")
            raise
        self.written = number
        self.counts.writes += 1
        if self.client.session.id != session_id:
            await self.answered(f"{self.name}: sync", self.client.sync)
        found = await session_view.read(path)
        if found != number and self.client.session.id == session_id:
            self.counts.faults.append(f"{self.name}: wrote {number}, reads {found}")

    # --- watching ------------------------------------------------------------------------------------------

    async def _watch(self, path: str) -> None:
        """Read a register only after an event of a persistent watch."""
        session_view = SessionView(self, f"watch of {path}")
        async with self.client.watch(path) as events:
            notified = self.notified[f"persistent watch of {path}"] = {path: await session_view.read(path)}
            async for _ in events:
                self.counts.events += 1
                notified[path] = await session_view.read(path)

    async def _watch_below(self) -> None:
        """Read all registers, each only after an event of one recursive watch."""
        session_view = SessionView(self, "recursive watch")
        directory = self._registers[0].rpartition("/")[0]
        async with self.client.watch(directory, recursive=True) as events:
            notified = self.notified["recursive watch"] = {
                path: await session_view.read(path) for path in self._registers
            }
            async for event in events:
                self.counts.events += 1
                changed = self._registers if event.type is zk.EventType.RESYNC else [event.path]
                for path in changed:
                    notified[path] = await session_view.read(path)

    async def _watch_once(self, path: str) -> None:
        """Read a register only after an event of a one-shot watch."""
        session_view = SessionView(self, f"one-shot watch of {path}")
        notified = self.notified[f"one-shot watch of {path}"] = {}
        while True:
            async with AsyncExitStack() as block:
                change = await self._read_and_watch(session_view, path, notified, block)
                with suppress(zk.SessionExpiredError):  # the next session sets the watch again
                    await change.wait()
                    self.counts.events += 1

    async def _read_and_watch(
        self, session_view: SessionView, path: str, notified: dict[str, int], block: AsyncExitStack
    ) -> zk.OneShotWatch:
        """Read, and set a watch until the end of `block`."""
        changes: list[zk.OneShotWatch] = []

        async def read() -> zk.Node:
            node, changed = await block.enter_async_context(self.client.get_and_watch(path))
            changes.append(changed)
            return node

        notified[path] = await session_view.take(path, read)
        return changes[0]

    # --- contending ----------------------------------------------------------------------------------------

    async def _contend(self) -> None:
        mutex = zk.Mutex(self.client, self._lock, identifier=self.name)
        while True:
            async with self._drain_gate.entered(f"{self.name} contends"):
                try:
                    with suppress(zk.ConnectionLossError, zk.SessionExpiredError):  # not acquired
                        await self.answered(f"{self.name}: lock", lambda: self._take_a_turn(mutex))
                except zk.LockLostError:
                    self._recorder.losses += 1
            await anyio.sleep(self._rng.random() / 5)

    async def _take_a_turn(self, mutex: zk.Mutex) -> None:
        async with mutex as hold:
            with self._recorder.entered(self.name, hold.fencing_token):
                await anyio.sleep(self._rng.random() / 100)
