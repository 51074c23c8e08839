"""Our mutex and kazoo's `Lock` on one path, on a real server, on both loops."""

from __future__ import annotations

import anyio
import pytest

from tests.interop import mutex_scenarios as scenarios
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def family(apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, kazoo_peer, layout="kazoo", lock_class="Lock")


async def test_never_two_at_once(family: Family) -> None:
    await scenarios.many_contend(family)


async def test_first_come_first_served(family: Family) -> None:
    await scenarios.first_come_first_served(family)


async def test_a_contender_that_does_not_wait_leaves_nothing(family: Family) -> None:
    await scenarios.a_contender_that_does_not_wait_leaves_nothing(family)


async def test_a_killed_kazoo_has_a_successor(family: Family) -> None:
    await scenarios.their_holder_dies(family)


async def test_a_waiting_kazoo_loses_its_session(family: Family) -> None:
    await scenarios.their_waiter_loses_its_session(family)


async def test_our_waiter_is_cancelled(family: Family) -> None:
    await scenarios.our_waiter_is_cancelled(family)


async def test_our_znode_is_deleted(family: Family) -> None:
    await scenarios.our_znode_is_deleted(family)


async def test_the_directory_is_removed(family: Family) -> None:
    await scenarios.the_directory_is_removed(family)


async def test_a_kazoo_lock_survives_a_time_without_contenders(family: Family) -> None:
    """kazoo's object creates the directory once and never checks again, so ours must not be reaped."""
    async with scenarios.both(family) as (client, peer):
        lock = await family.theirs(peer, "theirs")
        async with anyio.create_task_group() as tasks, family.ours(client, "ours"):
            tasks.start_soon(scenarios.hold_theirs, lock, Recorder())
            await family.until_queued(client, 2)
        await scenarios.reaper_has_passed(client, f"{family.path}-marker")
        assert await lock.acquire(5)
        await lock.release()


async def test_both_show_the_same_contenders(family: Family) -> None:
    async with scenarios.both(family) as (client, peer):
        mutex, lock = family.ours(client, "ours"), await family.theirs(peer, "theirs")
        async with mutex:
            assert [each.identifier for each in await mutex.contenders()] == ["ours"]
            assert await peer.call("contenders", lock.name) == ["ours"]
        assert await lock.acquire()
        assert [each.identifier for each in await mutex.contenders()] == ["theirs"]
        assert await peer.call("contenders", lock.name) == ["theirs"]
        await lock.release()
