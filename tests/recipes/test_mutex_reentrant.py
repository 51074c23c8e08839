"""A mutex that its holder may enter again, under the same hold and only in the same task."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import gc
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
    block_the_loop,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/job"
STAYS = {"/locks", DIRECTORY}


@asynccontextmanager
async def _reentrant() -> AsyncIterator[tuple[World, zk.Client, zk.Mutex]]:
    async with world() as there, there.connect("a") as client:
        yield there, client, zk.Mutex(client, DIRECTORY, reentrant=True)
        await anyio.sleep(TIMEOUT / 8)
        assert there.znodes() <= STAYS


async def test_the_same_task_enters_immediately_and_leaves_without_releasing() -> None:
    async with _reentrant() as (there, _, mutex):
        async with mutex as hold:
            del there.requests[:]
            async with mutex as inner:
                assert inner is hold
                async with mutex.acquire(wait=0) as innermost:
                    assert innermost is hold
                async with mutex.acquire() as innermost:
                    assert innermost is hold
            assert there.requests == []
            hold.check()
            assert there.znodes() == {*STAYS, hold.path}
        assert there.znodes() == STAYS
        async with mutex as other:
            assert other.fencing_token > hold.fencing_token


async def test_without_the_option_it_is_an_error() -> None:
    async with _reentrant() as (_, client, _mutex):
        mutex = zk.Mutex(client, DIRECTORY)
        async with mutex:
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with mutex:
                    pass


async def test_a_child_task_is_not_the_holder() -> None:
    async with _reentrant() as (_, _client, mutex):
        order = []

        async def child() -> None:
            with pytest.raises(zk.AcquireTimeoutError):
                async with mutex.acquire(wait=0):
                    raise AssertionError("two holders")
            async with mutex as theirs:
                order.append("child")
                async with mutex as again:
                    assert again is theirs

        async with anyio.create_task_group() as tasks:
            async with mutex:
                tasks.start_soon(child)
                async with mutex:
                    await anyio.sleep(1)
                await anyio.sleep(1)
                order.append("parent")
        assert order == ["parent", "child"]


async def test_only_the_same_object_is_entered_again() -> None:
    async with _reentrant() as (_, client, mutex):
        async with mutex:
            with pytest.raises(RuntimeError, match="wait for itself"):
                async with zk.Mutex(client, DIRECTORY, reentrant=True).acquire(wait=0):
                    raise AssertionError("two holders")


async def test_a_multi_lock_of_such_mutexes_may_be_entered_again() -> None:
    async with _reentrant() as (_, client, mutex):
        multi = zk.MultiLock([mutex, zk.Mutex(client, "/locks/job/other", reentrant=True)])
        async with multi as hold:
            async with multi as inner, mutex as one:
                assert inner.holds == hold.holds
                assert one is hold.holds[0]
            hold.check()
        await client.delete("/locks/job/other")


async def test_an_inner_acquisition_is_entered_once_and_not_awaited_or_dropped() -> None:
    async with _reentrant() as (_, _client, mutex):
        async with mutex:
            acquisition: Any = mutex.acquire()
            with pytest.warns(RuntimeWarning, match="was never entered"):
                del acquisition
            with pytest.raises(TypeError, match="entered, not awaited"):
                await mutex.acquire()  # type: ignore[misc]  # the point of the test
            gc.collect()
            acquisition = mutex.acquire()
            async with acquisition:
                with pytest.raises(RuntimeError, match="entered only once"):
                    await acquisition.__aenter__()


async def test_blocks_left_in_the_wrong_order_never_run_silently_without_the_lock() -> None:
    async with _reentrant() as (there, _, mutex):
        outer, inner = mutex.acquire(), mutex.acquire()
        await outer.__aenter__()
        hold = await inner.__aenter__()
        await outer.__aexit__(None, None, None)
        assert there.znodes() == STAYS
        with pytest.raises(zk.LockLostError, match="its block has ended"):
            hold.check()
        with pytest.raises(zk.LockLostError, match="its block has ended"):
            await inner.__aexit__(None, None, None)
        async with mutex as another:
            another.check()


# --- the table of errors, in an inner block --------------------------------------------------------------


async def test_the_loss_cancels_the_innermost_block() -> None:
    async with _reentrant() as (_, client, mutex):
        steps = []
        with pytest.raises(zk.LockLostError, match="its znode was deleted") as caught:
            async with mutex as hold:
                async with mutex, mutex:
                    await client.delete(hold.path)
                    steps.append("innermost")
                    await anyio.sleep_forever()
                steps.append("never")
        assert steps == ["innermost"]
        assert caught.value.__cause__ is None


async def test_an_inner_block_that_ended_normally_after_the_loss_raises_it() -> None:
    async with _reentrant() as (_, _client, mutex):
        inner_losses = []
        with pytest.raises(zk.LockLostError) as caught:
            async with mutex:
                try:
                    async with mutex, mutex:
                        block_the_loop(TIMEOUT)
                except zk.LockLostError as loss:
                    inner_losses.append(loss)
                    raise
        assert inner_losses == [caught.value]  # it is one loss, raised once
        assert caught.value.__cause__ is None


async def test_lost_and_raised_in_an_inner_block() -> None:
    async with _reentrant() as (_, client, mutex):
        error = ValueError("mine")
        with pytest.raises(zk.LockLostError) as caught:
            async with mutex as hold, mutex, mutex:
                await client.delete(hold.path)
                try:
                    await anyio.sleep_forever()
                finally:
                    raise error
        assert caught.value.__cause__ is error


async def test_a_caught_loss_is_raised_again_by_the_outermost_block() -> None:
    async with _reentrant() as (_, _client, mutex):
        with pytest.raises(zk.LockLostError):
            async with mutex:
                with pytest.raises(zk.LockLostError):
                    async with mutex:
                        block_the_loop(TIMEOUT)


async def test_raised_in_an_inner_block_while_it_is_held() -> None:
    async with _reentrant() as (_, _client, mutex):
        error = ValueError("mine")
        async with mutex as hold:
            with pytest.raises(ValueError, match="mine") as caught:
                async with mutex:
                    raise error
            assert caught.value is error
            hold.check()


async def test_an_inner_block_cancelled_from_outside_leaves_the_outer_one_alone() -> None:
    async with _reentrant() as (_, _client, mutex):
        async with mutex as hold:
            with anyio.move_on_after(1) as scope:
                async with mutex:
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            hold.check()
            async with mutex:
                hold.check()


async def test_a_task_that_has_lost_it_does_not_enter_again() -> None:
    async with _reentrant() as (_, client, mutex):
        with pytest.raises(zk.LockLostError):
            async with mutex as hold:
                await client.delete(hold.path)
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(TIMEOUT / 8)
                    with pytest.raises(zk.LockLostError):
                        async with mutex:
                            raise AssertionError("entered what is lost")
                    multi = zk.MultiLock([zk.Mutex(client, f"{DIRECTORY}/other"), mutex])
                    with pytest.raises(zk.LockLostError):
                        async with multi:
                            raise AssertionError("entered what is lost")
                    await client.delete(f"{DIRECTORY}/other")
                await anyio.sleep_forever()


# --- faults of every kind ---------------------------------------------------------------------------------


async def _hold_twice(_: World, client: zk.Client) -> str:
    mutex = zk.Mutex(client, DIRECTORY, reentrant=True)
    async with mutex as hold:
        await anyio.lowlevel.checkpoint()
        async with mutex:
            await anyio.lowlevel.checkpoint()
            hold.check()
        await anyio.lowlevel.checkpoint()
    return "held"


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "held" or is_cancelled


def _is_held_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request(fault_kind: FaultKind) -> None:
    await inject_into_each_request(_hold_twice, _is_held_or_lost, fault_kind, may_remain=STAYS)


async def test_cancelled_at_each_pass() -> None:
    await cancel_at_each_pass(_hold_twice, _is_held_or_cancelled, may_remain=STAYS)


@asyncio_only
@pytest.mark.parametrize("again_after", [None, 0, 2])
async def test_cancelled_natively_at_each_pass(again_after: int | None) -> None:
    await cancel_at_each_pass(
        _hold_twice, _is_held_or_cancelled, may_remain=STAYS, native=True, again_after=again_after
    )
