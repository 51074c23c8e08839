"""A request to release a lock, which its holder can see and answer; the data in the znode is Curator's."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    World,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/job"
STAYS = {"/locks", DIRECTORY}


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


async def test_a_holder_sees_the_request_and_answers_by_leaving() -> None:
    async with _two_clients() as (there, client, other), anyio.create_task_group() as tasks:
        held = anyio.Event()

        async def hold() -> None:
            async with zk.Mutex(client, DIRECTORY) as hold:
                held.set()
                await hold.wait_revocation()
                await hold.wait_revocation()  # the request stays
                hold.check()

        tasks.start_soon(hold)
        await held.wait()
        await anyio.sleep(2 * TIMEOUT)
        mutex = zk.Mutex(other, DIRECTORY)
        assert await mutex.revoke()
        async with mutex as hold_now:
            hold_now.check()
        assert there.znodes() == STAYS
        assert len(there.server.processor.watches) == 0


async def test_waiting_costs_one_read() -> None:
    async with _two_clients() as (there, client, _):
        async with zk.Mutex(client, DIRECTORY) as hold:
            del there.requests[:]
            with anyio.move_on_after(3 * TIMEOUT):
                await hold.wait_revocation()
            assert there.count(OpCode.GET_DATA) == 1
            await anyio.sleep(0.1)
            assert len(there.server.processor.watches) == 0


async def test_other_data_is_not_a_request() -> None:
    async with _two_clients() as (_, client, other):
        async with zk.Mutex(client, DIRECTORY) as hold:
            with pytest.raises(TimeoutError):
                with anyio.fail_after(5):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(hold.wait_revocation)
                        for data in (b"__REVOKE", b"", None, b"__REVOKE__ "):
                            await other.set(hold.path, data)


async def test_without_a_holder_there_is_no_request() -> None:
    async with _two_clients() as (_, client, _other):
        mutex = zk.Mutex(client, DIRECTORY)
        assert not await mutex.revoke()
        async with mutex:
            pass
        assert not await mutex.revoke()


async def test_only_the_holder_is_asked_and_a_request_ends_no_hold() -> None:
    async with _two_clients() as (_, client, other), anyio.create_task_group() as tasks:

        async def wait() -> None:
            async with zk.Mutex(other, DIRECTORY, identifier="waits"):
                pass

        mutex = zk.Mutex(client, DIRECTORY, identifier="holds")
        async with mutex as hold:
            tasks.start_soon(wait)
            await anyio.sleep(1)
            assert await mutex.revoke()
            await hold.confirm()
            first, second = await mutex.contenders()
            assert (first.data, second.identifier) == (b"__REVOKE__", "waits")


async def test_the_holder_is_found_even_when_the_counter_wraps() -> None:
    async with world(start_counter=2**31 - 1) as there, there.connect("a") as client:
        places = [
            await client.create(f"{DIRECTORY}/{digit * 32}__lock__", sequential=True, make_parents=True)
            for digit in "fa0"
        ]
        assert [place[-11:] for place in places] == ["_2147483647", "-2147483648", "-2147483647"]
        for place in places:
            assert await zk.Mutex(client, DIRECTORY).revoke()
            assert (await client.get(place)).data == b"__REVOKE__"
            await client.delete(place)


async def test_if_the_holder_leaves_the_next_one_is_asked() -> None:
    async with _two_clients() as (there, client, other):
        one, two = [
            await client.create(f"{DIRECTORY}/{digit * 32}__lock__", sequential=True, make_parents=True)
            for digit in "ab"
        ]

        def vanish(seen: object) -> None:
            if getattr(seen, "opcode", None) == OpCode.SET_DATA:
                there.before_request = lambda _: None
                there.server.processor.tree.remove(one, there.server.processor.zxid)

        there.before_request = vanish
        assert await zk.Mutex(other, DIRECTORY).revoke()
        assert (await client.get(two)).data == b"__REVOKE__"
        await client.delete(two)


@pytest.mark.parametrize("how", ["deleted", "expired", "silence"])
async def test_a_wait_ends_with_the_loss_in_every_task(how: str) -> None:
    """Including a task that the loss does not cancel."""
    async with _two_clients() as (there, client, other), anyio.create_task_group() as tasks:

        async def wait(hold: zk.Hold) -> None:
            with pytest.raises(zk.LockLostError):
                await hold.wait_revocation()

        with pytest.raises(zk.LockLostError):
            async with zk.Mutex(client, DIRECTORY) as hold:
                tasks.start_soon(wait, hold)
                await anyio.sleep(1)
                if how == "deleted":
                    await other.delete(hold.path)
                elif how == "expired":
                    there.server.expire(client.session.id)
                else:
                    there.network.cut(source="a")
                await anyio.sleep_forever()
        there.network.heal()
        with pytest.raises(zk.LockLostError):
            await hold.wait_revocation()


async def test_a_downgraded_hold_and_permits_see_the_request() -> None:
    async with _two_clients() as (_, client, other):
        lock = zk.ReadWriteLock(client, DIRECTORY)
        async with lock.write() as hold, anyio.create_task_group() as tasks:
            tasks.start_soon(hold.wait_revocation)
            await anyio.sleep(1)
            await lock.downgrade()
            await anyio.sleep(1)
            await other.set(hold.path, b"__REVOKE__")


async def test_a_request_across_a_reconnect() -> None:
    async with _two_clients() as (there, client, other):
        async with zk.Mutex(client, DIRECTORY) as hold, anyio.create_task_group() as tasks:
            tasks.start_soon(hold.wait_revocation)
            await anyio.sleep(1)
            there.network.cut(source="a")
            there.network.reset(source="a")
            await zk.Mutex(other, DIRECTORY).revoke()
            there.network.heal()


# --- faults of every kind ---------------------------------------------------------------------------------


@asynccontextmanager
async def _another_holds(there: World) -> AsyncIterator[None]:
    """Let another client hold the lock and release it on request."""
    async with there.connect("holder") as holder, anyio.create_task_group() as tasks:
        held = anyio.Event()

        async def hold_until_asked() -> None:
            async with zk.Mutex(holder, DIRECTORY) as hold:
                held.set()
                await hold.wait_revocation()

        tasks.start_soon(hold_until_asked)
        await held.wait()
        yield
        await zk.Mutex(holder, DIRECTORY).revoke()


async def _revoke(_: World, client: zk.Client) -> bool:
    return await zk.Mutex(client, DIRECTORY).revoke()


def _is_asked(outcome: Outcome) -> None:
    assert outcome.result in (True, False)  # the first try may have asked the holder, which may have left


def _is_asked_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result is True or is_cancelled


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request_of_a_request(fault_kind: FaultKind) -> None:
    number = await inject_into_each_request(
        _revoke, _is_asked, fault_kind, may_remain=STAYS, other_clients=_another_holds
    )
    assert number >= 2


async def test_a_request_cancelled_at_each_pass() -> None:
    await cancel_at_each_pass(_revoke, _is_asked_or_cancelled, may_remain=STAYS, other_clients=_another_holds)


async def _wait_while_held(_: World, client: zk.Client) -> str:
    async with zk.Mutex(client, DIRECTORY) as hold:
        with anyio.move_on_after(TIMEOUT / 8):
            await hold.wait_revocation()
        hold.check()
    return "held"


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request_of_a_waiting_holder(fault_kind: FaultKind) -> None:
    def is_right(outcome: Outcome) -> None:
        is_lost = fault_kind is FaultKind.EXPIRE and type(outcome.error) is zk.LockLostError
        assert outcome.result == "held" or is_lost

    await inject_into_each_request(_wait_while_held, is_right, fault_kind, may_remain=STAYS)
