"""Mutex: the order of its holders, and the znodes left behind after a fault at any point."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from time import sleep
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from kazoo.client import KazooClient

import zkrecipes as zk
from tests.dev_clients import connected_clients
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    ReceivedRequest,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    real_time,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.lock_layouts import MUTEXES
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/job"
STAYS = {"/locks", DIRECTORY}


def _mutex(client: zk.Client, identifier: str = "me", **options: Any) -> zk.Mutex:
    return zk.Mutex(client, DIRECTORY, identifier=identifier, **options)


async def _wait_for_contenders(client: zk.Client, number: int) -> None:
    while len(await _mutex(client).contenders()) < number:
        await anyio.lowlevel.checkpoint()


# --- one client ----------------------------------------------------------------------------------------


async def test_a_lock_is_held_inside_the_block_and_free_after_it() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _mutex(client) as hold:
            assert there.znodes() == {*STAYS, hold.path}
            with pytest.raises(zk.AcquireTimeoutError):
                async with _mutex(other).acquire(wait=0):
                    raise AssertionError("two holders")
            assert there.znodes() == {*STAYS, hold.path}
        async with _mutex(other).acquire(wait=0) as hold:
            hold.check()
        assert there.znodes() == STAYS


async def test_building_a_mutex_does_no_io_and_refuses_invalid_arguments() -> None:
    async with connected_clients("a") as (there, (client,)):
        before = len(there.requests)
        mutex = zk.Mutex(client, "/locks/job")
        assert mutex.identifier == f"{socket.gethostname()}:{os.getpid()}"
        assert repr(mutex) == f"<Mutex /locks/job {mutex.identifier}>"
        for wrong in ("", "locks", "/locks/", "/locks//job", "/locks/../job"):
            with pytest.raises(ValueError, match="path"):
                zk.Mutex(client, wrong)
        with pytest.raises(ValueError, match="not 'zoo'"):
            zk.Mutex(client, "/locks/job", layout="zoo")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"must give its owner READ|at least one entry"):
            zk.Mutex(client, "/locks/job", acl=[])
        assert len(there.requests) == before


async def test_an_acl_that_only_the_server_can_judge() -> None:
    """It gives READ to another client only: the first check is refused, and the znode is removed."""
    async with connected_clients("a") as (there, (client,)):
        somebody = zk.digest_id("somebody", "else")
        mutex = _mutex(client, acl=[zk.ACL(zk.Perms.ALL, somebody)])
        with pytest.raises(zk.NoAuthError, match="must give its owner READ"):
            async with mutex:
                raise AssertionError("held what cannot be proven")
        assert there.znodes() == STAYS


async def test_the_acl_of_the_creator_is_accepted() -> None:
    async with connected_clients("a") as (_, (client,)):
        await client.add_auth("digest", "me:secret")
        async with _mutex(client, acl=zk.acl.CREATOR_ALL_ACL) as hold:
            acl, _ = await client.get_acl(hold.path)
            assert acl == [zk.ACL(zk.Perms.ALL, zk.digest_id("me", "secret"))]
            await hold.confirm()


async def test_a_lock_under_a_chroot() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        view = client.chroot("/team/one")  # it does not exist yet
        async with zk.Mutex(view, "/job") as hold:
            (full,) = (path for path in there.znodes() if "__lock__" in path)
            assert full == f"/team/one{hold.path}"
            await hold.confirm()
            async with hold.transaction() as tx:
                tx.set("/job", b"1")
            (contender,) = await zk.Mutex(other, "/team/one/job").contenders()
            assert contender.path == full
        async with zk.Mutex(client.chroot("/rooted"), "/") as hold:
            hold.check()


async def test_the_same_task_again_is_an_error_instead_of_waiting_for_itself() -> None:
    async with connected_clients("a") as (there, (client,)):
        mutex = _mutex(client)
        async with mutex as hold:
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with mutex:
                    pass
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with mutex.acquire(wait=0):
                    pass
            hold.check()
            assert there.znodes() == {*STAYS, hold.path}
        async with mutex as hold:
            hold.check()


async def test_tasks_may_share_a_mutex() -> None:
    async with connected_clients("a") as (_, (client,)):
        mutex = _mutex(client)
        inside = 0
        tokens = []

        async def work() -> None:
            nonlocal inside
            async with mutex as hold:
                inside += 1
                assert inside == 1
                tokens.append(hold.fencing_token)
                await anyio.sleep(1)
                inside -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(work)
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 5


async def test_an_acquisition_is_entered_and_not_awaited() -> None:
    async with connected_clients("a") as (_, (client,)):
        with pytest.raises(TypeError, match="entered, not awaited"):
            await _mutex(client).acquire()  # type: ignore[misc]  # the point of the test
        gc.collect()


async def test_an_acquisition_that_is_dropped_warns() -> None:
    async with connected_clients("a") as (_, (client,)):
        acquisition: Any = _mutex(client).acquire()
        with pytest.warns(RuntimeWarning, match="was never entered: nothing is held"):
            del acquisition


async def test_an_acquisition_is_entered_only_once() -> None:
    async with connected_clients("a") as (there, (client,)):
        acquisition = _mutex(client).acquire()
        async with acquisition:
            with pytest.raises(RuntimeError, match="entered only once"):
                async with acquisition:
                    pass
        with pytest.raises(RuntimeError, match="entered only once"):
            async with acquisition:
                pass
        assert there.znodes() == STAYS


async def test_an_uncontended_lock_takes_two_round_trips() -> None:
    """One round trip for the create, which is proof enough, and one to leave."""
    async with connected_clients("a") as (there, (client,)):
        async with _mutex(client):
            pass
        del there.requests[:]
        async with _mutex(client) as hold:
            assert hold.remaining() > TIMEOUT / 2
        assert [seen.opcode for seen in there.requests] == [OpCode.CREATE, OpCode.GET_CHILDREN, OpCode.DELETE]


async def test_a_lock_is_checked_first_if_the_session_has_written_nothing_for_long() -> None:
    """Then its create is not proof enough, because the leader knows of no earlier write."""
    async with connected_clients("a") as (there, (client,)):
        async with _mutex(client):
            pass
        await anyio.sleep(3 * TIMEOUT)
        del there.requests[:]
        async with _mutex(client) as hold:
            assert hold.remaining() > TIMEOUT / 8
        opcodes = [seen.opcode for seen in there.requests if seen.opcode != OpCode.PING]
        assert opcodes[:3] == [OpCode.CREATE, OpCode.GET_CHILDREN, OpCode.MULTI]


async def test_a_lock_that_not_every_client_may_read_is_checked_first() -> None:
    async with connected_clients("a") as (there, (client,)):
        await client.add_auth("digest", "me:secret")
        async with _mutex(client):
            pass
        del there.requests[:]
        async with zk.Mutex(client, DIRECTORY, acl=zk.CREATOR_ALL_ACL):
            pass
        assert [seen.opcode for seen in there.requests][:3] == [
            OpCode.CREATE,
            OpCode.GET_CHILDREN,
            OpCode.MULTI,
        ]


# --- the queue -----------------------------------------------------------------------------------------


async def _queue_up(client: zk.Client, name: str, entered: list[str], leave: dict[str, anyio.Event]) -> None:
    async with _mutex(client, name) as hold:
        entered.append(name)
        await leave[name].wait()
        hold.check()


async def test_waiters_enter_in_order_and_each_departure_wakes_one() -> None:
    """Case 85."""
    names = ["a", "b", "c", "d", "e"]
    async with connected_clients(*names) as (there, clients):
        entered: list[str] = []
        leave = {name: anyio.Event() for name in names}
        async with anyio.create_task_group() as tasks:
            for number, (name, client) in enumerate(zip(names, clients, strict=True), 1):
                tasks.start_soon(_queue_up, client, name, entered, leave)
                await _wait_for_contenders(clients[0], number)
            await anyio.sleep(1)
            contenders = await _mutex(clients[0]).contenders()
            assert [contender.identifier for contender in contenders] == names
            for number, name in enumerate(names, 1):
                assert entered == names[:number]
                del there.requests[:]
                leave[name].set()
                await anyio.sleep(1)
                # the next one reads once whether it is its turn; no other client does anything
                woken = 1 if number < len(names) else 0
                assert there.count(OpCode.GET_CHILDREN) == woken
                assert there.count(OpCode.GET_DATA, OpCode.EXISTS) == 0
        assert there.znodes() == STAYS


async def test_a_waiter_that_dies_wakes_no_other_falsely() -> None:
    async with connected_clients("a", "b", "c") as (there, clients):
        entered: list[str] = []
        leave = {name: anyio.Event() for name in "abc"}
        async with anyio.create_task_group() as tasks:
            for number, (name, client) in enumerate(zip("abc", clients, strict=True), 1):
                tasks.start_soon(_queue_up, client, name, entered, leave)
                await _wait_for_contenders(clients[0], number)
            await anyio.sleep(1)
            del there.requests[:]
            there.server.expire(clients[1].session.id)
            await anyio.sleep(1)
            # c lists, watches a and, because a is first, lists once more; b queues up behind c in its next
            # session
            assert there.count(OpCode.GET_DATA, session_id=clients[2].session.id) == 1
            assert there.count(OpCode.GET_CHILDREN, session_id=clients[2].session.id) == 2
            assert entered == ["a"]
            contenders = await _mutex(clients[0]).contenders()
            assert [contender.identifier for contender in contenders] == ["a", "c", "b"]
            for event in leave.values():
                event.set()
        assert entered == ["a", "c", "b"]


async def test_the_holder_dies() -> None:
    async with connected_clients("a", "b") as (there, (first, second)):
        async with anyio.create_task_group() as tasks:

            async def die() -> None:
                with pytest.raises(zk.LockLostError):
                    async with _mutex(first):
                        await anyio.sleep_forever()

            tasks.start_soon(die)
            await _wait_for_contenders(second, 1)
            tasks.start_soon(_expire_soon, there, first)
            async with _mutex(second) as hold:
                hold.check()


async def _expire_soon(there: World, client: zk.Client) -> None:
    await anyio.sleep(1)
    there.server.expire(client.session.id)


async def test_the_predecessor_leaves_between_the_list_and_the_watch() -> None:
    """Case 84."""
    async with connected_clients("a", "b") as (there, (client, other)):
        place = await other.create(
            f"{DIRECTORY}/{'f' * 32}__lock__", ephemeral=True, sequential=True, make_parents=True
        )

        def vanish(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.GET_DATA and seen.request.path == place:
                there.before_request = lambda _: None
                there.server.processor.tree.remove(place, there.server.processor.zxid)

        there.before_request = vanish
        del there.requests[:]
        async with _mutex(client) as hold:
            hold.check()
        assert there.count(OpCode.GET_DATA) == 1
        assert there.count(OpCode.GET_CHILDREN) == 2


async def test_the_directory_is_deleted_under_the_waiters() -> None:
    async with connected_clients("a", "b", "c", "admin") as (there, (first, second, third, admin)):
        entered = []

        async def work(client: zk.Client, name: str) -> None:
            with suppress(zk.LockLostError):
                async with _mutex(client, name):
                    entered.append(name)
                    await anyio.sleep(TIMEOUT if len(entered) == 1 else 1)

        async with anyio.create_task_group() as tasks:
            for number, client in enumerate((first, second, third), 1):
                tasks.start_soon(work, client, str(number))
                await _wait_for_contenders(admin, number)
            await anyio.sleep(1)
            async with admin.transaction() as tx:
                for name in await admin.get_children(DIRECTORY):
                    tx.delete(f"{DIRECTORY}/{name}")
                tx.delete(DIRECTORY)
        assert entered[0] == "1"
        assert sorted(entered) == ["1", "2", "3"]
        assert there.znodes() == STAYS


async def test_a_waiter_whose_znode_was_deleted_queues_up_again() -> None:
    async with connected_clients("a", "b", "admin") as (there, (first, second, admin)):
        entered: list[str] = []
        leave = {name: anyio.Event() for name in "ab"}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_queue_up, first, "a", entered, leave)
            await _wait_for_contenders(admin, 1)
            tasks.start_soon(_queue_up, second, "b", entered, leave)
            await _wait_for_contenders(admin, 2)
            await admin.delete((await _mutex(admin).contenders())[1].path)
            leave["a"].set()
            await anyio.sleep(1)
            assert entered == ["a", "b"]
            leave["b"].set()
        assert there.znodes() == STAYS


async def test_the_order_is_right_when_the_counter_wraps() -> None:
    """Case 79."""
    names = list("abcdef")
    async with connected_clients(*names, start_counter=2**31 - 4) as (there, clients):
        entered: list[str] = []
        leave = {name: anyio.Event() for name in names}
        async with anyio.create_task_group() as tasks:
            for number, (name, client) in enumerate(zip(names, clients, strict=True), 1):
                tasks.start_soon(_queue_up, client, name, entered, leave)
                await _wait_for_contenders(clients[0], number)
            contenders = await _mutex(clients[0]).contenders()
            found = [MUTEXES["kazoo"].tag_and_sequence_of(each.path) for each in contenders]
            numbers = [each[1] for each in found if each is not None]
            # the probe of each contender that finds the directory uses up a number
            assert numbers == [2**31 - 4, 2**31 - 2, *range(-(2**31), -(2**31) + 8, 2)]
            for event in leave.values():
                event.set()
        assert entered == names
        assert there.znodes() == STAYS


async def test_other_children_of_the_directory_are_ignored() -> None:
    """Children that are not contenders do not affect the order."""
    async with connected_clients("a") as (_, (client,)):
        await client.ensure_path(DIRECTORY)
        for name in ("0", "__lock__", "stranger-0000000000", f"{'0' * 32}__rlock__0000000000"):
            await client.create(f"{DIRECTORY}/{name}")
        async with _mutex(client).acquire(wait=0) as hold:
            hold.check()
            (contender,) = await _mutex(client).contenders()
            assert contender.path == hold.path


async def test_contenders_are_the_holder_and_the_waiters() -> None:
    """Case 82, including data that is not text."""
    async with connected_clients("a", "b") as (_, (client, other)):
        assert await _mutex(client).contenders() == []
        async with _mutex(client, "höld") as hold:
            session_id = other.session.id
            strange = await other.create(
                f"{DIRECTORY}/{'f' * 32}__lock__", b"\xff\xfe", ephemeral=True, sequential=True
            )
            null = await other.create(f"{DIRECTORY}/{'e' * 32}__lock__", None, sequential=True)
            one, two, three = await _mutex(other).contenders()
        assert one == zk.Contender("höld", hold.path, hold.fencing_token, client.session.id, "höld".encode())
        assert (two.identifier, two.path, two.session_id) == ("\ufffd\ufffd", strange, session_id)
        assert (three.identifier, three.path, three.session_id) == ("", null, 0)
        await other.delete(strange)
        await other.delete(null)


async def test_a_contender_that_leaves_while_they_are_listed_is_left_out() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _mutex(client) as hold:
            place = await other.create(f"{DIRECTORY}/{'f' * 32}__lock__", ephemeral=True, sequential=True)

            def vanish(seen: ReceivedRequest) -> None:
                if seen.opcode == OpCode.GET_DATA and place in there.znodes():
                    there.server.processor.tree.remove(place, there.server.processor.zxid)

            there.before_request = vanish
            (contender,) = await _mutex(client).contenders()
            assert contender.path == hold.path


async def test_one_try_waits_only_for_the_proof() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _mutex(client):
            mutex = _mutex(other)
            for _ in range(3):
                with pytest.raises(zk.AcquireTimeoutError):
                    async with mutex.acquire(wait=0):
                        pass
            assert len(await _mutex(other).contenders()) == 1
        async with _mutex(other).acquire(wait=0):
            pass
        assert there.znodes() == STAYS


async def test_one_try_tries_again_if_its_znode_was_deleted_immediately() -> None:
    """A free lock is not refused."""
    async with connected_clients("a") as (there, (client,)):
        await client.ensure_path(DIRECTORY)

        def delete(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.GET_CHILDREN:
                there.before_request = lambda _: None
                (made,) = there.znodes() - STAYS
                there.server.processor.tree.remove(made, there.server.processor.zxid)

        there.before_request = delete
        async with _mutex(client).acquire(wait=0) as hold:
            hold.check()
        assert there.count(OpCode.CREATE) >= 2


async def test_a_timeout_is_the_callers_scope() -> None:
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _mutex(client) as hold:
            with pytest.raises(TimeoutError):
                with anyio.fail_after(TIMEOUT):
                    async with _mutex(other):
                        raise AssertionError("two holders")
            await anyio.sleep(0.1)
            assert there.znodes() == {*STAYS, hold.path}
            assert len(there.server.processor.watches) == 0


async def test_a_mutex_of_a_client_that_is_over_raises() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            mutex = _mutex(client)
        with pytest.raises(zk.SessionClosedError):
            async with mutex:
                pass
        assert there.znodes() == set()


async def test_a_waiter_whose_session_expires_without_renewal_raises() -> None:
    async with connected_clients("rival") as (there, (rival,)), anyio.create_task_group() as tasks:
        async with _mutex(rival):
            with pytest.raises(zk.SessionExpiredError):
                async with there.connect("a", renew=False) as client:
                    tasks.start_soon(_expire_soon, there, client)
                    async with _mutex(client):
                        raise AssertionError("two holders")
        assert there.znodes() == STAYS


# --- faults of every kind ---------------------------------------------------------------------------------


async def _hold_for_a_while(_: World, client: zk.Client) -> str:
    async with _mutex(client, "faulty") as hold:
        # lasts for three checks, so that faults also hit the checks
        await anyio.sleep(TIMEOUT * 3 / 16)
        hold.check()
    return "held"


@asynccontextmanager
async def _a_rival(there: World) -> AsyncIterator[None]:
    """Another client has the lock at first, and a third one queues up behind."""
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
        is_held = anyio.Event()

        async def hold_at_first() -> None:
            async with _mutex(rival, "rival"):
                is_held.set()
                await anyio.sleep(TIMEOUT / 8)

        async def come_later() -> None:
            await anyio.sleep(1)
            async with _mutex(rival, "later"):
                pass

        tasks.start_soon(hold_at_first)
        await is_held.wait()
        tasks.start_soon(come_later)
        yield


def _is_held(outcome: Outcome) -> None:
    assert outcome.result == "held"


def _is_held_or_lost(outcome: Outcome) -> None:
    """Judge an act: an expiry before or after the block is settled, and one while it runs is the loss."""
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


@pytest.mark.parametrize("other_clients", [None, _a_rival], ids=["alone", "contended"])
@pytest.mark.parametrize(
    ("fault_kind", "judge"),
    [
        (FaultKind.BEFORE_SEND, _is_held),
        (FaultKind.AFTER_SEND, _is_held),
        (FaultKind.AFTER_COMMIT, _is_held),
        (FaultKind.EXPIRE, _is_held_or_lost),
    ],
)
async def test_fault_in_each_request(fault_kind: FaultKind, judge: Any, other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await inject_into_each_request(_hold_for_a_while, judge, fault_kind, may_remain=STAYS, **options)
    assert number >= 7


async def _hold_for_a_moment(_: World, client: zk.Client) -> str:
    async with _mutex(client, "faulty") as hold:
        await anyio.lowlevel.checkpoint()
        hold.check()
    return "held"


@asynccontextmanager
async def _a_short_rival(there: World) -> AsyncIterator[None]:
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
        is_held = anyio.Event()

        async def hold_at_first() -> None:
            async with _mutex(rival, "rival"):
                is_held.set()
                for _ in range(40):  # the clock stands still here
                    await anyio.lowlevel.checkpoint()

        tasks.start_soon(hold_at_first)
        await is_held.wait()
        yield


@asynccontextmanager
async def _a_lost_reply(there: World) -> AsyncIterator[None]:
    """The client has to find out whether the znode was created."""
    async with there.connect("maker") as maker:
        await maker.ensure_path(DIRECTORY)
    fault = there.server.faults.lose_reply(OpCode.CREATE, OpCode.MULTI)
    yield
    fault.remove()


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "held" or is_cancelled


@pytest.mark.parametrize(
    "other_clients", [None, _a_short_rival, _a_lost_reply], ids=["alone", "contended", "reply lost"]
)
async def test_cancelled_at_each_pass(other_clients: Any) -> None:
    """Cases 74, 75 and 76: during the create, the wait and the release."""
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await cancel_at_each_pass(_hold_for_a_moment, _is_held_or_cancelled, may_remain=STAYS, **options)
    assert number >= 20


@asyncio_only
@pytest.mark.parametrize(
    "other_clients", [None, _a_short_rival, _a_lost_reply], ids=["alone", "contended", "reply lost"]
)
@pytest.mark.parametrize("again_after", [None, 0, 1, 2, 3, 5])
async def test_cancelled_natively_at_each_pass(again_after: int | None, other_clients: Any) -> None:
    options = {} if other_clients is None else {"other_clients": other_clients}
    number = await cancel_at_each_pass(
        _hold_for_a_moment,
        _is_held_or_cancelled,
        may_remain=STAYS,
        native=True,
        again_after=again_after,
        **options,
    )
    assert number >= 20


async def test_a_waiter_cancelled_while_there_is_no_server_leaves_nothing() -> None:
    """The clean-up continues in the background when there is a server again."""
    async with connected_clients("a", "b") as (there, (client, other)):
        async with _mutex(other) as hold:
            lost = there.server.faults.lose_reply(OpCode.MULTI, session_id=client.session.id)
            with anyio.move_on_after(1):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cut_off, there, lost)
                    async with _mutex(client):
                        raise AssertionError("two holders")
            assert len(there.znodes()) == 4
            there.network.heal()
            await anyio.sleep(TIMEOUT / 4)
            assert there.znodes() == {*STAYS, hold.path}


async def _cut_off(there: World, fault: Any) -> None:
    await fault.wait_used()
    there.network.cut(source="a")
    there.network.reset(source="a")


async def test_leaving_without_a_living_server_is_bounded() -> None:
    async with connected_clients("a") as (there, (client,)):
        async with _mutex(client):
            there.network.cut(source="a")
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at <= TIMEOUT / 8 + 0.01
        there.network.heal()
        await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() == STAYS


# --- real time ------------------------------------------------------------------------------------------


@real_time
@pytest.mark.timeout(60)
async def test_a_hold_survives_a_hundred_thousand_gets_and_large_reads() -> None:
    """The client bounds the bytes in flight, so its own backlog does not delay a check."""
    async with zk.DevServer() as server:
        there = World(server, MemoryNetwork())
        there.record()
        async with zk.connect(server.connect_string, session_timeout=8.0) as client:
            await client.create("/small", b"small")
            await client.create("/large", bytes(1_000_000))
            async with (
                _mutex(client) as hold,
                client.session_changes() as changes,
                anyio.create_task_group() as tasks,
            ):
                backlogs: list[int] = []
                tasks.start_soon(_confirm_often, there, hold, backlogs)
                async with client.pipeline() as pipe:
                    small = []
                    for number in range(100_000):
                        small.append(pipe.get("/small"))
                        if number % 1000 == 0:
                            await anyio.lowlevel.checkpoint()  # otherwise the loop would be blocked for long
                assert all(reply.result().data == b"small" for reply in small)
                assert len(backlogs) > 10
                # A window's worth, or two if a check was on its way: not all the remaining requests.
                assert max(backlogs) < 2500
                async with client.pipeline() as pipe:
                    large = [pipe.get("/large") for _ in range(30)]
                assert sum(len(reply.result().data or b"") for reply in large) == 30_000_000
                hold.check()
                with anyio.move_on_after(0.01):
                    async for change in changes:
                        raise AssertionError(change)  # the client has left a working server
                tasks.cancel_scope.cancel()


async def _confirm_often(there: World, hold: zk.Hold, backlogs: list[int]) -> None:
    """Record how many requests the server received before each requested check."""
    while True:
        already = len(there.requests)
        await hold.confirm()
        since = [seen.opcode for seen in there.requests[already:]]
        backlogs.append(len(since) - 1 - since[::-1].index(OpCode.MULTI))
        await anyio.sleep(0.02)


@real_time
@pytest.mark.timeout(60)
async def test_kazoos_lock_and_ours_exclude_each_other() -> None:
    rounds = 12
    async with zk.DevServer() as server:
        log: list[tuple[str, int]] = []
        inside: list[str] = []

        def enter(who: str, token: int) -> None:
            inside.append(who)
            assert inside == [who]
            log.append((who, token))

        def kazoos() -> None:
            client = KazooClient(hosts=server.connect_string)
            client.start()
            try:
                for _ in range(rounds):
                    lock = client.Lock(DIRECTORY, "kazoo's")
                    with lock:
                        stat = client.exists(f"{DIRECTORY}/{lock.node}")
                        enter("kazoo", stat.czxid)
                        sleep(0.005)
                        inside.remove("kazoo")
            finally:
                client.stop()
                client.close()

        async with zk.connect(server.connect_string) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, kazoos)
            for _ in range(rounds):
                async with _mutex(client, "ours") as hold:
                    enter("ours", hold.fencing_token)
                    await anyio.sleep(0.005)
                    inside.remove("ours")
                    # let the other side queue up: a contender in the queue must have its turn
                    for contender in await _mutex(client).contenders():
                        assert contender.identifier in ("ours", "kazoo's")
        tokens = [token for _, token in log]
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 2 * rounds
        # both make progress: while both contend they take turns
        changes = sum(one != other for (one, _), (other, _) in pairwise(log))
        assert changes >= rounds // 2
        async with zk.connect(server.connect_string) as client:
            assert await client.get_children(DIRECTORY) == []
