"""MultiLock: all or none, in order, and the znodes left behind after a fault at any point."""

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
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.devserver import FaultKind
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

ONE, TWO = "/locks/one", "/locks/two"
STAYS = {"/locks", ONE, TWO}


def _mutex(client: zk.Client, path: str, **options: Any) -> zk.Mutex:
    return zk.Mutex(client, path, identifier="me", **options)


def _multi(*clients: zk.Client) -> zk.MultiLock:
    """A lock over two paths, of one client or of two."""
    return zk.MultiLock([_mutex(clients[0], ONE), _mutex(clients[-1], TWO)])


@asynccontextmanager
async def _two_clients() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        yield there, client, other


async def _is_free(client: zk.Client, path: str) -> bool:
    return not await _mutex(client, path).contenders()


# --- taking and leaving ----------------------------------------------------------------------------------


async def test_all_are_held_inside_the_block_and_free_after_it() -> None:
    async with _two_clients() as (there, client, other):
        async with _multi(client) as hold:
            first, second = hold.holds
            assert there.znodes() == {*STAYS, first.path, second.path}
            assert hold.fencing_tokens == (first.fencing_token, second.fencing_token)
            assert first.fencing_token < second.fencing_token
            assert hold.valid_until == min(first.valid_until, second.valid_until)
            assert 0 < hold.remaining() <= TIMEOUT
            hold.check()
            await hold.confirm()
            assert repr(first) in repr(hold)
            for path in (ONE, TWO):
                with pytest.raises(zk.AcquireTimeoutError):
                    async with _mutex(other, path).acquire(wait=0):
                        raise AssertionError("two holders")
        assert hold.remaining() == 0
        assert there.znodes() == STAYS


async def test_contenders_are_those_of_each_lock() -> None:
    async with _two_clients() as (_, client, other):
        multi = _multi(client, other)
        assert await multi.contenders() == [[], []]
        async with multi as hold, anyio.create_task_group() as tasks:
            tasks.start_soon(_mutex(other, TWO).acquire().__aenter__)
            await anyio.sleep(1)
            one, two = await multi.contenders()
            assert [each.path for each in one] == [hold.holds[0].path]
            assert [each.session_id for each in two] == [other.session.id, other.session.id]
            tasks.cancel_scope.cancel()


async def test_a_transaction_is_applied_only_while_all_are_held() -> None:
    async with _two_clients() as (there, client, other):
        with pytest.raises(zk.LockLostError):
            async with _multi(client) as hold:
                async with hold.transaction() as tx:
                    made = tx.create("/one")
                assert made.result() == "/one"
                with pytest.raises(zk.TransactionError) as caught:
                    async with hold.transaction() as tx:
                        tx.check("/one")
                        tx.check("/nothing")
                assert (caught.value.index, caught.value.operations) == (1, 2)
                with anyio.CancelScope(shield=True):
                    last = hold.holds[1].path
                    with pytest.raises(zk.LockLostError, match=last):
                        async with hold.transaction() as tx:
                            tx.create("/never")
                            await other.delete(last)
                await anyio.sleep_forever()
        assert there.znodes() == {*STAYS, "/one"}


async def test_no_transaction_reaches_several_clients() -> None:
    async with _two_clients() as (_, client, other):
        async with _multi(client, other) as hold:
            with pytest.raises(ValueError, match="locks of one client"):
                async with hold.transaction():
                    raise AssertionError("which client's?")


async def test_it_takes_in_order_and_releases_together() -> None:
    async with _two_clients() as (there, client, _):
        async with _multi(client):
            pass  # the first create in a directory differs from later ones
        del there.requests[:]
        async with _multi(client):
            pass
        done = [
            (seen.opcode, seen.request.path[: len(ONE)])
            for seen in there.requests
            if seen.opcode in (OpCode.CREATE, OpCode.DELETE)
        ]
        assert done[:2] == [(OpCode.CREATE, ONE), (OpCode.CREATE, TWO)]
        assert sorted(done[2:]) == [(OpCode.DELETE, ONE), (OpCode.DELETE, TWO)]


