"""Entering and leaving, in any task and through any object, and holds that are forgotten."""

# ruff: noqa: PT031, PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Native,
    Outcome,
    World,
    asyncio_only,
    cancel_at_each_pass,
    jumping_backend,
    virtual_time,
    world,
)

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/locks/job"
STAYS = {"/locks", PATH, f"{PATH}-__lock__", f"{PATH}2", f"{PATH}2-__lock__"}

trio_only = pytest.mark.parametrize("anyio_backend", [jumping_backend("trio")], ids=["trio"])

Make = Callable[[zk.Client], AbstractAsyncContextManager[Any]]

HOLDS: dict[str, Make] = {
    "mutex": lambda client: zk.Mutex(client, PATH),
    "mutex.acquire()": lambda client: zk.Mutex(client, PATH).acquire(),
    "reentrant mutex": lambda client: zk.Mutex(client, PATH, reentrant=True),
    "read()": lambda client: zk.ReadWriteLock(client, PATH).read(),
    "write()": lambda client: zk.ReadWriteLock(client, PATH).write(),
    "semaphore": lambda client: zk.Semaphore(client, PATH, limit=2),
    "semaphore.acquire(permits=2)": lambda client: zk.Semaphore(client, PATH, limit=2).acquire(permits=2),
    "multi": lambda client: zk.MultiLock([zk.Mutex(client, PATH), zk.Mutex(client, f"{PATH}2")]),
    "multi.acquire()": lambda client: zk.MultiLock([zk.Mutex(client, PATH)]).acquire(),
    "lead()": lambda client: zk.Election(client, PATH).lead(),
    "double barrier": lambda client: zk.DoubleBarrier(client, PATH, parties=1),
}
holds = pytest.mark.parametrize("make", HOLDS.values(), ids=HOLDS)


@asynccontextmanager
async def _one_client(**options: Any) -> AsyncIterator[tuple[World, zk.Client]]:
    async with world() as there, there.connect("a", **options) as client:
        yield there, client


async def _enter_in_a_task(block: AbstractAsyncContextManager[Any]) -> Any:
    """Enter in a separate task that has ended, and return the result."""
    entered: list[Any] = []

    async def enter() -> None:
        entered.append(await block.__aenter__())

    # A native task, because anyio ends a task with an error if it is still in a scope.
    if not trio.lowlevel.in_trio_run():
        return await asyncio.create_task(block.__aenter__())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
    return entered.pop()


# --- left by another task ------------------------------------------------------------------------------


@holds
async def test_a_hold_survives_the_task_that_entered_it_and_any_task_leaves_it(make: Make) -> None:
    async with _one_client() as (there, client):
        block = make(client)
        hold = await _enter_in_a_task(block)
        await anyio.sleep(5 * TIMEOUT)
        hold.check()
        await hold.confirm()
        async with hold.transaction() as transaction:
            transaction.create("/applied")
        assert hold.remaining() > 0
        with pytest.raises(RuntimeError, match=r"(?s)left by another task.*Enter and leave it in one task"):
            await block.__aexit__(None, None, None)
        lost = (zk.LockLostError, zk.LeadershipLostError, zk.BrokenBarrierError)
        with pytest.raises(lost, match="its block has ended"):
            hold.check()
        assert there.znodes() <= STAYS | {"/applied"}
        assert client.stats().holds == 0


@holds
async def test_the_bodys_error_comes_out_of_a_block_left_elsewhere_with_the_remedy(make: Make) -> None:
    async with _one_client() as (there, client):
        block = make(client)
        await _enter_in_a_task(block)
        with pytest.raises(KeyError) as raised:
            async with AsyncExitStack() as stack:
                stack.push_async_exit(block)
                raise KeyError("the body's")
        (note,) = raised.value.__notes__
        assert "Enter and leave it in one task" in note
        assert there.znodes() <= STAYS


