"""A request that waits for its answer: results, errors, several waiters, cancellation."""

from __future__ import annotations

import anyio
import pytest

from zkrecipes.codec.messages import DeleteRequest, GetDataRequest, StatReply
from zkrecipes.errors import NoNodeError, ZooKeeperError
from zkrecipes.net.pending import Pending, PendingRequest
from zkrecipes.net.wakeup import current_parking

pytestmark = pytest.mark.anyio


def _pending(*, survives_cancel: bool = False, is_idempotent: bool = False) -> PendingRequest[str]:
    def convert(reply: object) -> str:
        return f"converted {reply}"

    return PendingRequest(
        GetDataRequest("/a"),
        convert,
        current_parking(),
        survives_cancel=survives_cancel,
        is_idempotent=is_idempotent,
    )


async def test_programs_can_ask_whether_a_value_is_pending() -> None:
    assert isinstance(_pending(), Pending)
    assert not isinstance("a result", Pending)


async def test_a_result_is_there_after_the_answer_and_not_before() -> None:
    pending = _pending()
    with pytest.raises(RuntimeError, match="not been answered yet"):
        pending.result()
    pending.complete(None, None, zxid=7)
    assert pending.result() == await pending.wait() == "converted None"
    assert pending.is_done
    assert pending.error is None
    assert pending.zxid == 7


async def test_an_error_is_raised_each_time_it_is_asked_for() -> None:
    pending = _pending()
    pending.complete(None, NoNodeError("/a"))
    for _ in range(2):
        with pytest.raises(NoNodeError):
            await pending.wait()
    assert isinstance(pending.error, NoNodeError)


async def test_an_error_may_mean_a_result() -> None:
    def recover(error: ZooKeeperError) -> str:
        return "recovered"

    pending = PendingRequest(GetDataRequest("/a"), str, current_parking(), recover=recover)
    pending.complete(None, NoNodeError("/a"))
    assert await pending.wait() == "recovered"


async def test_waiting_does_not_raise_when_only_the_end_is_of_interest() -> None:
    pending = _pending()
    pending.complete(None, NoNodeError("/a"))
    await pending.wait_done()


async def test_the_answer_calls_the_observer_and_then_the_callbacks_once() -> None:
    pending, calls = _pending(), []
    pending.on_done = lambda: calls.append("observer")
    pending.call_when_done(lambda: calls.append(pending.result()))
    pending.complete(None, None)
    pending.drop()
    assert calls == ["observer", "converted None"]
    pending.call_when_done(lambda: calls.append("late"))
    assert calls == ["observer", "converted None", "late"]


async def test_several_tasks_may_wait_for_one_answer() -> None:
    pending, got = _pending(), []

    async def wait() -> None:
        got.append(await pending.wait())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        pending.complete(None, None)
    assert got == ["converted None"] * 3


@pytest.mark.parametrize("who", [0, 1])
async def test_a_request_that_another_task_waits_for_is_not_dropped_with_one_of_them(who: int) -> None:
    pending, got = _pending(), []
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    async def wait(scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await pending.wait())

    async with anyio.create_task_group() as tasks:
        for scope in scopes:
            tasks.start_soon(wait, scope)
            await anyio.wait_all_tasks_blocked()
        scopes[who].cancel()
        await anyio.wait_all_tasks_blocked()
        assert not pending.is_dropped
        pending.complete(None, None)
    assert len(got) == 1


async def test_cancelling_the_wait_drops_the_request() -> None:
    pending = _pending()
    with anyio.move_on_after(0):
        await pending.wait()
    assert pending.is_dropped
    with pytest.raises(RuntimeError, match="dropped"):
        await pending.wait()


async def test_cancelling_the_wait_drops_no_idempotent_request_and_none_that_survives() -> None:
    for pending in (_pending(survives_cancel=True), _pending(is_idempotent=True)):
        with anyio.move_on_after(0):
            await pending.wait()
        assert not pending.is_dropped
        pending.complete(None, None)
        assert await pending.wait()


async def test_reads_and_idempotent_writes_may_be_sent_again_and_other_writes_may_not() -> None:
    parking = current_parking()
    assert PendingRequest(GetDataRequest("/a"), str, parking).is_repeatable
    assert not PendingRequest(DeleteRequest("/a", -1), str, parking).is_repeatable
    assert PendingRequest(DeleteRequest("/a", -1), str, parking, is_idempotent=True).is_repeatable


async def test_its_repr_shows_the_request_and_its_state_but_no_data() -> None:
    pending = _pending()
    assert repr(pending) == "<Pending GetDataRequest waiting>"
    pending.complete(StatReply.decode(bytes(68)), None)
    assert repr(pending) == "<Pending GetDataRequest done>"
    failed = _pending()
    failed.complete(None, NoNodeError("/a"))
    assert repr(failed) == "<Pending GetDataRequest failed>"


async def test_dropping_a_request_wakes_the_tasks_that_wait_for_it() -> None:
    pending, calls = _pending(survives_cancel=True), []

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="dropped"):
            await pending.wait()
        calls.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        pending.drop()
    assert calls == [True, True]


async def test_an_answer_that_comes_in_the_same_pass_as_the_drop_stands() -> None:
    pending, got = _pending(survives_cancel=True), []

    async def wait() -> None:
        got.append(await pending.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        pending.drop()
        pending.complete(None, None)
    assert got == ["converted None"]
