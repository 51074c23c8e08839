"""A client that follows the ensemble's list of members, and `update_hosts` with another list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, AliasNetwork, World, virtual_time, world
from zkrecipes.client import ensemble_config_follower
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

MEMBERS = "/members"


@pytest.fixture(autouse=True)
def _anybody_may_write_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble_config_follower, "_CONFIG_PATH", MEMBERS)


def _config(*names: str) -> bytes:
    lines = [f"server.{number}={name}:2888:3888:participant;2181" for number, name in enumerate(names, 1)]
    return "\n".join([*lines, "version=100000000"]).encode()


@asynccontextmanager
async def _following(there: World, aliases: AliasNetwork, hosts: str) -> AsyncIterator[zk.Client]:
    async with zk.connect(hosts, network=aliases, session_timeout=TIMEOUT, follow_config=True) as client:
        await anyio.sleep(1)
        yield client


@asynccontextmanager
async def _writer(there: World, *names: str) -> AsyncIterator[zk.Client]:
    async with there.connect("writer") as writer:
        await writer.create(MEMBERS, _config(*names))
        yield writer


def _server(client: zk.Client) -> str:
    return str(client.stats().server).partition(":")[0]


async def test_the_members_take_the_place_of_the_connect_string() -> None:
    async with world() as there, _writer(there, "zk1", "zk2", "zk3"):
        aliases = AliasNetwork(there)
        async with _following(there, aliases, "anywhere") as client:
            assert _server(client) == "anywhere"  # it stays while it is served
            there.server.drop_connections()
            await anyio.sleep(1)
            assert _server(client) in {"zk1", "zk2", "zk3"}


async def test_a_client_whose_server_leaves_moves_and_keeps_its_session() -> None:
    async with world() as there, _writer(there, "zk1") as writer:
        aliases = AliasNetwork(there)
        async with _following(there, aliases, "zk1") as client:
            session = client.session
            await writer.set(MEMBERS, _config("zk2", "zk3"))
            await anyio.sleep(3)
            assert _server(client) in {"zk2", "zk3"}
            assert client.session is session
            assert client.state is zk.SessionState.CONNECTED


async def test_some_move_to_a_new_member_and_the_others_stay() -> None:
    async with world() as there, _writer(there, "zk1") as writer, anyio.create_task_group() as tasks:
        aliases = AliasNetwork(there)
        clients: list[zk.Client] = []

        async def be_a_client() -> None:
            async with _following(there, aliases, "zk1") as client:
                clients.append(client)
                await anyio.sleep_forever()

        for _ in range(60):
            tasks.start_soon(be_a_client)
        await anyio.sleep(5)
        del aliases.opened[:]
        await writer.set(MEMBERS, _config("zk1", "zk2"))
        await anyio.sleep(5)
        moved = [client for client in clients if _server(client) == "zk2"]
        assert 10 <= len(moved) <= 50  # 30 are expected; 10 or fewer would be one in ten million
        times = [moment for moment, _ in aliases.opened]
        assert max(times) - min(times) > 1  # not all at once
        tasks.cancel_scope.cancel()


async def test_a_client_stays_with_a_standalone_server_that_lists_no_members() -> None:
    async with world() as there, _writer(there) as writer:
        aliases = AliasNetwork(there)
        async with _following(there, aliases, "zk1") as client:
            await writer.set(MEMBERS, b"nonsense \xff")
            await anyio.sleep(3)
            there.server.drop_connections()
            await anyio.sleep(1)
            assert _server(client) == "zk1"


async def test_members_that_lead_nowhere_do_not_lock_the_client_out() -> None:
    async with world() as there, _writer(there, "10.0.0.1", "10.0.0.2") as writer:
        aliases = AliasNetwork(there)
        for number in (1, 2, 3):
            there.network.refuse(source=f"10.0.0.{number}")
        async with _following(there, aliases, "zk1,zk2") as client:
            session = client.session
            await writer.set(MEMBERS, _config("10.0.0.1", "10.0.0.2", "10.0.0.3"))
            await anyio.sleep(3)
            there.server.drop_connections()
            await client.sync()
            assert _server(client) in {"zk1", "zk2"}
            assert client.session is session


async def test_leaving_is_nothing_to_log(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as there, _writer(there, "zk1"):
        async with _following(there, AliasNetwork(there), "zk1"):
            caplog.set_level("INFO")
            caplog.clear()
        assert "follow" not in caplog.text


async def test_without_a_configuration_it_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as there, _following(there, AliasNetwork(there), "zk1") as client:
        assert await client.exists("/") is not None
    assert "could not follow the ensemble's members" in caplog.text


async def test_it_follows_across_sessions() -> None:
    async with world() as there, _writer(there, "zk1") as writer:
        aliases = AliasNetwork(there)
        async with _following(there, aliases, "zk1") as client:
            there.server.expire(client.session.id)
            await anyio.sleep(1)
            await writer.set(MEMBERS, _config("zk2"))
            await anyio.sleep(3)
            assert _server(client) == "zk2"


async def test_it_is_not_for_tls() -> None:
    with pytest.raises(ValueError, match="names no secure ports"):
        async with zk.connect("zk1", follow_config=True, tls=zk.TLS()):
            pass


async def test_hosts_that_are_updated_may_be_moved_to_at_once() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("zk1", network=aliases, session_timeout=TIMEOUT) as client:
            client.update_hosts("zk2:2181")
            await anyio.sleep(1)
            assert _server(client) == "zk1"
            client.update_hosts("zk3:2181", rebalance=True)
            await anyio.sleep(1)
            assert _server(client) == "zk3"


async def test_what_is_under_way_is_answered_before_a_client_moves() -> None:
    async with world() as there:
        aliases = AliasNetwork(there)
        async with zk.connect("zk1", network=aliases, session_timeout=TIMEOUT) as client:
            held = there.server.faults.hold_replies()
            made: list[str] = []

            async def create(path: str, **options: Any) -> None:
                made.append(await client.create(path, **options))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(create, "/before")
                await anyio.sleep(0.1)
                client.update_hosts("zk2", rebalance=True)
                tasks.start_soon(create, "/after")
                await anyio.sleep(0.1)
                assert there.count(OpCode.CREATE) == 1  # the second waits for the next connection
                held.release()
            assert made == ["/before", "/after"]
            assert _server(client) == "zk2"
