"""ConfigTree: each snapshot and each change is the tree at one point in time, never a mixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    ClientLeftovers,
    Outcome,
    ReceivedRequest,
    World,
    cancel_at_each_pass,
    inject_into_each_request,
    jumping_backend,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode

anyio_backend = virtual_time()

PATH = "/app/config"
TREE = {
    "": b"root",
    "db": b"",
    "db/host": b"h",
    "db/port": b"1",
    "web": b"w",
    "web/a": b"",
    "web/a/b": b"deep",
}


@asynccontextmanager
async def stage(*names: str, chunk_size: int | None = None) -> AsyncIterator[tuple[World, list[zk.Client]]]:
    """Clients; `chunk_size` splits their bytes, so that requests of other clients arrive in between."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world())
        there.network.chunk_size = chunk_size
        yield there, [await stack.enter_async_context(there.connect(name)) for name in names]


def absolute(path: str) -> str:
    return f"{PATH}/{path}" if path else PATH


async def plant(client: zk.Client, tree: dict[str, bytes]) -> None:
    for path in sorted(tree):
        await client.create(absolute(path), tree[path], make_parents=True)


async def until(changes: zk.ConfigTreeChanges, values: dict[str, bytes]) -> list[zk.ConfigTreeChange]:
    """Return the changes up to the one with these values."""
    found = []
    with anyio.fail_after(20 * TIMEOUT):
        async for change in changes:
            found.append(change)
            if change.values == values:
                break
    return found


def once(there: World, opcode: OpCode, path: str, func: Callable[[], Any]) -> None:
    """Call `func` just before the next such request for this path is applied."""

    def before_request(seen: ReceivedRequest) -> None:
        if seen.opcode == opcode and seen.request.path == path:
            there.before_request = lambda _: None
            func()

    there.before_request = before_request


def write(there: World, path: str, data: bytes) -> None:
    """Change data on the server immediately, as another client would."""
    processor = there.server.processor
    processor.zxid += 1
    node = processor.tree.get(path)
    processor.tree.set_data(node, data, node.version + 1, processor.zxid, node.mtime)


# --- a snapshot --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_snapshot_is_the_whole_tree() -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)
        before = ClientLeftovers.of(there, client)
        assert await zk.ConfigTree(client, PATH).snapshot() == TREE
        assert await zk.ConfigTree(client, f"{PATH}/web/a/b").snapshot() == {"": b"deep"}
        assert await zk.ConfigTree(client.chroot(PATH), "/db").snapshot() == {
            "": b"",
            "host": b"h",
            "port": b"1",
        }
        assert await zk.ConfigTree(client.chroot(PATH), "/").snapshot() == TREE
        assert ClientLeftovers.of(there, client) == before


@pytest.mark.anyio
async def test_the_snapshot_of_a_missing_tree_is_empty() -> None:
    async with stage("a") as (_, (client,)):
        assert await zk.ConfigTree(client, PATH).snapshot() == {}
        await client.create(PATH, None, make_parents=True)
        assert await zk.ConfigTree(client, PATH).snapshot() == {"": b""}


@pytest.mark.anyio
async def test_each_level_costs_one_round_trip_and_the_check_another() -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)
        there.requests.clear()
        await zk.ConfigTree(client, PATH).snapshot()
        assert there.count(OpCode.GET_DATA) == there.count(OpCode.GET_CHILDREN2) == len(TREE)
        assert there.count(OpCode.EXISTS) == len(TREE)


@pytest.mark.anyio
@pytest.mark.parametrize("opcode", [OpCode.GET_CHILDREN2, OpCode.EXISTS])
async def test_data_that_change_during_a_snapshot_are_read_again(opcode: OpCode) -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)

        # changes the host, which was read, together with the port, which will be read
        def change() -> None:
            write(there, absolute("db/host"), b"new")
            write(there, absolute("web/a/b"), b"new")

        once(there, opcode, absolute("web"), change)
        new = TREE | {"db/host": b"new", "web/a/b": b"new"}
        assert await zk.ConfigTree(client, PATH).snapshot() == new


