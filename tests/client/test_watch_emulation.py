"""Watches on servers before 3.6, which have no persistent ones: one-shot watches, set again and again."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_4, OPCODES_3_5, OldServer
from tests.recipes.fault_sweep import TIMEOUT, Refusal, World, refusing, virtual_time, world
from zkrecipes import EventType, Stat
from zkrecipes.client.watch_emulation import keep_watching
from zkrecipes.client.watching import OneShotOwner, PersistentOwner, WatchEvents
from zkrecipes.enums import OpCode
from zkrecipes.net.connection import Traffic
from zkrecipes.net.transport.network import Address

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Told = list[tuple[EventType, str]]


@asynccontextmanager
async def _old(
    opcodes: frozenset[OpCode] = OPCODES_3_4, version: str | None = "3.4.14", **options: Any
) -> AsyncIterator[tuple[World, OldServer, zk.Client, zk.Client]]:
    """An old server, a client that knows only this server, and another client that changes things
    unnoticed."""
    async with world() as there, there.connect("b") as other:
        old = OldServer(there.network, Address("zk", 2181), opcodes, version)
        async with (
            old.serving(),
            zk.connect("old", network=there.network, session_timeout=TIMEOUT, **options) as client,
        ):
            yield there, old, client, other


async def _told(events: WatchEvents, count: int) -> Told:
    return [(event.type, event.path) for event in [await anext(events) for _ in range(count)]]


async def _nothing_more(events: WatchEvents) -> bool:
    with anyio.move_on_after(1):
        raise AssertionError(await anext(events))
    return True


async def _wait_until_set(there: World) -> None:
    """Wait until the watch is set (again)."""
    await anyio.sleep(0.1)
    assert len(there.server.processor.watches) > 0


@pytest.mark.parametrize("version", ["3.4.14", None])
async def test_each_change_of_the_znode_is_reported(version: str | None) -> None:
    async with _old(version=version) as (there, old, client, other), client.watch("/n") as events:
        await _wait_until_set(there)
        changes = [
            (other.create("/n"), EventType.CREATED),
            (other.set("/n", b"1"), EventType.DATA_CHANGED),
            (other.create("/n/child"), EventType.CHILDREN_CHANGED),
            (other.delete("/n/child"), EventType.CHILDREN_CHANGED),
            (other.delete("/n"), EventType.DELETED),
        ]
        for change, expected in changes:
            await change
            assert await _told(events, 1) == [(expected, "/n")]
            await _wait_until_set(there)
        assert await _nothing_more(events)
        assert set(old.opcodes_seen) <= OPCODES_3_4


async def test_a_change_at_the_start_of_the_block_is_reported() -> None:
    async with _old() as (_, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            await other.set("/n", b"1")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


async def test_a_znode_that_may_not_be_read_cannot_be_watched() -> None:
    async with _old() as (_, _, client, other):
        await other.create("/n", acl=[zk.ACL(zk.Perms.WRITE, zk.Id("world", "anyone"))])
        with pytest.raises(zk.NoAuthError, match="/n"):
            async with client.watch("/n"):
                raise AssertionError("nothing would be told")


async def test_a_connection_loss_while_the_watch_is_set_again_is_reported() -> None:
    async with _old() as (there, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            held = there.server.faults.hold_replies(session_id=client.session.id)
            await other.set("/n", b"1")
            await anyio.sleep(0.1)
            there.network.reset(host="old")
            held.release()
            assert await _told(events, 2) == [(EventType.RESYNC, "/n"), (EventType.DATA_CHANGED, "/n")]


async def test_fast_changes_are_reported_as_far_as_the_stats_show_them() -> None:
    async with _old() as (there, _, client, other), client.watch("/n") as events:
        await _wait_until_set(there)
        async with other.pipeline() as pipe:
            pipe.create("/n")
            pipe.set("/n", b"1")
            pipe.create("/n/child")
        seen = {event for event, _ in [(await _told(events, 1))[0]]}
        assert seen == {EventType.CREATED}
        await anyio.sleep(1)
        async with other.pipeline() as pipe:
            pipe.set("/n", b"2")
            pipe.create("/n/other")
        assert {event for event, _ in await _told(events, 2)} == {
            EventType.DATA_CHANGED,
            EventType.CHILDREN_CHANGED,
        }
        await _wait_until_set(there)
        async with other.pipeline() as pipe:
            for child in ("child", "other"):
                pipe.delete(f"/n/{child}")
            pipe.delete("/n")
            pipe.create("/n")
        assert (await _told(events, 1))[0][0] in (EventType.CHILDREN_CHANGED, EventType.DELETED)
        await anyio.sleep(1)


async def test_a_replaced_znode_is_reported_as_deleted_and_created() -> None:
    """Case 55."""
    async with _old() as (there, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            await _wait_until_set(there)
            async with other.pipeline() as pipe:
                pipe.delete("/n")
                pipe.create("/n")
            assert await _told(events, 2) == [(EventType.DELETED, "/n"), (EventType.CREATED, "/n")]


async def test_a_recursive_watch_is_refused_and_the_connection_stays() -> None:
    async with _old() as (_, old, client, _):
        with pytest.raises(zk.UnimplementedError, match=r"a recursive watch needs ZooKeeper 3\.6") as caught:
            async with client.watch("/n", recursive=True):
                raise AssertionError("there is no such watch")
        assert caught.value.path == "/n"
        assert set(old.opcodes_seen) <= OPCODES_3_4


async def test_a_container_and_a_ttl_are_refused_and_the_connection_stays() -> None:
    async with _old() as (there, old, client, _):
        for options in ({"container": True}, {"ttl": 5.0}):
            with pytest.raises(zk.UnimplementedError, match=r"needs ZooKeeper 3.5"):
                await client.create("/n", **options)
            with pytest.raises(zk.UnimplementedError, match=r"needs ZooKeeper 3.5"):
                async with client.transaction() as tx:
                    made = tx.create("/n", **options)
            assert isinstance(made.error, zk.UnimplementedError)
            with pytest.raises(zk.UnimplementedError, match=r"needs ZooKeeper 3.5"):
                await client.create_with_stat("/n", **options)
        assert there.znodes() == set()
        assert set(old.opcodes_seen) <= OPCODES_3_4


async def test_a_znode_is_made_with_its_stat_all_the_same() -> None:
    async with _old() as (_, old, client, _):
        path, stat = await client.create_with_stat("/a/n-", b"1", sequential=True, make_parents=True)
        assert path == "/a/n-0000000000"
        assert stat == await client.exists(path)
        assert OpCode.CREATE2 not in old.opcodes_seen


async def test_a_znode_that_went_before_its_stat_was_read_is_an_error() -> None:
    async with _old() as (there, _, client, other):
        await _expect_no_recursive_watch(client)  # so that it is known what the server can do
        held = there.server.faults.hold_replies(session_id=client.session.id)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expect_that_it_went, client)
            await anyio.wait_all_tasks_blocked()
            await other.delete("/n")
            held.release()


async def _expect_no_recursive_watch(client: zk.Client) -> None:
    with pytest.raises(zk.UnimplementedError):
        async with client.watch("/n", recursive=True):
            raise AssertionError("a recursive watch is set")


async def _expect_that_it_went(client: zk.Client) -> None:
    with pytest.raises(zk.NoNodeError, match="deleted right after it was created"):
        await client.create_with_stat("/n")


async def test_after_a_reconnect_a_resync_comes_first_and_the_watch_goes_on() -> None:
    async with _old() as (there, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            await _wait_until_set(there)
            there.network.reset(host="old")
            await client.exists("/n")
            assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
            await other.set("/n", b"1")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


async def test_changes_during_a_disconnect_are_reported() -> None:
    async with _old() as (there, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            await _wait_until_set(there)
            there.network.refuse(host="old")
            there.network.reset(host="old")
            await other.set("/n", b"1")
            there.network.heal()
            assert await _told(events, 2) == [(EventType.RESYNC, "/n"), (EventType.DATA_CHANGED, "/n")]


async def test_in_a_new_session_a_resync_comes_first_and_the_watch_goes_on() -> None:
    async with _old() as (there, _, client, other):
        await other.create("/n")
        async with client.watch("/n") as events:
            await _wait_until_set(there)
            there.server.expire(client.session.id)
            assert await _told(events, 1) == [(EventType.RESYNC, "/n")]
            await client.exists("/n")
            await _wait_until_set(there)
            await other.set("/n", b"1")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


async def test_under_a_chroot_the_events_have_the_callers_paths() -> None:
    async with _old() as (there, _, client, other):
        await other.create("/app/n", make_parents=True)
        async with client.chroot("/app").watch("/n") as events:
            await _wait_until_set(there)
            await other.set("/app/n", b"1")
            assert await _told(events, 1) == [(EventType.DATA_CHANGED, "/n")]


async def test_the_end_of_the_client_ends_the_watch_and_not_the_loop() -> None:
    """Without renewal the end is an expiry as well, and must not look like an expiry that a new session
    follows."""
    told: Told = []
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_4, "3.4.14")
        async with old.serving():
            with pytest.raises(zk.SessionExpiredError):
                async with (
                    zk.connect("old", network=there.network, renew=False) as client,
                    client.watch("/n") as events,
                ):
                    await _wait_until_set(there)
                    there.server.expire(client.session.id)
                    with anyio.CancelScope(shield=True):
                        async for event in events:
                            told.append((event.type, event.path))
    assert told in ([], [(EventType.RESYNC, "/n")])


async def test_a_transient_answer_does_not_end_a_watch_that_is_set() -> None:
    async with _old() as (there, _, client, other), client.watch("/n") as events:
        await _wait_until_set(there)
        refusals = [Refusal(code, is_applied=False) for code in (-7, -127, -122)]
        with refusing(there, client.session.id, lambda _: refusals.pop() if refusals else None):
            await other.create("/n")
            await other.set("/n", b"1")
            await other.create("/n/child")
            assert await _told(events, 1) == [(EventType.CREATED, "/n")]
            assert not refusals
        assert await _nothing_more(events)


async def test_a_znode_that_goes_between_two_reads_is_read_again() -> None:
    readings: list[Stat | Exception | None] = [
        zk.NoNodeError("/n"),
        Stat(*range(11)),
        zk.NoNodeError("/n"),
        None,
        zk.SessionClosedError(),
    ]
    watches: list[OneShotOwner] = []
    forgotten: list[OneShotOwner] = []
    owner = PersistentOwner("/n", str)

    async def read(watch: OneShotOwner) -> Stat | None:
        await anyio.lowlevel.checkpoint()
        watches.append(watch)
        reading = readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        watch.fired(zk.WatchEvent(EventType.DATA_CHANGED, "/n"))
        return reading

    class Watcher:
        final_error: zk.ZooKeeperError | None = None
        traffic = Traffic()

        def unwatch(self, owner: OneShotOwner) -> None:
            forgotten.append(owner)

    is_set = anyio.Event()
    await keep_watching(read, Watcher(), "/n", owner, is_set.set)
    assert is_set.is_set()
    assert watches == forgotten
    events = WatchEvents(owner)
    assert await _told(events, 1) == [(EventType.DELETED, "/n")]
    with pytest.raises(zk.SessionClosedError):
        await anext(events)


async def test_leaving_removes_the_watches_where_the_server_can_do_that() -> None:
    async with _old(OPCODES_3_5, "3.5.10") as (there, old, client, other):
        await other.create("/n")
        async with client.watch("/n"):
            await _wait_until_set(there)
        await anyio.sleep(1)
        assert len(there.server.processor.watches) == 0
        assert OpCode.REMOVE_WATCHES in old.opcodes_seen


async def test_leaving_on_a_server_that_cannot_remove_watches_causes_no_error() -> None:
    async with _old() as (there, old, client, other):
        await other.create("/n")
        for _ in range(3):
            async with client.watch("/n"), client.get_and_watch("/n"):
                await _wait_until_set(there)
        await other.set("/n", b"1")
        assert (await client.get("/n")).data == b"1"
        assert len(there.server.processor.watches) <= 1  # that of children, which nothing has fired
        assert set(old.opcodes_seen) <= OPCODES_3_4
