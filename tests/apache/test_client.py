"""Every request of the client, against the dev server and Apache's, which must answer the same."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.apache.loops import every_loop
from tests.apache.served import Served
from tests.apache.server_versions import since
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import ServerVersion
from zkrecipes.net.capability_cache import has_version

pytestmark = pytest.mark.anyio
anyio_backend = every_loop()

# The largest request that a server accepts by default: `jute.maxbuffer`, 1 MiB less a byte.
PACKET_SIZE_MAX = 0xFFFFF


def connect(server: Served, chroot: str = "", **options: Any) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(server.connect_string + chroot, session_timeout=10, connect_timeout=15, **options)


async def until_deleted(server: Served, client: zk.Client, path: str) -> None:
    while await client.exists(path) is not None:
        await server.reap()


# --- one request at a time -------------------------------------------------------------------------------


async def test_a_znode_is_created_read_changed_and_deleted(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        assert await client.exists(fresh_path) is None
        before = time.time() * 1000
        assert await client.create(fresh_path, b"one") == fresh_path
        made = await client.exists(fresh_path)
        assert made is not None
        assert (made.version, made.cversion, made.aversion) == (0, 0, 0)
        assert (made.data_length, made.num_children, made.ephemeral_owner) == (3, 0, 0)
        assert made.czxid == made.mzxid == made.pzxid > 0
        assert made.ctime == made.mtime
        assert abs(made.ctime - before) < 60_000

        changed = await client.set(fresh_path, b"second", version=0)
        assert (changed.version, changed.data_length, changed.czxid) == (1, 6, made.czxid)
        assert changed.mzxid > made.mzxid
        assert await client.get(fresh_path) == zk.Node(b"second", changed)
        data, stat = await client.get(fresh_path)
        assert (data, stat) == (b"second", changed)

        await client.delete(fresh_path, version=1)
        assert await client.exists(fresh_path) is None


@pytest.mark.parametrize("data", [None, b"", b"\0", bytes(range(256)) * 40])
async def test_data_is_read_as_it_was_written(server: Served, fresh_path: str, data: bytes | None) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, data)
        assert (await client.get(fresh_path)).data == data
        await client.set(fresh_path, b"between")
        await client.set(fresh_path, data)
        node = await client.get(fresh_path)
        assert node.data == data
        assert node.stat.data_length == len(data or b"")


async def test_names_may_be_in_any_language(server: Served, fresh_path: str) -> None:
    names = ["Straße", "日本語", "имя", "a b", "~!@#$%^&*()", "...", "q\N{COMBINING ACUTE ACCENT}"]
    async with connect(server) as client:
        await client.create(fresh_path)
        for name in names:
            await client.create(f"{fresh_path}/{name}", name.encode())
        assert sorted(await client.get_children(fresh_path)) == sorted(names)
        for name in names:
            assert (await client.get(f"{fresh_path}/{name}")).data == name.encode()


async def test_children_are_listed_with_the_stat_of_their_parent(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        assert await client.get_children(fresh_path) == []
        for name in "abc":
            await client.create(f"{fresh_path}/{name}")
        await client.delete(f"{fresh_path}/b")
        children, stat = await client.get_children_with_stat(fresh_path)
        assert sorted(children) == ["a", "c"]
        assert (stat.num_children, stat.cversion, stat.version) == (2, 4, 0)
        assert stat == await client.exists(fresh_path)
        assert fresh_path[1:] in await client.get_children("/")


async def test_sequential_znodes_are_numbered(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        first = await client.create(f"{fresh_path}/job-", sequential=True)
        second = await client.create(f"{fresh_path}/", sequential=True)
        third = await client.create(f"{fresh_path}/job-", sequential=True, ephemeral=True)
        assert first == f"{fresh_path}/job-0000000000"
        assert second == f"{fresh_path}/0000000001"
        assert third == f"{fresh_path}/job-0000000002"
        stat = await client.exists(third)
        assert stat is not None
        assert stat.ephemeral_owner == client.session.id


async def test_ephemeral_znodes_are_deleted_with_their_session(server: Served, fresh_path: str) -> None:
    async with connect(server) as watcher:
        async with connect(server) as client:
            await client.create(fresh_path, ephemeral=True)
            stat = await watcher.exists(fresh_path)
            assert stat is not None
            assert stat.ephemeral_owner == client.session.id != watcher.session.id
            with pytest.raises(zk.NoChildrenForEphemeralsError) as refused:
                await client.create(f"{fresh_path}/child")
            assert (refused.value.code, refused.value.path) == (-108, f"{fresh_path}/child")
        # leaving has closed the session, so this needs no waiting
        await watcher.sync()
        assert await watcher.exists(fresh_path) is None


async def test_missing_parents_are_created(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        deep = f"{fresh_path}/b/c"
        assert await client.create(deep, b"x", ephemeral=True, make_parents=True) == deep
        parent = await client.get(f"{fresh_path}/b")
        assert (parent.data, parent.stat.ephemeral_owner) == (b"", 0)
        made, stat = await client.create_with_stat(f"{fresh_path}/d/e-", sequential=True, make_parents=True)
        assert made == f"{fresh_path}/d/e-0000000000"
        assert stat == await client.exists(made)


async def test_many_clients_ensure_a_path_at_once(server: Served, fresh_path: str) -> None:
    path = f"{fresh_path}/one/two/three"

    async def ensure(client: zk.Client) -> None:
        await client.ensure_path(path)
        assert await client.exists(path) is not None

    async with connect(server) as one, connect(server) as other, anyio.create_task_group() as tasks:
        for client in (one, other) * 4:
            tasks.start_soon(ensure, client)
    async with connect(server) as client:
        await client.set(path, b"kept")
        await client.ensure_path(path)
        assert (await client.get(path)).data == b"kept"


async def test_a_znode_is_created_with_its_stat(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        made, stat = await client.create_with_stat(fresh_path, b"data")
        assert (made, stat) == (fresh_path, await client.exists(fresh_path))
        for options in (
            {"ephemeral": True},
            {"sequential": True},
            {"ephemeral": True, "sequential": True},
            {"container": True},
            {"ttl": 60.0},
            {"ttl": 60.0, "sequential": True},
        ):
            if server.version < ServerVersion.V3_5 and not options.keys().isdisjoint({"container", "ttl"}):
                with pytest.raises(zk.UnimplementedError, match=r"needs ZooKeeper 3\.5"):
                    await client.create_with_stat(f"{fresh_path}/n", b"12", **options)
                continue
            made, stat = await client.create_with_stat(f"{fresh_path}/n", b"12", **options)
            assert stat == await client.exists(made)
            assert stat.data_length == 2
            assert made.startswith(f"{fresh_path}/n")
            if "sequential" not in options:
                assert made == f"{fresh_path}/n"
            await client.delete(made)


@since(ServerVersion.V3_5, "a container")
async def test_a_container_is_deleted_after_its_last_child(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        unused = f"{fresh_path}-unused"
        await client.create(fresh_path, container=True)
        await client.create(unused, container=True)
        await client.create(f"{fresh_path}/child")
        await server.reap()
        assert await client.exists(fresh_path) is not None
        await client.delete(f"{fresh_path}/child")
        with anyio.fail_after(15):
            await until_deleted(server, client, fresh_path)
        assert await client.exists(unused) is not None, "a container that never had a child lives longer"


@since(ServerVersion.V3_5, "a znode with a ttl")
async def test_a_znode_is_deleted_after_its_time_to_live(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        short = await client.create(f"{fresh_path}/short", ttl=0.1)
        parent = await client.create(f"{fresh_path}/parent", ttl=0.1)
        await client.create(f"{parent}/child")
        long = await client.create(f"{fresh_path}/long-", ttl=3600, sequential=True)
        with anyio.fail_after(15):
            await until_deleted(server, client, short)
        assert await client.exists(parent) is not None, "the server keeps a znode that has a child"
        assert await client.exists(long) is not None


async def test_sync_is_answered(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.sync()
        await client.sync(fresh_path)  # the znode need not exist


# --- what the server refuses -----------------------------------------------------------------------------

Call = Callable[[zk.Client, str], Awaitable[object]]

# A call, its error, the error's code, and the path in it, relative to the given one. `/n` has version 0 and a
# child `/n/c`.
REFUSED: dict[str, tuple[Call, type[zk.ServerError], int, str]] = {
    "create-exists": (lambda c, p: c.create(f"{p}/n"), zk.NodeExistsError, -110, "/n"),
    "create-no-parent": (lambda c, p: c.create(f"{p}/x/y"), zk.NoNodeError, -101, "/x/y"),
    "create-sequential-no-parent": (
        lambda c, p: c.create(f"{p}/x/", sequential=True),
        zk.NoNodeError,
        -101,
        "/x/",
    ),
    "create-with-stat-exists": (lambda c, p: c.create_with_stat(f"{p}/n"), zk.NodeExistsError, -110, "/n"),
    "get": (lambda c, p: c.get(f"{p}/x"), zk.NoNodeError, -101, "/x"),
    "get-children": (lambda c, p: c.get_children(f"{p}/x"), zk.NoNodeError, -101, "/x"),
    "get-children-with-stat": (lambda c, p: c.get_children_with_stat(f"{p}/x"), zk.NoNodeError, -101, "/x"),
    "get-acl": (lambda c, p: c.get_acl(f"{p}/x"), zk.NoNodeError, -101, "/x"),
    "set": (lambda c, p: c.set(f"{p}/x", b""), zk.NoNodeError, -101, "/x"),
    "set-version": (lambda c, p: c.set(f"{p}/n", b"", version=1), zk.BadVersionError, -103, "/n"),
    "set-acl": (lambda c, p: c.set_acl(f"{p}/x", zk.OPEN_ACL), zk.NoNodeError, -101, "/x"),
    "set-acl-version": (
        lambda c, p: c.set_acl(f"{p}/n", zk.OPEN_ACL, version=1),
        zk.BadVersionError,
        -103,
        "/n",
    ),
    "set-acl-scheme": (
        lambda c, p: c.set_acl(f"{p}/n", [zk.ACL(zk.Perms.ALL, zk.Id("nobody", "knows"))]),
        zk.InvalidACLError,
        -114,
        "/n",
    ),
    "create-acl-auth-without-auth": (
        lambda c, p: c.create(f"{p}/x", acl=zk.CREATOR_ALL_ACL),
        zk.InvalidACLError,
        -114,
        "/x",
    ),
    "delete": (lambda c, p: c.delete(f"{p}/x"), zk.NoNodeError, -101, "/x"),
    "delete-version": (lambda c, p: c.delete(f"{p}/n/c", version=7), zk.BadVersionError, -103, "/n/c"),
    "delete-children": (lambda c, p: c.delete(f"{p}/n"), zk.NotEmptyError, -111, "/n"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_is_an_error_with_code_and_path(server: Served, fresh_path: str, case: str) -> None:
    call, error, code, path = REFUSED[case]
    async with connect(server) as client:
        await client.create(f"{fresh_path}/n/c", make_parents=True)
        with pytest.raises(zk.ServerError) as refused:
            await call(client, fresh_path)
        assert type(refused.value) is error
        assert (refused.value.code, refused.value.path) == (code, fresh_path + path)
        assert fresh_path + path in str(refused.value)
        assert refused.value.nothing_changed
        assert sorted(await client.get_children(fresh_path)) == ["n"]


async def test_the_root_stays(server: Served) -> None:
    async with connect(server) as client:
        with pytest.raises(zk.BadArgumentsError) as refused:
            await client.delete("/")
        assert (refused.value.code, refused.value.path) == (-8, "/")
        with pytest.raises(zk.NodeExistsError):
            await client.create("/")


# --- who may do what -------------------------------------------------------------------------------------


async def test_an_acl_is_read_and_replaced(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        acl, stat = await client.get_acl(fresh_path)
        assert acl == list(zk.OPEN_ACL)
        assert stat.aversion == 0
        alice = zk.ACL(zk.Perms.READ | zk.Perms.ADMIN, zk.digest_id("alice", "secret"))
        wanted = [zk.ACL(zk.Perms.READ | zk.Perms.ADMIN | zk.Perms.DELETE, zk.ANYONE_ID), alice]
        changed = await client.set_acl(fresh_path, wanted, version=0)
        assert (changed.aversion, changed.version) == (1, 0)
        acl, stat = await client.get_acl(fresh_path)
        # only administrators get the digest, and here every client is one
        assert (acl, stat) == (wanted, changed)
        with pytest.raises(zk.NoAuthError) as refused:
            await client.set(fresh_path, b"no")
        assert (refused.value.code, refused.value.path) == (-102, fresh_path)


async def test_only_the_creator_has_the_permissions_of_its_acl(server: Served, fresh_path: str) -> None:
    secret, child = f"{fresh_path}/secret", f"{fresh_path}/secret/child"
    async with (
        connect(server, auth=[("digest", "alice:wonder")]) as alice,
        connect(server, auth=[("digest", b"mallory:wonder")]) as mallory,
        connect(server) as anonymous,
    ):
        await alice.create(fresh_path)
        await alice.create(secret, b"x", acl=zk.CREATOR_ALL_ACL)
        await alice.create(child, b"", acl=zk.CREATOR_ALL_ACL)
        assert await alice.get_acl(secret) == (
            [zk.ACL(zk.Perms.ALL, zk.digest_id("alice", "wonder"))],
            await alice.exists(secret),
        )
        for other in (mallory, anonymous):
            for call in (
                other.get(secret),
                other.set(secret, b"y"),
                other.get_children(secret),
                other.create(f"{secret}/mine"),
                other.delete(child),
                other.set_acl(secret, zk.OPEN_ACL),
                other.get_acl(secret),
            ):
                with pytest.raises(zk.NoAuthError):
                    await call
            # `exists` needs no permission in 3.8, and READ in later 3.9 (ZOOKEEPER-2590)
        await anonymous.add_auth("digest", "alice:wonder")
        assert (await anonymous.get(secret)).data == b"x"
        # its parent, which is open, decides about deletion
        await alice.delete(child)
        await mallory.delete(secret)


async def test_a_default_acl_is_given_to_every_znode(server: Served, fresh_path: str) -> None:
    mine = [zk.ACL(zk.Perms.ALL, zk.digest_id("bob", "pw"))]
    async with connect(server, auth=[("digest", "bob:pw")], default_acl=zk.CREATOR_ALL_ACL) as client:
        await client.create(f"{fresh_path}/made", make_parents=True)
        await client.ensure_path(f"{fresh_path}/ensured")
        async with client.transaction() as transaction:
            transaction.create(f"{fresh_path}/together")
        await client.create(f"{fresh_path}/open", acl=zk.OPEN_ACL)
        for name in ("", "/made", "/ensured", "/together"):
            assert (await client.get_acl(fresh_path + name))[0] == mine
        assert (await client.get_acl(f"{fresh_path}/open"))[0] == list(zk.OPEN_ACL)


async def test_a_refused_credential_ends_the_client(server: Served) -> None:
    with pytest.raises(zk.AuthFailedError):  # noqa: PT012 - the block is the client's life
        async with connect(server) as client:
            with pytest.raises(zk.AuthFailedError) as refused:
                await client.add_auth("no-such-scheme", "hunter2")
            assert "hunter2" not in str(refused.value)
            assert client.state is zk.SessionState.AUTH_FAILED
            await anyio.sleep(15)
            pytest.fail("the block was not cancelled")
    with pytest.raises(zk.AuthFailedError):
        async with connect(server, auth=[("no-such-scheme", "hunter2")]):
            pytest.fail("the client connected")


# --- many requests ---------------------------------------------------------------------------------------


async def test_a_pipeline_has_every_call_and_keeps_their_order(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        path = f"{fresh_path}/n"
        async with client.pipeline() as pipe:
            absent = pipe.exists(path)
            made = pipe.create(path, b"1", acl=zk.OPEN_ACL)
            sequential = pipe.create(f"{path}/s", sequential=True)
            ephemeral = pipe.create(f"{path}/e", ephemeral=True)
            first = pipe.get(path)
            changed = pipe.set(path, b"2", version=0)
            refused = pipe.set(path, b"3", version=0)
            second = pipe.get(path)
            present = pipe.exists(path)
            children = pipe.get_children(path)
            both = pipe.get_children_with_stat(path)
            acl_set = pipe.set_acl(path, zk.OPEN_ACL, version=0)
            acl = pipe.get_acl(path)
            synced = pipe.sync(path)
            deleted = pipe.delete(ephemeral_path := f"{path}/e")
            missing = pipe.get(ephemeral_path)
            assert not missing.is_done
            with pytest.raises(RuntimeError, match="not been answered yet"):
                missing.result()
        assert absent.result() is None
        assert made.result() == path
        assert sequential.result() == f"{path}/s0000000000"
        assert ephemeral.result() == ephemeral_path
        assert first.result().data == b"1"
        assert changed.result().version == 1
        assert isinstance(refused.error, zk.BadVersionError)
        with pytest.raises(zk.BadVersionError):
            refused.result()
        assert second.result().data == b"2"
        assert present.result() == second.result().stat
        assert set(children.result()) == {"s0000000000", "e"}
        assert set(both.result()[0]) == set(children.result())
        assert both.result()[1].num_children == 2
        assert acl_set.result().aversion == 1
        assert acl.result() == (list(zk.OPEN_ACL), acl_set.result())
        assert (synced.result(), deleted.result()) == (None, None)
        assert isinstance(missing.error, zk.NoNodeError)


async def test_a_pipeline_may_be_long(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with client.pipeline() as pipe:
            made = [pipe.create(f"{fresh_path}/{number:04}", b"%d" % number) for number in range(1000)]
        async with client.pipeline() as pipe:
            nodes = [pipe.get(each.result()) for each in made]
        assert [each.result().data for each in nodes] == [b"%d" % number for number in range(1000)]
        czxids = [each.result().stat.czxid for each in nodes]
        assert czxids == sorted(set(czxids)), "the server created them in the order of the calls"
        assert len(await client.get_children(fresh_path)) == 1000


async def test_many_tasks_share_a_client(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)

        async def work(number: int) -> None:
            path = await client.create(f"{fresh_path}/{number}", b"0")
            for version in range(5):
                assert (await client.set(path, b"%d" % version, version=version)).version == version + 1
                assert (await client.get(path)).data == b"%d" % version
            await client.delete(path, version=5)

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(work, number)
        assert await client.get_children(fresh_path) == []


async def test_cancelled_calls_disturb_no_other_call(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"0")

        async def be_cancelled(delay: float) -> None:
            with anyio.move_on_after(delay):
                while True:
                    await client.set(fresh_path, b"x" * 1000)
                    await client.get(fresh_path)
                    await client.get_children("/")

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(be_cancelled, number / 300)
            for _ in range(50):
                assert await client.exists(fresh_path) is not None
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.set(fresh_path, b"sent or not")
        stat = await client.set(fresh_path, b"still here")
        assert await client.get(fresh_path) == zk.Node(b"still here", stat)


@since(ServerVersion.V3_5, "a container")
async def test_containers_and_ttl_znodes_are_created_in_a_transaction(
    server: Served, fresh_path: str
) -> None:
    async with connect(server) as client:
        async with client.transaction() as transaction:
            container = transaction.create(fresh_path, container=True)
            ttl = transaction.create(f"{fresh_path}/t", ttl=60)
        assert container.result() == fresh_path
        assert ttl.result() == f"{fresh_path}/t"
        assert await client.get_children(fresh_path) == ["t"]


async def test_a_transaction_applies_all_of_it(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"0")
        await client.create(f"{fresh_path}/old")
        async with client.transaction() as transaction:
            checked = transaction.check(fresh_path, version=0)
            made = transaction.create(f"{fresh_path}/n-", b"1", sequential=True)
            ephemeral = transaction.create(f"{fresh_path}/e", ephemeral=True)
            changed = transaction.set(fresh_path, b"1", version=0)
            deleted = transaction.delete(f"{fresh_path}/old")
            unguarded = transaction.check(fresh_path)
            assert len(transaction) == 6
            with pytest.raises(RuntimeError):
                made.result()
            assert (await client.get(fresh_path)).data == b"0", "nothing is sent before the end of the block"
        assert (checked.result(), deleted.result(), unguarded.result()) == (None, None, None)
        assert made.result() == f"{fresh_path}/n-0000000001"
        assert ephemeral.result() == f"{fresh_path}/e"
        assert (changed.result().version, changed.result().data_length) == (1, 1)
        children, stat = await client.get_children_with_stat(fresh_path)
        assert set(children) == {"n-0000000001", "e"}
        assert stat.mzxid == stat.pzxid, "one zxid for all operations"


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_a_transaction_that_fails_applies_nothing(
    server: Served, fresh_path: str, failing: int
) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"0")
        operations: list[Callable[[zk.Transaction], zk.Pending[Any]]] = [
            lambda transaction: transaction.create(f"{fresh_path}/a"),
            lambda transaction: transaction.set(fresh_path, b"1"),
        ]
        operations.insert(failing, lambda transaction: transaction.check(fresh_path, version=9))
        results: list[zk.Pending[Any]] = []
        with pytest.raises(zk.TransactionError) as failed:
            async with client.transaction() as transaction:
                results += [operation(transaction) for operation in operations]
        assert (failed.value.index, failed.value.operations) == (failing, 3)
        assert type(failed.value.error) is zk.BadVersionError
        assert failed.value.error.path == fresh_path
        for result in results:
            with pytest.raises(zk.TransactionError):
                result.result()
        data, stat = await client.get(fresh_path)
        assert (data, stat.version, stat.cversion) == (b"0", 0, 0)


async def test_a_transaction_that_is_left_with_an_error_is_not_sent(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - what the block raises comes out
            async with client.transaction() as transaction:
                made = transaction.create(fresh_path)
                raise KeyError("mine")
        with pytest.raises(RuntimeError):
            made.result()
        assert await client.exists(fresh_path) is None
        async with client.transaction():
            pass  # nothing to do
        with pytest.raises(RuntimeError, match="ended"):
            transaction.create(fresh_path)


# --- sizes -----------------------------------------------------------------------------------------------


def largest_data(path: str) -> int:
    """Return the largest data of a `set` of `path`, less header, two lengths and the version."""
    return PACKET_SIZE_MAX - (8 + 4 + len(path) + 4 + 4)


async def test_the_largest_request_is_served(server: Served, fresh_path: str) -> None:
    data = bytes(range(256)) * 4096
    data = data[: largest_data(fresh_path)]
    async with connect(server) as client:
        await client.create(fresh_path)
        stat = await client.set(fresh_path, data)
        assert stat.data_length == len(data)
        async with client.pipeline() as pipe:
            nodes = [pipe.get(fresh_path) for _ in range(5)]
        assert all(node.result().data == data for node in nodes)


@pytest.mark.parametrize("excess", [1, 2_000_000])
async def test_a_request_that_is_too_large_costs_the_connection_only(
    server: Served, fresh_path: str, excess: int
) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"0")
        session = client.session
        with pytest.raises(zk.ConnectionLossError) as lost:
            await client.set(fresh_path, bytes(largest_data(fresh_path) + excess))
        assert lost.value.path == fresh_path
        assert "unknown" in str(lost.value)
        assert await client.get(fresh_path) == zk.Node(b"0", (await client.get(fresh_path)).stat)
        assert client.session is session, "the session has outlived the connection"


async def test_a_request_above_our_own_limit_is_not_sent(server: Served, fresh_path: str) -> None:
    async with connect(server, max_packet_size=10_000) as client:
        await client.create(fresh_path, b"0")
        with pytest.raises(ValueError, match="max_packet_size"):
            await client.set(fresh_path, bytes(10_000))
        assert (await client.get(fresh_path)).stat.version == 0


async def test_a_reply_above_our_own_limit_fails_and_is_not_requested_again(
    server: Served, fresh_path: str
) -> None:
    async with connect(server) as writer, connect(server, max_packet_size=10_000) as client:
        await writer.create(fresh_path, bytes(20_000))
        async with client.pipeline() as pipe:
            before, large, after = pipe.exists("/"), pipe.get(fresh_path), pipe.exists(fresh_path)
        assert before.result() is not None
        assert isinstance(large.error, zk.PacketTooLargeError)
        assert large.error.path == fresh_path
        assert large.error.limit == 10_000
        assert large.error.size > 20_000
        stat = after.result()
        assert stat is not None
        assert stat.data_length == 20_000


# --- chroot ----------------------------------------------------------------------------------------------


async def test_a_chroot_is_the_root_of_all_paths(server: Served, fresh_path: str) -> None:
    async with connect(server) as whole, connect(server, fresh_path, create_chroot=True) as client:
        assert await whole.exists(fresh_path) is not None
        assert await client.create("/a", b"1") == "/a"
        assert await client.create("/a/s", sequential=True) == "/a/s0000000000"
        assert (await client.create_with_stat("/b"))[0] == "/b"
        assert sorted(await client.get_children("/")) == ["a", "b"]
        assert (await whole.get(f"{fresh_path}/a")).data == b"1"
        async with client.transaction() as transaction:
            made = transaction.create("/c")
            transaction.set("/", b"root")
        assert made.result() == "/c"
        assert (await client.get("/")).data == b"root" == (await whole.get(fresh_path)).data
        with pytest.raises(zk.NoNodeError) as refused:
            await client.get("/x")
        assert refused.value.path == f"{fresh_path}/x", "an error names the full path"
        view = client.chroot("/a")
        assert view.session is client.session
        assert await view.get_children("/") == ["s0000000000"]
        assert await view.create("/t") == "/t"
        assert await client.exists("/a/t") is not None
        await client.sync("/")


async def test_a_missing_chroot_is_reported(server: Served, fresh_path: str) -> None:
    async with connect(server, f"{fresh_path}/app") as client:
        assert await client.exists("/") is None
        with pytest.raises(zk.NoNodeError, match=f"chroot {fresh_path}/app itself does not exist"):
            await client.create("/a")
        await client.ensure_path("/a")
        assert await client.get_children("/") == ["a"]
        with pytest.raises(zk.NoNodeError) as refused:
            await client.get("/b")
        assert not refused.value.detail


async def test_parents_of_a_missing_chroot_are_created(server: Served, fresh_path: str) -> None:
    async with connect(server, f"{fresh_path}/app") as client:
        assert await client.create("/a/b", make_parents=True) == "/a/b"
        assert await client.chroot("/a").get_children("/") == ["b"]


# --- what a server can do --------------------------------------------------------------------------------


async def test_the_server_version_is_found_out_in_the_same_session(server: Served) -> None:
    async with connect(server) as client:
        session_id = client.session.id
        for version in ServerVersion:
            has_it = await has_version(client._engine, version)  # noqa: SLF001 - it has no public name
            assert has_it is (server.version >= version)
        assert client.session.id == session_id


async def test_a_client_knows_its_server_version(server: Served) -> None:
    async with connect(server) as client:
        assert await recipe_api(client).has_containers() is (server.version >= ServerVersion.V3_5)


async def test_a_server_answers_a_four_letter_word(server: Served) -> None:
    async with connect(server) as client:
        assert (await client.four_letter_word("srvr")).startswith("Zookeeper version: ")
        assert "Mode: standalone" in await client.four_letter_word("srvr")
        assert "zk_znode_count" in await client.four_letter_word("mntr")


# --- hosts -----------------------------------------------------------------------------------------------


async def test_other_hosts_are_used_from_the_next_connection_on(server: Served, fresh_path: str) -> None:
    async with zk.connect(f"127.0.0.1:1,{server.connect_string}", session_timeout=10) as client:
        session = client.session
        client.update_hosts(server.connect_string)
        await client.create(fresh_path, ephemeral=True)
        for wrong in ("", "host:port", f"{server.connect_string}/chroot"):
            with pytest.raises(ValueError, match=r".+"):
                client.update_hosts(wrong)
        with pytest.raises(zk.ConnectionLossError):
            await client.set(fresh_path, bytes(2_000_000))  # costs the connection
        assert await client.exists(fresh_path) is not None
        assert client.session is session


# --- requests that only newer servers answer --------------------------------------------------------------


@since(ServerVersion.V3_5, "check_watches")
async def test_a_server_reports_the_watches_of_a_client(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        assert not await client.check_watches(fresh_path)
        async with client.get_and_watch(fresh_path):
            assert await client.check_watches(fresh_path)
            assert await client.check_watches(fresh_path, zk.WatcherType.DATA)
            assert not await client.check_watches(fresh_path, zk.WatcherType.CHILDREN)


@since(ServerVersion.V3_6, "get_all_children_number")
async def test_a_server_reports_the_number_of_znodes_below_one(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        for name in ("a", "a/b", "a/b/c", "d"):
            await client.create(f"{fresh_path}/{name}", make_parents=True)
        assert await client.get_all_children_number(fresh_path) == 4
        assert await client.chroot(fresh_path).get_all_children_number("/a") == 2
        assert await client.get_all_children_number(f"{fresh_path}/d") == 0
        with pytest.raises(zk.NoNodeError):
            await client.get_all_children_number(f"{fresh_path}/none")


@since(ServerVersion.V3_6, "get_ephemerals")
async def test_a_session_can_list_its_own_ephemerals(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, connect(server) as other:
        await client.ensure_path(fresh_path)
        await client.create(f"{fresh_path}-beside", ephemeral=True)
        for name in ("a", "ab", "c"):
            await client.create(f"{fresh_path}/{name}", ephemeral=True)
        await other.create(f"{fresh_path}/of-another", ephemeral=True)
        below = [f"{fresh_path}/{name}" for name in ("a", "ab", "c")]
        assert sorted(await client.get_ephemerals()) == sorted([*below, f"{fresh_path}-beside"])
        assert sorted(await client.get_ephemerals(f"{fresh_path}/a")) == below[:2]
        assert sorted(await client.get_ephemerals(f"{fresh_path}/")) == below
        # a path that only starts like the chroot is not below it
        assert sorted(await client.chroot(fresh_path).get_ephemerals()) == ["/a", "/ab", "/c"]
        assert await client.get_ephemerals(f"{fresh_path}/none") == []


@since(ServerVersion.V3_7, "whoami")
async def test_a_session_can_ask_for_its_identities(server: Served) -> None:
    async with connect(server) as client:
        assert await client.whoami() == [zk.Id("ip", "127.0.0.1")]
        await client.add_auth("digest", "ann:secret")
        assert sorted(await client.whoami()) == [zk.Id("digest", "ann"), zk.Id("ip", "127.0.0.1")]


async def test_the_configuration_is_read_by_its_full_path(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        if server.version < ServerVersion.V3_5:
            with pytest.raises(zk.NoNodeError):  # read by its path, it is a znode like any other
                await client.get("/zookeeper/config")
            for view in (client, client.chroot(fresh_path)):
                with pytest.raises(zk.UnimplementedError, match=r"get_config needs ZooKeeper 3\.5"):
                    await view.get_config()
            return
        whole = await client.get("/zookeeper/config")
        assert await client.get_config() == await client.chroot(fresh_path).get_config() == whole


@since(ServerVersion.V3_5, "reconfig")
async def test_a_server_that_forbids_reconfigurations_reports_it(server: Served) -> None:
    async with connect(server) as client:
        with pytest.raises(zk.ReconfigDisabledError):
            await client.reconfig(joining=["server.4=h4:2888:3888;2181"])


# --- many at once ----------------------------------------------------------------------------------------


@since(ServerVersion.V3_6, "multi_read")
async def test_several_reads_are_answered_together_in_order(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path, b"1")
        await client.create(f"{fresh_path}/child", acl=[zk.ACL(zk.Perms.WRITE, zk.Id("world", "anyone"))])
        async with client.multi_read() as reads:
            missing = reads.get(f"{fresh_path}/none")
            node = reads.get(fresh_path)
            children = reads.get_children(fresh_path)
            forbidden = reads.get_children(f"{fresh_path}/child")
        assert node.result() == await client.get(fresh_path)
        assert children.result() == ["child"]
        with pytest.raises(zk.NoNodeError, match="none"):
            missing.result()
        with pytest.raises(zk.NoAuthError, match="child"):
            forbidden.result()


@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
async def test_a_stream_is_answered_in_order(server: Served, fresh_path: str, is_async: bool) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        ops = client.operations
        requests = [ops.create(f"{fresh_path}/s-", b"%d" % number, sequential=True) for number in range(300)]

        async def slowly() -> AsyncIterator[zk.Operation[str]]:
            for number, request in enumerate(requests):
                if number % 100 == 0:
                    await anyio.sleep(0.001)
                yield request

        async with client.stream(slowly() if is_async else requests, window=64) as replies:
            paths = [reply.result() async for reply in replies]
        assert paths == [f"{fresh_path}/s-{number:010d}" for number in range(300)]
        async with client.stream(map(ops.get, paths)) as replies_to_get:
            data = [reply.result().data async for reply in replies_to_get]
        assert data == [b"%d" % number for number in range(300)]


# --- trees -----------------------------------------------------------------------------------------------


async def test_a_tree_is_walked_and_deleted(server: Served, fresh_path: str) -> None:
    below = [f"/{a}{b}" for a in "abc" for b in ("", "/x", "/x/y", "/z")]
    async with connect(server) as client:
        await client.ensure_path(fresh_path)
        view = client.chroot(fresh_path)
        async with view.pipeline() as pipe:
            for path in below:
                pipe.create(path)
        async with view.walk() as znodes:
            visited = [path async for path, _ in znodes]
        assert visited[0] == "/"
        assert sorted(visited[1:]) == sorted(below)
        await view.delete("/a", recursive=True)
        assert sorted(await view.get_children("/")) == ["b", "c"]
        await client.delete(fresh_path, recursive=True)
        assert await client.exists(fresh_path) is None


async def test_a_tree_is_deleted_while_other_clients_add_to_it(server: Served, fresh_path: str) -> None:
    async def add(client: zk.Client) -> None:
        with suppress(zk.NoNodeError):
            for number in range(500):
                await client.create(
                    f"{fresh_path}/a/{number % 7}/s-", sequential=True, make_parents=number < 50
                )

    async with connect(server) as client, connect(server) as other:
        await client.ensure_path(f"{fresh_path}/a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add, other)
            await anyio.sleep(0.02)
            while await client.exists(fresh_path) is not None:
                with suppress(zk.NotEmptyError, zk.NoNodeError):
                    await client.delete(fresh_path, recursive=True)
            tasks.cancel_scope.cancel()


async def test_a_znode_is_waited_for(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, connect(server) as other, anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.05):
            await client.wait_for_node(fresh_path)
        tasks.start_soon(other.create, fresh_path, b"1")
        stat = await client.wait_for_node(fresh_path)
        assert stat.data_length == 1