@pytest.mark.anyio
async def test_znodes_that_are_created_or_deleted_during_a_snapshot_are_read_again() -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)
        processor = there.server.processor

        def remove() -> None:
            processor.zxid += 1
            processor.tree.remove(absolute("db/host"), processor.zxid)

        once(there, OpCode.GET_DATA, absolute("db/host"), remove)
        smaller = {path: data for path, data in TREE.items() if path != "db/host"}
        assert await zk.ConfigTree(client, PATH).snapshot() == smaller
        assert there.count(OpCode.GET_DATA) >= 2 * len(smaller)


@pytest.mark.anyio
async def test_a_snapshot_gives_up_after_the_last_try() -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)
        counter = 0

        def before_request(seen: ReceivedRequest) -> None:
            nonlocal counter
            if seen.opcode == OpCode.EXISTS and seen.request.path == PATH:
                counter += 1
                write(there, absolute("db"), b"%d" % counter)

        there.before_request = before_request
        with pytest.raises(zk.SnapshotConflictError) as caught:
            await zk.ConfigTree(client, PATH).snapshot(tries=3)
        assert (caught.value.path, caught.value.tries, counter) == (PATH, 3, 3)
        with pytest.raises(ValueError, match="tries must be at least 1, not 0"):
            await zk.ConfigTree(client, PATH).snapshot(tries=0)
        with pytest.raises(ValueError, match="znode path"):
            zk.ConfigTree(client, "config")


@pytest.mark.anyio
async def test_a_znode_without_read_permission_is_an_error() -> None:
    async with stage("a") as (_, (client,)):
        await plant(client, TREE)
        await client.set_acl(absolute("web/a"), [zk.ACL(zk.Perms.ALL, zk.digest_id("somebody", "else"))])
        with pytest.raises(zk.NoAuthError):
            await zk.ConfigTree(client, PATH).snapshot()
        async with zk.ConfigTree(client, PATH).changes() as changes:
            with pytest.raises(zk.NoAuthError):
                await anext(changes)


async def take_snapshot(_: World, client: zk.Client) -> Any:
    return await zk.ConfigTree(client, PATH).snapshot()


@asynccontextmanager
async def a_tree(there: World) -> AsyncIterator[None]:
    async with there.connect("other") as other:
        await plant(other, TREE)
        yield


STAYS = {"/app", *map(absolute, TREE)}


def whole(outcome: Outcome) -> None:
    assert outcome.error is None
    assert outcome.result == TREE


@pytest.mark.anyio
@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_snapshot_is_complete(fault_kind: FaultKind) -> None:
    assert (
        await inject_into_each_request(
            take_snapshot, whole, fault_kind, may_remain=STAYS, other_clients=a_tree
        )
        >= 20
    )


# --- changes -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_change_is_the_current_tree() -> None:
    async with stage("a") as (_, (client,)):
        async with zk.ConfigTree(client, PATH).changes() as changes:
            assert await anext(changes) == zk.ConfigTreeChange({}, frozenset(), frozenset(), frozenset())
        await plant(client, TREE)
        async with zk.ConfigTree(client, PATH).changes() as changes:
            first = await anext(changes)
            assert (first.values, first.added) == (TREE, frozenset(TREE))


@pytest.mark.anyio
async def test_each_kind_of_change_is_reported() -> None:
    async with stage("a", "b") as (_, (a, b)):
        await plant(a, TREE)
        async with zk.ConfigTree(b, PATH).changes() as changes:
            await anext(changes)
            await a.set(absolute("db/host"), b"new")
            change = await anext(changes)
            assert (change.values["db/host"], change.updated) == (b"new", frozenset({"db/host"}))
            async with a.transaction() as tx:
                tx.create(absolute("x"), b"1")
                tx.create(absolute("x/y"), b"2")
                tx.delete(absolute("db/host"))
            change = await anext(changes)
            assert (change.added, change.removed) == (frozenset({"x", "x/y"}), frozenset({"db/host"}))
            async with a.transaction() as tx:
                tx.delete(absolute("web/a/b"))
                tx.create(absolute("web/a/b"), b"deep")
            assert (await anext(changes)).updated == {"web/a/b"}


