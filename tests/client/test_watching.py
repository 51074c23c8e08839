"""Watches: their events, the reconnects and sessions that they outlive, and their removal from the server."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_5, OldServer
from tests.recipes.fault_sweep import (
    TIMEOUT,
    AliasNetwork,
    ClientLeftovers,
    ReceivedRequest,
    World,
    virtual_time,
    world,
)
from zkrecipes import EventType
from zkrecipes.client.watching import WatchEvents
from zkrecipes.enums import OpCode, SessionState
from zkrecipes.net.transport.network import Address
from zkrecipes.protocol.watch_table import WatchKind

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Told = list[tuple[EventType, str]]


async def _told(events: WatchEvents, count: int) -> Told:
    return [(event.type, event.path) for event in [await anext(events) for _ in range(count)]]


async def _nothing_more(events: WatchEvents) -> bool:
    with anyio.move_on_after(1):
        raise AssertionError(await anext(events))
    return True


def _on_server(there: World) -> set[tuple[WatchKind, str]]:
    return {(kind, path) for kind, path, _ in there.server.processor.watches}


@asynccontextmanager
async def _two(**options: Any) -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    """A server, a client that watches, and one that changes things."""
    async with world(**options) as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


# --- persistent ------------------------------------------------------------------------------------------


async def test_a_watch_that_is_left_while_it_is_set_again_does_not_stay_on_the_server() -> None:
    """A reconnect sets the watch again, and it has no owner when the server answers."""
    async with _two() as (there, client, other):
        await other.create("/n")
        with anyio.CancelScope() as block:

            def leave(seen: ReceivedRequest) -> None:
                if seen.opcode in (OpCode.SET_WATCHES, OpCode.SET_WATCHES2):
                    block.cancel()

            there.before_request = leave
            async with client.get_and_watch("/n"):
                there.server.drop_connections()
                await anyio.sleep_forever()
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def test_a_watch_yields_every_change_of_its_znode() -> None:
    """Case 56."""
    async with _two() as (_, client, other), client.watch("/n") as events:
        await other.create("/n")
        changed = await other.set("/n", b"1")
        await other.create("/n/child")
        await other.delete("/n/child")
        await other.delete("/n")
        assert (await anext(events)).type is EventType.CREATED
        event = await anext(events)
        assert (event.type, event.path, event.zxid) == (EventType.DATA_CHANGED, "/n", changed.mzxid)
        assert await _told(events, 3) == [
            (EventType.CHILDREN_CHANGED, "/n"),
            (EventType.CHILDREN_CHANGED, "/n"),
            (EventType.DELETED, "/n"),
        ]
        assert await _nothing_more(events)


async def test_a_recursive_watch_yields_every_change_below() -> None:
    async with _two() as (_, client, other), client.watch("/", recursive=True) as events:
        await other.create("/n/child", make_parents=True)
        await other.set("/n/child", b"1")
        assert await _told(events, 3) == [
            (EventType.CREATED, "/n"),
            (EventType.CREATED, "/n/child"),
            (EventType.DATA_CHANGED, "/n/child"),
        ]
        assert await _nothing_more(events)


@pytest.mark.parametrize("recursive", [False, True])
async def test_after_a_reconnect_a_resync_comes_first_and_the_watch_goes_on(recursive: bool) -> None:
    """Case 54."""
    async with _two() as (there, client, other):
        await other.create("/n")
        async with client.watch("/n", recursive=recursive) as events:
            await there.server.refuse()
            there.network.reset(source="a")
            await other.set("/n", b"missed")
            await there.server.accept()
            assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
            await other.set("/n", b"seen")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


@pytest.mark.parametrize("recursive", [False, True])
async def test_in_a_new_session_a_resync_comes_first_and_the_watch_goes_on(recursive: bool) -> None:
    async with _two() as (there, client, other):
        await other.create("/n")
        async with client.watch("/n", recursive=recursive) as events:
            there.server.expire(client.session.id)
            assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
            await other.set("/n", b"seen")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


async def test_a_server_that_is_new_to_the_client_is_asked_what_it_can_do_before_watches_are_set_there() -> (
    None
):
    async with world() as there, there.connect("b") as other:
        aliases = AliasNetwork(there)
        async with zk.connect("one,two", session_timeout=TIMEOUT, network=aliases) as client:
            async with client.watch("/n") as events:
                (_, host), *_rest = aliases.opened
                there.network.refuse(source=host)
                there.network.reset(source=host)
                assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
                await other.create("/n")
                assert await _told(events, 1) == [(EventType.CREATED, "/n")]
                elsewhere = [each for _, each in aliases.opened if each != host]
                assert len(elsewhere) == 1


async def test_a_connection_that_is_lost_before_its_watches_are_set_is_replaced() -> None:
    async with _two() as (there, client, other), client.watch("/n") as events:
        fault = there.server.faults.drop_request(OpCode.SET_WATCHES2, times=3)
        there.network.reset(source="a")
        assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
        assert fault.times_used == 3
        await other.create("/n")
        assert await _told(events, 1) == [(EventType.CREATED, "/n")]


async def test_connected_is_announced_when_the_watches_are_set_again() -> None:
    async with _two() as (there, client, other):
        async with client.watch("/n") as events, client.session_changes() as changes:
            there.network.reset(source="a")
            while (await anext(changes)).state is not SessionState.CONNECTED:
                pass
            assert len(there.server.processor.watches) == 1
            await other.create("/n")
            assert await _told(events, 2) == [(EventType.RESYNC, "/n"), (EventType.CREATED, "/n")]


async def test_many_unread_reconnects_are_one_resync() -> None:
    async with _two() as (there, client, _), client.watch("/n") as events:
        for _n in range(5):
            there.network.reset(source="a")
            await client.exists("/")
        assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
        assert await _nothing_more(events)


async def test_events_that_were_not_read_are_kept_for_a_slow_consumer() -> None:
    """Case 58."""
    async with _two() as (_, client, other), client.watch("/n") as events:
        await other.create("/n")
        for _n in range(1000):
            await other.set("/n", b"")
        await client.exists("/")
        assert len(await _told(events, 1001)) == 1001
        assert await _nothing_more(events)


async def test_an_event_is_there_before_a_reply_that_the_server_sent_later() -> None:
    async with _two() as (_, client, _), client.watch("/n") as events:
        await client.create("/n")
        with anyio.fail_after(0.001):
            event = await anext(events)
        assert event.type is EventType.CREATED


async def test_two_tasks_cannot_read_one_watch_and_a_cancelled_one_loses_nothing() -> None:
    async with _two() as (_, client, other), client.watch("/n") as events:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(anext, events)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError, match="iterating over"):
                    await anext(events)
                scope.cancel()
            tasks.cancel_scope.cancel()
        await other.create("/n")
        assert (await anext(events)).type is EventType.CREATED


async def test_the_end_of_the_client_ends_the_watch_with_an_error_after_all_events() -> None:
    async with world() as there, there.connect("b") as other:
        told: Told = []
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("a", renew=False) as client, client.watch("/n") as events:
                await other.create("/n")
                await client.exists("/")
                there.server.expire(client.session.id)
                with anyio.CancelScope(shield=True):
                    async for event in events:
                        told.append((event.type, event.path))
        assert told == [(EventType.CREATED, "/n")]


async def test_a_watch_that_is_left_with_an_error_raises_that_error() -> None:
    async with _two() as (there, client, _):
        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as caught:
            async with client.watch("/n"):
                raise error
        assert caught.value is error
        await client.exists("/")
        assert _on_server(there) == set()


# --- leaving ---------------------------------------------------------------------------------------------

WATCHERS: list[tuple[str, Callable[[zk.Client], Any]]] = [
    ("watch", lambda client: client.watch("/n")),
    ("recursive", lambda client: client.watch("/n", recursive=True)),
    ("get", lambda client: client.get_and_watch("/n")),
    ("exists", lambda client: client.exists_and_watch("/n")),
    ("exists of nothing", lambda client: client.exists_and_watch("/missing")),
    ("children", lambda client: client.get_children_and_watch("/n")),
]
all_watchers = pytest.mark.parametrize(
    "watcher", [each for _, each in WATCHERS], ids=[name for name, _ in WATCHERS]
)


@all_watchers
async def test_leaving_the_block_removes_the_watch_on_the_server(
    watcher: Callable[[zk.Client], Any],
) -> None:
    """Case 61."""
    async with _two() as (there, client, _):
        await client.create("/n")
        async with watcher(client):
            assert len(_on_server(there)) == 1
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def test_a_removal_that_was_not_answered_is_not_sent_to_the_next_server() -> None:
    async with _two() as (there, client, _):
        lost = there.server.faults.drop_request(OpCode.REMOVE_WATCHES)
        async with client.exists_and_watch("/n"):
            pass
        await anyio.sleep(1)
        assert lost.is_spent
        assert client.stats().connections == 2
        await client.sync()
        assert there.count(OpCode.REMOVE_WATCHES) == 0
        assert client.stats().outstanding == 0
        assert _on_server(there) == set()


async def test_hundreds_of_watches_that_are_left_together_are_removed_by_one_task() -> None:
    async with _two() as (there, client, _):
        async with AsyncExitStack() as stack:
            for number in range(500):
                await stack.enter_async_context(client.exists_and_watch(f"/{number}"))
            before = ClientLeftovers.of(there, client).tasks
        assert ClientLeftovers.of(there, client).tasks <= before + 1
        await anyio.sleep(1)
        assert _on_server(there) == set()
        assert there.count(OpCode.REMOVE_WATCHES) == 500


async def test_a_watch_that_is_gone_before_its_removal_is_as_good_as_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 60."""

    def lose_watches(seen: ReceivedRequest) -> None:
        if seen.opcode == OpCode.REMOVE_WATCHES:
            for owner in there.server.processor.watches.owners():
                there.server.processor.watches.drop(owner)

    async with world() as there, there.connect("a") as client:
        there.before_request = lose_watches
        async with client.exists_and_watch("/a"):
            pass
        await anyio.sleep(1)
        assert await client.exists("/a") is None
        assert there.count(OpCode.REMOVE_WATCHES) == 1
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


