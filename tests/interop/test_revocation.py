"""Requests to release a lock, between Curator's clients and ours, on a real server."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.interop import mutex_scenarios as scenarios
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import Peer, StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def curators(apache_server: ApacheServer, curator: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, curator, layout="curator", lock_class="InterProcessMutex")


@pytest.fixture
def kazoos(apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, kazoo_peer, layout="kazoo", lock_class="Lock")


async def test_curator_asks_for_our_lock_and_gets_it(curators: Family) -> None:
    async with scenarios.both(curators) as (client, peer), anyio.create_task_group() as tasks:
        lock = await curators.theirs(peer, "theirs")
        async with curators.ours(client, "ours") as hold:
            session_id = client.session.id
            tasks.start_soon(_ask, curators, peer, hold.path, session_id)
            await hold.wait_revocation()
            hold.check()
        assert await lock.acquire(5)
        await lock.release()


async def _ask(family: Family, peer: Peer, path: str, session_id: int) -> None:
    await family.until_watched(path, by=session_id)
    await peer.call("attempt-revoke", path)


async def test_we_ask_for_curators_lock_and_get_it(curators: Family) -> None:
    async with scenarios.both(curators) as (client, peer):
        mutex, lock = curators.ours(client, "ours"), await curators.theirs(peer, "theirs")
        assert not await mutex.revoke()
        await peer.call("make-revocable", lock.name)
        assert await lock.acquire()
        assert await mutex.revoke()
        assert await peer.call("await-revocation", lock.name, 5)
        await lock.release()
        async with mutex as hold:
            hold.check()


async def test_kazoo_is_not_confused_by_a_request(kazoos: Family) -> None:
    """kazoo reads the data of a contender only to list it."""
    async with scenarios.both(kazoos) as (client, peer):
        mutex, lock = kazoos.ours(client, "ours"), await kazoos.theirs(peer, "theirs")
        assert await lock.acquire()
        assert await mutex.revoke()
        assert await peer.call("contenders", lock.name) == ["__REVOKE__"]
        (holder,) = await mutex.contenders()
        assert holder.data == b"__REVOKE__"
        with pytest.raises(zk.AcquireTimeoutError):
            await mutex.acquire(wait=0).__aenter__()
        await lock.release()
        async with mutex as hold:
            assert await mutex.revoke()
            await hold.wait_revocation()