def _many(client: zk.Client, number: int) -> zk.MultiLock:
    return zk.MultiLock([_mutex(client, f"/locks/{which}") for which in range(number)])


async def test_a_transaction_takes_locks_of_equal_views() -> None:
    """Each call of `chroot` makes another view."""
    async with _two_clients() as (_, client, _other):
        await client.ensure_path("/team")
        locks = [zk.Mutex(client.chroot("/team"), "/one"), zk.Mutex(client.chroot("/team"), "/two")]
        async with zk.MultiLock(locks) as hold:
            async with hold.transaction() as transaction:
                transaction.create("/applied")
            assert await client.exists("/team/applied")
        async with zk.MultiLock([*locks, zk.Mutex(client, "/three")]) as hold:
            with pytest.raises(ValueError, match="one chroot"):
                async with hold.transaction():
                    raise AssertionError("which view's paths?")


async def test_all_are_released_in_one_round_trip() -> None:
    async with _two_clients() as (there, client, _):
        async with _many(client, 12):  # fewer than a client sends before the first answer
            there.server.faults.delay_reply(1.0, OpCode.DELETE, times=12)
            began = anyio.current_time()
        assert anyio.current_time() - began == pytest.approx(1)


@pytest.mark.parametrize("number", [10, 40])
async def test_a_confirmation_is_one_check_of_each(number: int) -> None:
    async with _two_clients() as (there, client, _):
        async with _many(client, number) as hold:
            await anyio.sleep(TIMEOUT)
            del there.requests[:]
            await hold.confirm()
            checked = sum(
                len(seen.request.operations) for seen in there.requests if seen.opcode == OpCode.MULTI
            )
            assert number <= checked <= 2 * number


async def test_building_one_looks_at_each_lock_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _two_clients() as (_, client, _other):
        looks = 0

        def counted(client: zk.Client) -> Any:
            nonlocal looks
            looks += 1
            return recipe_api(client)

        monkeypatch.setattr("zkrecipes.recipes.mutex.recipe_api", counted)
        _many(client, 200)
        assert looks == 200


async def test_locks_of_several_clients_layouts_and_kinds() -> None:
    async with _two_clients() as (there, client, other):
        multi = zk.MultiLock(
            [
                _mutex(client, ONE),
                _mutex(other, TWO, layout="curator"),
                zk.Semaphore(client, "/locks/three", limit=2),
            ]
        )
        assert repr(multi) == f"<MultiLock {ONE} {TWO} /locks/three>"
        async with multi as hold:
            sessions = [(await _mutex(client, ONE).contenders())[0].session_id]
            sessions += [each.session_id for each in await _mutex(other, TWO, layout="curator").contenders()]
            assert sessions == [client.session.id, other.session.id]
            assert len(hold.fencing_tokens) == 3
        assert not [path for path in there.znodes() if "lock-" in path or "__lock__0" in path]


async def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        zk.MultiLock([])
    async with _two_clients() as (there, client, other):
        mutex = zk.Mutex(client, ONE)
        semaphore = zk.Semaphore(client, ONE, limit=2)
        for same in (mutex, zk.Mutex(client, ONE), zk.Mutex(client.chroot("/locks"), "/one")):
            with pytest.raises(ValueError, match=r"<Mutex .*> twice: it would wait for itself"):
                zk.MultiLock([mutex, zk.Mutex(client, TWO), same])
        with pytest.raises(ValueError, match="twice"):
            zk.MultiLock([semaphore, semaphore])
        for no_lock in (zk.ReadWriteLock(client, ONE), ONE):
            with pytest.raises(TypeError, match=f"must be a Mutex or a Semaphore, not .*{ONE}"):
                zk.MultiLock([mutex, no_lock])  # type: ignore[list-item]
        zk.MultiLock([mutex, zk.Mutex(client.chroot("/elsewhere"), ONE)])
        zk.MultiLock([mutex, zk.Mutex(other, ONE)])  # perhaps of another ensemble
        zk.MultiLock([mutex, semaphore])
        assert there.znodes() == set()


