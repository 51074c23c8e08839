"""One member of a real ensemble is cut off from the others, but not from its clients.

It continues to answer their pings until `syncLimit` ticks have passed, which is 10 s in this ensemble, as in
ZooKeeper's sample configuration; the others expire a session of 4 s long before. kazoo's lock is the control:
under the same fault it has two holders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from kazoo.client import KazooClient, KazooState

import zkrecipes as zk
from tests.apache.holding import Holding, pinged
from tests.apache.members import member_of, until_nothing_is_left
from tests.apache.partition import cut_off, distinguishable, need_iptables
from tests.apache.raw_session import raw_session
from tests.apache.recorder import Recorder, take_turns
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer, find_installation

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

TICK_TIME = 2.0
SESSION_TIMEOUT = 4.0  # two ticks, the shortest timeout that these servers grant
# This is longer than it takes to notice the loss of the leader and to elect another.
PATIENT_SESSION_TIMEOUT = 30.0

# Each schedule takes seconds of real time and does not depend on the loop, so each runs on only one of the
# two loops.
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheEnsemble]:
    need_iptables()
    ensemble = ApacheEnsemble(
        size=3,
        settings={"tickTime": round(TICK_TIME * 1000), "syncLimit": 5, "initLimit": 10, "forceSync": "no"},
        java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
        installation=distinguishable(find_installation(), tmp_path_factory.mktemp("java")),
    )
    ensemble.open()
    try:
        _run(ensemble.start)
        yield ensemble
    finally:
        ensemble.close()


@pytest.fixture
def ensemble(_shared: ApacheEnsemble) -> Iterator[ApacheEnsemble]:
    yield _shared
    _run(_shared.heal)


def _run(func: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, func).result()


def connect(
    *members: ApacheServer, session_timeout: float = SESSION_TIMEOUT
) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(connect_string(*members), session_timeout=session_timeout, tick_time=TICK_TIME)


def connect_string(*members: ApacheServer) -> str:
    return ",".join(each.connect_string for each in members)


def all_but(member: ApacheServer, ensemble: ApacheEnsemble) -> list[ApacheServer]:
    return [each for each in ensemble.members if each is not member]


async def heal(ensemble: ApacheEnsemble, member: ApacheServer) -> None:
    """Restart the member, because TCP sends the dropped packets again only late."""
    member.kill()
    await ensemble.heal()


# --- the fault itself ------------------------------------------------------------------------------------


@on_trio
async def test_a_member_that_is_cut_off_finds_no_way_back(ensemble: ApacheEnsemble) -> None:
    member = ensemble.members[-1]  # with the highest id, so that it is the one that connects in an election
    member.kill()
    with cut_off(member):
        member.launch()
        with anyio.move_on_after(4):
            await member.wait_until_serving()
            pytest.fail("the member connected to its peers")
    await heal(ensemble, member)
    assert await member.status() is not None


@contextmanager
def kazoo_client(*members: ApacheServer) -> Iterator[Any]:
    """Connect kazoo's client to the first member; it also knows the others."""
    client = KazooClient(connect_string(*members), timeout=SESSION_TIMEOUT, randomize_hosts=False)
    client.start(timeout=20)
    try:
        yield client
    finally:
        client.stop()
        client.close()


