"""Pipelines: many requests, one wait; each result or error in its place."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_4, OldServer
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_every_call_has_its_result_in_its_place() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.pipeline() as pipe:
            made = pipe.create("/n", b"1")
            node = pipe.get("/n")
            changed = pipe.set("/n", b"2", version=0)
            stat = pipe.exists("/n")
            nothing = pipe.exists("/missing")
            acl = pipe.get_acl("/n")
            acl_changed = pipe.set_acl("/n", zk.OPEN_ACL, version=0)
            child = pipe.create("/n/s-", sequential=True, ephemeral=True, acl=zk.OPEN_ACL)
            children = pipe.get_children("/n")
            listed = pipe.get_children_with_stat("/n")
            synced = pipe.sync("/n")
            removed = pipe.delete("/n/s-0000000000", version=0)
        assert made.result() == "/n"
        assert node.result().data == b"1"
        assert changed.result().version == 1
        assert stat.result() == changed.result()
        assert nothing.result() is None
        assert acl.result()[0] == list(zk.OPEN_ACL)
        assert acl_changed.result().aversion == 1
        assert child.result() == "/n/s-0000000000"
        assert children.result() == ["s-0000000000"]
        assert listed.result()[0] == ["s-0000000000"]
        assert listed.result()[1].num_children == 1
        assert synced.result() is removed.result() is None


async def test_an_error_is_in_its_place_and_the_others_are_not_disturbed() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.pipeline() as pipe:
            replies = [pipe.create("/n"), pipe.create("/n"), pipe.create("/m/m"), pipe.create("/k")]
        assert replies[0].result() == "/n"
        with pytest.raises(zk.NodeExistsError):
            replies[1].result()
        with pytest.raises(zk.NoNodeError):
            replies[2].result()
        assert replies[3].result() == "/k"


async def test_requests_leave_at_once_and_the_block_waits_for_all() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.pipeline() as pipe:
            first = pipe.create("/n")
            with pytest.raises(RuntimeError, match="not been answered yet"):
                first.result()
            assert await first.wait() == "/n"
            second = pipe.create("/m")
        assert second.result() == "/m"


async def test_an_empty_pipeline_is_nothing_to_wait_for() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.pipeline():
            pass
        assert there.requests == []


async def test_a_task_outside_may_wait_for_a_result_as_well() -> None:
    got: list[str] = []

    async def wait(pending: zk.Pending[str]) -> None:
        got.append(await pending.wait())

    async with world() as there, there.connect("a") as client, anyio.create_task_group() as tasks:
        held = there.server.faults.hold_replies()
        tasks.start_soon(_release_soon, held)
        async with client.pipeline() as pipe:
            reply = pipe.create("/n")
            tasks.start_soon(wait, reply)
            await anyio.wait_all_tasks_blocked()
    assert got == [reply.result()]


async def _release_soon(held: object) -> None:
    await anyio.sleep(1)
    held.release()  # type: ignore[attr-defined]  # HeldReplies


async def test_a_pipeline_reads_on_through_broken_connections() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        there.server.faults.drop_request(OpCode.GET_DATA, skip=30, times=3)
        async with client.pipeline() as pipe:
            replies = [pipe.get("/n") for _ in range(100)]
        assert all(reply.result().data == b"1" for reply in replies)


async def test_any_operation_can_be_in_a_pipeline() -> None:
    async with world(extended_types=True) as there, there.connect("a", auth=[("digest", "ann:pw")]) as client:
        ops = client.operations
        async with client.pipeline() as pipe:
            made = await pipe.submit(ops.create_with_stat("/n", b"1", ephemeral=True))
            kept = pipe.create("/c")
            container = await pipe.submit(ops.create("/c/c", container=True))
            short_lived = await pipe.submit(ops.create("/c/t", ttl=60))
            ephemerals = await pipe.submit(ops.get_ephemerals())
            number = await pipe.submit(ops.get_all_children_number("/c"))
            names = await pipe.submit(ops.whoami())
            config = await pipe.submit(ops.get_config())
        assert made.result()[0] == "/n"
        assert made.result()[1].data_length == 1
        assert [kept.result(), container.result(), short_lived.result()] == ["/c", "/c/c", "/c/t"]
        assert ephemerals.result() == ["/n"]
        assert number.result() == 2
        assert zk.Id("digest", "ann") in names.result()
        assert config.result() == await client.get_config()


async def test_an_operation_that_the_server_does_not_know_has_its_error_in_its_place() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_4, "3.4.14")
        async with old.serving(), zk.connect("old", network=there.network) as client:
            async with client.pipeline() as pipe:
                before = pipe.create("/n")
                refused = await pipe.submit(client.operations.create("/c", container=True))
                after = pipe.create("/m")
            assert [before.result(), after.result()] == ["/n", "/m"]
            with pytest.raises(zk.UnimplementedError, match=r"a container needs ZooKeeper 3\.5"):
                refused.result()
            assert set(old.opcodes_seen) <= OPCODES_3_4


async def test_what_cannot_travel_alone_is_refused() -> None:
    async with world() as there, there.connect("a") as client:
        ops = client.operations
        async with client.pipeline() as pipe:
            with pytest.raises(ValueError, match="part of a transaction"):
                await pipe.submit(ops.check("/"))
            with pytest.raises(ValueError, match="a watch must have an owner"):
                await pipe.submit(ops.exists("/", watch=True))
        assert there.requests == []