async def test_two_contenders_take_turns() -> None:
    async with _two_clients() as (there, client, other):
        inside: list[str] = []
        order: list[str] = []

        async def work(each: zk.Client, name: str) -> None:
            multi = _multi(each)
            for _ in range(4):
                async with multi:
                    inside.append(name)
                    order.append(name)
                    assert inside == [name]
                    await anyio.sleep(0.1)
                    inside.remove(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, client, "a")
            tasks.start_soon(work, other, "b")
        assert order in (["a", "b"] * 4, ["b", "a"] * 4)
        assert there.znodes() == STAYS


async def test_turns_are_taken_even_when_the_counter_wraps() -> None:
    async with world(start_counter=2**31 - 2) as there, there.connect("a") as client:
        entered: list[int] = []

        async def work(number: int) -> None:
            async with _multi(client) as hold:
                hold.check()
                entered.append(number)

        async with anyio.create_task_group() as tasks, _multi(client):
            for number in range(5):
                tasks.start_soon(work, number)
                while len(await _mutex(client, ONE).contenders()) < number + 2:
                    await anyio.lowlevel.checkpoint()
            last = (await _mutex(client, ONE).contenders())[-1]
            assert last.path.endswith("__lock__-2147483645")
        assert entered == [0, 1, 2, 3, 4]
        assert there.znodes() == STAYS


async def test_one_try_leaves_nothing() -> None:
    async with _two_clients() as (there, client, other):
        for path in (ONE, TWO):
            async with _mutex(other, path) as hold:
                before = there.znodes()
                with pytest.raises(zk.AcquireTimeoutError):
                    async with _multi(client).acquire(wait=0):
                        raise AssertionError("two holders")
                assert there.znodes() == before
                hold.check()
        async with _multi(client).acquire(wait=0) as both:
            both.check()
        assert there.znodes() == STAYS


async def test_a_waiter_for_the_second_holds_the_first_and_releases_it_when_cancelled() -> None:
    async with _two_clients() as (there, client, other):
        async with _mutex(other, TWO) as theirs:
            with pytest.raises(TimeoutError):
                with anyio.fail_after(TIMEOUT):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_assert_taken_soon, other, ONE)
                        async with _multi(client):
                            raise AssertionError("two holders")
            await anyio.sleep(0.1)
            assert there.znodes() == {*STAYS, theirs.path}
            assert len(there.server.processor.watches) == 0


async def _assert_taken_soon(client: zk.Client, path: str) -> None:
    await anyio.sleep(1)
    assert not await _is_free(client, path)


async def test_the_same_task_again_is_an_error_and_leaves_the_first_alone() -> None:
    async with _two_clients() as (there, client, _):
        multi = _multi(client)
        async with multi as hold:
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with multi:
                    pass
            # the first of these is free, the second is not
            mixed = zk.MultiLock([_mutex(client, "/locks/three"), multi._locks[1]])  # noqa: SLF001
            with pytest.raises(RuntimeError, match=r"this task has already entered"):
                async with mixed:
                    pass
            hold.check()
            assert await _is_free(client, "/locks/three")
        async with multi as hold:
            hold.check()
        assert there.znodes() == {*STAYS, "/locks/three"}


async def test_tasks_may_share_one() -> None:
    async with _two_clients() as (_, client, _other):
        multi = _multi(client)
        inside: list[int] = []

        async def work(number: int) -> None:
            async with multi:
                inside.append(number)
                assert inside == [number]
                await anyio.sleep(0.1)
                inside.remove(number)

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(work, number)


async def test_an_object_that_was_not_entered_cannot_be_left() -> None:
    async with _two_clients() as (_, client, _other):
        multi = _multi(client)
        with pytest.raises(RuntimeError, match="no task has entered it"):
            await multi.__aexit__(None, None, None)


