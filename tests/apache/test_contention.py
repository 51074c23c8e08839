"""Sixteen processes contend for one lock on an ensemble whose servers are killed and stopped."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process, TaskGroup

import zkrecipes as zk
from tests.apache import contender_program
from tests.apache.contender_monitor import ContenderMonitor
from tests.apache.members import until_nothing_is_left
from tests.apache.proxy import Proxy
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer

logger = logging.getLogger(__name__)
pytestmark = pytest.mark.anyio

CONTENDERS = 16
STEPS = 8
STEP = 1.5


class _Field:
    """The contenders, their proxies to the servers, and the faults."""

    def __init__(self, ensemble: ApacheEnsemble, path: str, seed: int, tasks: TaskGroup) -> None:
        self.monitor = ContenderMonitor()
        self.contenders: dict[str, Process] = {}
        self._ensemble = ensemble
        self._path = path
        self._rng = random.Random(seed)
        self._tasks = tasks
        self._proxies = [Proxy(member.port) for member in ensemble.members]
        self._ports: list[int] = []
        self._judges_port = 0

    async def open(self) -> None:
        self._judges_port = await self._tasks.start(self.monitor.serve)
        self._ports = [await self._tasks.start(proxy.serve) for proxy in self._proxies]
        for number in range(CONTENDERS):
            await self._send_in(number)

    async def _send_in(self, number: int) -> None:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        arguments = [hosts, self._path, str(number), str(self._judges_port)]
        self.contenders[f"contender-{number}"] = await anyio.open_process(
            [sys.executable, "-m", contender_program.__name__, *arguments],
            stdin=None,
            stdout=None,
            stderr=None,
            cwd=Path(__file__).parents[2],
        )

    async def clear(self) -> None:
        for process in self.contenders.values():
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()

    async def inject_faults(self) -> None:
        """Inject each fault once, in a random order; one server at a time, because a quorum is needed."""
        kinds = [self._kill_leader, self._kill_follower, self._stop_leader, self._stop_follower]
        steps = [*kinds, *(self._cut for _ in range(STEPS - len(kinds)))]
        self._rng.shuffle(steps)
        for step in steps:
            await step()
            await anyio.sleep(STEP)

    async def _kill_leader(self) -> None:
        await self._kill(await self._ensemble.leader())

    async def _kill_follower(self) -> None:
        await self._kill(self._rng.choice(await self._ensemble.followers()))

    async def _kill(self, member: ApacheServer) -> None:
        member.kill()
        await anyio.sleep(STEP)
        await member.start()

    async def _stop_leader(self) -> None:
        await self._stop(await self._ensemble.leader())

    async def _stop_follower(self) -> None:
        await self._stop(self._rng.choice(await self._ensemble.followers()))

    async def _stop(self, member: ApacheServer) -> None:
        member.pause()
        try:
            await anyio.sleep(2 * STEP)
        finally:
            member.resume()
        await self._ensemble.leader()

    async def _cut(self) -> None:
        self._rng.choice(self._proxies).cut()

    async def kill_the_holder(self) -> None:
        """Kill the holder; its session must expire before another contender enters."""

        async def is_one_inside() -> bool:
            return self.monitor.inside is not None

        await until(is_one_inside, within=30)
        assert self.monitor.inside is not None
        killed = self.contenders.pop(self.monitor.inside)
        killed.kill()
        await killed.wait()

    async def until_each_has_had_a_turn(self) -> None:
        before = dict(self.monitor.turns)

        async def have_all() -> bool:
            turns = self.monitor.turns
            return all(turns.get(name, 0) > before.get(name, 0) for name in self.contenders)

        await until(have_all, within=30)


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1])
async def test_sixteen_processes_never_overlap_while_servers_fail(
    apache_ensemble: ApacheEnsemble, fresh_path: str, seed: int
) -> None:
    async with anyio.create_task_group() as tasks:
        field = _Field(apache_ensemble, fresh_path, seed, tasks)
        try:
            await field.open()
            await field.until_each_has_had_a_turn()
            await field.kill_the_holder()
            await field.until_each_has_had_a_turn()
            await field.inject_faults()
            await field.until_each_has_had_a_turn()
            field.monitor.must_stop = True
            with anyio.fail_after(30):
                assert {await process.wait() for process in field.contenders.values()} == {0}
        finally:
            await field.clear()
        tasks.cancel_scope.cancel()
    monitor = field.monitor
    assert monitor.faults == []
    assert len(monitor.tokens) > 10 * CONTENDERS
    # after a holder was killed, the others waited until its session had expired
    assert max(monitor.pauses) > contender_program.SESSION_TIMEOUT / 2
    logger.info(
        "%d turns, %d losses, longest pause %.1f s", len(monitor.tokens), monitor.losses, max(monitor.pauses)
    )
    async with zk.connect(apache_ensemble.connect_string) as client:
        await until_nothing_is_left(apache_ensemble, client, fresh_path)
