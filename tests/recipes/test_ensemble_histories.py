"""Recipes on a simulated ensemble whose servers are delayed, partitioned, stopped and killed by a seed.

A single server cannot show stale reads, sessions that move, or holds behind a server that has lost its
quorum. One clock decides which contenders are inside at the same time.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from zkrecipes.testing import SimulatedEnsemble

pytestmark = pytest.mark.trio

PATH = "/there"
CONTENDERS = 5
TIMEOUT = 6.0
SECONDS = 40.0
LIMIT = 3


class Visit(NamedTuple):
    """One stay of a contender inside.

    Attributes:
        weight: how many permits it has, or 1.
    """

    name: str
    weight: int


Enter = Callable[[zk.Client, str, random.Random], AbstractAsyncContextManager[Visit]]


@asynccontextmanager
async def read_or_write(client: zk.Client, name: str, rng: random.Random) -> AsyncIterator[Visit]:
    lock = zk.ReadWriteLock(client, PATH, identifier=name)
    wish = rng.choice(["read", "read", "write", "downgrade"])
    async with lock.read() if wish == "read" else lock.write():
        if wish == "downgrade":
            await lock.downgrade()
        yield Visit(name, CONTENDERS if wish == "write" else 1)


@asynccontextmanager
async def take_permits(client: zk.Client, name: str, rng: random.Random) -> AsyncIterator[Visit]:
    permits = rng.choice([1, 1, 2])
    semaphore = zk.Semaphore(client, PATH, limit=LIMIT, identifier=name)
    async with semaphore.acquire(permits=permits):
        yield Visit(name, permits)


@asynccontextmanager
async def lead(client: zk.Client, name: str, _: random.Random) -> AsyncIterator[Visit]:
    async with zk.Election(client, PATH, identifier=name).lead():
        yield Visit(name, 1)


@asynccontextmanager
async def lock_two(client: zk.Client, name: str, _: random.Random) -> AsyncIterator[Visit]:
    kazoos = zk.Mutex(client, f"{PATH}/kazoo", identifier=name)
    curators = zk.Mutex(client, f"{PATH}/curator", identifier=name, layout="curator")
    async with zk.MultiLock([kazoos, curators]):
        yield Visit(name, 1)


class Contest:
    """Contenders that enter, stay for a short time, and enter again.

    Attributes:
        visits: the number of visits.
        faults: the contenders that were wrongly inside together.
    """

    def __init__(self, enter: Enter, room: int) -> None:
        self.visits = 0
        self.faults: list[list[Visit]] = []
        self.is_over = False
        self._enter = enter
        self._room = room
        self._inside: list[Visit] = []

    async def take_part(self, client: zk.Client, name: str, rng: random.Random) -> None:
        """Contend until the end of the contest."""
        while not self.is_over:
            try:
                async with self._enter(client, name, rng) as visit:
                    await self._stay(visit, rng.choice([0, 0.05, 0.5, 3]))
            except zk.HoldLostError:
                pass
            await trio.sleep(rng.choice([0, 0.01, 0.3]))

    async def _stay(self, visit: Visit, seconds: float) -> None:
        self._inside.append(visit)
        self.visits += 1
        if sum(each.weight for each in self._inside) > self._room:
            self.faults.append(list(self._inside))
        try:
            await trio.sleep(seconds)
        finally:
            self._inside.remove(visit)


async def fail(ensemble: SimulatedEnsemble, rng: random.Random) -> None:
    """Disturb random servers, each for a limited time."""
    while True:
        await trio.sleep(rng.uniform(0, 4))
        one, other = rng.sample(ensemble.numbers, 2)
        match rng.randrange(6):
            case 0:
                ensemble.crash(one)
                await trio.sleep(rng.uniform(0, 3))
                ensemble.restart(one)
            case 1:
                ensemble.cut(one, other)
            case 2:
                ensemble.isolate(one)
            case 3:
                ensemble.pause(one)
                await trio.sleep(rng.uniform(0, 2 * TIMEOUT))
                ensemble.resume(one)
            case 4:
                ensemble.move_leader(one)
            case _:
                ensemble.lag(one, rng.uniform(0, 2))
        if rng.random() < 0.5:
            ensemble.heal()


async def recover(ensemble: SimulatedEnsemble) -> None:
    """Heal everything, and wait until every client has noticed."""
    ensemble.heal()
    for number in ensemble.numbers:
        ensemble.lag(number, 0)
        ensemble.resume(number)
    await ensemble.serving()
    await trio.sleep(3 * TIMEOUT)


async def what_is_left(client: zk.Client) -> list[str]:
    """Return the contenders and permits that still exist."""
    async with client.walk() as znodes:
        return [visited.path async for visited in znodes if visited.stat.ephemeral_owner != 0]


@pytest.mark.parametrize(
    ("enter", "room"), [(read_or_write, CONTENDERS), (take_permits, LIMIT), (lead, 1), (lock_two, 1)]
)
@pytest.mark.parametrize("seed", range(2))
async def test_with_any_failure_never_too_many_are_inside_and_all_continue(
    enter: Enter,
    room: int,
    seed: int,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The only randomness is in the clients' pauses and in trio, which shuffles the tasks of a pass.
    monkeypatch.setattr("zkrecipes.client.connect._RNG", random.Random(seed))
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SimpleNamespace(shuffle=lambda batch: None))
    rng = random.Random(seed)
    contest = Contest(enter, room)
    async with (
        SimulatedEnsemble(rng.choice((3, 5)), tick_time=1, sync_limit=3, seed=seed) as ensemble,
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(
                zk.connect(ensemble.connect_string, network=ensemble.network, session_timeout=TIMEOUT)
            )
            for _ in range(CONTENDERS)
        ]
        async with trio.open_nursery() as contenders:
            for number, client in enumerate(clients):
                contenders.start_soon(contest.take_part, client, f"contender-{number}", random.Random(number))
            with trio.move_on_after(SECONDS):
                await fail(ensemble, rng)
            await recover(ensemble)
            before = contest.visits
            await trio.sleep(4 * TIMEOUT)
            assert contest.visits > before + CONTENDERS
            contest.is_over = True  # all leave, after the waiting contenders have entered
        await trio.sleep(TIMEOUT)
        assert await what_is_left(clients[0]) == []
    assert contest.faults == []
