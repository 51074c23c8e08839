"""A soak: clients work through proxies that cut connections at random.

From time to time all work is stopped for a moment. Then nothing may be on its way, every watch must have told
the last change, and no more may be left in memory than at the moments before.
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
from tests.soak.drain_gate import Gate
from tests.soak.worker import PATIENCE, Counts, Worker
from zkrecipes.ensemble import ApacheEnsemble

CLIENTS = 6
SESSION_TIMEOUT = 6.0
RSS_GROWTH_MAX = 12.0
"""MiB, from the second moment of silence to the last: what is compiled and cached comes before it."""
OBJECTS_GROWTH_MAX = 3000
"""Python objects, as far as the collector tracks them; a leak of one a cut would show in minutes."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Moment:
    """What is there while nobody works.

    Attributes:
        seconds: since the beginning.
        tasks: of the event loop.
        watches: of all clients.
        objects: that the garbage collector tracks.
        rss: of the process, in MiB.
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
    """What came out of a soak.

    Attributes:
        seed: decided when was cut what, and what the clients did.
        cuts: how many connections were cut.
        connections: how many the clients had.
        sessions: how many of those began one.
    """

    seed: int
    counts: Counts
    recorder: Recorder
    moments: list[Moment] = field(default_factory=list)
    cuts: int = 0
    connections: int = 0
    sessions: int = 0

    @property
    def faults(self) -> list[str]:
        """What must not have happened."""
        return [*self.counts.faults, *self.recorder.faults, *self._growth()]

    def _growth(self) -> list[str]:
        if len(self.moments) < 3:
            return []
        first, last = self.moments[1], self.moments[-1]
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
    ensemble: ApacheEnsemble, root: str, *, seed: int, seconds: float, silent_every: float, say: Say
) -> Report:
    """Let clients work for so many seconds.

    Args:
        ensemble: where; it is not harmed.
        root: a path that does not exist.
        seed: decides what is cut and what the clients do.
        seconds: how long, without what the last look takes.
        silent_every: how often everything is stopped and looked at, in seconds.
        say: is told what is seen then.
    """
    field = _Field(ensemble, root, seed, say)
    async with anyio.create_task_group() as ways:
        async with AsyncExitStack() as clients:
            await field.connect(ways, clients)
            async with anyio.create_task_group() as work:
                field.begin(work)
                ends_at = anyio.current_time() + seconds
                while anyio.current_time() < ends_at:
                    with anyio.move_on_after(min(silent_every, ends_at - anyio.current_time())):
                        await field.cut_at_random()
                    await field.look()
                work.cancel_scope.cancel()
        ways.cancel_scope.cancel()
    return await field.report_at_the_end()


@final
class _Field:
    """The clients, their ways to the servers, and what is seen of them."""

    def __init__(self, ensemble: ApacheEnsemble, root: str, seed: int, say: Say) -> None:
        self._ensemble = ensemble
        self._root = root
        self._say = say
        self._rng = Random(seed)
        self._gate = Gate()
        self._report = Report(seed, Counts(), Recorder())
        self._proxies: list[Proxy] = []
        self._workers: list[Worker] = []
        self._begun = time.monotonic()

    async def connect(self, ways: TaskGroup, clients: AsyncExitStack) -> None:
        """Connect everybody, each client through proxies of its own."""
        registers = [f"{self._root}/registers/{number}" for number in range(CLIENTS)]
        async with zk.connect(self._ensemble.connect_string) as client:
            for path in registers:
                await client.create(path, b"0", make_parents=True)
        for number in range(CLIENTS):
            ports = []
            for member in self._ensemble.members:
                proxy = Proxy(member.port)
                self._proxies.append(proxy)
                ports.append(await ways.start(proxy.serve))
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            client = await clients.enter_async_context(zk.connect(hosts, session_timeout=SESSION_TIMEOUT))
            worker = Worker(
                client,
                f"client-{number}",
                registers[number:] + registers[:number],
                f"{self._root}/lock",
                self._gate,
                self._report.recorder,
                self._report.counts,
                f"{self._report.seed}:{number}",
            )
            await client.sync()  # it may be at a server that has not yet heard of the registers
            self._workers.append(worker)

    def begin(self, work: TaskGroup) -> None:
        """Let all of them begin."""
        for worker in self._workers:
            work.start_soon(worker.run)

    async def cut_at_random(self) -> None:
        """Cut the ways of one client, of several or of all, again and again."""
        while True:
            await anyio.sleep(self._rng.expovariate(2.0))
            share = self._rng.choice((1, 1, 1, 4, len(self._proxies)))
            for proxy in self._rng.sample(self._proxies, share):
                self._report.cuts += proxy.cut()

    async def look(self) -> None:
        """Stop everybody, look at everything, and let them go on."""
        try:
            with anyio.fail_after(2 * PATIENCE):
                await self._gate.close()
        except TimeoutError:
            self._report.counts.faults.append(f"they do not come to an end: {+self._gate.inside}")
            raise
        for what, is_so in (("has been told", self._is_all_told), ("is at rest", self._is_at_rest)):
            try:
                await until(is_so, within=PATIENCE / 2)
            except TimeoutError:
                self._report.counts.faults.append(f"not everybody {what}: {self._unlike()}")
        _empty_caches()
        gc.collect()
        moment = self._moment()
        self._report.moments.append(moment)
        self._say(f"{moment}; {self._report.counts.writes} writes, {self._report.cuts} cuts")
        self._gate.open()

    async def report_at_the_end(self) -> Report:
        """After all clients have gone: what came out."""
        for worker in self._workers:
            stats = worker.client.stats()
            self._report.connections += stats.connections
            self._report.sessions += stats.sessions
        async with zk.connect(self._ensemble.connect_string) as client:
            await until_nothing_is_left(self._ensemble, client, f"{self._root}/lock")
            await client.delete(self._root, recursive=True)
        return self._report

    # --- what must be so while nobody works ----------------------------------------------------------------

    async def _is_all_told(self) -> bool:
        return not self._untold()

    async def _is_at_rest(self) -> bool:
        if any(worker.client.stats().outstanding for worker in self._workers):
            return False
        on_servers = sum([await watch_count(member) for member in self._ensemble.members])
        moments = self._report.moments
        now = self._moment()
        # How many watches a server has for those of a client is its own affair, but they must not add up.
        return on_servers <= 3 * now.watches and (
            not moments or (now.tasks, now.watches) == (moments[0].tasks, moments[0].watches)
        )

    def _untold(self) -> list[str]:
        written = {worker.register: worker.written for worker in self._workers}
        return [
            f"{worker.name}, {watch}: {path} is {written[path]}, told {version}"
            for worker in self._workers
            for watch, told in worker.told.items()
            for path, version in told.items()
            if version != written[path]
        ]

    def _unlike(self) -> str:
        outstanding = {worker.name: worker.client.stats().outstanding for worker in self._workers}
        before = self._report.moments[0] if self._report.moments else None
        return f"{self._untold()}; outstanding {outstanding}; now {self._moment()}; at first {before}"

    def _moment(self) -> Moment:
        return Moment(
            seconds=time.monotonic() - self._begun,
            tasks=len(anyio.get_running_tasks()),
            watches=sum(worker.client.stats().watches for worker in self._workers),
            objects=len(gc.get_objects()),
            rss=_resident_pages() * os.sysconf("SC_PAGE_SIZE") / 2**20,
        )


def _empty_caches() -> None:
    """Names and paths are kept in caches of a limited size, which fill slowly and would look like a leak."""
    for each in gc.get_objects():
        if isinstance(each, _lru_cache_wrapper) and each.cache_parameters()["maxsize"] is not None:
            each.cache_clear()


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1])
