"""A contender's znode in a queue, even if its request, its reply or the znode itself is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.lock_layouts import MUTEXES
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode
from zkrecipes.recipes.znodes.directories import make_directory

anyio_backend = virtual_time()

KAZOO_LOCK = MUTEXES["kazoo"]


def _queue(client: zk.Client) -> LockQueue:
    return LockQueue(client, "/locks/job", KAZOO_LOCK, None)


@asynccontextmanager
async def _one_client() -> AsyncIterator[tuple[World, zk.Client]]:
    async with world() as there, there.connect("a") as client:
        yield there, client


@pytest.mark.anyio
async def test_enqueueing_takes_one_round_trip_and_the_token_is_the_czxid() -> None:
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        node = QueueNode(_queue(client), b"me", is_one_try=True)
        await node.enqueue()
        data, stat = await client.get(node.path)
        assert (data, stat.ephemeral_owner) == (b"me", client.session.id)
        assert node.token == stat.czxid
        assert node.first == node.path
        assert not node.is_blocked
        await node.leave()
        assert there.znodes() == {"/locks", "/locks/job"}


@pytest.mark.anyio
@pytest.mark.parametrize(("layout", "kind"), [("kazoo", "persistent"), ("curator", "container")])
async def test_the_directory_is_created_as_its_layout_requires_under_persistent_parents(
    layout: str, kind: str
) -> None:
    async with _one_client() as (there, client):
        await QueueNode(_queue(client)._replace(layout=MUTEXES[layout]), b"").enqueue()
        kinds = {path: there.server.processor.tree.get(path).kind.value for path in ("/locks", "/locks/job")}
        assert kinds == {"/locks": "persistent", "/locks/job": kind}


@pytest.mark.anyio
async def test_a_create_whose_reply_was_lost_is_adopted() -> None:
    """Case 73."""
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        node = QueueNode(_queue(client), b"")
        await node.enqueue()
        assert lost.is_spent
        (left,) = there.znodes() - {"/locks", "/locks/job"}
        assert node.path == left
        # The MULTI waits for a quorum: after it, everything that the last server forwarded is visible.
        opcodes = [seen.opcode for seen in there.requests]
        assert opcodes[-3:] == [OpCode.MULTI, OpCode.GET_CHILDREN, OpCode.EXISTS]
        assert node.token == (await client.get(left)).stat.czxid


@pytest.mark.anyio
@pytest.mark.parametrize("owner", ["another session", "no session"])
async def test_a_znode_with_our_guid_that_another_session_owns_is_removed(owner: str) -> None:
    """Case 73, with another session."""
    async with _one_client() as (there, client), there.connect("rival") as rival:
        await make_directory(client, "/locks/job")
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        node = QueueNode(_queue(client), b"")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.enqueue)
            await lost.wait_used()
            there.network.cut(source="a")  # so that it cannot look yet
            (made,) = there.znodes() - {"/locks", "/locks/job"}
            await rival.delete(made)
            await rival.create(made, ephemeral=owner == "another session")
            there.network.heal(source="a")
        (left,) = there.znodes() - {"/locks", "/locks/job"}
        assert node.path == left != made
        assert (await client.get(left)).stat.ephemeral_owner == client.session.id


@pytest.mark.anyio
async def test_a_znode_of_the_previous_session_is_not_adopted() -> None:
    async with _one_client() as (there, client), there.connect("rival"):
        await make_directory(client, "/locks/job")
        first = client.session
        lost = there.server.faults.lose_reply(OpCode.CREATE)
        node = QueueNode(_queue(client), b"")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.enqueue)
            await lost.wait_used()
            there.network.cut(source="a")
            there.server.expire(first.id)
            there.network.heal(source="a")
        assert client.session is not first
        assert node.session is client.session
        assert (await client.get(node.path)).stat.ephemeral_owner == client.session.id


@pytest.mark.anyio
async def test_the_wait_does_not_continue_in_another_session() -> None:
    """A read that waits for a connection may be answered in the next session, which has no znode of ours."""
    async with _one_client() as (there, client), there.connect("rival") as rival:
        first, second = QueueNode(_queue(rival), b"first"), QueueNode(_queue(client), b"second")
        await first.enqueue()
        await second.enqueue()
        there.network.cut(source="a")
        there.network.reset(source="a")
        await anyio.sleep(0.1)

        async def reconnect_in_another_session() -> None:
            await anyio.sleep(0.1)
            there.server.expire(client.session.id)
            there.network.heal(source="a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reconnect_in_another_session)
            with anyio.fail_after(TIMEOUT):  # and not only when the other contender leaves
                assert not await second.wait_turn()


@pytest.mark.anyio
async def test_a_list_that_is_too_large_is_an_error_and_leaves_no_znode() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/locks/job")
        for number in range(64):
            await client.create(f"/locks/job/foreign-{number:032d}")
        async with there.connect("b", max_packet_size=2048) as small:
            node = QueueNode(_queue(small), b"")
            with pytest.raises(zk.PacketTooLargeError):
                await node.enqueue()
            await node.leave()
        assert not [path for path in there.znodes() if "__lock__" in path]


@pytest.mark.anyio
async def test_data_that_is_too_large_for_the_server_is_an_error_and_no_endless_loop() -> None:
    """The server closes the connection without an answer: each side has its own `jute.maxbuffer`."""
    async with world(max_packet_size=100_000) as there, there.connect("a") as client:
        node = QueueNode(_queue(client), bytes(200_000))
        with anyio.fail_after(TIMEOUT), pytest.raises(zk.ConnectionLossError, match="/locks/job"):
            await node.enqueue()
        await node.leave()
        assert there.znodes() == set()


@pytest.mark.anyio
async def test_little_data_is_sent_again_after_any_number_of_lost_connections() -> None:
    async with _one_client() as (there, client):
        await make_directory(client, "/locks/job")
        lost = there.server.faults.drop_request(OpCode.CREATE, times=7)
        await QueueNode(_queue(client), b"me").enqueue()
        assert lost.is_spent


@pytest.mark.anyio
async def test_a_directory_without_read_is_an_error_and_the_znode_is_removed() -> None:
    """Case 83."""
    async with _one_client() as (there, client):
        await client.create("/locks")
        await client.create(
            "/locks/job", acl=[zk.ACL(zk.Perms.CREATE | zk.Perms.DELETE, zk.Id("world", "anyone"))]
        )
        node = QueueNode(_queue(client), b"")
        with pytest.raises(zk.NoAuthError):
            await node.enqueue()
        await node.leave()
        assert there.znodes() == {"/locks", "/locks/job"}


@pytest.mark.anyio
async def test_a_directory_that_is_reaped_repeatedly_is_created_again() -> None:
    """Case 80."""
    async with _one_client() as (there, client), there.connect("reaper") as reaper:
        queue = _queue(client)
        paths = []
        for _ in range(3):
            node = QueueNode(queue, b"")
            await node.enqueue()
            paths.append(node.path)
            await node.leave()
            await reaper.delete("/locks/job")
        # The counter restarts at 0 each time; the GUIDs differ.
        assert len(set(paths)) == 3
        assert {KAZOO_LOCK.tag_and_sequence_of(path) for path in paths} == {("__lock__", 0)}


@pytest.mark.anyio
async def test_leaving_twice_or_before_enqueueing_does_nothing() -> None:
    async with _one_client() as (there, client):
        node = QueueNode(_queue(client), b"")
        await node.leave()
        assert there.znodes() == set()
        await node.enqueue()
        await node.leave()
        await node.leave()
        assert there.znodes() == {"/locks", "/locks/job"}
