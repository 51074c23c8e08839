"""Changing the members of a real ensemble: leaving, joining, and refused changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.conftest import JAVA_OPTIONS, PROPERTIES, SETTINGS
from zkrecipes.ensemble import ApacheEnsemble

pytestmark = [pytest.mark.anyio, pytest.mark.apache]


@asynccontextmanager
async def changeable_ensemble() -> AsyncIterator[ApacheEnsemble]:
    """Run a separate ensemble, because the tests change it. No client needs to be a super user."""
    settings = {**SETTINGS, "reconfigEnabled": True}
    properties = {**PROPERTIES, "zookeeper.skipACL": "yes"}
    async with ApacheEnsemble(
        size=3, settings=settings, properties=properties, java_options=JAVA_OPTIONS
    ) as ensemble:
        yield ensemble


def members_in(config: zk.Node) -> dict[int, str]:
    lines = (config.data or b"").decode().splitlines()
    return {int(line[7 : line.index("=")]): line for line in lines if line.startswith("server.")}


def version_of(config: zk.Node) -> int:
    return int((config.data or b"").decode().rpartition("version=")[2], 16)


async def test_members_leave_and_join_under_the_version_that_was_seen() -> None:
    async with changeable_ensemble() as ensemble:
        # The leader's own client sees the end of a change, because the leader stays.
        leader, follower = await ensemble.leader(), (await ensemble.followers())[0]
        async with zk.connect(leader.connect_string, session_timeout=10) as client:
            before = await client.get_config()
            members = members_in(before)
            assert sorted(members) == [1, 2, 3]

            with pytest.raises(zk.BadVersionError):
                await client.reconfig(leaving=[follower.server_id], from_version=version_of(before) + 1)
            assert await client.get_config() == before

            # The chroot does not apply to the configuration.
            view = client.chroot("/app")
            after = await view.reconfig(leaving=[follower.server_id], from_version=version_of(before))
            assert sorted(members_in(after)) == sorted(set(members) - {follower.server_id})
            assert version_of(after) > version_of(before)
            assert after == await view.get_config()

            returning = f"{members[follower.server_id]};{follower.connect_string}"
            whole = await client.reconfig(joining=[returning])
            assert sorted(members_in(whole)) == [1, 2, 3]

            rest = [line for number, line in members.items() if number != follower.server_id]
            assert members_in(await client.reconfig(new_members=rest)) == members_in(after)

            with pytest.raises(zk.BadArgumentsError):
                await client.reconfig(new_members=["nonsense"])


async def test_a_client_that_follows_leaves_a_member_that_leaves_and_keeps_its_session() -> None:
    async with changeable_ensemble() as ensemble:
        leader, follower = await ensemble.leader(), (await ensemble.followers())[0]
        addresses = {each.server_id: each.connect_string for each in ensemble.members}
        async with (
            zk.connect(leader.connect_string, session_timeout=10) as admin,
            zk.connect(follower.connect_string, session_timeout=10, follow_config=True) as client,
        ):
            session_id = client.session.id
            members = members_in(await admin.get_config())
            # From here on, the configuration names the ports for clients.
            await admin.reconfig(joining=[f"{line};{addresses[n]}" for n, line in members.items()])
            await client.sync()
            await admin.reconfig(leaving=[follower.server_id])
            with anyio.fail_after(20):
                while client.stats().server in {None, follower.connect_string}:
                    await client.exists("/")
            assert client.stats().server in set(addresses.values()) - {follower.connect_string}
            assert client.session.id == session_id
            assert await client.exists("/") is not None
