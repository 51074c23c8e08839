"""Our group on one path with kazoo's parties, which differ in layout or have names that are not unique."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"  # the other side is a separate process; other tests run ours on both loops


async def test_a_party_that_is_not_shallow_has_other_names(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A `Party` keeps its members' names in the data. No layout of ours reads it, nor does it see ours."""
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            await peer.call("Party", "party", fresh_path, "theirs")
            await peer.call("join", "party")
            group = zk.Group(client, fresh_path, layout="kazoo")
            async with group.join("ours", b"1"):
                assert await group.members() == {"ours": b"1"}
                assert await peer.call("members", "party") == ["theirs"]
            assert "__party__ is not a member of the group" in caplog.text
            # in Curator's layout they are children with data, as Curator would list them
            (member,) = (await zk.Group(client, fresh_path).members()).items()
            assert member[0].endswith("__party__")
            assert member[1] == b"theirs"


async def test_the_newest_member_with_a_duplicate_name_is_shown(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            group = zk.Group(client, fresh_path, layout="kazoo")
            await peer.call("ShallowParty", "party", fresh_path, "name")
            async with group.join("name", b"ours"):
                await peer.call("join", "party")
                assert await peer.call("members", "party") == ["name", "name"]
                assert await group.members() == {"name": b"name"}
                await peer.call("leave", "party")
                assert await group.members() == {"name": b"ours"}