@all_watchers
async def test_leaving_the_block_while_suspended_leaves_no_watch_on_the_next_connection(
    watcher: Callable[[zk.Client], Any],
) -> None:
    async with _two() as (there, client, _):
        await client.create("/n")
        async with watcher(client):
            await there.server.refuse()
            there.network.reset(source="a")
            await anyio.wait_all_tasks_blocked()
        await there.server.accept()
        await client.exists("/")
        assert _on_server(there) == set()
        assert there.count(OpCode.SET_WATCHES, OpCode.SET_WATCHES2, OpCode.REMOVE_WATCHES) == 0


@pytest.mark.parametrize("first", [each for _, each in WATCHERS[:4]], ids=[name for name, _ in WATCHERS[:4]])
@pytest.mark.parametrize("second", [each for _, each in WATCHERS[:4]], ids=[name for name, _ in WATCHERS[:4]])
async def test_a_watch_that_another_needs_stays_until_both_are_left(
    first: Callable[[zk.Client], Any], second: Callable[[zk.Client], Any]
) -> None:
    """Case 62."""
    async with _two() as (there, client, other):
        await client.create("/n")
        async with first(client) as one:
            async with second(client):
                await client.exists("/")
            await anyio.sleep(1)
            await other.set("/n", b"1")
            with anyio.fail_after(1):
                watched = one if isinstance(one, WatchEvents) else one[1]
                event = await (anext(watched) if isinstance(watched, WatchEvents) else watched.wait())
            assert event.type is EventType.DATA_CHANGED
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def test_a_recursive_watch_that_leaves_a_persistent_one_takes_the_server_out_of_its_mode() -> None:
    async with _two() as (there, client, _):
        async with client.watch("/n"):
            async with client.watch("/n", recursive=True):
                assert there.count(OpCode.ADD_WATCH) == 2
            await anyio.sleep(1)
            assert there.count(OpCode.ADD_WATCH) == 3
            async with client.watch("/n", recursive=True), client.watch("/n", recursive=True):
                pass
            await anyio.sleep(1)
            assert there.count(OpCode.ADD_WATCH) == 6
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def test_the_server_keeps_its_mode_where_a_recursive_watch_follows_another() -> None:
    async with _two() as (there, client, other), client.watch("/n") as flat:
        async with client.watch("/n", recursive=True):
            pass
        async with client.watch("/n", recursive=True) as events:
            await anyio.sleep(1)
            await other.create("/n")
            await other.create("/n/child")
            assert await _told(events, 2) == [(EventType.CREATED, "/n"), (EventType.CREATED, "/n/child")]
            assert await _told(flat, 2) == [(EventType.CREATED, "/n"), (EventType.CHILDREN_CHANGED, "/n")]
            there.network.reset(source="a")
        await client.exists("/")
        assert await _told(flat, 1) == [(EventType.RESYNC, "/n")]


