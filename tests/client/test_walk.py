"""Walks: every znode once, parents first, while other clients change the tree; and waiting for a znode."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import ClientLeftovers, ReceivedRequest, World, virtual_time, world
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

TREE = ("/a", "/a/b", "/a/b/c", "/a/d", "/a/e", "/a/e/f", "/a/e/f/g")


async def plant(client: zk.Client) -> None:
    async with client.pipeline() as pipe:
        for path in TREE:
            pipe.create(path, path.encode())


@pytest.mark.parametrize("window", [1, 2, 100])
async def test_every_znode_is_visited_once_and_parents_come_first(window: int) -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        async with client.walk("/a", window=window) as znodes:
            visited = [znode async for znode in znodes]
        paths = [path for path, _ in visited]
        assert sorted(paths) == sorted(TREE)
        for path in TREE[1:]:
            assert paths.index(path.rpartition("/")[0]) < paths.index(path)
        for znode in visited:
            assert znode.stat == await client.exists(znode.path)


async def test_a_walk_from_the_root_sees_paths_as_the_view_does() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        async with client.chroot("/a/e").walk() as znodes:
            assert [path async for path, _ in znodes] == ["/", "/f", "/f/g"]
        async with client.walk() as znodes:
            assert {path async for path, _ in znodes} > {"/", "/zookeeper", *TREE}


async def test_a_walk_needs_a_znode_to_begin_with() -> None:
    async with world() as there, there.connect("a") as client:
        async with client.walk("/none") as znodes:
            with pytest.raises(zk.NoNodeError, match="/none"):
                await znodes.__anext__()
        async with client.chroot("/app").walk() as znodes:
            with pytest.raises(zk.NoNodeError, match="the chroot /app itself"):
                await znodes.__anext__()
        with pytest.raises(ValueError, match="window must be at least 1"):
            async with client.walk(window=0):
                raise AssertionError("not entered")


async def test_what_goes_before_the_walk_comes_to_it_is_left_out() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        await plant(client)
        paths = []
        async with client.walk("/a", window=1) as znodes:
            async for path, _ in znodes:
                paths.append(path)
                if path == "/a":
                    await other.delete("/a/e", recursive=True)
        assert sorted(paths) == ["/a", "/a/b", "/a/b/c", "/a/d"]


async def test_a_walk_may_go_on_after_a_znode_that_may_not_be_read() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        await client.set_acl("/a/e", [zk.ACL(zk.Perms.DELETE, zk.Id("world", "anyone"))])
        paths = []
        refused = 0
        async with client.walk("/a") as znodes:
            while True:
                try:
                    paths.append((await znodes.__anext__()).path)
                except zk.NoAuthError:
                    refused += 1
                except StopAsyncIteration:
                    break
        assert sorted(paths) == ["/a", "/a/b", "/a/b/c", "/a/d"]
        assert refused == 1


async def test_a_walk_that_is_left_early_leaves_nothing_and_is_over() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        before = ClientLeftovers.of(there, client)
        async with client.walk("/a") as znodes:
            assert (await znodes.__anext__()).path == "/a"
            await znodes.__anext__()
            assert there.count(OpCode.GET_CHILDREN2) > 2
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before
        with pytest.raises(RuntimeError, match="has ended"):
            await znodes.__anext__()


async def test_a_wait_that_is_cancelled_loses_no_znode() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        async with client.walk("/a") as znodes:
            held = there.server.faults.hold_replies()
            with anyio.move_on_after(1) as scope:
                await znodes.__anext__()
            assert scope.cancelled_caught
            held.release()
            assert sorted([path async for path, _ in znodes]) == sorted(TREE)


async def test_two_tasks_cannot_walk_one_walk() -> None:
    async with world() as there, there.connect("a") as client:
        held = there.server.faults.hold_replies()
        async with client.walk() as znodes, anyio.create_task_group() as tasks:
            tasks.start_soon(znodes.__anext__)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await znodes.__anext__()
            held.release()


async def test_a_walk_goes_on_over_broken_connections() -> None:
    async with world() as there, there.connect("a") as client:
        await plant(client)
        there.server.faults.drop_request(OpCode.GET_CHILDREN2, skip=2, times=3)
        async with client.walk("/a") as znodes:
            assert sorted([path async for path, _ in znodes]) == sorted(TREE)


# --- waiting for a znode -----------------------------------------------------------------------------------


async def test_a_znode_that_is_there_is_not_waited_for() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        assert await client.wait_for_node("/n") == await client.exists("/n")


async def test_a_znode_is_waited_for_over_lost_connections_and_sessions() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        before = ClientLeftovers.of(there, client)

        async def make() -> None:
            await anyio.sleep(1)
            there.network.reset(source="a")
            await anyio.sleep(1)
            there.server.expire(client.session.id)
            await anyio.sleep(5)
            await other.create("/n", b"1")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make)
            stat = await client.wait_for_node("/n")
        assert stat == await other.exists("/n")
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before


async def test_a_wait_for_a_znode_that_goes_again_at_once_goes_on() -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        looked = 0

        def look(seen: ReceivedRequest) -> None:
            nonlocal looked
            looked += seen.opcode == OpCode.EXISTS

        there.before_request = look

        async def make() -> None:
            await anyio.sleep(1)
            async with other.pipeline() as pipe:
                pipe.create("/n", b"1")
                pipe.delete("/n")
            await anyio.sleep(1)
            await other.create("/n", b"22")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make)
            stat = await client.wait_for_node("/n")
        assert stat.data_length == 2
        assert looked == 3


async def test_a_wait_ends_with_the_client() -> None:
    async with world() as there, anyio.create_task_group() as tasks:
        with pytest.raises(zk.SessionExpiredError):  # noqa: PT012 - of the whole block
            async with there.connect("a", renew=False) as client:
                tasks.start_soon(_expire_soon, there, client)
                await client.wait_for_node("/n")


async def _expire_soon(there: World, client: zk.Client) -> None:
    await anyio.sleep(1)
    there.server.expire(client.session.id)