async def test_an_acquisition_is_entered_once_not_awaited_not_dropped() -> None:
    async with _two_clients() as (there, client, _):
        acquisition: Any = _multi(client).acquire()
        with pytest.warns(RuntimeWarning, match="was never entered: nothing is held"):
            del acquisition
        with pytest.raises(TypeError, match="entered, not awaited"):
            await _multi(client).acquire()  # type: ignore[misc]  # the point of the test
        gc.collect()
        acquisition = _multi(client).acquire()
        async with acquisition:
            with pytest.raises(RuntimeError, match="entered only once"):
                await acquisition.__aenter__()
        assert there.znodes() == STAYS


async def test_one_whose_client_is_over_releases_the_others() -> None:
    async with world() as there, there.connect("a") as client:
        async with there.connect("b") as over:
            multi = _multi(client, over)
        with pytest.raises(zk.SessionClosedError):
            async with multi:
                raise AssertionError("held what cannot be held")
        assert there.znodes() == {"/locks", ONE}


# --- the loss of one ---------------------------------------------------------------------------------------


WHICH = pytest.mark.parametrize("which", ["first", "second", "both"])


async def _lose(there: World, clients: list[zk.Client], hold: zk.MultiHold, which: str) -> None:
    """Remove a znode, or end the sessions that own the znodes, and wait until the client has noticed it."""
    if which == "both":
        for client in {client.session.id: client for client in clients}.values():
            there.server.expire(client.session.id)
    else:
        number = ["first", "second"].index(which)
        await clients[0].delete(hold.holds[number].path)
    with anyio.CancelScope(shield=True):
        await anyio.sleep(2)
    with pytest.raises(zk.LockLostError):
        hold.check()
    with pytest.raises(zk.LockLostError), anyio.CancelScope(shield=True):
        await hold.confirm()
    assert hold.remaining() == 0


@WHICH
@pytest.mark.parametrize("number_of_clients", [1, 2])
async def test_the_loss_of_one_cancels_the_block_and_releases_the_others(
    which: str, number_of_clients: int
) -> None:
    async with _two_clients() as (there, *both):
        clients = both[:number_of_clients]
        with pytest.raises(zk.LockLostError) as caught:
            async with _multi(*clients) as hold:
                await _lose(there, clients, hold, which)
                await anyio.sleep_forever()
        assert caught.value.__cause__ is None
        assert which == "both" or caught.value.path == hold.holds[which == "second"].path
        assert there.znodes() == STAYS


@WHICH
async def test_a_block_that_ended_normally_after_the_loss_raises_it(which: str) -> None:
    async with _two_clients() as (there, client, other):
        with pytest.raises(zk.LockLostError):
            async with _multi(client, other) as hold:
                await _lose(there, [client, other], hold, which)
        assert there.znodes() == STAYS


@WHICH
async def test_a_block_that_raises_after_the_loss_is_its_cause(which: str) -> None:
    async with _two_clients() as (there, client, other):
        error = KeyError("the block's")
        with pytest.raises(zk.LockLostError) as caught:
            async with _multi(client, other) as hold:
                await _lose(there, [client, other], hold, which)
                raise error
        assert caught.value.__cause__ is error


async def test_a_block_that_raises_while_all_are_held_raises_bare() -> None:
    async with _two_clients() as (there, client, other):
        error = KeyError("the block's")
        with pytest.raises(KeyError) as caught:
            async with _multi(client, other):
                raise error
        assert caught.value is error
        assert caught.value.__cause__ is None
        assert there.znodes() == STAYS


@WHICH
async def test_a_block_cancelled_from_outside_passes_the_cancellation_on(which: str) -> None:
    async with _two_clients() as (there, client, other):
        with anyio.CancelScope() as scope:
            async with _multi(client, other) as hold:
                scope.cancel()
                await _lose(there, [client, other], hold, which)
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert there.znodes() == STAYS


