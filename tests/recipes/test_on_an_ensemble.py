"""Recipes on several servers, some of which are delayed, which a single server can never show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time
from zkrecipes.testing import SimulatedEnsemble

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/there"
LAG = 2.0


@asynccontextmanager
async def late_and_punctual() -> AsyncIterator[tuple[SimulatedEnsemble, zk.Client, zk.Client]]:
    """A client at a follower that is two seconds behind, and one at the leader."""
    async with SimulatedEnsemble(3, tick_time=1) as ensemble, AsyncExitStack() as stack:
        assert ensemble.leader is not None
        follower = ensemble.followers[0]
        late, punctual = [
            await stack.enter_async_context(
                zk.connect(ensemble.address(number), network=ensemble.network, session_timeout=16)
            )
            for number in (follower, ensemble.leader)
        ]
        await punctual.create(PATH)
        await late.sync(PATH)
        ensemble.lag(follower, LAG)
        yield ensemble, late, punctual


async def test_a_waiter_at_a_barrier_sees_that_it_was_just_closed() -> None:
    async with late_and_punctual() as (_, late, punctual):
        await zk.Barrier(punctual, f"{PATH}/gate").create()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(10):
                await zk.Barrier(late, f"{PATH}/gate").wait()


async def test_a_replaced_leader_is_read_only_without_sync() -> None:
    async with late_and_punctual() as (_, late, punctual):
        election = zk.Election(punctual, PATH)
        observed = zk.Election(late, PATH)
        async with election.lead() as first:
            await late.sync(PATH)
        async with election.lead() as second:
            old, new = await observed.leader(sync=False), await observed.leader()
            assert old is not None
            assert new is not None
            assert (old.path, new.path) == (first.path, second.path)


async def test_a_member_whose_server_does_not_show_the_round_yet_waits_for_the_next_one() -> None:
    async with late_and_punctual() as (ensemble, late, punctual):
        ensemble.lag(ensemble.followers[0], LAG / 4)  # a server that is further behind proves no hold
        ended: list[str] = []

        async def come_late() -> None:
            async with zk.DoubleBarrier(late, PATH, parties=1):
                assert ended == ["the first"]

        async with anyio.create_task_group() as tasks, zk.DoubleBarrier(punctual, PATH, parties=1):
            tasks.start_soon(come_late)
            await anyio.sleep(5 * LAG)
            ended.append("the first")


async def test_a_create_whose_reply_was_lost_is_found_at_a_delayed_server() -> None:
    """Without catching up, the next server would not show the create that the last one had forwarded."""
    async with SimulatedEnsemble(3, tick_time=1) as ensemble:
        first, second = ensemble.followers
        hosts = f"{ensemble.address(first)},{ensemble.address(second)}"
        async with zk.connect(hosts, network=ensemble.network, session_timeout=16) as client:
            await client.create(PATH)
            (attached,) = ensemble.attached_to(client.session.id)
            other = second if attached == first else first
            await anyio.sleep(LAG)  # so that it has seen everything that the client has seen
            ensemble.lag(
                other, LAG / 4
            )  # less than the time after which an unanswered check makes a client leave
            holds: list[str] = []

            async def take() -> None:
                async with zk.Mutex(client, PATH) as hold:
                    holds.append(hold.path)
                    names = await client.get_children(PATH)
                    assert [f"{PATH}/{name}" for name in names] == holds  # the only request of its kind

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await anyio.sleep(0.0015)  # the create has been forwarded, and not been answered
                ensemble.crash(attached)
            assert len(holds) == 1


@asynccontextmanager
async def deposed_and_current() -> AsyncIterator[tuple[SimulatedEnsemble, zk.Client, zk.Client]]:
    """A client at a leader that was cut off and has not noticed it, and one at the new leader's servers."""
    async with SimulatedEnsemble(3, tick_time=2, sync_limit=5) as ensemble, AsyncExitStack() as stack:
        deposed, others = ensemble.leader, ensemble.followers
        assert deposed is not None
        hosts = [ensemble.address(deposed), ",".join(map(ensemble.address, others))]
        behind, current = [
            await stack.enter_async_context(zk.connect(host, network=ensemble.network, session_timeout=30))
            for host in hosts
        ]
        await current.create(PATH)
        await behind.sync(PATH)
        ensemble.isolate(deposed)
        for follower in others:
            ensemble.restart(follower)  # the others notice first
        while ensemble.leader in (deposed, None):  # noqa: ASYNC110 - it is another's state
            await anyio.sleep(0.05)
        assert ensemble.leader is not None
        await ensemble.serving(ensemble.leader)
        assert ensemble.is_serving(deposed)
        yield ensemble, behind, current


async def test_a_waiter_behind_a_deposed_leader_does_not_pass_a_closed_barrier() -> None:
    """That leader continues to answer a sync."""
    async with deposed_and_current() as (ensemble, behind, current):
        await zk.Barrier(current, f"{PATH}/gate").create()
        await behind.sync(PATH)
        assert await behind.exists(f"{PATH}/gate") is None
        passed = anyio.Event()

        async def wait() -> None:
            await zk.Barrier(behind, f"{PATH}/gate").wait()
            passed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(3)
            ensemble.heal()
            await anyio.sleep(60)
            assert not passed.is_set()
            await zk.Barrier(current, f"{PATH}/gate").remove()
            with anyio.fail_after(60):
                await passed.wait()


async def test_a_deposed_leader_does_not_report_the_elected_candidate() -> None:
    async with (
        deposed_and_current() as (ensemble, behind, current),
        zk.Election(current, PATH, identifier="new").lead(),
    ):
        observed = zk.Election(behind, PATH)
        assert await observed.leader(sync=False) is None
        with anyio.move_on_after(3):
            raise AssertionError(await observed.leader())
        ensemble.heal()
        with anyio.fail_after(60):
            leader = await observed.leader()
        assert leader is not None
        assert leader.identifier == "new"
