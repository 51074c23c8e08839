"""Our mutex and Curator's `InterProcessMutex` on one path, on a real server.

It runs on one loop. The same scenarios run on both loops with kazoo's lock, which starts faster.
"""

from __future__ import annotations

import anyio
import pytest

from tests.interop import mutex_scenarios as scenarios
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def family(apache_server: ApacheServer, curator: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, curator, layout="curator", lock_class="InterProcessMutex")


async def test_never_two_at_once(family: Family) -> None:
    await scenarios.many_contend(family)


async def test_first_come_first_served(family: Family) -> None:
    await scenarios.first_come_first_served(family)


async def test_a_contender_that_does_not_wait_leaves_nothing(family: Family) -> None:
    await scenarios.a_contender_that_does_not_wait_leaves_nothing(family)


async def test_a_killed_curator_has_a_successor(family: Family) -> None:
    await scenarios.their_holder_dies(family)


async def test_a_waiting_curator_loses_its_session(family: Family) -> None:
    await scenarios.their_waiter_loses_its_session(family)


async def test_our_waiter_is_cancelled(family: Family) -> None:
    await scenarios.our_waiter_is_cancelled(family)


async def test_our_znode_is_deleted(family: Family) -> None:
    await scenarios.our_znode_is_deleted(family)


async def test_the_directory_is_removed(family: Family) -> None:
    await scenarios.the_directory_is_removed(family)


async def test_both_show_the_same_contenders(family: Family) -> None:
    async with scenarios.both(family) as (client, peer):
        mutex, lock = family.ours(client, "ours"), await family.theirs(peer, "theirs")
        async with mutex as hold:
            assert await peer.call("participants", lock.name) == [hold.path]
        assert await lock.acquire()
        (theirs,) = await mutex.contenders()
        assert theirs.identifier == "theirs"
        assert await peer.call("participants", lock.name) == [theirs.path]
        await lock.release()


async def test_our_hold_stays_when_curator_asks_for_it(family: Family) -> None:
    """A request to release is data on our znode. It neither ends the hold nor confuses another client."""
    async with scenarios.both(family) as (client, peer):
        mutex = family.ours(client, "ours")
        async with mutex as hold:
            await peer.call("attempt-revoke", hold.path)
            assert (await client.get(hold.path)).data == b"__REVOKE__"
            await hold.confirm()
            assert [each.path for each in await mutex.contenders()] == [hold.path]


async def test_a_curator_that_is_asked_for_its_lock_is_waited_for(family: Family) -> None:
    """The request is written into the znode that we watch. We look again, and continue to wait."""
    async with scenarios.both(family) as (client, peer):
        mutex, lock = family.ours(client, "ours"), await family.theirs(peer, "theirs")
        await peer.call("make-revocable", lock.name)
        assert await lock.acquire()
        (theirs,) = await mutex.contenders()
        got = anyio.Event()

        async def acquire() -> None:
            async with mutex:
                got.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(acquire)
            await family.until_watched(theirs.path, by=client.session.id)
            await peer.call("attempt-revoke", theirs.path)
            assert await peer.call("await-revocation", lock.name, 5)
            await family.until_watched(theirs.path, by=client.session.id)
            assert not got.is_set()
            await lock.release()