@holds
async def test_a_cancellation_passes_through_a_block_left_elsewhere(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async with _one_client() as (there, client):
        block = make(client)
        await _enter_in_a_task(block)
        with anyio.CancelScope() as scope:
            async with AsyncExitStack() as stack:
                stack.push_async_exit(block)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert "Enter and leave it in one task" in caplog.text
        assert there.znodes() <= STAYS


async def test_a_block_left_elsewhere_raises_the_loss() -> None:
    async with _one_client() as (_, client):
        block = zk.Mutex(client, PATH)
        hold = await _enter_in_a_task(block)
        await client.delete(hold.path)
        await anyio.sleep(TIMEOUT / 8)
        with pytest.raises(zk.LockLostError, match="its znode was deleted"):
            hold.check()
        with pytest.raises(zk.LockLostError) as raised:
            await block.__aexit__(None, None, None)
        assert "Enter and leave it in one task" in raised.value.__notes__[0]


async def test_the_loss_of_such_a_hold_cancels_nothing_later() -> None:
    """Neither the end of the proof nor the loss cancels a task, and the loop does not spin."""
    async with _one_client() as (there, client):
        hold = await _enter_in_a_task(block := zk.Mutex(client, PATH))
        there.network.cut(source="a")
        await anyio.sleep(2 * TIMEOUT)
        with pytest.raises(zk.LockLostError):
            hold.check()
        there.network.heal()
        await anyio.sleep(TIMEOUT)
        with pytest.raises(zk.LockLostError):
            await block.__aexit__(None, None, None)


async def test_an_object_leaves_first_what_the_calling_task_entered() -> None:
    """Then it leaves the uses of ended tasks."""
    async with _one_client() as (_, client):
        semaphore = zk.Semaphore(client, PATH, limit=3)
        async with semaphore as own:
            left_behind = await _enter_in_a_task(semaphore)
        assert own.remaining() == 0
        left_behind.check()
        with pytest.raises(RuntimeError, match="left by another task"):
            await semaphore.__aexit__(None, None, None)
        with pytest.raises(RuntimeError, match="no task has entered it"):
            await semaphore.__aexit__(None, None, None)


@asyncio_only
@holds
async def test_wait_for_around_entering_as_up_to_python_3_11(make: Make) -> None:
    """Case: `asyncio.wait_for(stack.enter_async_context(…), 3)` enters in a separate task."""
    async with _one_client() as (there, client):
        stack = AsyncExitStack()
        hold = await asyncio.create_task(stack.enter_async_context(make(client)))
        await anyio.sleep(TIMEOUT)
        hold.check()
        with pytest.raises(RuntimeError, match="left by another task"):
            await stack.aclose()
        assert there.znodes() <= STAYS


@asyncio_only
async def test_a_fixture_whose_halves_run_in_two_tasks() -> None:
    """Case: pytest-asyncio runs each half of `async with mutex as hold: yield hold` in its own task."""
    async with _one_client() as (there, client):

        async def fixture() -> AsyncIterator[zk.Hold]:
            async with zk.Mutex(client, PATH) as hold:
                yield hold

        halves = aiter(fixture())

        async def next_half() -> zk.Hold:
            return await anext(halves)

        hold = await asyncio.create_task(next_half())
        await anyio.sleep(TIMEOUT)
        hold.check()
        await hold.confirm()
        with pytest.raises(RuntimeError, match="left by another task"):
            await asyncio.create_task(next_half())
        assert there.znodes() <= STAYS


# --- forgotten -----------------------------------------------------------------------------------------


@holds
async def test_a_forgotten_hold_is_released_and_the_log_says_so(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with _one_client() as (there, client):
        hold = await _enter_in_a_task(make(client))
        gc.collect()
        await anyio.sleep(TIMEOUT)
        hold.check()  # a hold that is in use is not forgotten, although nothing can leave it
        del hold
        gc.collect()
        await anyio.sleep(TIMEOUT / 8)
        assert there.znodes() <= STAYS
        assert client.stats().holds == 0
        assert "never left, and nothing refers to the hold" in caplog.text
        async with zk.Mutex(client, PATH).acquire(wait=0):
            pass  # the task stack has no entry of it


@asyncio_only  # trio does not let another task repair the scopes of this one
async def test_a_hold_forgotten_by_a_living_task_does_not_block_that_task() -> None:
    async with _one_client() as (there, client):
        with anyio.CancelScope():
            await zk.Mutex(client, PATH).__aenter__()
            gc.collect()
            await anyio.sleep(TIMEOUT / 8)
            assert there.znodes() <= STAYS
            async with zk.Mutex(client, PATH) as hold:
                hold.check()


@asyncio_only
async def test_an_async_generator_that_is_never_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with _one_client() as (there, client):

        async def numbers() -> AsyncIterator[int]:
            async with zk.Mutex(client, PATH):
                yield 1
                yield 2

        async with anyio.create_task_group():  # its scope can still be left
            async for _ in numbers():
                break
            gc.collect()
            await anyio.sleep(TIMEOUT / 8)
            assert there.znodes() <= STAYS
            assert "Enter and leave it in one task" in caplog.text
            async with zk.Mutex(client, PATH) as hold:
                hold.check()


@trio_only
async def test_an_async_generator_that_is_never_closed_on_trio(caplog: pytest.LogCaptureFixture) -> None:
    """trio closes it in a separate task, and warns."""
    async with _one_client() as (there, client):

        async def numbers() -> AsyncIterator[int]:
            async with zk.Mutex(client, PATH):
                yield 1
                yield 2

        async def forget() -> None:
            async for _ in numbers():
                return

        with pytest.warns(ResourceWarning, match="numbers"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(forget)
            gc.collect()
            await anyio.sleep(TIMEOUT / 8)
        assert there.znodes() <= STAYS
        assert client.stats().holds == 0
        assert "Enter and leave it in one task" in caplog.text


async def test_a_client_that_ends_logs_no_forgotten_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as there:
        async with there.connect("a") as client:
            hold = await _enter_in_a_task(zk.Mutex(client, PATH))
        del hold
        gc.collect()
        await anyio.sleep(1)
        assert "nothing refers to" not in caplog.text


# --- a task never waits for itself ---------------------------------------------------------------------

Enter = Callable[[zk.Client], AbstractAsyncContextManager[Any]]
LOCKS: dict[str, Enter] = {
    "mutex": lambda client: zk.Mutex(client, PATH),
    "reentrant": lambda client: zk.Mutex(client, PATH, reentrant=True),
    "acquire(wait=0)": lambda client: zk.Mutex(client, PATH).acquire(wait=0),
    "curator": lambda client: zk.Mutex(client, PATH, layout="curator"),
    "election": lambda client: zk.Election(client, PATH).lead(),
    "read": lambda client: zk.ReadWriteLock(client, PATH).read(),
    "write": lambda client: zk.ReadWriteLock(client, PATH).write(),
    "multi": lambda client: zk.MultiLock([zk.Mutex(client, f"{PATH}2"), zk.Mutex(client, PATH)]),
    "by a view": lambda client: zk.Mutex(client.chroot("/locks"), "/job"),
}


@pytest.mark.parametrize("inner", LOCKS.values(), ids=LOCKS)
@pytest.mark.parametrize("outer", ["mutex", "election", "write", "read", "by a view"])
async def test_a_second_object_on_the_same_path_is_refused_in_the_same_task(outer: str, inner: Enter) -> None:
    async with _one_client() as (there, client):
        async with LOCKS[outer](client):
            before = there.znodes()
            with pytest.raises(RuntimeError, match="would wait for itself"):
                async with inner(client):
                    raise AssertionError("twice")
            assert there.znodes() - before <= STAYS
        assert there.znodes() <= STAYS


async def test_two_semaphores_on_one_path_in_a_multi_lock() -> None:
    async with _one_client() as (there, client):
        multi = zk.MultiLock([zk.Semaphore(client, PATH, limit=1), zk.Semaphore(client, PATH, limit=1)])
        with pytest.raises(RuntimeError, match=r"acquire\(permits=2\)"):
            async with multi:
                raise AssertionError("two of one permit")
        assert there.znodes() <= STAYS


async def _take_permits(client: zk.Client, permits: int) -> None:
    async with zk.Semaphore(client, PATH, limit=3).acquire(permits=permits):
        await anyio.sleep_forever()


@pytest.mark.parametrize("rival_wants", [0, 1, 2, 3])
async def test_more_permits_are_refused_in_any_state_of_the_queue(rival_wants: int) -> None:
    async with _one_client() as (there, client), there.connect("b") as rival:
        async with zk.Semaphore(client, PATH, limit=3):
            async with anyio.create_task_group() as tasks:
                if rival_wants:
                    tasks.start_soon(_take_permits, rival, rival_wants)
                    await anyio.sleep(1)
                with pytest.raises(RuntimeError, match=r"1 permit of .* together: acquire\(permits=3\)"):
                    async with zk.Semaphore(client, PATH, limit=3).acquire(permits=2):
                        raise AssertionError("more")
                tasks.cancel_scope.cancel()


async def test_two_tasks_of_one_client_contend() -> None:
    async with _one_client() as (_, client):
        inside: list[int] = []

        async def work() -> None:
            async with zk.Mutex(client, PATH):
                inside.append(1)
                assert len(inside) == 1
                await anyio.sleep(1)
                inside.clear()

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(work)


async def test_two_clients_in_one_task_contend() -> None:
    async with _one_client() as (there, client), there.connect("b") as other:
        async with zk.Mutex(client, PATH):
            with pytest.raises(zk.AcquireTimeoutError):
                async with zk.Mutex(other, PATH).acquire(wait=1):
                    raise AssertionError("two holders")


async def test_the_id_of_an_ended_task_is_not_taken_for_the_task() -> None:
    """A later task may have the same id."""
    async with _one_client() as (_, client):
        semaphore = zk.Semaphore(client, PATH, limit=9)
        for _ in range(5):  # each task ends inside its block
            await _enter_in_a_task(semaphore)
        for _ in range(5):
            with pytest.raises(RuntimeError, match="left by another task"):
                await semaphore.__aexit__(None, None, None)


# --- cancelled in each of asyncio's ways ---------------------------------------------------------------


async def _hold_for_a_moment(make: Make, _: World, client: zk.Client) -> str:
    async with make(client) as hold:
        await anyio.lowlevel.checkpoint()
        hold.check()
    return "held"


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert is_cancelled or outcome.result == "held"


@asyncio_only
@pytest.mark.parametrize("kind", ["mutex", "write()", "semaphore", "multi", "lead()"])
@pytest.mark.parametrize("again_after", [None, 1])
@pytest.mark.parametrize("native", ["cancel", "timeout", "wait_for"])
async def test_cancelled_at_a_pass_of_entering_and_leaving(
    native: Native, again_after: int | None, kind: str
) -> None:
    """Once, or again one pass later; every third pass, so that the sweep is short."""
    await cancel_at_each_pass(
        partial(_hold_for_a_moment, HOLDS[kind]),
        _is_held_or_cancelled,
        may_remain=STAYS,
        native=native,
        again_after=again_after,
        every=3,
    )
