"""A clean-up ends when it is done, not when it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    ReceivedRequest,
    Refusal,
    World,
    asyncio_only,
    refusing,
    virtual_time,
    world,
)
from zkrecipes.enums import OpCode
from zkrecipes.errors import error_from_code
from zkrecipes.recipes.znodes.clean_up import AnswerMeaning, meaning_of

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

THROTTLED = Refusal(zk.ThrottledError.code, is_applied=False)
Enter = Callable[[zk.Client], Any]

RECIPES: dict[str, Enter] = {
    "mutex": lambda client: zk.Mutex(client, "/d"),
    "readers": lambda client: zk.ReadWriteLock(client, "/d").read(),
    "election": lambda client: zk.Election(client, "/d").lead(),
    "semaphore": lambda client: zk.Semaphore(client, "/d", limit=1),
    "semaphore, curator": lambda client: zk.Semaphore(client, "/d", limit=1, layout="curator"),
    "several locks": lambda client: zk.MultiLock([zk.Mutex(client, "/d"), zk.Mutex(client, "/e")]),
    "member": lambda client: zk.Group(client, "/d").join("a"),
}
DIRECTORIES = {"/d", "/e", "/d-__lock__", "/d/leases", "/d/locks"}
each_recipe = pytest.mark.parametrize("enter", RECIPES.values(), ids=RECIPES)


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


def _first_deletes(count: float, refusal: Refusal = THROTTLED) -> Callable[[ReceivedRequest], Refusal | None]:
    """Refuse this many deletes."""
    left = count

    def choose(seen: ReceivedRequest) -> Refusal | None:
        nonlocal left
        if seen.opcode != OpCode.DELETE or left <= 0:
            return None
        left -= 1
        return refusal

    return choose


MEANINGS = {
    -101: AnswerMeaning.DONE,
    -112: AnswerMeaning.DONE,
    -127: AnswerMeaning.NOT_EXECUTED,
    -1: AnswerMeaning.UNKNOWN,
    -2: AnswerMeaning.UNKNOWN,
    -4: AnswerMeaning.UNKNOWN,
    -7: AnswerMeaning.UNKNOWN,
    -122: AnswerMeaning.UNKNOWN,
    -118: AnswerMeaning.ELSEWHERE,
    -119: AnswerMeaning.ELSEWHERE,
    -102: AnswerMeaning.REFUSED,
    -103: AnswerMeaning.UNKNOWN,
    -111: AnswerMeaning.UNKNOWN,
    -999: AnswerMeaning.UNKNOWN,
}


@pytest.mark.parametrize(("code", "meaning"), MEANINGS.items())
async def test_the_meaning_of_each_code(code: int, meaning: AnswerMeaning) -> None:
    assert meaning_of(error_from_code(code)) is meaning


async def test_in_a_transaction_only_a_missing_znode_of_ours_is_done() -> None:
    missing = partial(zk.TransactionError, error=zk.NoNodeError("/d/a"), operations=3)
    assert meaning_of(missing(1), own=[0, 1]) is AnswerMeaning.DONE
    assert meaning_of(missing(2), own=[0, 1]) is AnswerMeaning.UNKNOWN
    assert meaning_of(zk.TransactionError(2, zk.NoAuthError("/d"), 3), own=[0]) is AnswerMeaning.REFUSED
    assert meaning_of(zk.SessionClosedError()) is AnswerMeaning.DONE


@each_recipe
async def test_a_release_is_repeated_and_the_first_negative_answer_is_logged(
    enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    async with _two_clients() as (there, client, other):
        with refusing(there, client.session.id, _first_deletes(3)):
            async with enter(client):
                pass
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        lines = [each.getMessage() for each in warnings]
        assert lines
        assert all("the removal of" in each for each in lines)
        assert len({each.partition(" was not")[0] for each in lines}) == len(lines)  # once for each znode
        with anyio.fail_after(1):
            async with enter(other):
                pass
        assert there.znodes() <= DIRECTORIES


class _TasksWhileDeleting(zk.Instrument):
    def __init__(self) -> None:
        self.seen: list[int] = []

    def request_started(self, request: zk.ObservedRequest) -> None:
        self._count(request)

    def request_finished(self, request: zk.ObservedRequest) -> None:
        self._count(request)

    def _count(self, request: zk.ObservedRequest) -> None:
        if request.operation == "delete":
            self.seen.append(len(anyio.get_running_tasks()))


async def test_a_release_takes_a_task_only_to_repeat_its_delete() -> None:
    tasks = _TasksWhileDeleting()
    async with world() as there, there.connect("a", instrument=tasks) as client:
        async with zk.Mutex(client, "/m"):
            pass
        before, seen = len(anyio.get_running_tasks()), tasks.seen[:]
        with refusing(there, client.session.id, _first_deletes(1)):
            async with zk.Mutex(client, "/m"):
                pass
    assert seen == [before, before]
    assert max(tasks.seen) > before


@each_recipe
async def test_the_end_of_the_block_waits_an_eighth_of_a_timeout_and_the_rest_continues(enter: Enter) -> None:
    async with _two_clients() as (there, client, other):
        with refusing(there, client.session.id, _first_deletes(float("inf"))):
            async with enter(client):
                began = anyio.current_time()
            assert anyio.current_time() - began == pytest.approx(TIMEOUT / 8, abs=0.1)
            await anyio.sleep(3 * TIMEOUT)
            assert there.znodes() - DIRECTORIES
        with anyio.fail_after(3):
            async with enter(other):
                pass


@pytest.mark.parametrize("wait", [None, 1.0])
async def test_permits_of_unknown_outcome_are_left_within_an_eighth(
    wait: float | None,
) -> None:
    """The server stops answering when it receives the transaction that takes the permits."""
    async with _two_clients() as (there, client, _):
        semaphore = zk.Semaphore(client, "/d", limit=1)
        async with semaphore:
            pass

        def fall_silent(seen: ReceivedRequest) -> None:
            if seen.opcode == OpCode.MULTI:
                there.server.faults.hold_replies(session_id=client.session.id)

        there.before_request = fall_silent
        began = anyio.current_time()
        with anyio.move_on_after(1.0), suppress(zk.AcquireTimeoutError):
            async with semaphore.acquire(wait=wait):
                raise AssertionError("inside")
        assert anyio.current_time() - began == pytest.approx(1 + TIMEOUT / 8, abs=0.1)
        there.server.faults.clear()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= DIRECTORIES


@each_recipe
async def test_a_clean_up_ends_with_its_session(enter: Enter) -> None:
    """In another session it would remove znodes that are not its own."""
    async with _two_clients() as (there, client, _):
        with refusing(there, client.session.id, _first_deletes(float("inf"))):
            async with enter(client):
                pass
            session = client.session
            there.server.expire(session.id)
            await session.wait_closed()
        await anyio.sleep(TIMEOUT)
        assert there.count(OpCode.DELETE, session_id=client.session.id) == 0


@asyncio_only
@each_recipe
async def test_a_native_cancellation_does_not_end_the_repetitions(enter: Enter) -> None:
    async with _two_clients() as (there, client, _):
        with refusing(there, client.session.id, _first_deletes(5)):

            async def hold() -> None:
                async with enter(client):
                    pass

            task = asyncio.ensure_future(hold())
            await asyncio.sleep(0.2)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() <= DIRECTORIES


@pytest.mark.parametrize("name", ["mutex", "readers", "election"])
async def test_one_try_ignores_a_znode_that_is_being_removed(name: str) -> None:
    async with _two_clients() as (there, client, other):
        one_try: dict[str, Enter] = {
            "mutex": lambda client: zk.Mutex(client, "/d").acquire(wait=0),
            "readers": lambda client: zk.ReadWriteLock(client, "/d").write(wait=0),
            "election": lambda client: zk.Election(client, "/d").lead(wait=0),
        }
        with refusing(there, client.session.id, _first_deletes(7)):
            async with RECIPES[name](client):
                pass
            assert there.znodes() - DIRECTORIES
            with pytest.raises(zk.AcquireTimeoutError):
                async with one_try[name](other):
                    pass
            async with one_try[name](client):
                pass


async def test_a_name_that_another_client_has_taken_is_not_removed() -> None:
    """The delete was applied, its answer was an error, and another client has created the znode since."""
    async with _two_clients() as (there, client, other):
        group = zk.Group(other, "/d")

        def choose(seen: ReceivedRequest) -> Refusal | None:
            return Refusal(-7, is_applied=True) if seen.opcode == OpCode.DELETE else None

        async with anyio.create_task_group() as tasks:
            with refusing(there, client.session.id, choose):
                async with zk.Group(client, "/d").join("a"):
                    tasks.start_soon(_join_for_a_while, group)
                    await anyio.sleep(1)
                assert there.count(OpCode.DELETE, session_id=client.session.id) == 1
                await anyio.sleep(TIMEOUT / 2)
                assert set(await group.members()) == {"a"}


async def _join_for_a_while(group: zk.Group) -> None:
    async with group.join("a", b"other"):
        await anyio.sleep(TIMEOUT)


async def test_a_downgrade_whose_delete_is_refused_lets_readers_in_later() -> None:
    async with _two_clients() as (there, client, other):
        lock = zk.ReadWriteLock(client, "/d")
        with refusing(there, client.session.id, _first_deletes(3)):
            async with lock.write():
                await lock.downgrade()
                with anyio.fail_after(1):
                    async with zk.ReadWriteLock(other, "/d").read():
                        pass
        assert there.znodes() == {"/d"}


async def test_a_client_that_is_closed_ends_its_clean_ups() -> None:
    async with world() as there:
        async with there.connect("a", keep_session=True) as client:
            with refusing(there, client.session.id, _first_deletes(5)):
                async with zk.Mutex(client, "/d"):
                    pass
        # the wait at the end of the client is bounded, and this was shorter
        assert there.znodes() == {"/d"}


@each_recipe
async def test_leaving_block_and_client_is_bounded_while_no_server_answers(enter: Enter) -> None:
    """The bound of the page 'Shut down cleanly', for the default timeout."""
    async with world() as there:
        async with there.connect("a", session_timeout=10) as client, enter(client):
            there.network.cut(source="a")
            start = anyio.current_time()
        assert anyio.current_time() - start <= 5.26
        there.network.heal()
