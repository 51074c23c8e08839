"""One lock that excludes kazoo's clients and Curator's at once: a `MultiLock` of two paths with two layouts.

It runs on a real server, with the real clients. kazoo's and Curator's clients do not exclude each other.
"""

# ruff: noqa: PT012 - these tests are about the errors of whole blocks

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.interop import mutex_scenarios as scenarios
from tests.interop.mutex_scenarios import LIMIT, Family, PeerLock, until
from tests.interop.peer import Peer, StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

_ROUNDS = 8


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@dataclass
class Parties:
    """A client of each library, two of ours, and the records of those that exclude each other."""

    ours: zk.Client
    second: zk.Client
    kazoo: Peer
    curator: Peer
    kazoos: Family
    curators: Family
    with_kazoo: Recorder
    with_curator: Recorder

    def lock(self, client: zk.Client, name: str) -> zk.MultiLock:
        return zk.MultiLock([self.kazoos.ours(client, name), self.curators.ours(client, name)])

    async def hold_ours(
        self, client: zk.Client, name: str, tokens: list[tuple[int, ...]], rounds: int
    ) -> None:
        """Hold both locks repeatedly."""
        lock = self.lock(client, name)
        for _ in range(rounds):
            async with lock as hold:
                with self.with_kazoo.inside(name), self.with_curator.inside(name):
                    tokens.append(hold.fencing_tokens)
                    await anyio.lowlevel.checkpoint()
                    hold.check()


@pytest.fixture
async def parties(
    apache_server: ApacheServer, kazoo_peer: StartPeer, curator: StartPeer, fresh_path: str
) -> AsyncIterator[Parties]:
    async with _parties(apache_server, kazoo_peer, curator, fresh_path) as each:
        yield each


@asynccontextmanager
async def _parties(
    server: ApacheServer, kazoo_peer: StartPeer, curator: StartPeer, path: str
) -> AsyncIterator[Parties]:
    kazoos = Family(server, f"{path}-kazoo", kazoo_peer, layout="kazoo", lock_class="Lock")
    curators = Family(server, f"{path}-curator", curator, layout="curator", lock_class="InterProcessMutex")
    async with (
        kazoos.connect() as client,
        kazoos.connect() as second,
        kazoos.start() as kazoo,
        curators.start() as curators_peer,
    ):
        yield Parties(client, second, kazoo, curators_peer, kazoos, curators, Recorder(), Recorder())
        with anyio.fail_after(LIMIT):
            await kazoos.assert_nothing_left(client)
            await curators.assert_nothing_left(client)


async def test_we_exclude_both_and_all_make_progress(parties: Parties) -> None:
    tokens: list[tuple[int, ...]] = []
    with anyio.fail_after(LIMIT):
        kazoos_lock = await parties.kazoos.theirs(parties.kazoo, "kazoo")
        curators_lock = await parties.curators.theirs(parties.curator, "curator")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parties.hold_ours, parties.ours, "ours-1", tokens, _ROUNDS)
            tasks.start_soon(parties.hold_ours, parties.second, "ours-2", tokens, _ROUNDS)
            hold_theirs = partial(scenarios.hold_theirs, rounds=_ROUNDS)
            tasks.start_soon(hold_theirs, kazoos_lock, parties.with_kazoo)
            tasks.start_soon(hold_theirs, curators_lock, parties.with_curator)
    for recorder, theirs in ((parties.with_kazoo, "kazoo"), (parties.with_curator, "curator")):
        assert sorted(recorder.order) == sorted(["ours-1", "ours-2", theirs] * _ROUNDS)
    # each token grows from holder to holder of its lock
    assert all(mine == sorted(set(mine)) for mine in map(list, zip(*tokens, strict=True)))


async def test_we_wait_for_a_holder_of_either_library(parties: Parties) -> None:
    """First kazoo's lock is held by another client, then Curator's."""
    kazoos_lock = await parties.kazoos.theirs(parties.kazoo, "kazoo")
    curators_lock = await parties.curators.theirs(parties.curator, "curator")
    with anyio.fail_after(LIMIT):
        assert await kazoos_lock.acquire()
        assert await curators_lock.acquire()  # they do not exclude each other
        tokens: list[tuple[int, ...]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parties.hold_ours, parties.ours, "ours", tokens, 1)
            await parties.kazoos.until_queued(parties.ours, 2)
            with pytest.raises(zk.AcquireTimeoutError):
                async with parties.lock(parties.second, "second").acquire(wait=0):
                    raise AssertionError("two holders")
            await kazoos_lock.release()
            await parties.curators.until_queued(parties.ours, 2)
            assert tokens == []
            await curators_lock.release()
        assert len(tokens) == 1


async def test_neither_enters_while_we_hold(parties: Parties) -> None:
    locks: list[PeerLock] = [
        await parties.kazoos.theirs(parties.kazoo, "kazoo"),
        await parties.curators.theirs(parties.curator, "curator"),
    ]
    with anyio.fail_after(LIMIT):
        async with parties.lock(parties.ours, "ours"):
            for lock in locks:
                assert not await lock.acquire(0.2)
        for lock in locks:
            assert await lock.acquire(5)
            await lock.release()


async def test_the_loss_of_one_releases_both(parties: Parties) -> None:
    curators_lock = await parties.curators.theirs(parties.curator, "curator")
    with anyio.fail_after(LIMIT):
        with pytest.raises(zk.LockLostError):
            async with parties.lock(parties.ours, "ours") as hold:
                await parties.second.delete(hold.holds[0].path)
                await anyio.sleep_forever()

        async def is_released() -> bool:
            return not await parties.curators.ours(parties.second, "").contenders()

        await until(is_released)
        assert await curators_lock.acquire(5)
        await curators_lock.release()