@pytest.mark.anyio
async def test_a_transaction_is_seen_as_a_whole() -> None:
    async with stage("a", "b", chunk_size=100) as (_, (a, b)):
        names = [f"n{number}" for number in range(20)]
        await plant(a, {"": b"", **dict.fromkeys(names, b"0")})
        async with zk.ConfigTree(b, PATH).changes() as changes, anyio.create_task_group() as tasks:

            async def write_all() -> None:
                for number in range(1, 31):
                    async with a.transaction() as tx:
                        for name in names:
                            tx.set(absolute(name), b"%d" % number)

            tasks.start_soon(write_all)
            with anyio.fail_after(TIMEOUT):
                async for change in changes:
                    values = {change.values[name] for name in names}
                    assert len(values) == 1, "a mixture"
                    if values == {b"30"}:
                        break


@pytest.mark.anyio
async def test_the_whole_tree_is_deleted_and_created_again() -> None:
    async with stage("a", "b") as (_, (a, b)), zk.ConfigTree(b, PATH).changes() as changes:
        for _round in range(3):
            await plant(a, TREE)
            await until(changes, TREE)
            async with a.transaction() as tx:
                for path in sorted(TREE, reverse=True):
                    tx.delete(absolute(path))
            await until(changes, {})


@pytest.mark.anyio
async def test_nothing_is_lost_by_a_reconnect_or_a_new_session() -> None:
    async with stage("a", "b") as (there, (a, b)):
        await plant(a, TREE)
        async with zk.ConfigTree(b, PATH).changes() as changes:
            await until(changes, TREE)
            there.network.cut(source="b")
            await a.set(absolute("db/host"), b"1")
            await a.delete(absolute("web/a/b"))
            there.network.reset(source="b")
            there.network.heal()
            smaller = {path: data for path, data in TREE.items() if path != "web/a/b"}
            await until(changes, smaller | {"db/host": b"1"})
            session = b.session
            there.network.cut(source="b")
            await session.wait_closed()
            await a.set(absolute("db/host"), b"2")
            there.network.heal()
            await until(changes, smaller | {"db/host": b"2"})


@pytest.mark.anyio
async def test_leaving_the_block_leaves_no_watch_and_no_task() -> None:
    async with stage("a") as (there, (client,)):
        await plant(client, TREE)
        before = ClientLeftovers.of(there, client)
        async with zk.ConfigTree(client, PATH).changes() as changes:
            async for _ in changes:
                break
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, client) == before
        with pytest.raises(RuntimeError, match="has ended"):
            await anext(changes)


async def follow(_: World, client: zk.Client) -> Any:
    async with zk.ConfigTree(client, PATH).changes() as changes:
        return (await until(changes, TREE))[-1].values


@asynccontextmanager
async def a_tree_that_grows(there: World) -> AsyncIterator[None]:
    async with there.connect("other") as other, anyio.create_task_group() as tasks:

        async def grow() -> None:
            await other.ensure_path("/app")
            for path in sorted(TREE):
                await anyio.sleep(1)
                await other.create(absolute(path), b"?")
                await other.set(absolute(path), TREE[path])

        tasks.start_soon(grow)
        yield


@pytest.mark.anyio
@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_last_tree_is_seen(fault_kind: FaultKind) -> None:
    count = await inject_into_each_request(
        follow, whole, fault_kind, may_remain=STAYS, other_clients=a_tree_that_grows
    )
    assert count >= 20


def whole_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == TREE or not isinstance(outcome.error, Exception)