async def test_a_server_that_has_no_modes_is_not_taken_out_of_one() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with (
            old.serving(),
            zk.connect("zk", network=there.network, session_timeout=16) as client,
            client.watch("/n"),
        ):
            async with client.watch("/n", recursive=True):
                client.update_hosts("old")
                there.server.drop_connections()
                await anyio.sleep(1)
                await client.exists("/")
            await anyio.sleep(1)
            await client.exists("/")
        assert OpCode.EXISTS in old.opcodes_seen
        assert OpCode.ADD_WATCH not in old.opcodes_seen


async def test_a_one_shot_watch_outlives_the_persistent_one_beside_which_it_was_set() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        async with anyio.create_task_group() as tasks:
            left = anyio.Event()

            async def watch_until(left: anyio.Event, *, task_status: Any) -> None:
                async with client.watch("/n"):
                    task_status.started()
                    await left.wait()

            await tasks.start(watch_until, left)
            async with client.get_and_watch("/n") as (_, changed):
                left.set()
                await anyio.sleep(1)
                assert _on_server(there) == {(WatchKind.PERSISTENT, "/n")}  # it serves the one-shot one
                await other.set("/n", b"1")
                assert (await changed.wait()).type is EventType.DATA_CHANGED
                await anyio.sleep(1)
                assert _on_server(there) == set()  # no watch of the client needs it


