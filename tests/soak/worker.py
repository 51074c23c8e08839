"""One client of a soak: it writes a register of its own, reads and watches all, and contends for a lock.

A register's data is its version as text, so every read shows whether it tells of one moment. What must hold:

- a client reads what it wrote, and in one session no version goes back;
- who reads only when a watch tells has the last value of each register in the end;
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
from tests.soak.drain_gate import Gate

PATIENCE = 60.0
"""Seconds in which every call must end: more than any connection or session needs to come back."""
_CANCELLED = 0.05
"""The share of reads that nobody waits for to the end."""

T = TypeVar("T")


@dataclass
class Counts:
    """What all workers have done, and what must not have happened."""

    writes: int = 0
    unknown: int = 0
    reads: int = 0
    cancelled: int = 0
    events: int = 0
    faults: list[str] = field(default_factory=list)


class Sight:
    """What one task has read, in order: within a session time never goes back."""

    def __init__(self, worker: Worker, name: str) -> None:
        self.versions: dict[str, int] = {}
        """The newest version of each register that was read in this session."""
        self._worker = worker
        self._name = f"{worker.name}, {name}"
        self._session_id = 0

    async def read(self, path: str) -> int:
        """Read a register; its version."""
        return await self.take(path, lambda: self._worker.client.get(path))

    async def take(self, path: str, call: Callable[[], Awaitable[zk.Node]]) -> int:
        """Check what a call has read of a register; its version."""
        client, counts = self._worker.client, self._worker.counts
        before = client.session.id
        data, stat = await self._worker.answered(f"{self._name}: get {path}", call)
        counts.reads += 1
        if not before == client.session.id == self._session_id:
            # A new session may begin at a server that is behind the old one's.
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
    """One client.

    Args:
        client: its connection.
        name: of its register, and as a contender.
        registers: the paths of all registers, its own first.
        lock: the path of the lock.
        gate: where all wait while it is closed.
        recorder: what the lock protects.
        counts: what all do.
        seed: decides what it does.

    Attributes:
        register: the path of its own.
        written: the version of its register.
        told: for each kind of watch, the version of each register that was read when it told.
    """

    def __init__(
        self,
        client: zk.Client,
        name: str,
        registers: list[str],
        lock: str,
        gate: Gate,
        recorder: Recorder,
        counts: Counts,
        seed: str,
    ) -> None:
        self.client = client
        self.name = name
        self.counts = counts
        self.written = 0
        self.told: dict[str, dict[str, int]] = {}
        self.register = registers[0]
        self._registers = registers
        self._lock = lock
        self._gate = gate
        self._recorder = recorder
        self._rng = Random(seed)

    async def run(self) -> None:
        """Do all of it until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._contend)
            tasks.start_soon(self._watch_below)
            for path in self._registers[1:3]:
                tasks.start_soon(self._watch, path)
                tasks.start_soon(self._watch_once, path)

    async def answered(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, which must end in time."""
        try:
            with anyio.fail_after(PATIENCE):
                return await call()
        except TimeoutError:
            self.counts.faults.append(f"{what}: no answer within {PATIENCE:.0f} seconds")
            raise

    # --- writing and reading -------------------------------------------------------------------------------

    async def _write(self) -> None:
        sight, others = Sight(self, "writer"), Sight(self, "reader")
        while True:
            async with self._gate.passed(f"{self.name} writes"):
                await self._write_once(sight)
                for _ in range(self._rng.randint(0, 4)):
                    path = self._rng.choice(self._registers)
                    if self._rng.random() < _CANCELLED:
                        with anyio.move_on_after(self._rng.random() / 200):
                            await self.client.get(path)
                        self.counts.cancelled += 1
                    else:
                        await others.read(path)
            await anyio.sleep(self._rng.random() / 50)

    async def _write_once(self, sight: Sight) -> None:
        """Set the register to its next version, guarded by the one before: lost and doubled writes show."""
        path, number = self._registers[0], self.written + 1
        session_id = self.client.session.id

        async def write() -> zk.Stat:
            return await self.client.set(path, b"%d" % number, version=self.written)

        try:
            await self.answered(f"{self.name}: set {path}", write)
        except (zk.ConnectionLossError, zk.SessionExpiredError):
            self.counts.unknown += 1
            # What comes before the sync has been applied, or never is: the session has moved.
            await self.answered(f"{self.name}: sync", self.client.sync)
            found = await sight.read(path)
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
        found = await sight.read(path)
        if found != number and self.client.session.id == session_id:
            self.counts.faults.append(f"{self.name}: wrote {number}, reads {found}")

    # --- watching ------------------------------------------------------------------------------------------

    async def _watch(self, path: str) -> None:
        """Read when a persistent watch tells, and only then."""
        sight = Sight(self, f"watch of {path}")
        async with self.client.watch(path) as events:
            told = self.told[f"persistent watch of {path}"] = {path: await sight.read(path)}
            async for _ in events:
                self.counts.events += 1
                told[path] = await sight.read(path)

    async def _watch_below(self) -> None:
        """The same, of the directory of all registers with one recursive watch."""
        sight = Sight(self, "recursive watch")
        directory = self._registers[0].rpartition("/")[0]
        async with self.client.watch(directory, recursive=True) as events:
            told = self.told["recursive watch"] = {path: await sight.read(path) for path in self._registers}
            async for event in events:
                self.counts.events += 1
                changed = self._registers if event.type is zk.EventType.RESYNC else [event.path]
                for path in changed:
                    told[path] = await sight.read(path)

    async def _watch_once(self, path: str) -> None:
        """The same with one-shot watches."""
        sight = Sight(self, f"one-shot watch of {path}")
        told = self.told[f"one-shot watch of {path}"] = {}
        while True:
            async with AsyncExitStack() as block:
                change = await self._read_and_watch(sight, path, told, block)
                with suppress(zk.SessionExpiredError):  # it is set anew in the next session
                    await change.wait()
                    self.counts.events += 1

    async def _read_and_watch(
        self, sight: Sight, path: str, told: dict[str, int], block: AsyncExitStack
    ) -> zk.OneShotWatch:
        """Read, and set a watch until the end of `block`."""
        changes: list[zk.OneShotWatch] = []

        async def read() -> zk.Node:
            node, changed = await block.enter_async_context(self.client.get_and_watch(path))
            changes.append(changed)
            return node

        told[path] = await sight.take(path, read)
        return changes[0]

    # --- contending ----------------------------------------------------------------------------------------

    async def _contend(self) -> None:
        mutex = zk.Mutex(self.client, self._lock, identifier=self.name)
        while True:
            async with self._gate.passed(f"{self.name} contends"):
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
