"""`acquire(wait=…)` of every recipe with a queue: its limit, its error, and the clean-up after it."""

# ruff: noqa: SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    World,
    cancel_at_each_pass,
    virtual_time,
    world,
)
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.wait_limit import check_wait

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/locks/job"
OTHER = "/locks/other"
STAYS = {"/locks", PATH, f"{PATH}-__lock__", f"{PATH}/leases", f"{PATH}/locks", OTHER}

Acquire = Callable[..., AbstractAsyncContextManager[Any]]
"""Of a client, with `wait=`."""

LOCKS: dict[str, Acquire] = {
    "mutex": lambda client, **how: zk.Mutex(client, PATH, identifier="me").acquire(**how),
    "curator's mutex": lambda client, **how: zk.Mutex(client, PATH, layout="curator").acquire(**how),
    "read": lambda client, **how: zk.ReadWriteLock(client, PATH).read(**how),
    "write": lambda client, **how: zk.ReadWriteLock(client, PATH).write(**how),
    "semaphore": lambda client, **how: zk.Semaphore(client, PATH, limit=2).acquire(permits=2, **how),
    "curator's semaphore": lambda client, **how: zk.Semaphore(
        client, PATH, limit=2, layout="curator"
    ).acquire(permits=2, **how),
    "lead": lambda client, **how: zk.Election(client, PATH).lead(**how),
    "multi": lambda client, **how: zk.MultiLock([zk.Mutex(client, OTHER), zk.Mutex(client, PATH)]).acquire(
        **how
    ),
}
HOLDERS: dict[str, Acquire] = {
    "mutex": lambda client: zk.Mutex(client, PATH, identifier="holder").acquire(),
    "curator's mutex": lambda client: zk.Mutex(client, PATH, identifier="holder", layout="curator").acquire(),
    "read": lambda client: zk.ReadWriteLock(client, PATH, identifier="holder").write(),
    "write": lambda client: zk.ReadWriteLock(client, PATH, identifier="holder").read(),
    "semaphore": lambda client: zk.Semaphore(client, PATH, limit=2, identifier="holder").acquire(),
    "curator's semaphore": lambda client: zk.Semaphore(
        client, PATH, limit=2, identifier="holder", layout="curator"
    ).acquire(),
    "lead": lambda client: zk.Election(client, PATH, identifier="holder").lead(),
    "multi": lambda client: zk.Mutex(client, PATH, identifier="holder").acquire(),
}
kinds = pytest.mark.parametrize("kind", LOCKS)


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


async def _never(block: AbstractAsyncContextManager[Any]) -> zk.AcquireTimeoutError:
    """Return the error of a block that cannot be entered in time."""
    with pytest.raises(zk.AcquireTimeoutError) as raised:
        async with block:
            raise AssertionError("entered")
    return raised.value


# --- a limit -------------------------------------------------------------------------------------------


@kinds
async def test_the_wait_ends_in_time_and_names_the_holder(kind: str) -> None:
    async with _two_clients() as (there, client, other):
        async with HOLDERS[kind](other) as hold:
            before = there.znodes()
            began = anyio.current_time()
            error = await _never(LOCKS[kind](client, wait=3))
            assert anyio.current_time() - began == pytest.approx(3)
            assert there.znodes() - before <= STAYS  # its znode is removed when the error is raised
            hold.check()
        assert isinstance(error, TimeoutError)
        assert isinstance(error, zk.ZooKeeperError)
        assert (error.waiting_for, error.wait, error.path) == ("turn", 3, PATH)
        assert error.waited == pytest.approx(3)
        assert error.holder == "holder"
        assert error.holder_path == hold.path
        assert "was not acquired within 3 seconds: waited 3 s for its turn, behind 'holder' (" in str(error)


@kinds
async def test_the_block_is_not_limited(kind: str) -> None:
    async with _two_clients() as (there, client, _):
        async with LOCKS[kind](client, wait=1) as hold:
            await anyio.sleep(5 * TIMEOUT)
            hold.check()
        assert there.znodes() <= STAYS


@kinds
async def test_a_turn_that_comes_in_time_is_taken(kind: str) -> None:
    async with _two_clients() as (there, client, other):
        async with anyio.create_task_group() as tasks:
            is_held = anyio.Event()

            async def hold() -> None:
                async with HOLDERS[kind](other):
                    is_held.set()
                    await anyio.sleep(2)

            tasks.start_soon(hold)
            await is_held.wait()
            async with LOCKS[kind](client, wait=3) as held:
                await anyio.sleep(3)
                held.check()
        assert there.znodes() <= STAYS