async def test_a_persistent_watch_that_only_a_failed_read_still_needed_goes_too() -> None:
    async with _two() as (there, client, _):
        held = None
        async with anyio.create_task_group() as tasks:
            async with client.watch("/n"):
                held = there.server.faults.hold_replies(session_id=client.session.id)
                tasks.start_soon(_watch_what_is_missing, client)
                await anyio.wait_all_tasks_blocked()
            held.release()
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def _watch_what_is_missing(client: zk.Client) -> None:
    with pytest.raises(zk.NoNodeError):
        async with client.get_and_watch("/n"):
            pass


async def test_a_read_beside_a_persistent_watch_sets_none_of_its_own() -> None:
    """Before 3.9 it would replace the persistent one (ZOOKEEPER-4466)."""
    async with _two() as (there, client, other):
        await client.create("/n")
        async with client.watch("/n") as events:
            for read in (client.get_and_watch, client.exists_and_watch, client.get_children_and_watch):
                async with read("/n") as (_, changed):
                    assert _on_server(there) == {(WatchKind.PERSISTENT, "/n")}
                    await other.create("/n/child-", sequential=True)
                    if read == client.get_children_and_watch:
                        assert (await changed.wait()).type is EventType.CHILDREN_CHANGED
                    await other.set("/n", b"")
                    if read != client.get_children_and_watch:
                        assert (await changed.wait()).type is EventType.DATA_CHANGED
            assert len(await _told(events, 6)) == 6


async def test_a_read_of_children_beside_a_recursive_watch_sets_its_own_and_a_read_of_data_does_not() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        async with client.watch("/n", recursive=True):
            async with client.get_and_watch("/n"), client.exists_and_watch("/n"):
                assert _on_server(there) == {(WatchKind.RECURSIVE, "/n")}
            async with client.get_children_and_watch("/n") as (_, changed):
                await other.create("/n/other")
                assert (await changed.wait()).type is EventType.CHILDREN_CHANGED


