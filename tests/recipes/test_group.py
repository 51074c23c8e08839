"""Groups: the members, their changes, and that every reader sees the last state."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    ClientLeftovers,
    Outcome,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    jumping_backend,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode
from zkrecipes.recipes.group_layouts import GroupLayoutName

anyio_backend = virtual_time()

PATH = "/app/workers"
STAYS = {"/app", PATH}


@asynccontextmanager
async def stage(*names: str) -> AsyncIterator[tuple[World, list[zk.Client]]]:
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world())
        yield there, [await stack.enter_async_context(there.connect(name)) for name in names]


async def until_members(changes: zk.GroupChanges, members: dict[str, bytes]) -> list[zk.GroupChange]:
    """Return the changes up to the one with these members."""
    found = []
    with anyio.fail_after(20 * TIMEOUT):
        async for change in changes:
            found.append(change)
            if change.members == members:
                break
    return found


def apply(changes: list[zk.GroupChange]) -> None:
    """Check that each change is the difference between the view before it and its view."""
    names: set[str] = set()
    for change in changes:
        assert not change.joined & names
        assert change.left <= names
        assert change.updated <= names - change.left
        names = (names | change.joined) - change.left
        assert names == set(change.members)


# --- members -------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("layout", ["curator", "kazoo"])
async def test_a_client_is_a_member_from_joining_to_leaving(layout: GroupLayoutName) -> None:
    async with stage("a", "b") as (there, (a, b)):
        before = ClientLeftovers.of(there, a)
        group = zk.Group(a, PATH, layout=layout)
        assert await group.members() == {}
        async with group.join("one", b"1") as one:
            async with zk.Group(b, PATH, layout=layout).join("two"):
                assert await group.members() == {"one": b"1", "two": b""}
                await one.update(b"2")
                assert await group.members() == {"one": b"2", "two": b""}
            assert await group.members() == {"one": b"2"}
        assert await group.members() == {}
        assert there.znodes() == STAYS
        assert ClientLeftovers.of(there, a) == before


@pytest.mark.anyio
async def test_the_layouts_are_those_of_curator_and_kazoo() -> None:
    async with stage("a") as (there, (client,)):
        async with zk.Group(client, PATH).join("worker-7", b"data"):
            assert f"{PATH}/worker-7" in there.znodes()
        async with zk.Group(client, PATH, layout="kazoo").join("worker-7", b"data"):
            (name,) = await client.get_children(PATH)
            assert name[32:] == "-worker-7"
            assert (await client.get(f"{PATH}/{name}")).data == b"data"


@pytest.mark.anyio
async def test_children_that_are_not_members_are_ignored_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 78: foreign children."""
    async with stage("a") as (_, (client,)):
        group = zk.Group(client, PATH, layout="kazoo")
        await client.create(f"{PATH}/leftover", b"", make_parents=True)
        await client.create(f"{PATH}/{'f' * 32}-persistent", b"")
        await client.create(f"{PATH}/{'f' * 32}-box", b"", container=True)
        await client.create(f"{PATH}/{'e' * 32}-null", None, ephemeral=True)
        async with group.join("one", b"1"), group.changes() as changes:
            for _ in range(3):
                assert await group.members() == {"one": b"1", "null": b""}
            assert dict((await anext(changes)).members) == {"one": b"1", "null": b""}
        lines = [record.getMessage() for record in caplog.records if "not a member" in record.getMessage()]
        assert len(lines) == 3


@pytest.mark.anyio
async def test_of_two_znodes_with_one_name_the_newest_is_shown() -> None:
    async with stage("a") as (_, (client,)):
        group = zk.Group(client, PATH, layout="kazoo")
        async with group.join("one", b"ours"):
            await client.create(f"{PATH}/{'0' * 32}-one", b"newer", ephemeral=True)
            assert await group.members() == {"one": b"newer"}


@pytest.mark.anyio
async def test_a_member_without_read_permission_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    secret = [zk.ACL(zk.Perms.ALL, zk.digest_id("somebody", "else"))]
    async with stage("a", "b") as (_, (client, other)):
        group = zk.Group(client, PATH)
        async with (
            zk.Group(other, PATH, acl=secret).join("secret", b"?"),
            group.join("one", b"1"),
            group.changes() as changes,
        ):
            assert await group.members() == {"one": b"1"}
            assert (await anext(changes)).members == {"one": b"1"}
    assert "its ACL does not permit READ" in caplog.text
    assert "(leaving it out)" in caplog.text


