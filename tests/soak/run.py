"""A soak: clients work through proxies that cut connections at random.

From time to time all work pauses. Then no request may be in flight, every watch must have reported the last
change, and memory must not have grown since the previous pauses.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from pathlib import Path
from random import Random
from typing import final

import anyio
from anyio.abc import TaskGroup

import zkrecipes as zk
from tests.apache.members import until_nothing_is_left
from tests.apache.proxy import Proxy
from tests.apache.recorder import Recorder
from tests.apache.served import watch_count
from tests.apache.waiting import until
from tests.soak.drain_gate import DrainGate
from tests.soak.worker import PATIENCE, Counts, Worker
from zkrecipes.ensemble import ApacheEnsemble

CLIENTS = 6
SESSION_TIMEOUT = 6.0
RSS_GROWTH_MAX = 12.0
"""The growth in MiB from the second pause to the last; compiling and caching happen before the second."""
OBJECTS_GROWTH_MAX = 3000
"""The growth in objects that the collector tracks; a leak of one per cut exceeds it within minutes."""

ReportLine = Callable[[str], None]


@dataclass(frozen=True)
class Snapshot:
    """The resources in use during a pause.

    Attributes:
        seconds: the time since the start.
        tasks: the tasks of the event loop.
        watches: the watches of all clients.
        objects: the objects that the garbage collector tracks.
        rss: the resident memory of the process, in MiB.
    """

    seconds: float
    tasks: int
    watches: int
    objects: int
    rss: float

    def __str__(self) -> str:
        sizes = f"{self.objects} objects, {self.rss:.1f} MiB"
        return f"{self.seconds:5.0f} s: {self.tasks} tasks, {self.watches} watches, {sizes}"


@dataclass
class Report:
    """The result of a soak.

    Attributes:
        seed: the seed of all cuts and of the clients' actions.
        cuts: the number of connections that were cut.
        connections: the number of the clients' connections.
        sessions: the number of the clients' sessions.
    """

    seed: int
    counts: Counts
    recorder: Recorder
    snapshots: list[Snapshot] = field(default_factory=list)
    cuts: int = 0
    connections: int = 0
    sessions: int = 0

    @property
    def faults(self) -> list[str]:
        """The violations that the soak found."""
        return [*self.counts.faults, *self.recorder.faults, *self._growth()]

    def _growth(self) -> list[str]:
        if len(self.snapshots) < 3:
            return []
        first, last = self.snapshots[1], self.snapshots[-1]
        faults = []
        if last.rss - first.rss > RSS_GROWTH_MAX:
            faults.append(f"memory grew from {first.rss:.1f} to {last.rss:.1f} MiB")
        if last.objects - first.objects > OBJECTS_GROWTH_MAX:
            faults.append(f"objects grew from {first.objects} to {last.objects}")
        return faults

    def __str__(self) -> str:
        counts, recorder = self.counts, self.recorder
        return "\n".join(
            [
                f"seed {self.seed}",
                f"connections cut {self.cuts}, made {self.connections}; sessions {self.sessions}",
                f"writes {counts.writes}, of unknown outcome {counts.unknown}; reads {counts.reads}",
                f"reads cancelled {counts.cancelled}; watch events {counts.events}",
                f"turns with the lock {len(recorder.tokens)}, lost {recorder.losses}",
                *(f"FAULT: {fault}" for fault in self.faults),
                "nothing wrong" if not self.faults else f"{len(self.faults)} faults",
            ]
        )


async def soak(
    ensemble: ApacheEnsemble,
    root: str,
    *,
    seed: int,
    seconds: float,
    pause_every: float,
    report_line: ReportLine,
) -> Report:
    """Let clients work for this many seconds.

    Args:
        ensemble: the servers, which are not harmed.
        root: a path that does not exist.
        seed: the seed of the cuts and of the clients' actions.
        seconds: the duration, without the last inspection.
        pause_every: the seconds between two pauses with an inspection.
        report_line: called with the result of each inspection.
    """
    run = _SoakRun(ensemble, root, seed, report_line)
    async with anyio.create_task_group() as proxies:
        async with AsyncExitStack() as clients:
            await run.connect(proxies, clients)
            async with anyio.create_task_group() as work:
                run.start(work)
                ends_at = anyio.current_time() + seconds
                while anyio.current_time() < ends_at:
                    with anyio.move_on_after(min(pause_every, ends_at - anyio.current_time())):
                        await run.cut_at_random()
                    await run.inspect()
                work.cancel_scope.cancel()
        proxies.cancel_scope.cancel()
    return await run.final_report()


@final
class _SoakRun:
    """The clients of a soak, their proxies to the servers, and the inspections."""

    def __init__(self, ensemble: ApacheEnsemble, root: str, seed: int, report_line: ReportLine) -> None:
        self._ensemble = ensemble
        self._root = root
        self._report_line = report_line
        self._rng = Random(seed)
        self._drain_gate = DrainGate()
        self._report = Report(seed, Counts(), Recorder())
        self._proxies: list[Proxy] = []
        self._workers: list[Worker] = []
        self._started_at = time.monotonic()

    async def connect(self, proxies: TaskGroup, clients: AsyncExitStack) -> None:
        """Connect all clients, each through its own proxies."""
        registers = [f"{self._root}/registers/{number}" for number in range(CLIENTS)]
        async with zk.connect(self._ensemble.connect_string) as client:
            for path in registers:
                await client.create(path, b"0", make_parents=True)
        for number in range(CLIENTS):
            ports = []
            for member in self._ensemble.members:
                proxy = Proxy(member.port)
                self._proxies.append(proxy)
                ports.append(await proxies.start(proxy.serve))
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            client = await clients.enter_async_context(zk.connect(hosts, session_timeout=SESSION_TIMEOUT))
            worker = Worker(
                client,
                f"client-{number}",
                registers[number:] + registers[:number],
                f"{self._root}/lock",
                self._drain_gate,
                self._report.recorder,
                self._report.counts,
                f"{self._report.seed}:{number}",
            )
            await client.sync()  # its server may not have applied the creation of the registers yet
            self._workers.append(worker)

    def start(self, work: TaskGroup) -> None:
        """Start all workers."""
        for worker in self._workers:
            work.start_soon(worker.run)

    async def cut_at_random(self) -> None:
        """Cut the connections of one, several or all proxies repeatedly."""
        while True:
            await anyio.sleep(self._rng.expovariate(2.0))
            share = self._rng.choice((1, 1, 1, 4, len(self._proxies)))
            for proxy in self._rng.sample(self._proxies, share):
                self._report.cuts += proxy.cut()

    async def inspect(self) -> None:
        """Pause all workers, check the state of clients and servers, and let the workers continue."""
        try:
            with anyio.fail_after(2 * PATIENCE):
                await self._drain_gate.close()
        except TimeoutError:
            self._report.counts.faults.append(f"the workers do not finish: {+self._drain_gate.inside}")
            raise
        for what, is_true in (
            ("has received its events", self._has_notified_all),
            ("is at rest", self._is_at_rest),
        ):
            try:
                await until(is_true, within=PATIENCE / 2)
            except TimeoutError:
                self._report.counts.faults.append(f"not every client {what}: {self._differences()}")
        _empty_caches()
        gc.collect()
        snapshot = self._snapshot()
        self._report.snapshots.append(snapshot)
        self._report_line(f"{snapshot}; {self._report.counts.writes} writes, {self._report.cuts} cuts")
        self._drain_gate.open()

    async def final_report(self) -> Report:
        """Return the report. Call it when all clients have ended."""
        for worker in self._workers:
            stats = worker.client.stats()
            self._report.connections += stats.connections
            self._report.sessions += stats.sessions
        async with zk.connect(self._ensemble.connect_string) as client:
            await until_nothing_is_left(self._ensemble, client, f"{self._root}/lock")
            await client.delete(self._root, recursive=True)
        return self._report

    # --- the conditions during a pause ---------------------------------------------------------------------

    async def _has_notified_all(self) -> bool:
        return not self._missing_events()

    async def _is_at_rest(self) -> bool:
        if any(worker.client.stats().outstanding for worker in self._workers):
            return False
        on_servers = sum([await watch_count(member) for member in self._ensemble.members])
        snapshots = self._report.snapshots
        now = self._snapshot()
        # A server may keep more watches than its clients have, but they must not accumulate.
        return on_servers <= 3 * now.watches and (
            not snapshots or (now.tasks, now.watches) == (snapshots[0].tasks, snapshots[0].watches)
        )

    def _missing_events(self) -> list[str]:
        written = {worker.register: worker.written for worker in self._workers}
        return [
            f"{worker.name}, {watch}: {path} is {written[path]}, reported {version}"
            for worker in self._workers
            for watch, notified in worker.notified.items()
            for path, version in notified.items()
            if version != written[path]
        ]

    def _differences(self) -> str:
        outstanding = {worker.name: worker.client.stats().outstanding for worker in self._workers}
        before = self._report.snapshots[0] if self._report.snapshots else None
        return (
            f"{self._missing_events()}; outstanding {outstanding}; now {self._snapshot()}; at first {before}"
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            seconds=time.monotonic() - self._started_at,
            tasks=len(anyio.get_running_tasks()),
            watches=sum(worker.client.stats().watches for worker in self._workers),
            objects=len(gc.get_objects()),
            rss=_resident_pages() * os.sysconf("SC_PAGE_SIZE") / 2**20,
        )


def _empty_caches() -> None:
    """Empty the bounded caches of names and paths, which fill slowly and would look like a leak."""
    for each in gc.get_objects():
        if isinstance(each, _lru_cache_wrapper) and each.cache_parameters()["maxsize"] is not None:
            each.cache_clear()


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1])
