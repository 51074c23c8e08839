"""Clients that live under a path: from the connect string, and as views of another client."""

# ruff: noqa: SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world
from zkrecipes import EventType
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def test_a_view_shares_the_session_and_sees_its_path_as_the_root() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        assert view.session is client.session
        assert view.state is client.state
        assert await view.create("/n", b"1", make_parents=True) == "/n"
        assert there.znodes() == {"/app", "/app/n"}
        assert (await client.get("/app/n")).data == (await view.get("/n")).data == b"1"
        assert await view.get_children("/") == ["n"]
        assert len(there.server.processor.sessions) == 1


async def test_a_client_shows_its_session_and_its_root() -> None:
    async with world() as there, there.connect("a") as client:
        session = f"<Session 0x{client.session.id:x} connected>"
        assert repr(client) == f"<Client {session}>"
        assert repr(client.chroot("/app")) == f"<Client under /app {session}>"


async def test_a_view_of_a_view_and_of_a_chroot_is_further_down() -> None:
    async with world() as there:
        hosts = f"{there.server.connect_string}/app"
        async with zk.connect(hosts, network=there.network, create_chroot=True) as client:
            view = client.chroot("/team").chroot("/one")
            await view.ensure_path("/n")
            assert there.znodes() == {"/app", "/app/team", "/app/team/one", "/app/team/one/n"}
            assert client.chroot("/") is client


async def test_every_result_has_the_callers_paths() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        await view.ensure_path("/")
        assert await view.create("/s-", sequential=True) == "/s-0000000000"
        path, _ = await view.create_with_stat("/n", b"1")
        assert path == "/n"
        async with view.transaction() as tx:
            made = tx.create("/m")
            tx.check("/n", version=0)
        assert made.result() == "/m"
        async with view.pipeline() as pipe:
            reply = pipe.create("/p-", sequential=True)
        assert reply.result().startswith("/p-")
        assert sorted(await view.get_children("/"))[:2] == ["m", "n"]


async def test_watch_events_have_the_callers_paths() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        await view.ensure_path("/")
        async with (
            view.watch("/", recursive=True) as below,
            view.watch("/n") as events,
            view.exists_and_watch("/n") as (_, changed),
            client.watch("/app/n") as full,
        ):
            await view.create("/n")
            assert (await anext(below)).path == "/n"
            assert (await anext(events)).path == "/n"
            assert (await changed.wait()).path == "/n"
            assert (await anext(full)).path == "/app/n"
            there.server.drop_connections()
            resync = await anext(below)
            assert (resync.type, resync.path) == (EventType.RESYNC, "/")
            assert (await anext(events)).path == "/n"


async def test_an_error_names_the_full_path() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        await view.create("/n", make_parents=True)
        with pytest.raises(zk.NodeExistsError, match="/app/n") as caught:
            await view.create("/n")
        assert caught.value.path == "/app/n"
        with pytest.raises(zk.NoNodeError, match=r"no such znode: /app/missing$"):
            await view.get("/missing")


async def test_an_error_says_when_the_chroot_itself_is_missing() -> None:
    missing = "the chroot /app itself does not exist"
    async with world() as there:
        async with zk.connect(f"{there.server.connect_string}/app", network=there.network) as client:
            for call in (client.get, client.create, client.get_children, client.delete):
                with pytest.raises(zk.NoNodeError, match=missing) as caught:
                    await call("/n")
                assert caught.value.path == "/app/n"
            with pytest.raises(zk.NoNodeError, match=missing):
                async with client.get_and_watch("/n"):
                    pass
            with pytest.raises(zk.TransactionError, match=missing):
                async with client.transaction() as tx:
                    made = tx.create("/n")
            with pytest.raises(zk.TransactionError, match=missing):
                made.result()
            async with client.pipeline() as pipe:
                replies = [pipe.get("/n"), pipe.get("/m")]
            for reply in replies:
                with pytest.raises(zk.NoNodeError, match=missing):
                    reply.result()
            assert await client.exists("/n") is None
            assert there.znodes() == set()


