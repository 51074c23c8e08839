"""OncePer: one run in each period, its record, its status, its limits, and faults in each request."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
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

PATH = "/jobs/report"
MAY_REMAIN = {"/jobs", PATH}
PERIOD = 60.0


def _job(client: zk.Client, identifier: str = "engine", **options: Any) -> zk.OncePer:
    return zk.OncePer(client, PATH, **{"period": PERIOD, "identifier": identifier, **options})


@asynccontextmanager
async def two_engines() -> AsyncIterator[tuple[World, zk.Client, zk.Client]]:
    async with world() as there, there.connect("one") as one, there.connect("two") as two:
        yield there, one, two


# --- periods -------------------------------------------------------------------------------------------


async def test_a_job_runs_once_in_each_period() -> None:
    async with two_engines() as (_, one, two):
        async with _job(one, "one") as run:
            assert run.previous is None
            assert run.missed == 0
            run.hold.check()
            started_at = run.started_at
        with pytest.raises(zk.NotDueError, match=r"finished.*by 'one'; due in") as info:
            async with _job(two, "two"):
                raise AssertionError("it has run in this period")
        assert info.value.engine == "one"
        assert info.value.due_in == pytest.approx(PERIOD - started_at % PERIOD, abs=1)
        await anyio.sleep(info.value.due_in)
        async with _job(two, "two") as run:
            assert run.previous is not None
            assert (run.previous.engine, run.previous.outcome) == ("one", "finished")
            assert run.started_at // PERIOD == started_at // PERIOD + 1


async def test_an_aligned_period_begins_with_the_clock_and_its_offset() -> None:
    async with two_engines() as (_, one, _two):
        job = _job(one, period=86400, offset=7200)
        async with job as run:
            started_at = run.started_at
        with pytest.raises(zk.NotDueError) as info:
            async with job:
                pass
        assert (started_at + info.value.due_in - 7200) % 86400 == pytest.approx(0, abs=0.1)


async def test_a_period_that_is_not_aligned_begins_with_the_start_of_a_run() -> None:
    async with two_engines() as (_, one, two):
        async with _job(one, aligned=False):
            await anyio.sleep(20)
        with pytest.raises(zk.NotDueError) as info:
            async with _job(two, aligned=False):
                pass
        assert info.value.due_in == pytest.approx(PERIOD - 20, abs=0.1)


async def test_a_job_with_an_infinite_period_runs_once_ever() -> None:
    async with two_engines() as (_, one, two):
        async with _job(one, period=math.inf):
            pass
        await anyio.sleep(10 * PERIOD)
        with pytest.raises(zk.NotDueError, match="never due again") as info:
            async with _job(two, period=math.inf):
                pass
        assert info.value.due_in == math.inf


async def test_missed_periods_are_counted_and_run_once() -> None:
    async with two_engines() as (_, one, _two):
        async with _job(one):
            pass
        await anyio.sleep(3 * PERIOD)
        async with _job(one) as run:
            assert run.missed == 2
        with pytest.raises(zk.NotDueError):
            async with _job(one):
                pass


async def test_periods_of_runs_that_died_count_as_missed() -> None:
    async with two_engines() as (there, one, _two):
        with pytest.raises(zk.LockLostError):  # noqa: PT012 - the block is in it
            async with _job(one):
                there.server.expire(one.session.id)
                await anyio.sleep(TIMEOUT)
        await anyio.sleep(2 * PERIOD)
        async with _job(one) as run:
            assert run.missed == 2


async def test_at_least_for_keeps_starts_apart_even_across_periods() -> None:
    async with two_engines() as (_, one, _two):
        job = _job(one, period=10, at_least_for=25)
        async with job as run:
            first = run.started_at
        await anyio.sleep(20)
        with pytest.raises(zk.NotDueError) as info:
            async with job:
                pass
        await anyio.sleep(info.value.due_in)
        async with job as run:
            assert run.started_at - first == pytest.approx(25, abs=0.1)


# --- two engines ---------------------------------------------------------------------------------------


async def test_one_try_skips_a_job_that_another_engine_runs() -> None:
    async with two_engines() as (_, one, two), _job(one, "one"):
        with pytest.raises(zk.AcquireTimeoutError, match="behind 'one'"):
            async with _job(two).acquire(wait=0):
                pass


async def test_a_waiter_does_not_repeat_a_run_that_finishes() -> None:
    async with two_engines() as (_, one, two), anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(zk.NotDueError):
                async with _job(two):
                    pass

        async with _job(one):
            tasks.start_soon(wait)
            await anyio.sleep(5)


@pytest.mark.parametrize("on_crash", ["retry", "leave"])
async def test_a_dead_engines_job_is_started_again_if_on_crash_says_so(on_crash: zk.OnCrash) -> None:
    async with two_engines() as (there, one, two), anyio.create_task_group() as tasks:

        async def die() -> None:
            with pytest.raises(zk.LockLostError):
                async with _job(one, "one", on_crash=on_crash):
                    await anyio.sleep(10 * TIMEOUT)

        tasks.start_soon(die)
        await anyio.sleep(1)
        there.network.cut(source="one")
        job = _job(two, on_crash=on_crash)
        if on_crash == "retry":
            async with job as run:
                assert run.previous is not None
                assert (run.previous.engine, run.previous.outcome) == ("one", "died")
                assert run.previous.ended_at is None
        else:
            with pytest.raises(zk.NotDueError, match="died"):
                async with job:
                    pass
            await anyio.sleep(PERIOD)
            async with job:
                pass
        there.network.heal()


async def test_a_job_that_holds_other_data_is_never_started() -> None:
    async with two_engines() as (_, one, _two):
        await one.create(PATH, b"2024-01-01T00:00:00Z", make_parents=True)
        with pytest.raises(zk.JobRecordError, match="must be the record of a job"):
            async with _job(one):
                raise AssertionError("it is unknown whether it may run")
        with pytest.raises(zk.JobRecordError):
            await _job(one).status()
        assert await one.get_children(PATH) == []


# --- the end of a run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["retry", "leave"])
async def test_an_error_comes_out_bare_and_is_recorded(on_failure: zk.OnFailure) -> None:
    async with two_engines() as (_, one, two):
        job = _job(one, on_failure=on_failure)
        with pytest.raises(LookupError, match="no report"):
            async with job:
                raise LookupError("no report" + 2000 * "!")
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "failed"
        assert last.error.startswith("LookupError: no report")
        assert len(last.error) == 1000
        if on_failure == "retry":
            async with job:
                pass
        else:
            with pytest.raises(zk.NotDueError, match="failed"):
                async with job:
                    pass


async def test_a_run_whose_error_has_no_text_is_recorded_and_frees_the_lock() -> None:
    class TextlessError(Exception):
        def __str__(self) -> str:
            raise LookupError

    async with two_engines() as (_, one, two):
        with pytest.raises(TextlessError):
            async with _job(one):
                raise TextlessError
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "failed"
        assert last.error == "TextlessError: its text is unknown, because __str__ raised LookupError"
        assert await two.get_children(PATH) == []


async def test_a_job_deleted_during_a_run_is_a_lost_lock() -> None:
    async with two_engines() as (there, one, two):
        with pytest.raises(zk.LockLostError):  # noqa: PT012 - the block is in it
            async with _job(one) as run:
                await two.delete(run.hold.path)
                await two.delete(PATH)
        assert PATH not in there.znodes()


async def test_at_most_for_cancels_the_block_and_keeps_the_lock_until_it_has_ended() -> None:
    async with two_engines() as (there, one, two):
        with pytest.raises(zk.RunTimeoutError, match="after at_most_for=5 seconds"):  # noqa: PT012
            async with _job(one, at_most_for=5):
                before = anyio.current_time()
                try:
                    await anyio.sleep(100)
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(30)
                        with pytest.raises(zk.AcquireTimeoutError):
                            async with _job(two).acquire(wait=0):
                                pass
        assert anyio.current_time() - before == pytest.approx(35, abs=1)
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "timed out"
        assert there.znodes() == MAY_REMAIN


async def test_a_block_that_ends_in_time_is_not_cancelled_later() -> None:
    async with two_engines() as (_, one, _two):
        async with _job(one, at_most_for=5):
            await anyio.sleep(4)
        await anyio.sleep(10)


async def test_a_cancelled_run_is_recorded_as_cancelled_and_started_again() -> None:
    async with two_engines() as (_, one, two):
        with anyio.move_on_after(3):
            async with _job(one):
                await anyio.sleep(100)
        async with _job(two) as run:
            assert run.previous is not None
            assert run.previous.outcome == "cancelled"


async def test_the_end_of_a_run_takes_one_transaction() -> None:
    async with two_engines() as (there, one, _two):
        async with _job(one):
            before = len(there.requests)
        requests = [seen.opcode for seen in there.requests[before:] if seen.session_id == one.session.id]
        assert requests == [OpCode.MULTI]


async def test_a_run_whose_lock_was_lost_before_its_end_was_recorded_raises() -> None:
    async with two_engines() as (_, one, two):
        with pytest.raises(zk.LockLostError, match="the lock was lost"):
            async with _job(one) as run:
                await two.delete(run.hold.path)
        status = await _job(two).status()
        assert status.last is not None
        assert status.last.outcome == "died"


# --- status --------------------------------------------------------------------------------------------


async def test_status_shows_the_run_of_now_and_the_last_one() -> None:
    async with two_engines() as (_, one, two):
        job = _job(two)
        assert await job.status() == zk.JobStatus(None, None)
        async with _job(one, "one", period=10) as run:
            status = await job.status()
            assert status.running is not None
            assert (status.running.engine, status.running.outcome) == ("one", "running")
            assert status.running.started_at == run.started_at
            assert status.last is None
            await anyio.sleep(3)
        status = await job.status()
        assert status.running is None
        assert status.last is not None
        assert status.last.outcome == "finished"
        assert status.last.ended_at == pytest.approx(run.started_at + 3, abs=0.1)
        await anyio.sleep(10)
        async with _job(one, "one", period=10):
            again = await job.status()
            assert again.running is not None
            assert again.last == status.last


# --- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"period": 0}, ValueError, "period must be at least 0.001 seconds, not 0"),
        ({"period": 1e-300}, ValueError, "period must be at least 0.001 seconds, not 1e-300"),
        ({"period": 10**400}, ValueError, r"period must be at most 1.79769e\+308 seconds"),
        ({"identifier": 1001 * "x"}, ValueError, "identifier must have at most 1000 characters, not 1001"),
        ({"period": math.nan}, ValueError, "period must be"),
        ({"period": "1h"}, TypeError, "period must be a number of seconds, not '1h'"),
        ({"aligned": "start"}, TypeError, "aligned must be True or False, not 'start'"),
        ({"offset": math.inf}, ValueError, "offset must be finite"),
        ({"at_least_for": -1}, ValueError, "at_least_for must be at least 0 seconds, not -1"),
        ({"at_most_for": 0}, ValueError, "at_most_for must be above 0 seconds, not 0"),
        ({"at_most_for": True}, TypeError, "at_most_for must be a number"),
        ({"on_crash": "again"}, ValueError, "on_crash must be one of retry, leave, not 'again'"),
        ({"on_crash": "leave", "on_failure": "retry"}, ValueError, "on_failure must be 'leave'"),
    ],
)
async def test_a_wrong_argument_is_refused(options: Any, error: type[Exception], match: str) -> None:
    async with two_engines() as (_, one, _two):
        with pytest.raises(error, match=match):
            _job(one, **options)


async def test_it_must_be_entered() -> None:
    async with two_engines() as (_, one, _two):
        with pytest.raises(TypeError, match="must be entered, not awaited"):
            await _job(one)  # type: ignore[misc]
        with pytest.raises(TypeError, match="must be entered, not awaited"):
            await _job(one).acquire()  # type: ignore[misc]
        with pytest.raises(TypeError, match="wait=0 is one try"):
            _job(one).acquire(timeout=3)  # type: ignore[call-arg]


async def test_a_task_that_runs_the_job_cannot_ask_for_it_again() -> None:
    async with two_engines() as (_, one, _two):
        job = _job(one)
        async with job:
            with pytest.raises(RuntimeError, match="would wait for itself"):
                async with job:
                    pass


# --- faults --------------------------------------------------------------------------------------------


async def _run_once(_: World, client: zk.Client) -> str:
    async with _job(client, on_crash="leave") as run:
        run.hold.check()
    last = (await _job(client).status()).last
    assert last is not None
    return last.outcome


def _is_finished(outcome: Outcome) -> None:
    assert outcome.result == "finished"


def _is_finished_or_lost(outcome: Outcome) -> None:
    is_lost = isinstance(outcome.error, (zk.LockLostError, zk.NotDueError))
    assert outcome.result == "finished" or is_lost


@pytest.mark.parametrize(
    ("fault_kind", "judge"),
    [
        (FaultKind.BEFORE_SEND, _is_finished),
        (FaultKind.AFTER_SEND, _is_finished),
        (FaultKind.AFTER_COMMIT, _is_finished),
        (FaultKind.CORRUPT, _is_finished),
        (FaultKind.DELAY, _is_finished),
        (FaultKind.EXPIRE, _is_finished_or_lost),
    ],
)
async def test_fault_in_each_request(fault_kind: FaultKind, judge: Any) -> None:
    assert await inject_into_each_request(_run_once, judge, fault_kind, may_remain=MAY_REMAIN) >= 9


async def _run_without_status(_: World, client: zk.Client) -> str:
    async with _job(client) as run:
        run.hold.check()
    return "finished"


def _is_finished_or_cancelled(outcome: Outcome) -> None:
    is_cancelled = isinstance(outcome.error, anyio.get_cancelled_exc_class())
    assert outcome.result == "finished" or is_cancelled


async def test_cancelled_at_each_pass() -> None:
    number = await cancel_at_each_pass(_run_without_status, _is_finished_or_cancelled, may_remain=MAY_REMAIN)
    assert number >= 15


@asyncio_only
@pytest.mark.parametrize("native", ["cancel", "timeout", "wait_for"])
@pytest.mark.parametrize("again_after", [None, 2])
async def test_cancelled_natively_at_each_pass(native: Any, again_after: int | None) -> None:
    number = await cancel_at_each_pass(
        _run_without_status,
        _is_finished_or_cancelled,
        may_remain=MAY_REMAIN,
        native=native,
        again_after=again_after,
        every=2,
    )
    assert number >= 15


async def test_a_record_that_another_program_writes_during_a_run_stays() -> None:
    async with two_engines() as (_, one, two):
        with pytest.raises(zk.BadVersionError):
            async with _job(one):
                await two.set(PATH, b"")
        assert (await two.get(PATH)).data == b""
        assert await two.get_children(PATH) == []


async def test_leaving_waits_until_the_end_is_recorded() -> None:
    async with two_engines() as (there, one, two), anyio.create_task_group() as tasks:

        async def heal() -> None:
            await anyio.sleep(TIMEOUT / 2)
            there.network.heal()

        async with _job(one):
            there.network.cut(source="one")
            tasks.start_soon(heal)
            before = anyio.current_time()
        assert anyio.current_time() - before >= TIMEOUT / 2
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "finished"


async def test_leaving_raises_if_the_session_ends_before_the_end_is_recorded() -> None:
    async with two_engines() as (there, one, two):
        with pytest.raises(zk.LockLostError, match="before the end of the run was recorded"):
            async with _job(one):
                there.server.expire(one.session.id)
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "died"


async def test_an_end_that_two_later_runs_have_pushed_out_of_the_record_is_unknown() -> None:
    async def run_twice(there: World, two: zk.Client) -> None:
        there.network.cut(source="one")
        for _ in range(2):
            await anyio.sleep(1)
            async with _job(two, "two", period=1):
                pass
        there.network.heal()

    async with two_engines() as (there, one, two), anyio.create_task_group() as tasks:
        with pytest.raises(zk.LockLostError, match="no longer shows"):  # noqa: PT012 - the block is in it
            async with _job(one, period=1):
                there.server.faults.inject(1, FaultKind.AFTER_COMMIT, session_id=one.session.id)
                tasks.start_soon(run_twice, there, two)


async def test_the_end_of_the_client_in_a_run_is_reported() -> None:
    async with two_engines() as (there, _one, two):
        with pytest.raises((zk.SessionExpiredError, zk.LockLostError)):  # noqa: PT012
            async with there.connect("three", renew=False) as three, _job(three):
                there.server.expire(three.session.id)
                await anyio.sleep(TIMEOUT)
        last = (await _job(two).status()).last
        assert last is not None
        assert last.outcome == "died"
