"""Servers without a quorum that serve read-only, and clients that accept such servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.apache.server_versions import version_of_server
from tests.apache.waiting import until
from tests.conftest import JAVA_OPTIONS, PROPERTIES, SETTINGS
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer
from zkrecipes.ensemble.four_letter import ask
from zkrecipes.enums import ServerVersion

pytestmark = [pytest.mark.anyio, pytest.mark.apache]


@pytest.fixture(scope="module")
def _ensemble() -> Iterator[ApacheEnsemble]:
    properties = {**PROPERTIES, "readonlymode.enabled": True}
    # From 3.5 on, a read-only server creates only local sessions; an ephemeral upgrades one to a global one.
    settings = {**SETTINGS, "localSessionsEnabled": True, "localSessionsUpgradingEnabled": True}
    ensemble = ApacheEnsemble(size=3, settings=settings, properties=properties, java_options=JAVA_OPTIONS)
    ensemble.open()
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(anyio.run, ensemble.start).result()
        yield ensemble
    finally:
        ensemble.close()


@pytest.fixture
def ensemble(_ensemble: ApacheEnsemble) -> Iterator[ApacheEnsemble]:
    yield _ensemble
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, _ensemble.heal).result()


@asynccontextmanager
async def one_left(ensemble: ApacheEnsemble) -> AsyncIterator[ApacheServer]:
    """Kill the peers of a member while the block runs, and yield that member."""
    left, *others = ensemble.members
    for member in others:
        member.kill()
    try:
        yield left
    finally:
        await ensemble.heal()


async def until_read_only(server: ApacheServer) -> None:
    async def is_read_only() -> bool:
        return (await ask(server.host, server.port, "isro")).startswith("ro")

    await until(is_read_only)


async def until_state(client: zk.Client, state: zk.SessionState) -> None:
    with anyio.fail_after(50):
        async with client.session_changes() as changes:
            while client.state is not state:
                await anext(changes)


async def test_a_read_only_client_reads_cannot_write_and_moves_to_a_full_server(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    """Cases 24 and 25."""
    async with zk.connect(ensemble.connect_string) as client:
        await client.create(fresh_path, b"before")
    async with one_left(ensemble) as server:
        hosts = ensemble.connect_string
        async with zk.connect(hosts, read_only=True, connect_timeout=50) as client:
            alone = client.session
            assert client.state is zk.SessionState.CONNECTED_READ_ONLY
            assert client.stats().server == server.connect_string
            assert (await client.get(fresh_path)).data == b"before"
            async with client.exists_and_watch(fresh_path) as (stat, _):
                assert stat is not None
            for write in (client.set(fresh_path, b"no"), client.create(f"{fresh_path}/no")):
                with pytest.raises(zk.NotReadOnlyError):
                    await write
            with pytest.raises(zk.ConnectTimeoutError):
                async with zk.connect(hosts, connect_timeout=1):
                    raise AssertionError("connected without read_only")
            await ensemble.heal()
            await until_state(client, zk.SessionState.CONNECTED)
            assert client.session is not alone, "other servers do not know the session of a read-only server"
            await client.set(fresh_path, b"after")


async def test_a_session_with_an_ephemeral_outlives_the_time_without_a_quorum(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    """Newer read-only servers refuse it, because it is a global session, and it waits for a quorum."""
    hosts = ensemble.connect_string
    async with zk.connect(hosts, read_only=True, session_timeout=60) as client:
        await client.create(fresh_path, ephemeral=True)
        session = client.session
        async with client.get_and_watch(fresh_path) as (_, changed):
            async with one_left(ensemble) as server:
                await until_read_only(server)
                with anyio.move_on_after(5):
                    await until_state(client, zk.SessionState.CONNECTED_READ_ONLY)
                is_old = version_of_server(server) < ServerVersion.V3_7
                assert client.state is (
                    zk.SessionState.CONNECTED_READ_ONLY if is_old else zk.SessionState.SUSPENDED
                )
            await until_state(client, zk.SessionState.CONNECTED)
            assert client.session is session
            assert (await client.get(fresh_path)).stat.ephemeral_owner == session.id
            assert not changed.has_fired
            await client.set(fresh_path, b"1")
            with anyio.fail_after(20):
                assert (await changed.wait()).type is zk.EventType.DATA_CHANGED
