"""Sessions on real servers: their timeout, their end from outside, and the next session."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.apache.raw_session import end_session, raw_session
from tests.apache.served import Served
from tests.apache.server_versions import since, version_of_server
from zkrecipes.ensemble import ApacheServer
from zkrecipes.enums import ServerVersion

pytestmark = pytest.mark.anyio

recursive = pytest.param(True, id="recursive", marks=since(ServerVersion.V3_6, "a recursive watch"))


def connect(server: Served, **options: Any) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(server.connect_string, **{"session_timeout": 10, **options})


async def end(server: Served, session: zk.Session) -> None:
    with anyio.fail_after(20):
        await end_session(server.connect_string, session.id, session.password)
        await session.wait_closed()


async def until_connected(client: zk.Client) -> None:
    with anyio.fail_after(20):
        await client.exists("/")


@pytest.mark.parametrize(("asked", "given"), [(0.05, 1.0), (1.7, 1.7), (8, 8.0), (1000, 60.0)])
async def test_the_server_may_give_another_timeout(server: Served, asked: float, given: float) -> None:
    async with connect(server, session_timeout=asked) as client:
        assert client.session.timeout == given  # at least two ticks, at most a minute
        assert client.session.id != 0
        assert client.session.state is client.state is zk.SessionState.CONNECTED


async def test_an_idle_session_stays_alive(server: Served, fresh_path: str) -> None:
    async with connect(server, session_timeout=1) as client, connect(server) as other:
        session = client.session
        await client.create(fresh_path, ephemeral=True)
        await anyio.sleep(1.6)  # longer than its timeout and a tick
        assert client.session is session
        assert await other.exists(fresh_path) is not None


async def test_leaving_closes_the_session(server: Served, fresh_path: str) -> None:
    async with connect(server) as watcher:
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - what the block raises comes out
            async with connect(server) as client:
                await client.create(fresh_path, ephemeral=True)
                session = client.session
                raise KeyError("mine")
        assert session.state is zk.SessionState.CLOSED
        await session.wait_closed()
        assert await watcher.exists(fresh_path) is None
        with pytest.raises(zk.SessionClosedError):
            await client.get("/")
        with pytest.raises(zk.SessionClosedError):
            await client.create("/x")


async def test_a_kept_session_continues_in_another_client(server: Served, fresh_path: str) -> None:
    async with connect(server, keep_session=True) as client:
        await client.create(fresh_path, ephemeral=True)
        key = client.session.key
    async with connect(server, resume=key) as client:
        assert client.session.key == key
        stat = await client.exists(fresh_path)
        assert stat is not None
        assert stat.ephemeral_owner == key.id
    async with connect(server, resume=key) as client:
        assert client.session.id != key.id, "the second client has closed it"
        assert await client.exists(fresh_path) is None
    wrong = zk.SessionKey(client.session.id, b"not the password", key.timeout)
    with pytest.raises(zk.SessionExpiredError):
        async with connect(server, resume=wrong, renew=False):
            raise AssertionError("a session was resumed with a wrong password")


@pytest.mark.parametrize("is_recursive", [False, recursive])
async def test_a_client_continues_in_a_new_session_after_an_expiry(
    server: Served, fresh_path: str, is_recursive: bool
) -> None:
    async with connect(server) as client, client.session_changes() as changes:
        old = client.session
        await client.create(fresh_path)
        await client.create(f"{fresh_path}/mine", ephemeral=True)
        async with (
            client.watch(fresh_path) as events,
            client.watch(fresh_path, recursive=is_recursive) as other_events,
            client.get_and_watch(fresh_path) as (_, changed),
        ):
            await end(server, old)
            assert old.state is zk.SessionState.EXPIRED
            with pytest.raises(zk.SessionExpiredError) as expired:
                await changed.wait()
            assert expired.value.session_id == old.id
            await until_connected(client)
            new = client.session
            assert new is not old
            assert new.id not in (0, old.id)
            assert (old.state, new.state) == (zk.SessionState.EXPIRED, zk.SessionState.CONNECTED)
            assert await client.get_children(fresh_path) == [], "ephemerals are deleted with their session"
            with anyio.fail_after(20):
                assert (await anext(events)).type is zk.EventType.RESYNC
                assert (await anext(other_events)).type is zk.EventType.RESYNC
                if server.version < ServerVersion.V3_6:
                    # On such servers a watch compares its reads: a child was deleted.
                    assert (await anext(events)).type is zk.EventType.CHILDREN_CHANGED
                    assert (await anext(other_events)).type is zk.EventType.CHILDREN_CHANGED
                await client.set(fresh_path, b"1")
                assert (await anext(events)).type is zk.EventType.DATA_CHANGED
                assert (await anext(other_events)).type is zk.EventType.DATA_CHANGED
            assert await server.watch_count() > 0
        seen = [await anext(changes) for _ in range(3)]
        assert [(change.session_id, change.state) for change in seen] == [
            (old.id, zk.SessionState.SUSPENDED),
            (old.id, zk.SessionState.EXPIRED),
            (new.id, zk.SessionState.CONNECTED),
        ]


async def test_a_session_may_end_again(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        ids = set()
        for _ in range(2):
            session = client.session
            ids.add(session.id)
            await end(server, session)
            await until_connected(client)
            await client.create(f"{fresh_path}-{len(ids)}", ephemeral=True)
        assert len(ids) == 2


async def test_credentials_and_watches_continue_in_the_next_session(server: Served, fresh_path: str) -> None:
    async with connect(server, auth=[("digest", "carol:pw")]) as client:
        await client.create(fresh_path, acl=zk.CREATOR_ALL_ACL)
        await client.add_auth("digest", "dave:pw")
        await client.create(f"{fresh_path}/c", acl=[zk.ACL(zk.Perms.ALL, zk.digest_id("dave", "pw"))])
        await end(server, client.session)
        assert await client.get_children(fresh_path) == ["c"]
        assert (await client.get(f"{fresh_path}/c")).data == b""


async def test_writes_of_the_old_session_are_not_sent_in_the_new_one(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"0")
        outcomes: list[str] = []

        async def write() -> None:
            try:
                while True:
                    await client.set(fresh_path, b"old")
            except (zk.SessionExpiredError, zk.ConnectionLossError) as error:
                outcomes.append(type(error).__name__)

        async def read() -> None:
            while not outcomes:
                await client.get(fresh_path)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(read)
            await end(server, client.session)
            await until_connected(client)
        assert len(outcomes) == 1
        stat = await client.set(fresh_path, b"new")
        assert await client.get(fresh_path) == zk.Node(b"new", stat)


async def test_without_renewal_the_block_ends_with_the_session(server: Served, fresh_path: str) -> None:
    is_cancelled = False
    with pytest.raises(zk.SessionExpiredError) as expired:  # noqa: PT012 - the block is the client's life
        async with connect(server, renew=False) as client, client.watch(fresh_path) as events:
            session = client.session
            try:
                with anyio.fail_after(20):
                    await end_session(server.connect_string, session.id, session.password)
                    await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                is_cancelled = True
                with anyio.CancelScope(shield=True), pytest.raises(zk.SessionExpiredError):  # noqa: PT012
                    async for event in events:  # the client may have taken its session back briefly
                        assert event.type is zk.EventType.RESYNC
                raise
    assert is_cancelled
    assert expired.value.session_id == session.id
    assert client.session is session
    assert session.state is zk.SessionState.EXPIRED
    with pytest.raises(RuntimeError, match="has been left"):
        await anext(events)
    with pytest.raises(zk.SessionExpiredError):
        await client.get("/")


async def test_a_cut_off_client_gives_its_session_up_and_closes_it_later(
    apache_server: ApacheServer, fresh_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with zk.connect(apache_server.connect_string, session_timeout=1) as client:
        old = client.session
        await client.create(fresh_path, ephemeral=True)
        async with client.watch(fresh_path) as events:
            apache_server.pause()
            with anyio.fail_after(20):
                await old.wait_closed()
            assert old.state is zk.SessionState.EXPIRED, "the client gives the session up without an answer"
            apache_server.resume()
            with anyio.fail_after(20):
                assert await client.exists(fresh_path) is None, "the old session is closed before the new one"
                assert (await anext(events)).type is zk.EventType.RESYNC
            assert client.session is not old
            await client.create(fresh_path, ephemeral=True)
            with anyio.fail_after(20):
                if version_of_server(apache_server) < ServerVersion.V3_6:
                    # On such servers a watch compares its reads.
                    assert (await anext(events)).type is zk.EventType.DELETED
                assert (await anext(events)).type is zk.EventType.CREATED


async def test_a_short_silence_costs_the_connection_only(
    apache_server: ApacheServer, fresh_path: str
) -> None:
    async with zk.connect(apache_server.connect_string, session_timeout=4) as client:
        session = client.session
        await client.create(fresh_path, b"0", ephemeral=True)
        async with client.session_changes() as changes, client.watch(fresh_path) as events:
            apache_server.pause()
            with anyio.fail_after(20):
                assert (await anext(changes)).state is zk.SessionState.SUSPENDED
            apache_server.resume()
            with anyio.fail_after(20):
                assert (await anext(changes)).state is zk.SessionState.CONNECTED
                assert (await anext(events)).type is zk.EventType.RESYNC
            assert client.session is session
            assert await client.exists(fresh_path) is not None


async def test_a_restarted_server_has_the_session_again(apache_server: ApacheServer, fresh_path: str) -> None:
    async with zk.connect(apache_server.connect_string, session_timeout=30) as client:
        session = client.session
        await client.create(fresh_path, b"0")
        await client.create(f"{fresh_path}/e", ephemeral=True)
        async with (
            client.watch(fresh_path) as events,
            client.get_and_watch(fresh_path) as (_, unchanged),
            client.exists_and_watch(f"{fresh_path}/new") as (_, changed),
        ):
            apache_server.kill()
            await apache_server.start()
            async with zk.connect(apache_server.connect_string) as other:
                await other.create(f"{fresh_path}/new")
            with anyio.fail_after(30):
                assert (await anext(events)).type is zk.EventType.RESYNC
                event = await changed.wait()
            assert (event.type, event.path) == (zk.EventType.CREATED, f"{fresh_path}/new")
            await client.sync()
            assert not unchanged.has_fired
        assert client.session is session
        assert sorted(await client.get_children(fresh_path)) == ["e", "new"]


async def test_a_session_without_a_client_expires(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, client.exists_and_watch(fresh_path) as (_, made):
        async with raw_session(server.connect_string, session_timeout=1) as session:
            assert session.timeout == 1
            await session.create_ephemeral(fresh_path)
            await session.ping()
            await made.wait()
        async with client.exists_and_watch(fresh_path) as (stat, deleted):
            assert stat is not None
            assert stat.ephemeral_owner == session.id
            with anyio.fail_after(20):
                assert (await deleted.wait()).type is zk.EventType.DELETED
