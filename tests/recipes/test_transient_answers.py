"""No number of transient answers ends a recipe that follows a znode or takes part for ever."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, ReceivedRequest, Refusal, World, refusing, virtual_time, world
from zkrecipes import errors
from zkrecipes.enums import OpCode
from zkrecipes.errors import error_from_code

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

CODES = (-1, -2, -7, -118, -119, -122, -127)


async def test_the_table_of_transient_answers() -> None:
    """By class, so that each new class needs a decision here."""
    each = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.ZooKeeperError)
    }
    assert {cls.__name__ for cls in each if cls.is_transient} == {
        "ConnectionLossError",
        "NotReadOnlyError",
        "OperationTimeoutError",
        "ReconfigInProgressError",
        "RequestTimeoutError",
        "RuntimeInconsistencyError",
        "SessionMovedError",
        "SystemZooKeeperError",
        "ThrottledError",
    }
    assert all(error_from_code(code).is_transient for code in CODES)


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


@contextmanager
def _often_refused(there: World, client: zk.Client) -> Any:
    """Let a random half of the client's requests be answered with an error."""
    rng = random.Random(7)

    def choose(_: ReceivedRequest) -> Refusal | None:
        return Refusal(rng.choice(CODES), is_applied=rng.random() < 0.5) if rng.random() < 0.5 else None

    with refusing(there, client.session.id, choose):
        yield


async def _until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(20 * TIMEOUT):
        while not is_so():  # noqa: ASYNC110
            await anyio.sleep(0.1)


async def test_a_group_is_followed_through_them() -> None:
    async with _two_clients() as (there, client, other):
        with _often_refused(there, client):
            async with zk.Group(client, "/g").changes() as changes, anyio.create_task_group() as tasks:
                seen: list[set[str]] = []

                async def follow() -> None:
                    async for change in changes:
                        seen.append(set(change.members))  # noqa: PERF401 - it is read meanwhile

                tasks.start_soon(follow)
                await _until(lambda: seen[-1:] == [set()])
                for name in ("a", "b", "c"):
                    async with zk.Group(other, "/g").join(name):
                        await _until(lambda name=name: seen[-1] == {name})  # type: ignore[misc]
                tasks.cancel_scope.cancel()


async def test_a_tree_is_followed_through_them() -> None:
    async with _two_clients() as (there, client, other):
        for number in range(20):
            await other.create(f"/t/{number}", b"0", make_parents=True)
        with _often_refused(there, client):
            async with zk.ConfigTree(client, "/t").changes() as changes:
                with anyio.fail_after(20 * TIMEOUT):
                    assert len((await anext(changes)).values) == 21
                    await other.set("/t/7", b"1")
                    assert (await anext(changes)).values["7"] == b"1"


async def test_a_value_is_followed_through_them() -> None:
    async with _two_clients() as (there, client, other):
        await other.create("/c", b"0")
        with _often_refused(there, client):
            async with zk.ConfigWatch(client, "/c") as config:
                for number in range(10):
                    await other.set("/c", b"%d" % number)
                    await _until(lambda number=number: config.value == b"%d" % number)  # type: ignore[misc]


async def test_leaders_are_observed_through_them() -> None:
    async with _two_clients() as (there, client, other):
        with _often_refused(there, client):
            async with zk.Election(client, "/e").changes() as leaders:
                with anyio.fail_after(20 * TIMEOUT):
                    assert await anext(leaders) is None
                    for name in ("a", "b"):
                        async with zk.Election(other, "/e", identifier=name).lead():
                            leader = await anext(leaders)
                            assert leader is not None
                            assert leader.identifier == name
                        assert await anext(leaders) is None


async def test_an_election_is_taken_part_in_through_them() -> None:
    async with _two_clients() as (there, client, _):
        terms = 0

        async def lead(_: zk.Hold) -> None:
            nonlocal terms
            terms += 1
            await anyio.sleep(0.5)

        async with anyio.create_task_group() as tasks:
            with _often_refused(there, client):
                tasks.start_soon(zk.Election(client, "/e").run, lead)
                await _until(lambda: terms == 10)
            tasks.cancel_scope.cancel()


async def test_a_barrier_is_used_through_them() -> None:
    async with _two_clients() as (there, client, other):
        gate, seen_by_other = zk.Barrier(client, "/gate"), zk.Barrier(other, "/gate")
        with _often_refused(there, client):
            for _ in range(5):
                await gate.create()
                with anyio.move_on_after(1):
                    await seen_by_other.wait()
                    raise AssertionError("it is closed")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(gate.wait)
                    await anyio.sleep(5)
                    await seen_by_other.remove()
                await gate.remove()


async def test_locks_and_memberships_begin_and_end_through_them() -> None:
    async with _two_clients() as (there, client, other):
        with _often_refused(there, client):
            for _ in range(5):
                async with zk.Mutex(client, "/m"), zk.Semaphore(client, "/s", limit=1):
                    pass
                async with zk.Group(client, "/g").join("a") as member:
                    await member.update(b"1")
        with anyio.fail_after(TIMEOUT):
            async with (
                zk.Mutex(other, "/m"),
                zk.Semaphore(other, "/s", limit=1),
                zk.Group(other, "/g").join("a"),
            ):
                pass


async def test_a_revocation_is_awaited_through_them() -> None:
    rng = random.Random(7)

    def choose(seen: ReceivedRequest) -> Refusal | None:
        is_read = seen.opcode == OpCode.GET_DATA and rng.random() < 0.7
        return Refusal(rng.choice(CODES), is_applied=False) if is_read else None

    async with (
        _two_clients() as (there, client, other),
        zk.Mutex(client, "/m") as hold,
        anyio.create_task_group() as tasks,
    ):
        heard = anyio.Event()

        async def listen() -> None:
            await hold.wait_revocation()
            heard.set()

        with refusing(there, client.session.id, choose):
            tasks.start_soon(listen)
            await anyio.sleep(5)
            assert await zk.Mutex(other, "/m").revoke()
            with anyio.fail_after(TIMEOUT):
                await heard.wait()


async def test_a_function_that_returns_immediately_leads_less_and_less_often() -> None:
    async with _two_clients() as (there, client, _):
        terms: list[float] = []

        async def lead(_: zk.Hold) -> None:
            terms.append(anyio.current_time())

        with anyio.move_on_after(60):
            await zk.Election(client, "/e").run(lead)
        assert 30 <= len(terms) <= 40
        assert there.count(OpCode.CREATE) <= len(terms) + 5
        assert terms[-1] - terms[-2] == pytest.approx(2, abs=0.1)