async def test_a_read_that_is_sent_together_with_a_persistent_watch_sets_none_of_its_own() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        kinds: list[EventType] = []

        async def watch() -> None:
            async with client.watch("/n") as events:
                kinds.append((await anext(events)).type)

        async def read() -> None:
            async with client.get_and_watch("/n") as (_, changed):
                kinds.append((await changed.wait()).type)

        async with client.watch(
            "/other"
        ):  # so that the server's version is known and no request waits for a probe
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                tasks.start_soon(read)
                await anyio.sleep(1)
                await other.set("/n", b"1")
        assert kinds == [EventType.DATA_CHANGED] * 2
        await anyio.sleep(1)
        assert _on_server(there) == set()


async def test_a_read_that_relied_on_a_watch_that_was_left_while_suspended_sets_its_own() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        fired: list[EventType] = []

        async def read() -> None:
            async with client.get_and_watch("/n") as (_, changed):
                fired.append((await changed.wait()).type)

        async with anyio.create_task_group() as tasks:
            async with client.watch("/n"):
                held = there.server.faults.hold_replies(session_id=client.session.id)
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                await there.server.refuse()
                there.network.reset(source="a")
                held.release()
                await anyio.wait_all_tasks_blocked()
            await there.server.accept()
            await client.exists("/")
            await other.set("/n", b"1")
        assert fired == [EventType.DATA_CHANGED]


async def test_a_removal_does_not_take_a_watch_that_a_later_read_has_just_set() -> None:
    async with _two() as (_, client, other):
        await client.create("/n")
        async with client.get_and_watch("/n"):
            pass  # the removal is on its way …
        async with client.get_and_watch("/n") as (_, changed):  # … when this is sent
            await anyio.sleep(1)
            await other.set("/n", b"1")
            with anyio.fail_after(1):
                assert (await changed.wait()).type is EventType.DATA_CHANGED


async def test_a_removal_that_waits_for_the_servers_capabilities_spares_what_is_set_meanwhile() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        async with client.get_and_watch("/n"):
            there.network.black_hole(source="a")  # the probe is not answered; the connection is
        await anyio.sleep(1)
        async with client.get_and_watch("/n") as (_, changed):
            there.network.heal()
            await anyio.sleep(20)
            await other.set("/n", b"1")
            with anyio.fail_after(1):
                await changed.wait()


async def test_the_end_of_the_client_does_not_hurt_a_removal_that_still_waits() -> None:
    async with world() as there:
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("a", renew=False) as client:
                await client.create("/n")
                async with client.get_and_watch("/n"):
                    there.network.black_hole(source="a")
                await anyio.sleep(1)
                there.network.reset(source="a")
                await anyio.sleep_forever()
        there.network.heal()


# --- one-shot --------------------------------------------------------------------------------------------


async def test_a_one_shot_watch_comes_with_what_was_read() -> None:
    async with _two() as (_, client, other):
        await other.create("/n", b"1")
        async with client.get_and_watch("/n") as (node, changed):
            assert node.data == b"1"
            had_fired = changed.has_fired
            await other.set("/n", b"2")
            event = await changed.wait()
            assert (event.type, event.path) == (EventType.DATA_CHANGED, "/n")
            assert (had_fired, changed.has_fired) == (False, True)
            assert await changed.wait() is event
        async with client.get_children_and_watch("/n") as (children, changed):
            assert children == []
            await other.create("/n/child")
            assert (await changed.wait()).type is EventType.CHILDREN_CHANGED
        async with client.exists_and_watch("/missing") as (stat, changed):
            assert stat is None
            await other.create("/missing")
            assert (await changed.wait()).type is EventType.CREATED
        async with client.exists_and_watch("/missing") as (stat, changed):
            assert stat is not None
            await other.delete("/missing")
            assert (await changed.wait()).type is EventType.DELETED


@pytest.mark.parametrize("read", ["get_and_watch", "get_children_and_watch"])
async def test_a_read_of_nothing_sets_no_watch(read: str) -> None:
    async with _two() as (there, client, _):
        with pytest.raises(zk.NoNodeError):
            async with getattr(client, read)("/n"):
                raise AssertionError("there is nothing to read")
        assert _on_server(there) == set()


