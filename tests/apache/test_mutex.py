"""Locks on real servers: alone, contended, together with kazoo's, and while servers fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from kazoo.client import KazooClient

import zkrecipes as zk
from tests.apache.loops import every_loop
from tests.apache.members import follower_of, member_of, until_nothing_is_left
from tests.apache.raw_session import end_session
from tests.apache.recorder import Recorder, take_turns
from tests.apache.served import Served
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer

pytestmark = pytest.mark.anyio
anyio_backend = every_loop()


@asynccontextmanager
async def clients(connect_string: str, count: int, **options: Any) -> AsyncIterator[list[zk.Client]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(zk.connect(connect_string, **{"session_timeout": 10, **options}))
            for _ in range(count)
        ]


async def until_queued(mutex: zk.Mutex, count: int) -> None:
    """Wait until this many contenders hold the lock or wait for it."""

    async def are_there() -> bool:
        return len(await mutex.contenders()) == count

    await until(are_there)


async def until_clean(server: Served, client: zk.Client, path: str) -> None:
    """Wait until no contender's znode and no watch is left."""

    async def is_clean() -> bool:
        return not await zk.Mutex(client, path).contenders() and await server.watch_count() == 0

    await until(is_clean)


# --- one server ------------------------------------------------------------------------------------------


async def test_a_free_lock_is_taken_proven_and_released(server: Served, fresh_path: str) -> None:
    async with zk.connect(server.connect_string, session_timeout=10) as client:
        mutex = zk.Mutex(client, f"{fresh_path}/deep/lock", identifier="me")
        assert await mutex.contenders() == []
        last_token = 0
        for _ in range(3):
            async with mutex as hold:
                data, stat = await client.get(hold.path)
                assert data == b"me"
                assert (stat.czxid, stat.ephemeral_owner) == (hold.fencing_token, client.session.id)
                assert hold.fencing_token > last_token
                last_token = hold.fencing_token
                assert await mutex.contenders() == [
                    zk.Contender("me", hold.path, hold.fencing_token, client.session.id, b"me")
                ]
                valid_until = hold.valid_until
                assert 0 < hold.remaining() <= client.session.timeout
                await hold.confirm()
                assert hold.valid_until >= valid_until
                async with hold.transaction() as transaction:
                    transaction.set(f"{fresh_path}/deep", b"%d" % last_token)
                hold.check()
            with pytest.raises(zk.LockLostError):
                async with hold.transaction() as transaction:
                    transaction.set(f"{fresh_path}/deep", b"stale")
            assert (await client.get(f"{fresh_path}/deep")).data == b"%d" % last_token
        await until_clean(server, client, mutex.path)


async def test_eight_contenders_take_turns(server: Served, fresh_path: str) -> None:
    recorder = Recorder()
    async with clients(server.connect_string, 4) as them:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                work = partial(take_turns, turns=5)
                tasks.start_soon(work, them[number % 4], fresh_path, recorder, f"contender {number}")
        assert recorder.faults == []
        assert recorder.losses == 0
        assert len(recorder.tokens) == 40
        await until_clean(server, them[0], fresh_path)


async def test_contenders_enter_in_order_and_each_watches_one(server: Served, fresh_path: str) -> None:
    recorder = Recorder()
    async with clients(server.connect_string, 2) as (one, other):
        mutex = zk.Mutex(one, fresh_path)

        async def each_watches_one() -> bool:
            return await server.watch_count() == 6

        async with anyio.create_task_group() as tasks, mutex:
            for number in range(6):
                work = partial(take_turns, turns=1)
                tasks.start_soon(work, (one, other)[number % 2], fresh_path, recorder, f"{number}")
                await until_queued(mutex, number + 2)
            await until(each_watches_one)
            with pytest.raises(zk.AcquireTimeoutError):
                async with zk.Mutex(other, fresh_path).acquire(wait=0):
                    pytest.fail("two holders")
            await until_queued(mutex, 7)
            assert recorder.names == []
        assert recorder.names == [f"{number}" for number in range(6)]
        assert recorder.faults == []
        await until_clean(server, one, fresh_path)


async def test_waiters_that_give_up_leave_nothing_and_wake_no_other(server: Served, fresh_path: str) -> None:
    async with clients(server.connect_string, 2) as (one, other):
        mutex = zk.Mutex(one, fresh_path)
        async with mutex as hold:

            async def wait_and_give_up(delay: float) -> None:
                with anyio.move_on_after(delay):
                    async with zk.Mutex(other, fresh_path):
                        pytest.fail("two holders")

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(wait_and_give_up, number / 200)
            await until_queued(mutex, 1)
            hold.check()
        await until_clean(server, one, fresh_path)


async def delete_the_znode(server: Served, holder: zk.Client, other: zk.Client, hold: zk.Hold) -> None:
    await other.delete(hold.path)


async def end_the_session(server: Served, holder: zk.Client, other: zk.Client, hold: zk.Hold) -> None:
    session = holder.session
    await end_session(server.connect_string, session.id, session.password)