@on_asyncio
async def test_kazoo_has_two_holders_at_once_while_a_follower_is_cut_off(
    ensemble: ApacheEnsemble, fresh_path: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    follower = (await ensemble.followers())[0]
    others = all_but(follower, ensemble)
    lost_at: list[float] = []

    def listen(state: str) -> None:
        if state != KazooState.CONNECTED:
            lost_at.append(time.monotonic())

    with ExitStack() as stack:
        holder = await run_sync(stack.enter_context, kazoo_client(follower, *others))
        contender = await run_sync(stack.enter_context, kazoo_client(*others))
        holder.add_listener(listen)
        first, second = holder.Lock(fresh_path), contender.Lock(fresh_path)
        assert await run_sync(first.acquire)
        with cut_off(follower):
            assert await run_sync(partial(second.acquire, timeout=20))
            second_at = time.monotonic()
            # The holder's state, its lock and its server all indicate a hold.
            assert holder.state == KazooState.CONNECTED
            assert first.is_acquired
            assert await run_sync(holder.exists, f"{fresh_path}/{first.node}") is not None
            assert not lost_at

            async def has_lost() -> bool:
                return bool(lost_at)

            await until(has_lost)
        overlap = lost_at[0] - second_at
        record_testsuite_property("seconds for which kazoo had two holders", overlap)
        assert overlap > 1
        await heal(ensemble, follower)
        await run_sync(stack.close)


# --- a follower is cut off from its leader ---------------------------------------------------------------


@on_trio
async def test_a_hold_moves_away_from_a_follower_that_is_cut_off(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    follower = (await ensemble.followers())[0]
    async with (
        connect(follower) as holder,
        connect(*all_but(follower, ensemble)) as contender,
        raw_session(follower.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
        anyio.create_task_group() as tasks,
    ):
        holder.update_hosts(ensemble.connect_string)
        session = holder.session
        await witness.create_ephemeral(f"{fresh_path}-witness")
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        async with (
            contender.exists_and_watch(f"{fresh_path}-witness") as (_, expired),
            pinged(witness) as answered_ping,
        ):
            with cut_off(follower):
                with anyio.fail_after(20):
                    await expired.wait()
                expired_at = anyio.current_time()

                async def is_answered_although_expired() -> bool:
                    return answered_ping() > expired_at

                await until(is_answered_although_expired)
                # Pings prove nothing, but the lock is still proven:
                await holding.hold.confirm()
                assert not holding.is_lost
                assert recorder.names == ["holder"]
                assert holder.session is session
                assert await member_of(ensemble, holder) is not follower
        holding.release.set()
        await recorder.until_entered(2)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender"]
        assert not holding.is_lost
        await heal(ensemble, follower)
        await until_nothing_is_left(ensemble, contender, fresh_path)


@on_asyncio
async def test_a_hold_that_cannot_leave_a_cut_off_follower_ends_before_the_next_begins(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    follower = (await ensemble.followers())[0]
    async with (
        connect(follower) as holder,
        connect(*all_but(follower, ensemble)) as contender,
        raw_session(follower.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        async with pinged(witness) as answered_ping:
            with cut_off(follower):
                await recorder.until_entered(2)
                entered_at = anyio.current_time()
                assert holding.is_lost
                assert holding.was_in_time
                assert holding.ended_at < entered_at

                async def is_answered_although_another_holds() -> bool:
                    return answered_ping() > entered_at

                await until(is_answered_although_another_holds)
        holder.update_hosts(ensemble.connect_string)
        await heal(ensemble, follower)
        await take_turns(holder, fresh_path, recorder, "holder again", turns=1)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender", "holder again"]
        await until_nothing_is_left(ensemble, contender, fresh_path)


# --- the leader is cut off from its followers ------------------------------------------------------------


@on_asyncio
async def test_a_hold_at_a_leader_that_is_cut_off_ends_before_the_next_begins(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    leader = await ensemble.leader()
    async with (
        connect(leader) as holder,
        connect(*all_but(leader, ensemble)) as contender,
        connect(leader) as bystander,
        raw_session(leader.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
        anyio.create_task_group() as tasks,
    ):
        holder.update_hosts(
            ensemble.connect_string
        )  # which does not help, because no member has a quorum before the election
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        with cut_off(leader):
            async with pinged(witness) as answered_ping:

                async def has_ended_and_pings_are_answered() -> bool:
                    return holding.is_lost and answered_ping() > holding.ended_at

                await until(has_ended_and_pings_are_answered)
                assert holding.was_in_time
                with anyio.fail_after(1):
                    await bystander.sync()  # proves nothing, like a ping
            await recorder.until_entered(2)
            assert recorder.names == ["holder", "contender"]
            assert await ensemble.leader() is not leader
        await heal(ensemble, leader)
        await take_turns(holder, fresh_path, recorder, "holder again", turns=1)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender", "holder again"]
        await until_nothing_is_left(ensemble, contender, fresh_path)


@on_trio
async def test_a_hold_with_a_patient_session_moves_from_a_leader_that_is_cut_off_to_the_next(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    leader = await ensemble.leader()
    others = all_but(leader, ensemble)
    async with (
        connect(leader, session_timeout=PATIENT_SESSION_TIMEOUT) as holder,
        connect(*others, session_timeout=PATIENT_SESSION_TIMEOUT) as contender,
        anyio.create_task_group() as tasks,
    ):
        holder.update_hosts(ensemble.connect_string)
        session = holder.session
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        with cut_off(leader):

            async def is_proven_by_another() -> bool:
                with anyio.move_on_after(1):
                    return await member_of(ensemble, holder) in others and await is_confirmed()
                return False

            async def is_confirmed() -> bool:
                await holding.hold.confirm()
                return True

            await until(is_proven_by_another, within=30)
            assert not holding.is_lost
            assert recorder.names == ["holder"]
            assert holder.session is session
        holding.release.set()
        await recorder.until_entered(2)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender"]
        assert not holding.is_lost
        await heal(ensemble, leader)
        await until_nothing_is_left(ensemble, contender, fresh_path)