async def test_a_waiter_in_the_middle_names_the_holder_and_not_the_one_before_it() -> None:
    async with _two_clients() as (there, client, other), there.connect("c") as third:
        async with HOLDERS["mutex"](other), anyio.create_task_group() as tasks:
            tasks.start_soon(_never, zk.Mutex(third, PATH, identifier="second").acquire(wait=9))
            await anyio.sleep(1)
            error = await _never(LOCKS["mutex"](client, wait=3))
            assert error.holder == "holder"
            tasks.cancel_scope.cancel()


async def test_a_multi_lock_has_one_limit_for_all() -> None:
    """The first lock takes two of the three seconds."""
    async with _two_clients() as (there, client, other):
        async with zk.Mutex(other, PATH, identifier="holder"), anyio.create_task_group() as tasks:
            is_held = anyio.Event()

            async def hold_the_first() -> None:
                async with zk.Mutex(other, OTHER):
                    is_held.set()
                    await anyio.sleep(2)

            tasks.start_soon(hold_the_first)
            await is_held.wait()
            began = anyio.current_time()
            error = await _never(LOCKS["multi"](client, wait=3))
            assert anyio.current_time() - began == pytest.approx(3)
        assert error.waited == pytest.approx(3)
        assert (error.wait, error.holder, error.path) == (3, "holder", PATH)
        assert str(error).startswith("<MultiLock /locks/other /locks/job>, at <Mutex /locks/job ")
        assert there.znodes() <= STAYS


@kinds
async def test_the_wait_for_a_connection_counts(kind: str) -> None:
    async with _two_clients() as (there, client, _):
        there.network.cut(source="a")
        await anyio.sleep(TIMEOUT * 3 / 4)
        assert client.state is zk.SessionState.SUSPENDED
        began = anyio.current_time()
        error = await _never(LOCKS[kind](client, wait=1))
        assert error.waiting_for == "connection"
        assert "for a connection" in str(error)
        # the caller waits an eighth of a timeout for the clean-up, which could not be sent
        assert anyio.current_time() - began <= 1 + TIMEOUT / 8 + 0.01
        there.network.heal()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= STAYS


async def test_a_holder_read_while_waiting_is_named_without_a_connection() -> None:
    async with _two_clients() as (there, client, other):
        async with HOLDERS["mutex"](other), anyio.create_task_group() as tasks:

            async def cut() -> None:
                await anyio.sleep(1)
                there.network.cut(source="a")
                there.network.reset(source="a")

            tasks.start_soon(cut)
            error = await _never(LOCKS["mutex"](client, wait=2))
            assert (error.waiting_for, error.holder) == ("connection", "holder")
            there.network.heal()


@pytest.mark.parametrize("kind", ["mutex", "read", "lead"])
async def test_the_wait_for_the_first_proof_counts(kind: str) -> None:
    async with _two_clients() as (there, client, _):
        async with LOCKS[kind](client):
            pass  # the first create in a session is also a transaction
        await anyio.sleep(3 * TIMEOUT)  # so that the create alone proves nothing
        there.server.faults.delay_reply(1.0, OpCode.MULTI, session_id=client.session.id)
        began = anyio.current_time()
        error = await _never(LOCKS[kind](client, wait=0.5))
        assert error.waiting_for == "proof"
        assert "for the first proof of the hold" in str(error)
        assert anyio.current_time() - began <= 0.5 + TIMEOUT / 8 + 0.01
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= STAYS
        assert client.stats().holds == 0


@kinds
@pytest.mark.parametrize("limit", [1.0, 3.0])
async def test_the_callers_own_scope_is_not_taken_for_the_limit(kind: str, limit: float) -> None:
    async with _two_clients() as (there, client, other):
        async with HOLDERS[kind](other):
            with anyio.move_on_after(limit) as scope:  # at 3.0 both end together; the outer one counts
                await _never(LOCKS[kind](client, wait=5 if limit < 3 else 3 + 1e-6))
            assert scope.cancelled_caught
        await anyio.sleep(1)
        assert there.znodes() <= STAYS


