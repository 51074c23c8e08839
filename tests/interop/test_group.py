"""Our group on one path with Curator's `GroupMember` and kazoo's `ShallowParty`, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import Peer, StartPeer
from zkrecipes.ensemble import ApacheServer
from zkrecipes.recipes.group_layouts import GroupLayoutName

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"  # the other side is a separate process; other tests run ours on both loops


@asynccontextmanager
async def ours(server: ApacheServer, path: str, layout: GroupLayoutName) -> AsyncIterator[zk.Group]:
    with anyio.fail_after(LIMIT):
        async with zk.connect(server.connect_string, session_timeout=4.0) as client:
            yield zk.Group(client, path, layout=layout)


async def until_seen(peer: Peer, name: str, members: Any) -> None:
    """Wait until the peer's object with that name sees these members."""

    async def is_seen() -> bool:
        return bool(await peer.call("members", name) == members)

    await until(is_seen)


async def until_members(group: zk.Group, members: dict[str, bytes]) -> None:
    """Wait until we see these members, in the changes and in `members()`."""
    async with group.changes() as changes:
        async for change in changes:
            if change.members == members:
                break
    assert await group.members() == members


async def test_curator_and_we_see_each_other(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    async with ours(apache_server, fresh_path, "curator") as group, curator(session_timeout=1.0) as peer:
        await peer.call("GroupMember", "theirs", fresh_path, "theirs", "their address")
        async with group.join("ours", "unsere Straße".encode()) as member:
            await peer.call("start", "theirs")
            await until_members(group, {"ours": "unsere Straße".encode(), "theirs": b"their address"})
            await until_seen(peer, "theirs", {"ours": "unsere Straße", "theirs": "their address"})
            await member.update(b"moved")
            await peer.call("set-data", "theirs", "moved, too")
            await until_members(group, {"ours": b"moved", "theirs": b"moved, too"})
            await until_seen(peer, "theirs", {"ours": "moved", "theirs": "moved, too"})
        await until_seen(peer, "theirs", {"theirs": "moved, too"})
        peer.kill()
        await until_members(group, {})


async def test_a_name_that_curator_has_is_waited_for(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    async with ours(apache_server, fresh_path, "curator") as group, curator() as peer:
        await peer.call("GroupMember", "theirs", fresh_path, "name", "theirs")
        await peer.call("start", "theirs")
        await until_members(group, {"name": b"theirs"})
        with pytest.raises(zk.NodeExistsError):
            await group.join("name", b"ours", on_conflict="raise").__aenter__()
        async with anyio.create_task_group() as tasks:

            async def join() -> None:
                async with group.join("name", b"ours"):
                    await until_members(group, {"name": b"ours"})

            tasks.start_soon(join)
            await peer.call("close", "theirs")
        assert await group.members() == {}


async def test_we_join_again_when_a_curator_with_our_name_has_left(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    """Curator writes its data into the znode of a member with the same name, and deletes it on leaving."""
    async with ours(apache_server, fresh_path, "curator") as group, curator() as peer:
        async with group.join("name", b"ours"):
            await peer.call("GroupMember", "theirs", fresh_path, "name", "theirs")
            await peer.call("start", "theirs")
            await until_members(group, {"name": b"theirs"})
            await peer.call("close", "theirs")
            await until_members(group, {"name": b"ours"})
        assert await group.members() == {}


async def test_kazoo_and_we_see_each_other(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    async with ours(apache_server, fresh_path, "kazoo") as group, kazoo_peer(session_timeout=1.0) as peer:
        await peer.call("ShallowParty", "party", fresh_path, "their-name")
        async with group.join("our-name", b"ours"):
            await peer.call("join", "party")
            await until_members(group, {"our-name": b"ours", "their-name": b"their-name"})
            assert await peer.call("members", "party") == ["our-name", "their-name"]
            await peer.call("leave", "party")
            await until_members(group, {"our-name": b"ours"})
            await peer.call("join", "party")
            await until_members(group, {"our-name": b"ours", "their-name": b"their-name"})
        assert await peer.call("members", "party") == ["their-name"]
        peer.kill()
        await until_members(group, {})
