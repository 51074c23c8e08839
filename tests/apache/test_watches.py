"""Watches of every form, against the dev server and Apache's: their events, and their removal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.apache.loops import every_loop
from tests.apache.served import Served
from tests.apache.server_versions import since
from tests.apache.waiting import until
from zkrecipes.enums import ServerVersion

pytestmark = pytest.mark.anyio
anyio_backend = every_loop()

CREATED, DELETED = zk.EventType.CREATED, zk.EventType.DELETED
DATA, CHILDREN = zk.EventType.DATA_CHANGED, zk.EventType.CHILDREN_CHANGED

ReceivedEvent = tuple[zk.EventType, str]

needs_recursive = since(ServerVersion.V3_6, "a recursive watch")
recursive = pytest.param(True, id="recursive", marks=needs_recursive)


def connect(server: Served, chroot: str = "") -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(server.connect_string + chroot, session_timeout=10)


async def received(events: zk.WatchEvents, count: int, *, within: float = 15) -> list[ReceivedEvent]:
    """Return the next events without their zxids, because servers before 3.9 send none."""
    with anyio.fail_after(within):
        taken = [await anext(events) for _ in range(count)]
    return [(event.type, event.path) for event in taken]


async def received_once(changed: zk.OneShotWatch) -> ReceivedEvent:
    with anyio.fail_after(15):
        event = await changed.wait()
    return event.type, event.path


async def until_unwatched(server: Served) -> None:
    async def is_unwatched() -> bool:
        return await server.watch_count() == 0

    await until(is_unwatched)


async def until_removed(server: Served, client: zk.Client, path: str) -> None:
    """Wait until there is no watch; on a server before 3.5, which cannot remove one, let it fire."""
    if server.version < ServerVersion.V3_5:
        await client.set(path, b"")
        await client.create(f"{path}/not")
        await client.delete(f"{path}/not")
    await until_unwatched(server)


async def change_all(client: zk.Client, path: str) -> None:
    """Create, change and delete a znode with a child and a grandchild."""
    async for _ in each_change(client, path):
        pass


async def each_change(client: zk.Client, path: str) -> AsyncIterator[ReceivedEvent | None]:
    """Make the same changes, and yield after each the expected event of a watch of this znode alone."""
    await client.create(path)
    yield CREATED, path
    await client.set(path, b"1")
    yield DATA, path
    await client.create(f"{path}/c")
    yield CHILDREN, path
    await client.set(f"{path}/c", b"2")
    yield None
    await client.create(f"{path}/c/g")
    yield None
    await client.set_acl(path, zk.OPEN_ACL)
    yield None
    await client.delete(f"{path}/c/g")
    yield None
    await client.delete(f"{path}/c")
    yield CHILDREN, path
    await client.delete(path)
    yield DELETED, path


# --- persistent watches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_watch_reports_the_changes_of_its_znode(
    server: Served, fresh_path: str, is_own: bool
) -> None:
    async with connect(server) as client, connect(server) as other, client.watch(fresh_path) as events:
        writer = client if is_own else other
        for _ in range(2):
            expected = []
            async for event in each_change(writer, fresh_path):
                if event is None:
                    continue
                expected.append(event)
                if server.version < ServerVersion.V3_6:
                    # One-shot watches, set again each time, report every change if changes are slow.
                    assert await received(events, 1) == [expected.pop()]
            assert await received(events, len(expected)) == expected


@needs_recursive
async def test_a_recursive_watch_reports_all_changes_below(server: Served, fresh_path: str) -> None:
    child, grandchild = f"{fresh_path}/c", f"{fresh_path}/c/g"
    async with (
        connect(server) as client,
        connect(server) as writer,
        client.watch(fresh_path, recursive=True) as events,
    ):
        await change_all(writer, f"{fresh_path}-beside")
        for _ in range(2):
            await change_all(writer, fresh_path)
            assert await received(events, 8) == [
                (CREATED, fresh_path),
                (DATA, fresh_path),
                (CREATED, child),
                (DATA, child),
                (CREATED, grandchild),
                (DELETED, grandchild),
                (DELETED, child),
                (DELETED, fresh_path),
            ]


async def test_an_event_is_available_before_the_reply_that_follows_it(
    server: Served, fresh_path: str
) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with client.watch(fresh_path) as events, client.get_and_watch("/") as (_, changed):
            assert not changed.has_fired
            for number in range(20):
                async with client.exists_and_watch(f"{fresh_path}/{number}") as (_, made):
                    await client.create(f"{fresh_path}/{number}")
                    assert made.has_fired, "the event arrives before the reply to a later request"
            # Servers before 3.6 have only one-shot watches: all changes until the next one is set are one
            # event.
            at_least = 20 if server.version >= ServerVersion.V3_6 else 1
            assert await received(events, at_least) == [(CHILDREN, fresh_path)] * at_least


@needs_recursive
async def test_events_are_kept_for_a_slow_reader(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, client.watch(fresh_path, recursive=True) as events:
        await client.create(fresh_path)
        async with client.pipeline() as pipe:
            for number in range(200):
                pipe.create(f"{fresh_path}/{number}")
        expected = [(CREATED, fresh_path), *((CREATED, f"{fresh_path}/{number}") for number in range(200))]
        assert await received(events, 201) == expected


@needs_recursive
async def test_each_change_of_a_transaction_is_reported(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, client.watch(fresh_path, recursive=True) as events:
        async with client.transaction() as transaction:
            transaction.create(fresh_path)
            transaction.create(f"{fresh_path}/a")
            transaction.set(fresh_path, b"1")
            transaction.delete(f"{fresh_path}/a")
        assert await received(events, 4) == [
            (CREATED, fresh_path),
            (CREATED, f"{fresh_path}/a"),
            (DATA, fresh_path),
            (DELETED, f"{fresh_path}/a"),
        ]


@pytest.mark.parametrize("is_recursive", [False, recursive])
async def test_under_a_chroot_events_name_the_paths_that_the_client_sees(
    server: Served, fresh_path: str, is_recursive: bool
) -> None:
    async with connect(server, fresh_path) as client:
        await client.ensure_path("/")
        async with (
            client.watch("/", recursive=is_recursive) as events,
            client.exists_and_watch("/a") as (_, changed),
            client.chroot("/a").watch("/") as below,
        ):
            await client.create("/a")
            assert await received(events, 1) == [(CREATED, "/a") if is_recursive else (CHILDREN, "/")]
            assert await received_once(changed) == (CREATED, "/a")
            assert await received(below, 1) == [(CREATED, "/")]


# --- one-shot watches ------------------------------------------------------------------------------------


async def test_a_one_shot_watch_reports_one_change(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, connect(server) as writer:
        async with client.exists_and_watch(fresh_path) as (stat, changed):
            assert stat is None
            await writer.create(fresh_path, b"0")
            assert await received_once(changed) == (CREATED, fresh_path)
        async with client.exists_and_watch(fresh_path) as (stat, changed):
            assert stat == await client.exists(fresh_path)
            await writer.set(fresh_path, b"1")
            await writer.delete(fresh_path)
            assert await received_once(changed) == (DATA, fresh_path)
            assert await received_once(changed) == (DATA, fresh_path), "a second wait returns the same event"
        await writer.create(fresh_path, b"0")
        async with client.get_and_watch(fresh_path) as (node, changed):
            assert node.data == b"0"
            await writer.create(f"{fresh_path}/c")
            await client.sync()
            assert not changed.has_fired, "a change of children fires no data watch"
            await writer.set(fresh_path, b"1")
            assert await received_once(changed) == (DATA, fresh_path)
        async with client.get_children_and_watch(fresh_path) as (children, changed):
            assert children == ["c"]
            await writer.set(f"{fresh_path}/c", b"1")
            await writer.set(fresh_path, b"2")
            await client.sync()
            assert not changed.has_fired, "a change of data fires no child watch"
            await writer.delete(f"{fresh_path}/c")
            assert await received_once(changed) == (CHILDREN, fresh_path)
        async with (
            client.get_and_watch(fresh_path) as (_, data_changed),
            client.get_children_and_watch(fresh_path) as (_, children_changed),
        ):
            await writer.delete(fresh_path)
            assert (
                await received_once(data_changed)
                == await received_once(children_changed)
                == (DELETED, fresh_path)
            )


async def test_a_read_that_fails_leaves_no_watch(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await until_unwatched(server)
        for watch in (client.get_and_watch, client.get_children_and_watch):
            with pytest.raises(zk.NoNodeError):
                async with watch(fresh_path):
                    pytest.fail("the read succeeded")
        assert await server.watch_count() == 0


# --- removal ---------------------------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "persistent": lambda client, path: client.watch(path),
    "recursive": lambda client, path: client.watch(path, recursive=True),
    "get": lambda client, path: client.get_and_watch(path),
    "exists": lambda client, path: client.exists_and_watch(path),
    "exists-not": lambda client, path: client.exists_and_watch(f"{path}/not"),
    "children": lambda client, path: client.get_children_and_watch(path),
}

each_form = pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[needs_recursive] if form == "recursive" else []) for form in FORMS]
)


@each_form
async def test_leaving_removes_the_watch_on_the_server(server: Served, fresh_path: str, form: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        await until_unwatched(server)  # the watches of the last test end with its connection
        async with FORMS[form](client, fresh_path):
            assert await server.watch_count() > 0
        await until_removed(server, client, fresh_path)
        with pytest.raises(KeyError, match="mine"):
            async with FORMS[form](client, fresh_path):
                raise KeyError("mine")
        await until_removed(server, client, fresh_path)
        async with anyio.create_task_group() as tasks, FORMS[form](client, fresh_path):
            tasks.cancel_scope.cancel()
        await until_removed(server, client, fresh_path)


@each_form
async def test_a_cancelled_watch_leaves_none(server: Served, fresh_path: str, form: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with FORMS[form](client, fresh_path):
            pass  # now the client knows the server's version

        async def watch_and_give_up(delay: float) -> None:
            with anyio.move_on_after(delay):
                async with FORMS[form](client, fresh_path):
                    await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(watch_and_give_up, number / 5000)
        await until_removed(server, client, fresh_path)


@pytest.mark.parametrize("first", ["persistent", "get", "children"])
async def test_a_watch_that_other_users_need_stays(server: Served, fresh_path: str, first: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with AsyncExitStack() as leaves_last:
            events = await leaves_last.enter_async_context(client.watch(fresh_path))
            async with FORMS[first](client, fresh_path):
                pass
            await client.set(fresh_path, b"1")
            await client.create(f"{fresh_path}/c")
            assert await received(events, 2) == [(DATA, fresh_path), (CHILDREN, fresh_path)]
        await until_removed(server, client, fresh_path)


@needs_recursive
@pytest.mark.parametrize("is_outer_recursive", [True, False])
async def test_both_kinds_of_watches_on_one_path_report_what_each_would_alone(
    server: Served, fresh_path: str, is_outer_recursive: bool
) -> None:
    # A server before 3.9 keeps only one mode per path, the last requested one (ZOOKEEPER-4466).
    async with connect(server) as client:
        await client.create(fresh_path)
        async with client.watch(fresh_path, recursive=is_outer_recursive) as outer:
            async with client.watch(fresh_path, recursive=not is_outer_recursive) as inner:
                recursive, flat = (outer, inner) if is_outer_recursive else (inner, outer)
                await client.create(f"{fresh_path}/c")
                await client.set(fresh_path, b"1")
                # the reply arrives after the events, so these are available
                assert await received(recursive, 2, within=1) == [
                    (CREATED, f"{fresh_path}/c"),
                    (DATA, fresh_path),
                ]
                assert await received(flat, 2, within=1) == [(CHILDREN, fresh_path), (DATA, fresh_path)]
            await client.create(f"{fresh_path}/d")
            await client.set(fresh_path, b"2")
            if is_outer_recursive:
                assert await received(outer, 2) == [(CREATED, f"{fresh_path}/d"), (DATA, fresh_path)]
            else:
                assert await received(outer, 2) == [(CHILDREN, fresh_path), (DATA, fresh_path)]
        await until_unwatched(server)


@needs_recursive
async def test_a_temporary_persistent_watch_takes_nothing_from_a_recursive_one(
    server: Served, fresh_path: str
) -> None:
    async with connect(server) as client, connect(server) as writer:
        await client.ensure_path(f"{fresh_path}/a")
        async with client.watch(fresh_path, recursive=True) as events:
            async with client.watch(fresh_path) as flat:
                await writer.create(f"{fresh_path}/a/b")
                await writer.delete(f"{fresh_path}/a/b")
                await writer.delete(f"{fresh_path}/a")
                assert await received(flat, 1) == [(CHILDREN, fresh_path)]
                async with client.get_children_and_watch(fresh_path) as (_, changed):
                    await writer.create(f"{fresh_path}/a")
                    assert await received_once(changed) == (CHILDREN, fresh_path)
            await writer.create(f"{fresh_path}/a/b")
            assert await received(events, 5) == [
                (CREATED, f"{fresh_path}/a/b"),
                (DELETED, f"{fresh_path}/a/b"),
                (DELETED, f"{fresh_path}/a"),
                (CREATED, f"{fresh_path}/a"),
                (CREATED, f"{fresh_path}/a/b"),
            ]
        await until_unwatched(server)


async def test_a_one_shot_watch_beside_a_persistent_one_fires_once(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with client.watch(fresh_path) as events, client.get_and_watch(fresh_path) as (_, changed):
            await client.set(fresh_path, b"1")
            assert await received_once(changed) == (DATA, fresh_path)
            assert await received(events, 1) == [(DATA, fresh_path)]
            await client.set(fresh_path, b"2")
            assert await received(events, 1) == [(DATA, fresh_path)]
        await until_removed(server, client, fresh_path)


async def test_a_one_shot_watch_outlives_a_persistent_one(server: Served, fresh_path: str) -> None:
    async with connect(server) as client:
        await client.create(fresh_path)
        async with client.get_and_watch(fresh_path) as (_, changed):
            async with client.watch(fresh_path):
                pass
            await client.set(fresh_path, b"1")
            assert await received_once(changed) == (DATA, fresh_path)
        await until_removed(server, client, fresh_path)
        async with AsyncExitStack() as stack:
            async with client.watch(fresh_path):
                _, changed = await stack.enter_async_context(client.get_and_watch(fresh_path))
            await client.set(fresh_path, b"2")
            assert await received_once(changed) == (DATA, fresh_path)
        await until_removed(server, client, fresh_path)


async def test_twenty_watches_of_one_path_all_report(server: Served, fresh_path: str) -> None:
    async with connect(server) as client, AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(client.watch(fresh_path)) for _ in range(20)]
        await client.create(fresh_path)
        for events in watches:
            assert await received(events, 1) == [(CREATED, fresh_path)]