@pytest.mark.parametrize("change", ["set", "delete", "nothing"])
async def test_a_one_shot_watch_outlives_a_reconnect_and_fires_what_was_due(change: str) -> None:
    async with _two() as (there, client, other):
        await other.create("/n")
        async with client.get_and_watch("/n") as (_, changed):
            await there.server.refuse()
            there.network.reset(source="a")
            if change == "set":
                await other.set("/n", b"1")
            if change == "delete":
                await other.delete("/n")
            await there.server.accept()
            await client.exists("/")
            assert changed.has_fired == (change != "nothing")
            if change == "nothing":
                await other.set("/n", b"1")
            expected = EventType.DELETED if change == "delete" else EventType.DATA_CHANGED
            assert (await changed.wait()).type is expected


async def test_a_one_shot_watch_ends_with_its_session() -> None:
    """Case 57."""
    async with _two() as (there, client, _):
        await client.create("/n")
        old = client.session
        async with client.get_and_watch("/n") as (_, changed):
            there.server.expire(old.id)
            with pytest.raises(zk.SessionExpiredError) as caught:
                await changed.wait()
            assert caught.value.session_id == old.id
            assert changed.has_fired
            await client.exists("/")
            assert _on_server(there) == set()


async def test_an_event_stands_also_when_the_session_ends_after_it() -> None:
    async with _two() as (there, client, other):
        await client.create("/n")
        async with client.get_and_watch("/n") as (_, changed):
            await other.set("/n", b"1")
            await client.exists("/")
            there.server.expire(client.session.id)
            await client.exists("/")
            assert (await changed.wait()).type is EventType.DATA_CHANGED


async def test_a_thousand_watches_are_set_again_on_a_new_connection() -> None:
    async with _two() as (there, client, other):
        async with anyio.create_task_group() as tasks:
            fired: list[str] = []

            async def watch(path: str, *, task_status: Any) -> None:
                async with client.exists_and_watch(path) as (_, changed):
                    task_status.started()
                    fired.append((await changed.wait()).path)

            paths = [f"/{'x' * 300}-{number}" for number in range(1000)]
            for path in paths:
                await tasks.start(watch, path)
            there.network.reset(source="a")
            await client.exists("/")
            assert there.count(OpCode.SET_WATCHES) == 3  # none of them is larger than 128 KiB
            async with other.pipeline() as pipe:
                for path in paths:
                    pipe.create(path)
        assert sorted(fired) == sorted(paths)


# --- old servers that can at least remove watches -----------------------------------------------------------


async def test_a_server_that_refuses_a_question_is_not_asked_that_again() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with old.serving(), zk.connect("old", network=there.network, session_timeout=16) as client:
            await client.create("/n")
            for _ in range(3):
                async with client.get_and_watch("/n"):
                    pass
                async with client.watch("/n"):
                    pass
                await client.create_with_stat("/s-", sequential=True)
                there.server.drop_connections()
                await client.exists("/")
            await anyio.sleep(1)
            assert old.opcodes_seen.count(OpCode.GET_ALL_CHILDREN_NUMBER) == 2  # it may have been chance
            assert _on_server(there) == set()
            assert OpCode.ADD_WATCH not in old.opcodes_seen
            assert OpCode.REMOVE_WATCHES in old.opcodes_seen


@pytest.mark.parametrize("is_recursive", [False, True])
async def test_a_watch_that_comes_to_a_server_without_such_watches_ends_and_says_so(
    is_recursive: bool,
) -> None:
    async with world() as there, there.connect("a") as client:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        await client.create("/n")
        async with (
            old.serving(),
            client.watch("/n", recursive=is_recursive) as events,
            client.get_and_watch("/") as (_, changed),
        ):
            await client.set("/n", b"1")
            client.update_hosts("old")
            there.server.drop_connections()
            await client.sync()
            assert (await anext(events)).type is EventType.DATA_CHANGED
            with pytest.raises(zk.UnimplementedError, match=r"/n .*which needs ZooKeeper 3\.6"):
                while True:
                    assert (await anext(events)).type is EventType.RESYNC
            assert not changed.has_fired, "others go on"
            if not is_recursive:
                async with client.watch("/n") as again:
                    await client.set("/n", b"2")
                    assert (await anext(again)).type is EventType.DATA_CHANGED
            client.update_hosts("zk")
        await client.sync()
        assert _on_server(there) == set()