@pytest.mark.anyio
async def test_following_may_be_cancelled_anywhere() -> None:
    assert await cancel_at_each_pass(follow, whole_or_cancelled, may_remain=STAYS, other_clients=a_tree) > 5


# --- any history -------------------------------------------------------------------------------------------

PAIRS = [("left", "right"), ("a/left", "b/right")]
STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1)),
    st.tuples(st.just("make_again"), st.integers(0, 1)),
    st.tuples(st.just("cut"), st.integers(0, 1)),
    st.tuples(st.just("heal"), st.just(0)),
    st.tuples(st.just("expire"), st.integers(0, 1)),
    st.tuples(st.just("drop"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 10)),
)


class History:
    """A writer that always writes two znodes together, so a reader that sees them differ has seen a mixture.

    A reader follows the changes, and takes snapshots.
    """

    def __init__(self, there: World, writer: zk.Client, reader: zk.Client) -> None:
        self._there = there
        self._clients = writer, reader
        self._tree = zk.ConfigTree(reader, PATH)
        self._written = 0
        self._followed: dict[str, bytes] = {}
        self._snapshot: dict[str, bytes] = {}

    async def play(self, steps: list[tuple[str, int]]) -> None:
        writer = self._clients[0]
        await plant(writer, {"": b"", "a": b"", "b": b""} | {path: b"0" for pair in PAIRS for path in pair})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow)
            tasks.start_soon(self._look)
            for step, number in steps:
                await getattr(self, f"_{step}")(number)
            self._there.network.heal()
            await anyio.sleep(4 * TIMEOUT)
            actual = await zk.ConfigTree(writer, PATH).snapshot()
            assert self._followed == actual
            assert self._snapshot == actual
            tasks.cancel_scope.cancel()

    async def _follow(self) -> None:
        async with self._tree.changes() as changes:
            async for change in changes:
                self._followed = _checked(change.values)

    async def _look(self) -> None:
        while True:
            with suppress(zk.SnapshotConflictError):
                self._snapshot = _checked(await self._tree.snapshot())
            await anyio.sleep(2)

    async def _write(self, number: int) -> None:
        await self._commit(number, again=False)

    async def _make_again(self, number: int) -> None:
        await self._commit(number, again=True)

    async def _commit(self, number: int, *, again: bool) -> None:
        self._written += 1
        data = b"%d" % self._written
        with anyio.move_on_after(1), suppress(zk.ConnectionLossError, zk.SessionExpiredError):
            async with self._clients[0].transaction() as tx:
                for path in PAIRS[number]:
                    if again:
                        tx.delete(absolute(path))
                        tx.create(absolute(path), data)
                    else:
                        tx.set(absolute(path), data)

    async def _cut(self, number: int) -> None:
        self._there.network.cut(source=f"c{number}")

    async def _heal(self, _: int) -> None:
        self._there.network.heal()

    async def _expire(self, number: int) -> None:
        session_id = self._clients[number].session.id
        if self._there.server.processor.sessions.find(session_id) is not None:
            self._there.server.expire(session_id)

    async def _drop(self, _: int) -> None:
        self._there.server.drop_connections()

    async def _wait(self, seconds: int) -> None:
        await anyio.sleep(seconds)


async def _play(steps: list[tuple[str, int]]) -> None:
    async with stage("c0", "c1", chunk_size=50) as (there, (writer, reader)):
        await History(there, writer, reader).play(steps)


def _checked(values: Mapping[str, bytes]) -> dict[str, bytes]:
    for one, other in PAIRS:
        assert values[one] == values[other], "a mixture"
    return dict(values)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_in_every_history_no_mixture_is_seen_and_the_last_state_is(backend: str) -> None:
    @settings(max_examples=25)
    @given(st.lists(STEPS, max_size=25))
    def play(steps: list[tuple[str, int]]) -> None:
        name, options = jumping_backend(backend)
        anyio.run(_play, steps, backend=name, backend_options=options)

    play()