@pytest.mark.parametrize("harm", [delete_the_znode, end_the_session])
async def test_a_lost_lock_ends_its_body(
    server: Served,
    fresh_path: str,
    harm: Callable[[Served, zk.Client, zk.Client, zk.Hold], Coroutine[None, None, None]],
) -> None:
    recorder = Recorder()
    async with clients(server.connect_string, 2, session_timeout=4) as (holder, other):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(zk.LockLostError) as lost:  # noqa: PT012 - the whole block raises the loss
                async with zk.Mutex(holder, fresh_path) as hold:
                    with recorder.entered("holder", hold.fencing_token):
                        tasks.start_soon(harm, server, holder, other, hold)
                        with anyio.fail_after(20):
                            await anyio.sleep_forever()
            assert lost.value.path == hold.path
            with pytest.raises(zk.LockLostError):
                hold.check()
            assert hold.remaining() == 0
        for client in (other, holder):
            await take_turns(client, fresh_path, recorder, "next", turns=1)
        assert recorder.faults == []
        await until_clean(server, other, fresh_path)


async def test_a_hold_survives_a_busy_client(apache_server: ApacheServer, fresh_path: str) -> None:
    async with zk.connect(apache_server.connect_string, session_timeout=5) as client:
        large = f"{fresh_path}-large"
        await client.create(large, bytes(1_000_000))
        await client.create(f"{fresh_path}-small", b"x" * 100)
        begun_at = anyio.current_time()
        async with zk.Mutex(client, fresh_path) as hold:
            # longer than the session lives without messages, and at least one full round
            while True:
                async with client.pipeline() as pipe:
                    nodes = [pipe.get(f"{fresh_path}-small") for _ in range(20_000)]
                assert all(node.error is None for node in nodes)
                async with client.pipeline() as pipe:
                    nodes = [pipe.get(large) for _ in range(50)]
                assert all(node.error is None for node in nodes)
                hold.check()
                if anyio.current_time() > begun_at + 5.5:
                    break
            await hold.confirm()


# --- an ensemble -----------------------------------------------------------------------------------------


@contextmanager
def kazoo_client(connect_string: str) -> Iterator[Any]:
    client = KazooClient(hosts=connect_string, timeout=10)
    client.start(timeout=20)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def take_turns_with_kazoo(client: Any, path: str, recorder: Recorder, name: str, turns: int) -> None:
    for _ in range(turns):
        lock = client.Lock(path, name)
        with lock:
            token = client.exists(f"{path}/{lock.node}").czxid
            with recorder.entered(name, token):
                client.get("/")  # long enough for another contender to enter


async def test_we_contend_with_kazoo(apache_ensemble: ApacheEnsemble, fresh_path: str) -> None:
    """Our contenders and kazoo's wait for each other, each at another server; see also `tests/interop`."""
    recorder = Recorder()
    with ExitStack() as kazoos:
        theirs = [
            await run_sync(kazoos.enter_context, kazoo_client(member.connect_string))
            for member in apache_ensemble.members
        ]
        async with clients(apache_ensemble.connect_string, 3) as ours:
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    args = (fresh_path, recorder)
                    tasks.start_soon(
                        run_sync, take_turns_with_kazoo, theirs[number], *args, f"kazoo {number}", 8
                    )
                    work = partial(take_turns, turns=8)
                    tasks.start_soon(work, ours[number], *args, f"ours {number}")
            assert recorder.faults == []
            assert len(recorder.tokens) == 48
            # kazoo's watches that have not fired stay until it disconnects
            assert await zk.Mutex(ours[0], fresh_path).contenders() == []
        await run_sync(kazoos.close)


async def kill_the_leader(ensemble: ApacheEnsemble, holder: zk.Client) -> None:
    (await ensemble.leader()).kill()


async def pause_the_server_of_the_holder(ensemble: ApacheEnsemble, holder: zk.Client) -> None:
    (await member_of(ensemble, holder)).pause()


@pytest.mark.parametrize("harm", [kill_the_leader, pause_the_server_of_the_holder])
async def test_holders_do_not_overlap_when_a_server_fails(
    apache_ensemble: ApacheEnsemble,
    fresh_path: str,
    harm: Callable[[ApacheEnsemble, zk.Client], Awaitable[None]],
) -> None:
    recorder = Recorder()
    async with clients(apache_ensemble.connect_string, 3, session_timeout=6) as them:
        holder = them[0]
        await follower_of(apache_ensemble, holder)
        async with anyio.create_task_group() as tasks:
            try:
                async with zk.Mutex(holder, fresh_path) as hold:
                    with recorder.entered("the first", hold.fencing_token):
                        for number in range(6):
                            tasks.start_soon(
                                partial(take_turns, turns=3, pause=0.02),
                                them[number % 3],
                                fresh_path,
                                recorder,
                                f"contender {number}",
                            )
                        await until_queued(zk.Mutex(holder, fresh_path), 7)
                        await harm(apache_ensemble, holder)
                        await hold.confirm()  # there is a leader with a quorum again
                        assert len(recorder.tokens) == 1
            except zk.LockLostError:
                recorder.losses += 1
            # and again while holders change
            await recorder.until_entered(4)
            await apache_ensemble.heal()
            await recorder.until_entered(7)
            await harm(apache_ensemble, them[1])
            await recorder.until_entered(19)
        assert recorder.faults == []
        await apache_ensemble.heal()
        await until_nothing_is_left(apache_ensemble, them[2], fresh_path)
