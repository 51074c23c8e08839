"""The Curator client of other tests behaves like Curator; two of them run on a real server."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from tests.interop.mutex_scenarios import LIMIT, Family, PeerLock, hold_theirs, until
from tests.interop.peer import Peer, PeerEndedError, PeerError, StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"  # the tested code is in the other process


@pytest.fixture
def family(apache_server: ApacheServer, curator: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, curator, layout="curator", lock_class="InterProcessMutex")


async def until_true(peer: Peer, command: str, name: str) -> None:
    async def is_true() -> bool:
        return await peer.call(command, name) is True

    await until(is_true)


async def until_equal(peer: Peer, command: str, name: str, value: Any) -> None:
    async def is_equal() -> bool:
        return bool(await peer.call(command, name) == value)

    await until(is_equal)


async def be_interrupted(lock: PeerLock) -> None:
    with pytest.raises(PeerError) as caught:
        await lock.acquire()
    assert caught.value.error == "InterruptedException"


async def test_two_clients_contend(family: Family) -> None:
    recorder = Recorder()
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as one, family.start() as other:
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    lock = await family.theirs((one, other)[number % 2], f"lock-{number}")
                    tasks.start_soon(partial(hold_theirs, lock, recorder, rounds=5))
            assert sorted(recorder.order) == sorted([f"lock-{number}" for number in range(4)] * 5)
            await family.assert_nothing_left(client)


async def test_a_mutex(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with (
            family.connect() as client,
            family.start(session_timeout=1.0) as one,
            family.start() as two,
        ):
            first, second = await family.theirs(one, "first"), await family.theirs(two, "second")
            assert await first.acquire()
            assert await first.acquire()  # it may be taken again
            assert not await second.acquire(0.1)
            (path,) = await one.call("participants", "first")
            assert path.rsplit("/", 1)[0] == family.path
            assert (await client.get(path)).data == b"first"
            await first.release()
            assert await one.call("is-acquired", "first")
            # a waiter is interrupted, and its znode is deleted
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(be_interrupted, second)
                await family.until_queued(client, 2)
                await two.call("interrupt", "second")
            assert await two.call("participants", "second") == [path]
            # a killed holder is succeeded
            one.kill()
            with pytest.raises(PeerEndedError):
                await one.call("session-id")
            assert await second.acquire(5)


async def test_an_expired_session_loses_its_lock(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as one, family.start() as two:
            first, second = await family.theirs(one, "first"), await family.theirs(two, "second")
            assert await first.acquire()
            session_id = await one.call("session-id")
            await one.call("expire-session")
            assert await second.acquire(2)
            assert await one.call("session-id") != session_id


async def test_a_revocation_is_seen(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as one, family.start() as two:
            lock = await family.theirs(one, "lock")
            await one.call("make-revocable", "lock")
            assert await lock.acquire()
            (path,) = await one.call("participants", "lock")
            assert not await one.call("await-revocation", "lock", 0.1)
            await two.call("attempt-revoke", path)
            assert await one.call("await-revocation", "lock", 5)
            assert (await client.get(path)).data == b"__REVOKE__"
            await lock.release()


async def test_a_read_write_lock(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            for name in ("a", "b"):
                await peer.call("InterProcessReadWriteLock", name, family.path, name)
            assert await peer.call("acquire-read", "a", 5)
            assert await peer.call("acquire-read", "b", 5)
            assert len(await peer.call("readers", "a")) == 2
            await peer.call("release-read", "a")
            assert not await peer.call("acquire-write", "a", 0.1)
            await peer.call("release-read", "b")
            assert await peer.call("acquire-write", "a", 5)
            assert len(await peer.call("writers", "b")) == 1
            # the writer may also read, and continues to read
            assert await peer.call("acquire-read", "a", 5)
            await peer.call("release-write", "a")
            assert not await peer.call("acquire-write", "b", 0.1)


async def test_a_semaphore(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            for name in ("a", "b"):
                await peer.call("InterProcessSemaphoreV2", name, family.path, 3, name)
            assert await peer.call("acquire", "a", 2, 5)
            assert not await peer.call("acquire", "b", 2, 0.2)
            assert await peer.call("acquire", "b", 1, 5)
            assert len(await peer.call("participants", "a")) == 3
            await peer.call("return", "a", 2)
            assert await peer.call("acquire", "b", 2, 5)


async def test_a_leader_latch(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            for name in ("a", "b"):
                await peer.call("LeaderLatch", name, family.path, f"id of {name}")
                await peer.call("start", name)
                await until_equal(peer, "participants", name, ["id of a", "id of b"][: "ab".index(name) + 1])
            assert await peer.call("await", "a", 5)
            assert not await peer.call("await", "b", 0.1)
            assert await peer.call("leader", "b") == "id of a"
            await peer.call("close", "a")
            assert await peer.call("await", "b", 5)
            assert await peer.call("has-leadership", "b")
            assert not await peer.call("has-leadership", "a")


async def test_a_leader_selector(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            for name in ("a", "b"):
                await peer.call("LeaderSelector", name, family.path, f"id of {name}")
                await peer.call("start", name)
                await until_equal(peer, "participants", name, ["id of a", "id of b"][: "ab".index(name) + 1])
            assert await peer.call("await", "a", 5)
            assert await peer.call("has-leadership", "a")
            assert not await peer.call("await", "b", 0.1)
            assert await peer.call("leader", "b") == "id of a"
            await peer.call("relinquish", "a")
            assert await peer.call("await", "b", 5)
            assert await peer.call("requeue", "a")
            await until_equal(peer, "participants", "a", ["id of b", "id of a"])
            await peer.call("interrupt-leadership", "b")
            assert await peer.call("await", "a", 5)


async def test_a_group_member(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as one, family.start() as two:
            await one.call("GroupMember", "a", family.path, "a", "first ä")
            await two.call("GroupMember", "b", family.path, "b", "")
            await one.call("start", "a")
            await two.call("start", "b")
            await until_equal(one, "members", "a", {"a": "first ä", "b": ""})
            await one.call("set-data", "a", "second")
            await until_equal(two, "members", "b", {"a": "second", "b": ""})
            await one.call("close", "a")
            await until_equal(two, "members", "b", {"b": ""})


async def test_barriers(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            await peer.call("DistributedBarrier", "gate", family.path)
            await peer.call("set", "gate")
            assert not await peer.call("wait", "gate", 0.1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "wait", "gate")
                await family.until_watched(family.path, by=await peer.call("session-id"))
                await peer.call("remove", "gate")
            for name in ("a", "b"):
                await peer.call("DistributedDoubleBarrier", name, f"{family.path}/double", 2)
            for command in ("enter", "leave"):
                async with anyio.create_task_group() as tasks:
                    for name in ("a", "b"):
                        tasks.start_soon(peer.call, command, name, 10)


async def test_an_unknown_command_is_refused(family: Family) -> None:
    async with family.start() as peer:
        await peer.call("InterProcessMutex", "lock", family.path)
        with pytest.raises(PeerError, match="no object has the name other"):
            await peer.call("acquire", "other")
        with pytest.raises(PeerError, match="unknown command: dance"):
            await peer.call("dance", "lock")
        with pytest.raises(PeerError, match="no such command: dance"):
            await peer.call("dance")
        with pytest.raises(PeerError, match="IllegalMonitorStateException"):
            await peer.call("release", "lock")


async def test_a_cancelled_call_does_not_affect_others(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.start() as peer:
            locks = [await family.theirs(peer, name) for name in ("a", "b")]
            assert await locks[0].acquire()
            with anyio.move_on_after(0.1):
                await locks[1].acquire()
            await locks[0].release()
            await until_true(peer, "is-acquired", "b")  # the command was not withdrawn
