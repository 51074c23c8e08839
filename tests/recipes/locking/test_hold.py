"""The outcome of a block whose hold is lost, and the methods of a hold."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    World,
    asyncio_only,
    block_the_loop,
    real_time,
    virtual_time,
    world,
)
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/job"


@dataclass
class Stage:
    """A client with a mutex, and a rival that can take its lock away."""

    there: World
    client: zk.Client
    rival: zk.Client
    mutex: zk.Mutex

    async def take_away(self, hold: zk.Hold) -> None:
        """Delete the hold's znode, as an administrator may, and wait until the client has noticed it."""
        await self.rival.delete(hold.path)


@pytest.fixture
async def stage(anyio_backend: Any) -> AsyncIterator[Stage]:
    async with _stage() as each:
        yield each


@asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    async with world() as there, there.connect("a") as client, there.connect("rival") as rival:
        yield Stage(there, client, rival, zk.Mutex(client, DIRECTORY))
        await anyio.sleep(TIMEOUT / 8)
        assert await rival.get_children(DIRECTORY) == [], "a znode is left"


def _lose_by_time() -> None:
    """Let the hold end while the block continues, without a checkpoint at which it could be cancelled."""
    block_the_loop(TIMEOUT)


# --- the table of errors ---------------------------------------------------------------------------------


async def test_ended_and_valid(stage: Stage) -> None:
    async with stage.mutex as hold:
        await anyio.sleep(TIMEOUT)
        hold.check()


