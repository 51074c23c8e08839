"""Groups against the dev server and Apache ZooKeeper: memberships, changes, and sessions that end."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.apache.raw_session import end_session, raw_session
from tests.apache.served import Served
from zkrecipes.recipes.group_layouts import GroupLayoutName

pytestmark = pytest.mark.anyio

LIMIT = 40


async def until(changes: zk.GroupChanges, members: dict[str, bytes]) -> None:
    with anyio.fail_after(LIMIT):
        async for change in changes:
            if change.members == members:
                break


@pytest.mark.parametrize("layout", ["curator", "kazoo"])
async def test_members_are_seen_by_others(server: Served, fresh_path: str, layout: GroupLayoutName) -> None:
    path = f"{fresh_path}/group"
    async with (
        zk.connect(server.connect_string) as a,
        zk.connect(server.connect_string) as b,
        zk.Group(b, path, layout=layout).changes() as changes,
    ):
        await until(changes, {})
        async with zk.Group(a, path, layout=layout).join("one", b"1") as one:
            await until(changes, {"one": b"1"})
            async with zk.Group(b, path, layout=layout).join("two", b"2"):
                await one.update(b"3")
                await until(changes, {"one": b"3", "two": b"2"})
                assert await zk.Group(a, path, layout=layout).wait_for(2) == {"one": b"3", "two": b"2"}
        await until(changes, {})
        # The server may have deleted the directory, because it is a container that was empty for a while.
        assert await zk.Group(b, path, layout=layout).members() == {}


async def test_a_membership_is_created_again_in_a_new_session(server: Served, fresh_path: str) -> None:
    async with zk.connect(server.connect_string) as a, zk.connect(server.connect_string) as b:
        group = zk.Group(a, fresh_path)
        async with group.join("one", b"1") as one, zk.Group(b, fresh_path).changes() as changes:
            await until(changes, {"one": b"1"})
            first = a.session
            await end_session(server.connect_string, first.id, first.password)
            with anyio.fail_after(LIMIT):
                await first.wait_closed()
                await one.update(b"2")
            await until(changes, {"one": b"2"})
            first = b.session
            await end_session(server.connect_string, first.id, first.password)
            with anyio.fail_after(LIMIT):
                await first.wait_closed()
            await one.update(b"3")
            await until(changes, {"one": b"3"})
        assert await group.members() == {}


async def test_the_name_of_a_dead_session_is_waited_for_or_replaced(server: Served, fresh_path: str) -> None:
    async with zk.connect(server.connect_string) as client:
        await client.create(fresh_path)
        group = zk.Group(client, fresh_path)
        async with raw_session(server.connect_string, session_timeout=2.0) as dead:
            await dead.create_ephemeral(f"{fresh_path}/one")
            with pytest.raises(zk.NodeExistsError, match=f"0x{dead.id & (2**64 - 1):x}"):
                await group.join("one", on_conflict="raise").__aenter__()
        with anyio.fail_after(LIMIT):
            async with group.join("one", b"waited"):
                assert await group.members() == {"one": b"waited"}
        async with raw_session(server.connect_string, session_timeout=30.0) as dead:
            await dead.create_ephemeral(f"{fresh_path}/one")
        with anyio.fail_after(10):
            async with group.join("one", b"replaced", on_conflict="replace"):
                assert await group.members() == {"one": b"replaced"}