@pytest.mark.anyio
async def test_invalid_arguments_are_refused_before_anything_is_sent() -> None:
    async with stage("a") as (there, (client,)):
        there.requests.clear()
        with pytest.raises(ValueError, match="znode path"):
            zk.Group(client, "workers")
        with pytest.raises(ValueError, match="layout must be one of"):
            zk.Group(client, PATH, layout="etcd")  # type: ignore[arg-type]
        group = zk.Group(client, PATH)
        with pytest.raises(ValueError, match="znode name"):
            group.join("a/b")
        with pytest.raises(ValueError, match="on_conflict"):
            group.join("a", on_conflict="fight")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="bytes"):
            group.join("a", "text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="count must be at least 1, not 0"):
            await group.wait_for(0)
        assert not there.requests


@pytest.mark.anyio
async def test_a_missing_chroot_is_created() -> None:
    async with stage("a") as (there, (client,)):
        group = zk.Group(client.chroot("/team/x"), "/")
        async with group.join("one", b"1"), group.changes() as changes:
            assert await group.members() == {"one": b"1"}
            assert (await anext(changes)).members == {"one": b"1"}
            assert "/team/x/one" in there.znodes()


# --- conflicts -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("layout", ["curator", "kazoo"])
async def test_a_name_has_one_holder(layout: GroupLayoutName) -> None:
    async with stage("a", "b") as (_, (a, b)), zk.Group(a, PATH, layout=layout).join("one", b"a"):
        with pytest.raises(zk.NodeExistsError, match=f"session 0x{a.session.id:x}"):
            async with zk.Group(b, PATH, layout=layout).join("one", b"b", on_conflict="raise"):
                pass
        with anyio.move_on_after(5) as scope:
            async with zk.Group(b, PATH, layout=layout).join("one", b"b"):
                pass
        assert scope.cancelled_caught
        assert await zk.Group(b, PATH, layout=layout).members() == {"one": b"a"}


# --- changes -------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_change_is_the_current_group() -> None:
    async with stage("a") as (_, (client,)):
        group = zk.Group(client, PATH)
        async with group.changes() as changes:
            first = await anext(changes)
            assert first == zk.GroupChange({}, frozenset(), frozenset(), frozenset())
        async with group.join("one", b"1"), group.changes() as changes:
            first = await anext(changes)
            assert (first.members, first.joined) == ({"one": b"1"}, frozenset({"one"}))


@pytest.mark.anyio
async def test_joining_updating_and_leaving_are_reported() -> None:
    async with stage("a", "b") as (_, (a, b)):
        group = zk.Group(a, PATH)
        async with zk.Group(b, PATH).changes() as changes:
            await anext(changes)
            async with group.join("one", b"1") as one:
                assert (await anext(changes)).joined == {"one"}
                await one.update(b"2")
                change = await anext(changes)
                assert (change.members, change.updated) == ({"one": b"2"}, frozenset({"one"}))
                async with group.join("two"):
                    assert (await anext(changes)).joined == {"two"}
                assert (await anext(changes)).left == {"two"}
            change = await anext(changes)
            assert (change.members, change.left) == ({}, frozenset({"one"}))


@pytest.mark.anyio
async def test_a_member_that_left_and_joined_again_between_two_reads_is_updated() -> None:
    async with stage("a", "b") as (_, (a, b)):
        group = zk.Group(a, PATH)
        async with zk.Group(b, PATH).changes() as changes:
            async with group.join("one", b"1"):
                await until_members(changes, {"one": b"1"})
            async with group.join("one", b"1"):
                await anyio.sleep(1)  # without a read
                change = await anext(changes)
                assert (change.joined | change.left, change.updated) == (frozenset(), frozenset({"one"}))


@pytest.mark.anyio
async def test_writing_the_same_data_again_is_not_a_change() -> None:
    async with (
        stage("a", "b") as (_, (a, b)),
        zk.Group(a, PATH).join("one", b"1") as one,
        zk.Group(b, PATH).changes() as changes,
    ):
        await anext(changes)
        await one.update(b"1")
        with anyio.move_on_after(1) as scope:
            await anext(changes)
        assert scope.cancelled_caught


@pytest.mark.anyio
async def test_a_slow_reader_gets_only_the_newest_state() -> None:
    async with stage("a", "b") as (_, (a, b)):
        group = zk.Group(a, PATH)
        async with zk.Group(b, PATH).changes() as changes:
            await anext(changes)
            async with group.join("stays", b"0") as may_remain:
                for number in range(50):
                    async with group.join(f"goes-{number}"):
                        await may_remain.update(b"%d" % number)
                await anyio.sleep(1)
                change = await anext(changes)
                assert change.members == {"stays": b"49"}
                assert (change.joined, change.left | change.updated) == (frozenset({"stays"}), frozenset())


@pytest.mark.anyio
async def test_several_readers_see_the_same() -> None:
    async with stage("a", "b") as (_, (a, b)):
        group = zk.Group(b, PATH)
        async with group.changes() as one, group.changes() as two, zk.Group(a, PATH).join("x", b"1"):
            apply(await until_members(one, {"x": b"1"}))
            apply(await until_members(two, {"x": b"1"}))


@pytest.mark.anyio
async def test_only_changed_members_are_read_again() -> None:
    async with stage("a", "b") as (there, (a, b)), AsyncExitStack() as stack:
        members = [await stack.enter_async_context(zk.Group(a, PATH).join(f"m{n}")) for n in range(50)]
        async with zk.Group(b, PATH).changes() as changes:
            assert len((await anext(changes)).members) == 50
            there.requests.clear()
            await members[7].update(b"new")
            await anext(changes)
            assert there.count(OpCode.GET_DATA, session_id=b.session.id) == 1
            assert there.count(OpCode.GET_CHILDREN2, session_id=b.session.id) == 0


@pytest.mark.anyio
async def test_leaving_the_block_leaves_no_watch_and_no_task() -> None:
    async with stage("a", "b") as (there, (a, b)), AsyncExitStack() as stack:
        for number in range(20):
            await stack.enter_async_context(zk.Group(a, PATH).join(f"m{number}"))
        await anyio.sleep(1)
        before = ClientLeftovers.of(there, b)
        async with zk.Group(b, PATH).changes() as changes:
            async for _ in changes:
                break
        await anyio.sleep(1)
        assert ClientLeftovers.of(there, b) == before
        with pytest.raises(RuntimeError, match="has ended"):
            await anext(changes)


@pytest.mark.anyio
async def test_a_directory_that_is_deleted_and_created_again_is_followed() -> None:
    """Case 80: the parent is reaped."""
    async with stage("a", "b") as (_, (a, b)):
        seen = []
        async with zk.Group(b, PATH).changes() as changes:
            for number in range(3):
                async with zk.Group(a, PATH).join("one", b"%d" % number):
                    seen += await until_members(changes, {"one": b"%d" % number})
                seen += await until_members(changes, {})
                await a.delete(PATH)
        apply(seen)


@pytest.mark.anyio
@pytest.mark.parametrize("keep", [True, False])
async def test_nothing_is_lost_by_a_restart_of_the_server(keep: bool) -> None:
    async with stage("a", "b") as (there, (a, b)):
        async with zk.Group(b, PATH).changes() as changes, zk.Group(a, PATH).join("one", b"1") as one:
            seen = await until_members(changes, {"one": b"1"})
            await there.server.restart(keep=keep, downtime=1)
            await one.update(b"2")
            seen += await until_members(changes, {"one": b"2"})
        apply(seen)


@pytest.mark.anyio
async def test_nothing_is_lost_by_a_reconnect_or_a_new_session() -> None:
    async with stage("a", "b") as (there, (a, b)):
        group = zk.Group(a, PATH)
        async with zk.Group(b, PATH).changes() as changes, group.join("one", b"1") as one:
            seen = await until_members(changes, {"one": b"1"})
            there.network.cut(source="b")
            await one.update(b"2")
            async with group.join("gone", b"?"):
                pass
            await anyio.sleep(1)
            there.network.reset(source="b")
            there.network.heal()
            seen += await until_members(changes, {"one": b"2"})
            session = b.session
            there.network.cut(source="b")
            await session.wait_closed()
            await one.update(b"3")
            there.network.heal()
            seen += await until_members(changes, {"one": b"3"})
            assert b.session is not session
        apply(seen)


@pytest.mark.anyio
async def test_readers_get_the_error_that_ends_the_changes() -> None:
    secret = [zk.ACL(zk.Perms.ALL, zk.digest_id("somebody", "else"))]
    async with stage("a", "b") as (_, (a, b)):
        await a.create(PATH, b"", make_parents=True)
        await a.set_acl(PATH, secret)
        async with zk.Group(b, PATH).changes() as changes:
            with pytest.raises(zk.NoAuthError):
                await anext(changes)
        with pytest.raises(zk.NoAuthError):
            await zk.Group(b, PATH).members()
        with pytest.raises(zk.NoAuthError):
            await zk.Group(b, PATH).wait_for(1)


@pytest.mark.anyio
async def test_it_works_without_persistent_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage("a", "b") as (there, (a, b)):
        async with zk.Group(b, PATH).changes() as changes, zk.Group(a, PATH).join("one", b"1"):
            await until_members(changes, {"one": b"1"})
        new = {OpCode.ADD_WATCH, OpCode.SET_WATCHES2}
        assert not new & {seen.opcode for seen in there.requests}


# --- wait_for ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_wait_for_a_number_of_members() -> None:
    async with stage("a", "b") as (there, (a, b)):
        group = zk.Group(a, PATH)

        async def join_later(name: str, after: float) -> None:
            await anyio.sleep(after)
            async with group.join(name, b"x"):
                await anyio.sleep(20)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(join_later, "one", 1)
            tasks.start_soon(join_later, "two", 5)
            before = ClientLeftovers.of(there, b)
            members = await zk.Group(b, PATH).wait_for(2)
            assert members == {"one": b"x", "two": b"x"}
            assert anyio.current_time() >= 5
            assert await zk.Group(b, PATH).wait_for(1) == members
            await anyio.sleep(1)
            assert ClientLeftovers.of(there, b).watches == before.watches


# --- faults ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_group_of_three(there: World) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(there.connect("other"))
        for name in ("x", "y"):
            await stack.enter_async_context(zk.Group(other, PATH).join(name, b"0"))
        member = await stack.enter_async_context(zk.Group(other, PATH).join("z", b"0"))
        async with anyio.create_task_group() as tasks:

            async def update_later() -> None:
                for number in range(1, 6):
                    await anyio.sleep(1)
                    await member.update(b"%d" % number)

            tasks.start_soon(update_later)
            yield


async def follow(there: World, client: zk.Client) -> Any:
    seen = []
    async with zk.Group(client, PATH).changes() as changes:
        seen += await until_members(changes, {"x": b"0", "y": b"0", "z": b"5"})
    apply(seen)
    return seen[-1].members


def followed(outcome: Outcome) -> None:
    assert outcome.error is None
    assert outcome.result == {"x": b"0", "y": b"0", "z": b"5"}


@pytest.mark.anyio
@pytest.mark.parametrize("fault_kind", FaultKind)
async def test_after_any_fault_the_last_state_is_seen(fault_kind: FaultKind) -> None:
    count = await inject_into_each_request(
        follow, followed, fault_kind, may_remain=STAYS, other_clients=a_group_of_three
    )
    assert count >= 8


@asynccontextmanager
async def a_group_of_two(there: World) -> AsyncIterator[None]:
    async with (
        there.connect("other") as other,
        zk.Group(other, PATH).join("x", b"0"),
        zk.Group(other, PATH).join("y", b"0"),
    ):
        yield


async def look(there: World, client: zk.Client) -> Any:
    async with zk.Group(client, PATH).changes() as changes:
        return (await anext(changes)).members


def seen_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == {"x": b"0", "y": b"0"} or not isinstance(outcome.error, Exception)


@pytest.mark.anyio
async def test_following_may_be_cancelled_anywhere() -> None:
    assert (
        await cancel_at_each_pass(look, seen_or_cancelled, may_remain=STAYS, other_clients=a_group_of_two) > 5
    )


@asyncio_only
@pytest.mark.anyio
@pytest.mark.parametrize("again_after", [None, 0, 1, 3])
async def test_following_may_be_cancelled_natively_and_twice(again_after: int | None) -> None:
    passes = await cancel_at_each_pass(
        look,
        seen_or_cancelled,
        may_remain=STAYS,
        other_clients=a_group_of_two,
        native=True,
        again_after=again_after,
    )
    assert passes > 5


# --- any history ---------------------------------------------------------------------------------------

CLIENTS = 3
NAMES = ["m0", "m1", "m2"]
STEPS = st.one_of(
    st.tuples(st.just("join"), st.integers(0, CLIENTS - 1), st.sampled_from(NAMES)),
    st.tuples(st.just("leave"), st.integers(0, CLIENTS - 1), st.sampled_from(NAMES)),
    st.tuples(st.just("update"), st.integers(0, CLIENTS - 1), st.sampled_from(NAMES)),
    st.tuples(st.just("delete"), st.integers(0, CLIENTS - 1), st.sampled_from(NAMES)),
    st.tuples(st.just("cut"), st.integers(0, CLIENTS), st.just("")),
    st.tuples(st.just("heal"), st.just(0), st.just("")),
    st.tuples(st.just("expire"), st.integers(0, CLIENTS), st.just("")),
    st.tuples(st.just("drop"), st.just(0), st.just("")),
    st.tuples(st.just("restart"), st.integers(0, 1), st.just("")),
    st.tuples(st.just("wait"), st.integers(0, 20), st.just("")),
)


class History:
    """Clients that join, leave and update under faults, and one reader that follows the group.

    Each (client, name) is one membership at most; they all contend for the names.
    """

    def __init__(self, there: World, clients: list[zk.Client], reader: zk.Client) -> None:
        self._there = there
        self._clients = clients
        self._reader = reader
        self._members: dict[tuple[int, str], tuple[anyio.CancelScope, list[zk.PersistentNode]]] = {}
        self._count = 0
        self.seen: list[zk.GroupChange] = []

    async def play(self, steps: list[tuple[str, int, str]]) -> None:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._follow)
            for step, number, name in steps:
                await getattr(self, f"_{step}")(number, name)
                await anyio.sleep(0.25)
            self._there.network.heal()
            # time for every client to reconnect, and for old sessions to expire
            await anyio.sleep(6 * TIMEOUT)
            await self._check()
            tasks.cancel_scope.cancel()

    async def _check(self) -> None:
        wanted = {name for _, name in self._members}
        actual = await zk.Group(self._reader, PATH).members()
        assert set(actual) == wanted
        assert self.seen, "there was no view at all"
        assert self.seen[-1].members == actual
        apply(self.seen)

    async def _follow(self) -> None:
        async with zk.Group(self._reader, PATH).changes() as changes:
            async for change in changes:
                self.seen.append(change)

    async def _join(self, number: int, name: str) -> None:
        if (number, name) in self._members:
            return
        scope, entered = anyio.CancelScope(), list[zk.PersistentNode]()
        self._members[number, name] = scope, entered

        async def stay() -> None:
            with scope:
                async with zk.Group(self._clients[number], PATH).join(name, b"joined") as member:
                    entered.append(member)
                    await anyio.sleep_forever()

        self._tasks.start_soon(stay)

    async def _leave(self, number: int, name: str) -> None:
        if (number, name) in self._members:
            self._members.pop((number, name))[0].cancel()

    async def _update(self, number: int, name: str) -> None:
        self._count += 1
        data = b"%d" % self._count
        for member in self._members.get((number, name), (None, []))[1]:
            self._tasks.start_soon(member.update, data)

    async def _delete(self, number: int, name: str) -> None:
        with anyio.move_on_after(0):
            await self._clients[number].delete(f"{PATH}/{name}")

    async def _cut(self, number: int, _: str) -> None:
        self._there.network.cut(source=f"c{number}")

    async def _heal(self, *_: object) -> None:
        self._there.network.heal()

    async def _expire(self, number: int, _: str) -> None:
        client = [*self._clients, self._reader][number]
        if self._there.server.processor.sessions.find(client.session.id) is not None:
            self._there.server.expire(client.session.id)

    async def _drop(self, *_: object) -> None:
        self._there.server.drop_connections()

    async def _restart(self, keep: int, _: str) -> None:
        await self._there.server.restart(keep=bool(keep), downtime=1)

    async def _wait(self, seconds: int, _: str) -> None:
        await anyio.sleep(seconds)


async def _play(steps: list[tuple[str, int, str]]) -> None:
    async with stage("c0", "c1", "c2", f"c{CLIENTS}") as (there, (*clients, reader)):
        await History(there, clients, reader).play(steps)


def run(func: Callable[[], Any], backend: str) -> None:
    """Run `func` in virtual time, from a synchronous test."""
    name, options = jumping_backend(backend)
    anyio.run(func, backend=name, backend_options=options)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_in_every_history_the_view_becomes_that_of_the_members(backend: str) -> None:
    @settings(max_examples=25)
    @given(st.lists(STEPS, max_size=25))
    def play(steps: list[tuple[str, int, str]]) -> None:
        run(functools.partial(_play, steps), backend)

    play()


@pytest.mark.anyio
@pytest.mark.parametrize(("layout", "kind"), [("kazoo", "persistent"), ("curator", "container")])
async def test_the_directory_is_of_the_kind_that_its_layout_needs(layout: GroupLayoutName, kind: str) -> None:
    """A kazoo member creates the directory only once, and could not join again after its removal."""
    async with stage("a") as (there, (client,)), zk.Group(client, PATH, layout=layout).join("me"):
        assert there.server.processor.tree.get(PATH).kind.value == kind
