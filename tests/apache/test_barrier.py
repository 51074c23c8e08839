"""The barriers against the dev server and Apache ZooKeeper, whose stats they count in the same way."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import anyio
import pytest

import zkrecipes as zk
from tests.apache.double_barrier_rounds import Members
from tests.apache.served import Served
from zkrecipes.ensemble import ApacheEnsemble

pytestmark = pytest.mark.anyio

PARTIES = 4


def connect(server: Served) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(server.connect_string, session_timeout=10, connect_timeout=15)


async def test_a_gate_that_is_closed_again_immediately(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, connect(server) as other:
        path = f"{fresh_path}/gate"
        await zk.Barrier(other, path).wait()
        for _ in range(2):
            await zk.Barrier(client, path).create()
        through = anyio.Event()
        watches = await server.watch_count()

        async def wait() -> None:
            await zk.Barrier(other, path).wait()
            through.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while await server.watch_count() <= watches:  # noqa: ASYNC110 - no event reports it
                await anyio.sleep(0.01)
            assert not through.is_set()
            async with client.transaction() as tx:  # opens the gate, and closes it again immediately
                tx.delete(path)
                tx.create(path)
        for _ in range(2):
            await zk.Barrier(client, path).remove()
        assert await client.exists(path) is None


async def test_rounds_begin_and_end_together(server: Served, fresh_path: str) -> None:
    done: list[int] = []

    async def work() -> None:
        async with connect(server) as client:
            barrier = zk.DoubleBarrier(client, fresh_path, parties=PARTIES)
            for step in range(8):
                async with barrier:
                    assert len(done) >= PARTIES * step
                    done.append(step)
                assert len(done) >= PARTIES * (step + 1)

    async with anyio.create_task_group() as tasks:
        for _ in range(PARTIES):
            tasks.start_soon(work)
    assert done == sorted(done)
    async with connect(server) as client:
        assert await zk.DoubleBarrier(client, fresh_path, parties=1).members() == []
        stat = await client.exists(fresh_path)
        assert stat is None or stat.num_children == 0


async def test_a_member_whose_znode_is_deleted_inside(server: Served, fresh_path: str) -> None:
    """Its block is cancelled, the other members leave, and no znode is left."""
    async with connect(server) as client, connect(server) as other, connect(server) as doomed:
        outcomes: list[str] = []
        deleted = anyio.Event()

        async def visit(each: zk.Client) -> None:
            try:
                async with zk.DoubleBarrier(each, fresh_path, parties=3) as hold:
                    if each is doomed:
                        await client.delete(hold.path)
                        deleted.set()
                        await anyio.sleep_forever()
                    await deleted.wait()
                    await hold.confirm()
            except zk.BrokenBarrierError:
                outcomes.append("broken")
            else:
                outcomes.append("well")

        with anyio.fail_after(15):
            async with anyio.create_task_group() as tasks:
                for each in (client, other, doomed):
                    tasks.start_soon(visit, each)
        assert sorted(outcomes) == ["broken", "well", "well"]
        stat = await client.exists(fresh_path)
        assert stat is None or stat.num_children == 0


async def test_a_leftover_ready_admits_no_member(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, connect(server) as other:
        await client.ensure_path(f"{fresh_path}/ready")
        with anyio.move_on_after(0.3):
            async with zk.DoubleBarrier(client, fresh_path, parties=2):
                raise AssertionError("a member entered alone")
        inside: list[zk.Client] = []

        async def visit(each: zk.Client) -> None:
            async with zk.DoubleBarrier(each, fresh_path, parties=2):
                inside.append(each)
            assert len(inside) == 2

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(visit, client)
            tasks.start_soon(visit, other)
        assert await client.get_children(fresh_path) == []


@pytest.mark.apache
@pytest.mark.timeout(60)
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_rounds_of_several_processes_under_kills(
    apache_ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    """`make rounds` runs more rounds, with more processes."""
    members = Members(apache_ensemble.connect_string, fresh_path, number=5, session_timeout=4, seed=1)
    with anyio.fail_after(50):
        await members.run(rounds=8, kill_every=1.2)
    result = members.result
    assert result.overlaps() == []
    assert result.kills > 0
    complete = list(result.rounds.values())[1:-1]
    assert sum(len(stays) == 5 for stays in complete) > 1