async def test_cancelled_by_the_loss(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Cases 77 and 81: an administrator deletes the znode, or the server was rolled back."""
    steps = []
    with pytest.raises(zk.LockLostError, match="its znode was deleted") as caught:
        async with stage.mutex as hold:
            await stage.take_away(hold)
            steps.append("before")
            await anyio.sleep_forever()
            steps.append("never")
    assert steps == ["before"]
    assert caught.value.path == hold.path
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert f"a hold is lost: {hold.path}: its znode was deleted" in caplog.messages


async def test_ended_with_no_checkpoint_after_the_loss(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError, match="the session could not be proven alive in time"):
        async with stage.mutex:
            _lose_by_time()


async def test_ended_normally_after_the_loss_was_noticed(stage: Stage) -> None:
    """The loss is raised even if the cancellation is still pending or was swallowed."""
    with pytest.raises(zk.LockLostError, match="its znode was deleted"):
        async with stage.mutex as hold:
            await stage.take_away(hold)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(TIMEOUT / 8)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), ExceptionGroup("mine", [ValueError("a"), KeyError("b")]), OSError()]
)
async def test_raised_before_the_loss(stage: Stage, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with stage.mutex:
            await anyio.sleep(1)
            raise error
    assert caught.value is error
    assert error.__cause__ is None


async def test_lost_and_raised_alone(stage: Stage) -> None:
    error = ValueError("mine")
    with pytest.raises(zk.LockLostError) as caught:
        async with stage.mutex as hold:
            await stage.take_away(hold)
            try:
                await anyio.sleep_forever()
            finally:
                raise error
    assert caught.value.__cause__ is error


async def test_lost_and_raised_with_no_checkpoint(stage: Stage) -> None:
    error = ValueError("mine")
    with pytest.raises(zk.LockLostError) as caught:
        async with stage.mutex:
            _lose_by_time()
            raise error
    assert caught.value.__cause__ is error


async def test_lost_and_raised_in_its_own_group(stage: Stage) -> None:
    async def clean_up_badly() -> NoReturn:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("mine")

    with pytest.raises(zk.LockLostError) as caught:
        async with stage.mutex as hold, anyio.create_task_group() as tasks:
            tasks.start_soon(clean_up_badly)
            tasks.start_soon(anyio.sleep_forever)
            await stage.take_away(hold)
            await anyio.sleep_forever()
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [str(each) for each in group.exceptions] == ["mine"]


async def test_lost_while_its_own_tasks_run(stage: Stage) -> None:
    """The loss is not in an exception group: only our cancellation happened in the block's task group."""
    with pytest.raises(zk.LockLostError) as caught:
        async with stage.mutex as hold, anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            await stage.take_away(hold)
            await anyio.sleep_forever()
    assert caught.value.__cause__ is None


async def test_cancelled_from_outside(stage: Stage) -> None:
    with anyio.CancelScope() as outer:
        async with stage.mutex:
            outer.cancel()
            await anyio.sleep_forever()
    assert outer.cancelled_caught


async def test_cancelled_from_outside_and_then_lost(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.CancelScope() as outer:
        async with stage.mutex as hold:
            outer.cancel()
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                _lose_by_time()
    assert outer.cancelled_caught
    assert any(message.startswith(f"a hold is lost: {hold.path}") for message in caplog.messages)


async def test_lost_and_then_cancelled_from_outside(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.CancelScope() as outer:
        async with stage.mutex as hold:
            await stage.take_away(hold)
            try:
                await anyio.sleep_forever()
            finally:
                outer.cancel()
                await anyio.lowlevel.checkpoint()
    assert outer.cancelled_caught
    assert f"a hold is lost: {hold.path}: its znode was deleted" in caplog.messages


async def test_an_outer_timeout_is_not_taken_for_a_loss(stage: Stage) -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(TIMEOUT):
            async with stage.mutex:
                await anyio.sleep_forever()


async def test_a_loss_is_not_taken_for_an_outer_timeout(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError):
        with anyio.fail_after(TIMEOUT):
            async with stage.mutex as hold:
                await stage.take_away(hold)
                await anyio.sleep_forever()


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_the_end_of_the_program_passes_through(
    stage: Stage, error: BaseException, is_lost: bool
) -> None:
    with pytest.raises(type(error)) as caught:
        async with stage.mutex:
            if is_lost:
                _lose_by_time()
            raise error
    assert caught.value is error


async def test_the_losses_of_two_holds_are_distinguished(stage: Stage) -> None:
    other = zk.Mutex(stage.client, "/locks/other")
    async with stage.mutex as outer:
        with pytest.raises(zk.LockLostError) as caught:
            async with other as inner:
                await stage.take_away(inner)
                await anyio.sleep_forever()
        assert caught.value.path == inner.path
        outer.check()
        await anyio.lowlevel.checkpoint()


async def test_the_outer_of_two_holds_is_lost(stage: Stage) -> None:
    other = zk.Mutex(stage.client, "/locks/other")
    with pytest.raises(zk.LockLostError) as caught:
        async with stage.mutex as outer, other:
            await stage.take_away(outer)
            await anyio.sleep_forever()
    assert caught.value.path == outer.path
    assert await stage.rival.get_children("/locks/other") == []


# --- the same under asyncio's own cancellation -------------------------------------------------------------


@asyncio_only
@pytest.mark.parametrize("is_lost", [False, True])
async def test_native_cancel(stage: Stage, is_lost: bool) -> None:
    is_inside = anyio.Event()

    async def hold_on() -> None:
        async with stage.mutex:
            is_inside.set()
            try:
                await asyncio.sleep(1000)
            finally:
                if is_lost:
                    _lose_by_time()

    task = asyncio.create_task(hold_on())
    await is_inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@asyncio_only
@pytest.mark.parametrize("later", range(4))
async def test_native_cancel_together_with_the_loss(stage: Stage, later: int) -> None:
    """A native cancellation this many passes after the loss must not be swallowed with our own."""
    holds: list[zk.Hold] = []
    is_inside = anyio.Event()

    async def hold_on() -> None:
        async with stage.mutex as hold:
            holds.append(hold)
            is_inside.set()
            try:
                await asyncio.sleep(1000)
            finally:
                # longer than the native cancellation takes to arrive
                for _ in range(6):
                    await asyncio.sleep(0)

    task = asyncio.create_task(hold_on())
    await is_inside.wait()
    await stage.take_away(holds[0])
    with pytest.raises(zk.LockLostError):
        await holds[0].confirm()
    for _ in range(later):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@asyncio_only
async def test_asyncio_timeout_and_wait_for(stage: Stage) -> None:
    async def hold_on() -> None:
        async with stage.mutex:
            await asyncio.sleep(1000)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            await hold_on()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hold_on(), TIMEOUT)
    async with stage.mutex as hold:
        hold.check()


@asyncio_only
async def test_loss_inside_asyncio_timeout_and_task_group(stage: Stage) -> None:
    async def hold_on() -> None:
        async with stage.mutex as hold, asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(1000))
            await stage.take_away(hold)

    with pytest.raises(zk.LockLostError) as caught:
        async with asyncio.timeout(TIMEOUT):
            await hold_on()
    assert caught.value.__cause__ is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# --- the methods of a hold ----------------------------------------------------------------------------------


async def test_a_hold_reports_its_validity(stage: Stage) -> None:
    async with stage.mutex as hold:
        assert hold.fencing_token == (await stage.rival.get(hold.path)).stat.czxid
        for _ in range(5):
            await anyio.sleep(TIMEOUT)
            # 15T/16 after j, which was two checks and a quarter of a timeout ago, or three checks and that
            assert TIMEOUT / 2 - 0.1 <= hold.remaining() <= TIMEOUT * 10 / 16
            assert hold.valid_until == pytest.approx(anyio.current_time() + hold.remaining())
        assert repr(hold) == f"<Hold {hold.path} token={hold.fencing_token} held>"
    assert hold.remaining() == 0
    assert repr(hold).endswith("its block has ended>")


async def test_check_raises_once_the_time_is_over_without_a_checkpoint(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError):
        async with stage.mutex as hold:
            block_the_loop(TIMEOUT * 14 / 16)  # a new session is proven for 15/16
            hold.check()
            block_the_loop(TIMEOUT / 16)
            with pytest.raises(zk.LockLostError, match="could not be proven alive"):
                hold.check()
            assert hold.remaining() == 0


async def test_the_hold_is_valid_in_the_time_to_clean_up(stage: Stage) -> None:
    """The block is cancelled an eighth before the hold ends, and may use it until then."""
    valid: list[float] = []
    with pytest.raises(zk.LockLostError, match="could not be proven alive"):
        async with stage.mutex as hold:
            stage.there.network.cut(source="a")
            try:
                await anyio.sleep_forever()
            finally:
                hold.check()
                valid.append(hold.remaining())
                assert "held" in repr(hold)
                block_the_loop(TIMEOUT / 8)
                with pytest.raises(zk.LockLostError, match="could not be proven alive"):
                    hold.check()
                valid.append(hold.remaining())
    assert valid == [pytest.approx(TIMEOUT / 8, abs=0.01), 0.0]
    stage.there.network.heal(source="a")


async def test_a_transaction_is_applied_in_the_time_to_clean_up(stage: Stage) -> None:
    await stage.rival.create("/result", b"", make_parents=True)
    with pytest.raises(zk.LockLostError, match="could not be proven alive"):
        async with stage.mutex as hold:
            stage.there.network.cut(source="a")
            stage.there.network.reset(source="a")
            try:
                await anyio.sleep_forever()
            finally:
                stage.there.network.heal(source="a")
                with anyio.CancelScope(shield=True):
                    await hold.confirm()
                    async with hold.transaction() as transaction:
                        transaction.set("/result", b"as far as it came")
    assert (await stage.rival.get("/result")).data == b"as far as it came"


async def test_an_answer_that_arrives_too_late_does_not_save_the_block(stage: Stage) -> None:
    """The answer to a check is in the buffer while the loop is blocked; the block is still cancelled."""
    with pytest.raises(zk.LockLostError, match="could not be proven alive"):
        async with stage.mutex as hold:
            await anyio.sleep(TIMEOUT)
            block_the_loop(hold.remaining() - TIMEOUT / 8 + 0.01)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(TIMEOUT / 4)
                # the session lives, and new checks are answered: the hold itself was never lost
                hold.check()
                assert await stage.rival.exists(hold.path) is not None
            await anyio.sleep_forever()


async def test_an_answer_after_the_end_proves_nothing(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError, match="could not be proven alive"):
        async with stage.mutex as hold:
            await anyio.sleep(TIMEOUT)
            block_the_loop(hold.remaining() + 0.01)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(TIMEOUT / 4)
                assert await stage.rival.exists(hold.path) is not None
            with pytest.raises(zk.LockLostError):
                hold.check()


async def test_confirm_sends_a_check_immediately(stage: Stage) -> None:
    async with stage.mutex as hold:
        await anyio.sleep(TIMEOUT / 2 + 0.3)
        before = stage.there.count(OpCode.MULTI)
        now = anyio.current_time()
        await hold.confirm()
        assert stage.there.count(OpCode.MULTI) == before + 1
        assert anyio.current_time() == pytest.approx(now)


async def test_confirm_raises_if_the_znode_was_deleted(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError, match="its znode was deleted"):
        async with stage.mutex as hold:
            await stage.take_away(hold)
            with (
                anyio.CancelScope(shield=True),
                pytest.raises(zk.LockLostError, match="its znode was deleted"),
            ):
                await hold.confirm()


async def test_confirm_waits_no_longer_than_the_hold_is_proven(stage: Stage) -> None:
    is_raised = False
    with pytest.raises(zk.LockLostError):
        async with stage.mutex as hold:
            stage.there.network.cut(source="a")
            before_the_session_is_given_up = anyio.fail_after(TIMEOUT * 15 / 16 + 0.01)
            with anyio.CancelScope(shield=True), before_the_session_is_given_up:
                with pytest.raises(zk.LockLostError):
                    await hold.confirm()
                is_raised = True
    assert is_raised
    stage.there.network.heal(source="a")
    await anyio.sleep(TIMEOUT)


async def test_confirm_from_another_task_ends_with_the_hold(stage: Stage) -> None:
    """If the server does not answer, it waits as long as the hold is proven, and no longer."""
    async with anyio.create_task_group() as tasks:
        with pytest.raises(zk.LockLostError):
            async with stage.mutex as hold:
                stage.there.network.cut(source="a")

                async def confirm() -> None:
                    with pytest.raises(zk.LockLostError):
                        await hold.confirm()

                tasks.start_soon(confirm)
                await anyio.sleep_forever()
        stage.there.network.heal(source="a")
    await anyio.sleep(TIMEOUT)  # until the client has reconnected and closed the session that it gave up


async def test_after_the_block_a_hold_is_over(stage: Stage) -> None:
    """A task that was started elsewhere and outlives the block must not regard the lock as held."""
    async with stage.mutex as hold:
        hold.check()
    with pytest.raises(zk.LockLostError, match="its block has ended"):
        hold.check()
    with pytest.raises(zk.LockLostError, match="its block has ended"):
        await hold.confirm()
    with pytest.raises(zk.LockLostError, match="its block has ended"):
        async with hold.transaction():
            pass
    assert hold.valid_until == float("-inf")


async def test_confirm_is_woken_by_the_end_of_the_block(stage: Stage) -> None:
    async with anyio.create_task_group() as tasks, stage.mutex as hold:
        held = stage.there.server.faults.hold_replies(session_id=stage.client.session.id)

        async def confirm() -> None:
            with pytest.raises(zk.LockLostError, match="its block has ended"):
                await hold.confirm()

        tasks.start_soon(confirm)
        await anyio.sleep(0.1)
        held.release()
        tasks.start_soon(confirm)


@real_time
async def test_a_worker_thread_can_check() -> None:
    async with world() as there, there.connect("a") as client:
        async with zk.Mutex(client, DIRECTORY) as hold:
            await _in_a_thread(hold.check)
        with pytest.raises(zk.LockLostError):
            await _in_a_thread(hold.check)


@real_time
async def test_a_check_in_a_thread_names_the_remedy() -> None:
    """The state that a check reads and changes belongs to the loop."""
    async with world() as there, there.connect("a") as client, zk.Mutex(client, DIRECTORY) as hold:
        for question in (hold.check, hold.remaining, lambda: hold.valid_until):
            with pytest.raises(RuntimeError, match=r"from_thread\.run"):
                await anyio.to_thread.run_sync(question)


async def _in_a_thread(check: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(anyio.from_thread.run_sync, check)


# --- writes that a stale holder cannot make ----------------------------------------------------------------


async def test_a_transaction_is_applied_while_the_hold_stands(stage: Stage) -> None:
    async with stage.mutex as hold:
        async with hold.transaction() as tx:
            made = tx.create("/result", b"1")
            changed = tx.set("/locks", b"2")
        assert made.result() == "/result"
        assert changed.result().version == 1
        await stage.rival.delete("/result")


async def test_an_empty_transaction_only_checks(stage: Stage) -> None:
    async with stage.mutex as hold:
        async with hold.transaction():
            pass
        await stage.take_away(hold)
        with anyio.CancelScope(shield=True), pytest.raises(zk.LockLostError):
            async with hold.transaction():
                pass


async def test_a_transaction_of_a_stale_holder_fails_as_a_whole(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError, match="its znode was deleted"):
        async with stage.mutex as hold:
            await stage.take_away(hold)
            with anyio.CancelScope(shield=True):
                with pytest.raises(zk.LockLostError, match="its znode was deleted") as caught:
                    async with hold.transaction() as tx:
                        made = tx.create("/result", b"1")
                assert caught.value.path == hold.path
                with pytest.raises(zk.LockLostError):
                    made.result()
                assert await stage.rival.exists("/result") is None
                await anyio.sleep(TIMEOUT / 8)


async def test_another_failure_keeps_the_callers_index(stage: Stage) -> None:
    async with stage.mutex as hold:
        with pytest.raises(zk.TransactionError) as caught:
            async with hold.transaction() as tx:
                made = tx.create("/result", b"1")
                tx.delete("/missing")
        assert (caught.value.index, caught.value.operations) == (1, 2)
        assert isinstance(caught.value.error, zk.NoNodeError)
        with pytest.raises(zk.TransactionError) as raised:
            made.result()
        assert (raised.value.index, raised.value.operations) == (1, 2)
        hold.check()


async def test_a_missing_znode_of_the_callers_first_operation_is_not_a_loss(stage: Stage) -> None:
    async with stage.mutex as hold:
        with pytest.raises(zk.TransactionError) as caught:
            async with hold.transaction() as tx:
                tx.delete("/missing")
        assert caught.value.index == 0
        hold.check()


async def test_another_transaction_that_fails_inside_is_not_taken_for_the_holds(stage: Stage) -> None:
    async with stage.mutex as hold:
        with pytest.raises(zk.TransactionError) as caught:
            async with hold.transaction() as tx:
                tx.create("/result", b"1")
                async with stage.client.transaction() as inner:
                    inner.delete("/missing")
        assert (caught.value.index, caught.value.operations) == (0, 1)
        hold.check()
        assert await stage.rival.exists("/result") is None


async def test_a_hold_whose_owner_may_no_longer_read_it_is_lost(stage: Stage) -> None:
    with pytest.raises(zk.LockLostError, match="may not read its znode"):
        async with stage.mutex as hold:
            nobody = zk.digest_id("somebody", "else")
            await stage.rival.set_acl(hold.path, [zk.ACL(zk.Perms.ALL, nobody)])
            with anyio.CancelScope(shield=True):
                with pytest.raises(zk.NoAuthError):
                    async with hold.transaction() as tx:
                        tx.create("/result", b"1")
                await anyio.sleep(TIMEOUT / 8)


async def test_an_error_of_the_block_sends_nothing(stage: Stage) -> None:
    async with stage.mutex as hold:
        before = stage.there.count(OpCode.MULTI)
        with pytest.raises(ValueError, match="mine"):
            async with hold.transaction() as tx:
                tx.create("/result", b"1")
                raise ValueError("mine")
        assert stage.there.count(OpCode.MULTI) == before


async def test_tokens_grow_from_holder_to_holder(stage: Stage) -> None:
    tokens = []
    for client in (stage.client, stage.rival, stage.client):
        async with zk.Mutex(client, DIRECTORY) as hold:
            tokens.append(hold.fencing_token)
    assert tokens == sorted(set(tokens))