async def test_once_something_below_the_chroot_was_found_it_is_not_suspected() -> None:
    async with world() as there, there.connect("a") as client:
        await client.ensure_path("/app/n")
        finders: list[Callable[[zk.Client], Awaitable[object]]] = [
            lambda view: view.ensure_path("/"),
            lambda view: view.get("/n"),
            lambda view: view.exists("/n"),
            lambda view: view.get_children("/n"),
            lambda view: view.create("/m-", sequential=True),
            lambda view: view.create("/m/o", make_parents=True),
        ]
        for find in finders:
            view = client.chroot("/app")
            assert await view.exists("/missing") is None
            with pytest.raises(zk.NoNodeError, match="if the chroot /app"):
                await view.get("/missing")
            await find(view)
            with pytest.raises(zk.NoNodeError, match=r"no such znode: /app/missing$"):
                await view.get("/missing")


async def test_an_explanation_asks_no_server() -> None:
    """So neither an unreadable chroot nor an outage right after the answer touches the error."""
    async with world() as there:
        async with zk.connect(f"{there.server.connect_string}/app", network=there.network) as client:
            for call in (client.get, client.create, client.get_children, client.delete):
                before = len(there.requests)
                with pytest.raises(zk.NoNodeError):
                    await call("/n")
                assert len(there.requests) == before + 1


MakeOne = Callable[[zk.Client], Awaitable[str]]


async def _in_a_transaction(view: zk.Client) -> str:
    async with view.transaction() as tx:
        made = tx.create("/", sequential=True)
    return made.result()


async def _in_a_pipeline(view: zk.Client) -> str:
    async with view.pipeline() as pipe:
        made = pipe.create("/", sequential=True)
    return made.result()


async def _in_a_stream(view: zk.Client) -> str:
    async with view.stream([view.operations.create("/", sequential=True)]) as replies:
        return (await anext(replies)).result()


async def _with_stat(view: zk.Client) -> str:
    path, _ = await view.create_with_stat("/", sequential=True)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda view: view.create("/", sequential=True),
        lambda view: view.create("/", sequential=True, ephemeral=True),
        lambda view: view.create("/", sequential=True, make_parents=True),
        _with_stat,
        _in_a_transaction,
        _in_a_pipeline,
        _in_a_stream,
    ],
)
async def test_a_sequential_znode_at_the_root_of_a_view_is_made_in_it(make: MakeOne) -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/app")
        view = client.chroot("/app")
        made = await make(view)
        assert made == "/0000000000"
        assert there.znodes() == {"/app", "/app/0000000000"}
        assert (await view.get(made)).data == b""
        await view.delete(made)


async def test_parents_of_a_sequential_znode_at_the_root_are_made() -> None:
    async with world() as there:
        async with zk.connect(f"{there.server.connect_string}/a/b", network=there.network) as client:
            assert await client.create("/", sequential=True, make_parents=True) == "/0000000000"
            assert there.znodes() == {"/a", "/a/b", "/a/b/0000000000"}


async def test_without_a_chroot_a_missing_znode_costs_one_request() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.NoNodeError):
            await client.get("/n")
        assert len(there.requests) == 1


async def test_a_transaction_that_fails_for_another_reason_explains_nothing() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        await view.ensure_path("/n")
        with pytest.raises(zk.TransactionError, match=r"exists already: /app/n$"):
            async with view.transaction() as tx:
                tx.create("/n")
        assert there.count(OpCode.EXISTS) == 0


async def test_parents_that_are_made_reach_above_the_chroot() -> None:
    async with world() as there:
        hosts = f"{there.server.connect_string}/a/b"
        async with zk.connect(hosts, network=there.network) as client:
            await client.create("/c/d", make_parents=True)
            assert there.znodes() == {"/a", "/a/b", "/a/b/c", "/a/b/c/d"}