@WHICH
async def test_a_group_in_the_block_ends_with_the_loss_and_not_in_a_group(which: str) -> None:
    async with _two_clients() as (there, client, other):
        with pytest.raises(zk.LockLostError) as caught:
            async with _multi(client, other) as hold:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.sleep_forever)
                    await _lose(there, [client, other], hold, which)
        assert caught.value.__cause__ is None


async def test_a_lock_that_is_lost_during_the_wait_for_another_is_taken_again() -> None:
    """The block has not begun, so no code has relied on the lock."""
    async with _two_clients() as (there, client, other), anyio.create_task_group() as tasks:
        async with _mutex(other, TWO):
            entered = anyio.Event()

            async def take() -> None:
                async with _multi(client) as hold:
                    hold.check()
                    entered.set()

            tasks.start_soon(take)
            await anyio.sleep(1)
            (first,) = await _mutex(other, ONE).contenders()
            await other.delete(first.path)
            await anyio.sleep(2)
            (again,) = await _mutex(other, ONE).contenders()
            assert again.fencing_token > first.fencing_token
            assert len(await _mutex(other, TWO).contenders()) == 2
            there.server.expire(client.session.id)
            await anyio.sleep(2)
            assert len(await _mutex(other, TWO).contenders()) == 2
            assert not entered.is_set()
        with anyio.fail_after(2):
            await entered.wait()


# --- faults of every kind ---------------------------------------------------------------------------------


async def _hold_for_a_while(_: World, client: zk.Client) -> str:
    async with _multi(client) as hold:
        await anyio.sleep(TIMEOUT / 8)
        hold.check()
    return "held"


async def _hold_for_a_moment(_: World, client: zk.Client) -> str:
    async with _multi(client) as hold:
        await anyio.lowlevel.checkpoint()
        hold.check()
    return "held"


@asynccontextmanager
async def _a_short_rival(there: World) -> AsyncIterator[None]:
    """Another client has the second lock at first."""
    async with there.connect("rival") as rival, anyio.create_task_group() as tasks:
        is_held = anyio.Event()

        async def hold_at_first() -> None:
            async with _mutex(rival, TWO):
                is_held.set()
                for _ in range(40):  # the clock stands still here
                    await anyio.lowlevel.checkpoint()

        tasks.start_soon(hold_at_first)
        await is_held.wait()
        yield


def _is_held(outcome: Outcome) -> None:
    assert outcome.result == "held"


def _is_held_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


def _is_held_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "held" or is_cancelled


@pytest.mark.parametrize(
    ("fault_kind", "judge"),
    [
        (FaultKind.BEFORE_SEND, _is_held),
        (FaultKind.AFTER_SEND, _is_held),
        (FaultKind.AFTER_COMMIT, _is_held),
        (FaultKind.EXPIRE, _is_held_or_lost),
    ],
)
async def test_fault_in_each_request(fault_kind: FaultKind, judge: Any) -> None:
    number = await inject_into_each_request(_hold_for_a_while, judge, fault_kind, may_remain=STAYS)
    assert number >= 12


@pytest.mark.parametrize("other_clients", [None, _a_short_rival], ids=["alone", "contended"])
async def test_cancelled_at_each_pass(other_clients: Any) -> None:
    options = {"every": 2} if other_clients is None else {"other_clients": other_clients, "every": 5}
    number = await cancel_at_each_pass(_hold_for_a_moment, _is_held_or_cancelled, may_remain=STAYS, **options)
    assert number >= 20


@asyncio_only
@pytest.mark.parametrize("other_clients", [None, _a_short_rival], ids=["alone", "contended"])
@pytest.mark.parametrize("again_after", [None, 0, 2])
async def test_cancelled_natively_at_each_pass(again_after: int | None, other_clients: Any) -> None:
    options = {"every": 3} if other_clients is None else {"other_clients": other_clients, "every": 7}
    await cancel_at_each_pass(
        _hold_for_a_moment,
        _is_held_or_cancelled,
        may_remain=STAYS,
        native=True,
        again_after=again_after,
        **options,
    )