# --- one try -------------------------------------------------------------------------------------------


@kinds
async def test_one_try_enters_or_gives_up_immediately(kind: str) -> None:
    async with _two_clients() as (there, client, other):
        async with HOLDERS[kind](other):
            began = anyio.current_time()
            error = await _never(LOCKS[kind](client, wait=0))
            assert anyio.current_time() == pytest.approx(began)
            assert (error.wait, error.waiting_for, error.holder) == (0, "turn", "holder")
            assert "was not acquired at the first try" in str(error)
        async with LOCKS[kind](client, wait=0) as hold:
            hold.check()
        assert there.znodes() <= STAYS


@kinds
async def test_one_try_gives_up_without_a_connection_and_sends_nothing(kind: str) -> None:
    async with _two_clients() as (there, client, _):
        there.network.cut(source="a")
        await anyio.sleep(TIMEOUT * 3 / 4)
        began = anyio.current_time()
        error = await _never(LOCKS[kind](client, wait=0))
        assert anyio.current_time() == began
        assert error.waiting_for == "connection"
        there.network.heal()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= STAYS


@kinds
async def test_one_try_gives_up_when_the_connection_breaks(kind: str) -> None:
    """Whichever request is on its way, it does not wait for another connection, except for its clean-up."""
    for opcode in (OpCode.CREATE, OpCode.GET_CHILDREN):
        async with _two_clients() as (there, client, _):
            async with LOCKS[kind](client):
                pass  # the first create in a session is a transaction
            fault = there.server.faults.lose_reply(opcode, session_id=client.session.id)

            async def cut(fault: Any = fault, there: World = there) -> None:
                await fault.wait_used()
                there.network.cut(source="a")
                there.network.reset(source="a")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cut)
                began = anyio.current_time()
                error = await _never(LOCKS[kind](client, wait=0))
                assert anyio.current_time() - began <= TIMEOUT / 8 + 0.01
                assert error.waiting_for == "connection"
                tasks.cancel_scope.cancel()
            there.network.heal()
            await anyio.sleep(2 * TIMEOUT)
            assert there.znodes() <= STAYS


async def test_one_try_of_a_client_that_is_over_raises() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        with pytest.raises(zk.SessionClosedError):
            async with LOCKS["mutex"](client, wait=0):
                raise AssertionError("entered")


# --- wrong arguments -----------------------------------------------------------------------------------


@kinds
async def test_a_wrong_limit_is_refused_before_anything_is_sent(kind: str) -> None:
    async with _two_clients() as (there, client, _):
        before = len(there.requests)
        for negative in (-1, -0.5, math.nan, -math.inf):
            with pytest.raises(ValueError, match="wait must be at least 0 seconds, not "):
                LOCKS[kind](client, wait=negative)
        for wrong in ("3", True, b"3", [3]):
            with pytest.raises(TypeError, match="wait must be a number of seconds or None, not "):
                LOCKS[kind](client, wait=wrong)
        assert len(there.requests) == before


def test_valid_limits() -> None:
    assert [check_wait(wait) for wait in (None, 0, 0.0, 3, 0.5, math.inf)] == [None, 0, 0, 3, 0.5, math.inf]


# --- cancelled -----------------------------------------------------------------------------------------


async def _hold_for_a_moment(_: World, client: zk.Client) -> str:
    async with zk.Mutex(client, PATH).acquire(wait=3600) as hold:
        await anyio.lowlevel.checkpoint()
        hold.check()
    return "held"


async def _try_once(_: World, client: zk.Client) -> str:
    try:
        async with zk.Mutex(client, PATH).acquire(wait=0):
            return "held"
    except zk.AcquireTimeoutError:
        return "refused"


@asynccontextmanager
async def _a_rival(there: World) -> AsyncIterator[None]:
    async with there.connect("rival") as rival, zk.Mutex(rival, PATH):
        yield


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert is_cancelled or outcome.result == "held"


def _is_refused_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert is_cancelled or outcome.result == "refused"


async def test_cancelled_at_each_pass() -> None:
    assert await cancel_at_each_pass(_hold_for_a_moment, _is_held_or_cancelled, may_remain=STAYS) >= 15
    number = await cancel_at_each_pass(
        _try_once, _is_refused_or_cancelled, may_remain=STAYS, other_clients=_a_rival
    )
    assert number >= 10
