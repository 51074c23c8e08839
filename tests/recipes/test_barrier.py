"""Barrier: waiters continue when the gate opens, and not before, even if requests or replies are lost."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    World,
    asyncio_only,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/gates/maintenance"
STAYS = {"/gates"}


def gate(client: zk.Client, path: str = PATH, **options: Any) -> zk.Barrier:
    return zk.Barrier(client, path, **options)


@asynccontextmanager
async def two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


@asynccontextmanager
async def somebody_waits(client: zk.Client) -> AsyncIterator[anyio.Event]:
    """Wait at the gate in a task while the block runs; the event is set when the wait is over."""
    through = anyio.Event()

    async def wait() -> None:
        await gate(client).wait()
        through.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(1)
        assert not through.is_set()
        yield through
        await anyio.sleep(1)
        assert through.is_set()


# --- open and closed -----------------------------------------------------------------------------------


async def test_it_is_closed_while_its_znode_exists() -> None:
    async with two_clients() as (there, client, other):
        await gate(client).wait()
        await gate(client).create()
        assert there.znodes() == {*STAYS, PATH}
        assert {there.server.processor.tree.get(path).kind.value for path in there.znodes()} == {"persistent"}
        async with somebody_waits(other):
            await gate(client).remove()
        assert there.znodes() == STAYS
        await gate(other).wait()


async def test_creating_the_object_does_no_io_and_refuses_invalid_arguments() -> None:
    async with two_clients() as (there, client, _):
        there.requests.clear()
        assert repr(gate(client)) == f"<Barrier {PATH}>"
        for wrong in ("", "gate", "/gate/", "/a//b"):
            with pytest.raises(ValueError, match="path"):
                gate(client, wrong)
        assert not there.requests


async def test_closing_twice_and_opening_twice_changes_nothing() -> None:
    async with two_clients() as (there, client, other):
        for each in (client, client, other):
            await gate(each).create()
        assert there.znodes() == {*STAYS, PATH}
        for each in (client, client, other):
            await gate(each).remove()
        assert there.znodes() == STAYS


async def test_any_client_can_open_it_and_tasks_can_share_it() -> None:
    async with two_clients() as (_, client, other):
        await gate(other).create()
        shared = gate(client)
        passed: list[int] = []

        async def wait(number: int) -> None:
            await shared.wait()
            passed.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(wait, number)
            await anyio.sleep(1)
            assert passed == []
            await shared.remove()
        assert sorted(passed) == list(range(5))


async def test_it_stays_closed_when_the_client_that_closed_it_is_gone() -> None:
    async with world() as there, there.connect("b") as other:
        async with there.connect("a") as client:
            await gate(client).create()
        async with somebody_waits(other):
            await gate(other).remove()


async def test_number_of_requests() -> None:
    async with two_clients() as (there, client, other):
        await gate(client).create()
        async with somebody_waits(other):
            there.requests.clear()
            await gate(client).remove()
            await anyio.sleep(1)
            # the event ends the wait, without another request
            assert [seen.opcode for seen in there.requests] == [OpCode.MULTI, OpCode.EXISTS, OpCode.DELETE]
        there.requests.clear()
        await gate(client).create()
        assert [seen.opcode for seen in there.requests] == [OpCode.CREATE]


async def test_the_znode_has_the_acl() -> None:
    async with two_clients() as (_, client, other):
        await client.add_auth("digest", "me:secret")
        await client.ensure_path("/gates", acl=zk.OPEN_ACL)
        acl = [*zk.CREATOR_ALL_ACL, *zk.READ_ACL]
        await gate(client, acl=acl).create()
        entries, _ = await client.get_acl(PATH)
        assert entries == [zk.ACL(zk.Perms.ALL, zk.digest_id("me", "secret")), *zk.READ_ACL]
        async with somebody_waits(other):
            await gate(client).remove()


async def test_without_create_permission_a_closed_gate_is_accepted() -> None:
    async with two_clients() as (_, client, other):
        await client.add_auth("digest", "me:secret")
        acl = [*zk.CREATOR_ALL_ACL, *zk.READ_ACL]
        await gate(client, acl=acl).create()
        await gate(other).create()
        with pytest.raises(zk.NoAuthError):
            await gate(other).remove()
        await gate(client).remove()
        with pytest.raises(zk.NoAuthError):
            await gate(other).create()


async def test_under_a_chroot() -> None:
    async with two_clients() as (there, client, other):
        view = client.chroot("/team/one")  # does not exist yet
        await gate(view).wait()
        await gate(view).create()
        assert f"/team/one{PATH}" in there.znodes()
        passed = anyio.Event()

        async def wait() -> None:
            await gate(view).wait()
            passed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1)
            assert not passed.is_set()
            await gate(other, f"/team/one{PATH}").remove()


async def test_a_path_with_children_is_not_a_gate() -> None:
    """The directory of another recipe is not removed by mistake."""
    async with two_clients() as (there, client, _):
        await client.ensure_path(f"{PATH}/child")
        with pytest.raises(zk.NotEmptyError, match=PATH):
            await gate(client).remove()
        assert f"{PATH}/child" in there.znodes()


async def test_waiting_at_another_recipes_directory_is_an_error() -> None:
    """No client would ever open the directory of a mutex, for example."""
    async with two_clients() as (there, client, other):
        async with zk.Mutex(other, PATH):
            with pytest.raises(zk.NotEmptyError, match=f"{PATH} .a barrier must not have children"):
                await gate(client).wait()
        await anyio.sleep(0.1)
        assert len(there.server.processor.watches) == 0


async def test_waiting_ends_with_the_callers_scope() -> None:
    async with two_clients() as (there, client, _):
        await gate(client).create()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(3):
                await gate(client).wait()
        await anyio.sleep(0.1)
        assert len(there.server.processor.watches) == 0


# --- changes during the wait -----------------------------------------------------------------------------


async def test_a_change_of_its_data_does_not_open_it() -> None:
    async with two_clients() as (_, client, other):
        await gate(client).create()
        async with somebody_waits(other) as through:
            await client.set(PATH, b"by hand")
            await anyio.sleep(1)
            assert not through.is_set()
            await gate(client).remove()


async def test_an_opening_is_not_missed_when_it_is_closed_again_at_once() -> None:
    async with two_clients() as (_, client, other):
        await gate(client).create()
        async with somebody_waits(other):
            async with client.transaction() as tx:
                tx.delete(PATH)
                tx.create(PATH)


async def test_an_opening_is_not_missed_while_there_is_no_connection() -> None:
    async with two_clients() as (there, client, other):
        await gate(client).create()
        async with somebody_waits(other) as through:
            there.network.cut(source="b")
            there.network.reset(source="b")
            await gate(client).remove()
            await gate(client).create()
            await anyio.sleep(1)
            assert not through.is_set()
            there.network.heal()
            await anyio.sleep(TIMEOUT / 8)


async def test_waiting_continues_in_a_new_session() -> None:
    async with two_clients() as (there, client, other):
        await gate(client).create()
        async with somebody_waits(other) as through:
            before = other.session
            there.server.expire(before.id)
            await anyio.sleep(1)
            assert other.session is not before
            assert not through.is_set()
            await gate(client).remove()


async def test_an_opening_is_not_missed_while_the_session_is_renewed() -> None:
    async with two_clients() as (there, client, other):
        await gate(client).create()
        async with somebody_waits(other):
            there.network.cut(source="b")
            there.network.reset(source="b")
            there.server.expire(other.session.id)
            await gate(client).remove()
            await gate(client).create()
            there.network.heal()
            await anyio.sleep(TIMEOUT / 8)


async def test_waiting_raises_when_the_client_is_over() -> None:
    async with world() as there, there.connect("b") as other, anyio.create_task_group() as tasks:
        await gate(other).create()
        with pytest.raises(zk.SessionExpiredError):
            async with there.connect("a", renew=False) as client:
                tasks.start_soon(expire_soon, there, client)
                await gate(client).wait()
        for act in (gate(client).wait, gate(client).create, gate(client).remove):
            with pytest.raises(zk.SessionExpiredError):
                await act()


async def expire_soon(there: World, client: zk.Client) -> None:
    await anyio.sleep(1)
    there.server.expire(client.session.id)


@pytest.mark.parametrize("how", ["lose_reply", "drop_request"])
async def test_a_gate_that_was_closed_again_while_the_outcome_was_unknown_stays_closed(how: str) -> None:
    """`remove` opens the gate that it has found, and no gate that was closed later."""
    async with two_clients() as (there, client, other):
        await gate(client).create()
        fault = getattr(there.server.faults, how)(OpCode.DELETE, session_id=client.session.id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate(client).remove)
            await fault.wait_used()
            there.network.cut(source="a")
            await gate(other).remove()
            await gate(other).create()
            there.network.heal()
        assert there.znodes() == {*STAYS, PATH}


# --- faults of every kind ---------------------------------------------------------------------------------


async def close_and_open(there: World, client: zk.Client) -> str:
    await gate(client).create()
    assert PATH in there.znodes()
    await gate(client).remove()
    assert PATH not in there.znodes()
    await gate(client).wait()
    return "through"


async def wait_through(_: World, client: zk.Client) -> str:
    await gate(client).wait()
    return "through"


@asynccontextmanager
async def closed_at_first(there: World) -> AsyncIterator[None]:
    """Let another client close the gate, and open it later."""
    async with there.connect("keeper") as keeper, anyio.create_task_group() as tasks:
        await gate(keeper).create()

        async def open_later() -> None:
            await anyio.sleep(TIMEOUT / 8)
            await gate(keeper).remove()

        tasks.start_soon(open_later)
        yield


def is_through(outcome: Outcome) -> None:
    assert outcome.result == "through"


def is_through_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == "through" or isinstance(outcome.error, anyio.get_cancelled_exc_class())


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request_of_closing_and_opening(fault_kind: FaultKind) -> None:
    assert await inject_into_each_request(close_and_open, is_through, fault_kind, may_remain=STAYS) >= 8


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request_of_waiting(fault_kind: FaultKind) -> None:
    number = await inject_into_each_request(
        wait_through, is_through, fault_kind, may_remain=STAYS, other_clients=closed_at_first
    )
    assert number >= 2


STAYS_CANCELLED = {*STAYS, PATH}


async def test_cancelled_at_each_pass() -> None:
    number = await cancel_at_each_pass(close_and_open, is_through_or_cancelled, may_remain=STAYS_CANCELLED)
    assert number >= 10


@asyncio_only
@pytest.mark.parametrize("again_after", [None, 1, 3])
async def test_cancelled_natively_at_each_pass(again_after: int | None) -> None:
    number = await cancel_at_each_pass(
        close_and_open,
        is_through_or_cancelled,
        may_remain=STAYS_CANCELLED,
        native=True,
        again_after=again_after,
    )
    assert number >= 10


@asynccontextmanager
async def closed_for_some_passes(there: World) -> AsyncIterator[None]:
    async with there.connect("keeper") as keeper, anyio.create_task_group() as tasks:
        await gate(keeper).create()

        async def open_later() -> None:
            for _ in range(15):  # virtual time does not pass
                await anyio.lowlevel.checkpoint()
            await gate(keeper).remove()

        tasks.start_soon(open_later)
        yield


async def test_waiting_cancelled_at_each_pass() -> None:
    number = await cancel_at_each_pass(
        wait_through, is_through_or_cancelled, may_remain=STAYS, other_clients=closed_for_some_passes
    )
    assert number >= 10
