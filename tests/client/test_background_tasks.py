"""The client's own tasks: background work, clean-ups, and how they end."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import asyncio_only, virtual_time, world
from zkrecipes.client.background_tasks import ClientTasks
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


async def _nothing() -> None:
    return


async def test_background_work_runs_as_long_as_the_block() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            steps.append("begun")
            await anyio.sleep_forever()
        finally:
            steps.append("ended")

    async with world() as there, there.connect("a") as client:
        async with recipe_api(client).background(work):
            await anyio.sleep(1)
            assert steps == ["begun"]
        assert steps == ["begun", "ended"]


async def test_an_error_of_background_work_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def fail(error: Exception) -> None:
        raise error

    async with world() as there, there.connect("a") as client:
        async with recipe_api(client).background(partial(fail, ValueError("a bug"))):
            await anyio.sleep(1)
        async with recipe_api(client).background(partial(fail, zk.NoNodeError("/n"))):
            await anyio.sleep(1)
        assert await client.exists("/") is not None
    logged = [
        (each.levelname, each.getMessage()) for each in caplog.records if "background" in each.getMessage()
    ]
    assert logged == [
        ("ERROR", "a background task of the client failed"),
        ("INFO", "a background task of the client ended: no such znode: /n"),
    ]


async def test_an_error_of_the_block_around_background_work_is_bare() -> None:
    error = ValueError("mine")
    async with world() as there, there.connect("a") as client:
        with pytest.raises(ValueError, match="mine") as caught:
            async with recipe_api(client).background(anyio.sleep_forever):
                raise error
        assert caught.value is error


async def test_a_clean_up_goes_on_when_its_caller_has_waited_long_enough() -> None:
    """Case 30."""
    done = anyio.Event()

    async def clean_up() -> None:
        await anyio.sleep(5)
        done.set()

    async with world() as there, there.connect("a") as client:
        start = anyio.current_time()
        await recipe_api(client).clean_up(clean_up)
        assert anyio.current_time() - start == pytest.approx(client.session.timeout / 8)
        assert not done.is_set()
        await done.wait()


async def test_a_caller_that_is_cancelled_still_waits_for_its_clean_up() -> None:
    steps: list[str] = []

    async def clean_up() -> None:
        await anyio.sleep(1)
        steps.append("cleaned")

    async with world() as there, there.connect("a") as client:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await recipe_api(client).clean_up(clean_up)
            steps.append("waited")
        assert steps == ["cleaned", "waited"]


async def test_leaving_the_client_waits_for_clean_ups_a_bounded_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ended: list[float] = []

    async def clean_up(seconds: float) -> None:
        await anyio.sleep(seconds)
        ended.append(seconds)

    async def fail(error: Exception) -> None:
        await anyio.sleep(0.5)
        raise error

    async with world() as there:
        async with there.connect("a") as client, anyio.create_task_group() as tasks:
            api = recipe_api(client)
            for work in (
                partial(clean_up, 2.9),
                partial(clean_up, 100),
                partial(fail, ValueError("a bug")),
                partial(fail, zk.NoNodeError("/n")),
            ):
                tasks.start_soon(api.clean_up, work)
            await anyio.sleep(1)
            start = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert ended == [2.9]
        assert anyio.current_time() - start <= 3.1  # a wait of 2 s for each unfinished clean-up, and the rest
    logged = [each.getMessage() for each in caplog.records if "clean-up" in each.getMessage()]
    assert sorted(logged) == ["a clean-up did not finish: no such znode: /n", "a clean-up failed"]


@asyncio_only
async def test_a_second_native_cancellation_ends_the_wait_and_not_the_clean_up() -> None:
    steps: list[str] = []

    async def clean_up() -> None:
        await anyio.sleep(1)
        steps.append("cleaned")

    async with world() as there, there.connect("a") as client:
        task = asyncio.ensure_future(recipe_api(client).clean_up(clean_up))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert steps == []
        await asyncio.sleep(2)
        assert steps == ["cleaned"]


async def test_an_errand_that_ends_a_clean_up_takes_no_task() -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        tasks_before, seen = len(anyio.get_running_tasks()), []
        errand = api.submit(api.operations.delete("/missing"), is_idempotent=True)

        def rest() -> None:
            seen.append((type(errand.error), len(anyio.get_running_tasks())))

        await api.clean_up_after(errand, rest)
        assert seen == [(zk.NoNodeError, tasks_before)]
        assert len(anyio.get_running_tasks()) == tasks_before


async def test_the_caller_waits_for_what_is_left_after_an_errand_for_a_bounded_time() -> None:
    steps: list[float] = []

    async def clean_up(seconds: float) -> None:
        await anyio.sleep(seconds)
        steps.append(seconds)

    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        for seconds in (1, 5):
            errand = api.submit(api.operations.delete("/missing"), is_idempotent=True)
            start = anyio.current_time()
            left = partial(clean_up, seconds)
            await api.clean_up_after(errand, lambda left=left: left)  # type: ignore[misc]
            waited = anyio.current_time() - start
            assert waited == pytest.approx(min(seconds, client.session.timeout / 8), abs=0.05)
        assert steps == [1]
        await anyio.sleep(5)
        assert steps == [1, 5]


async def test_leaving_the_client_waits_for_an_errand_and_what_is_left_after_it() -> None:
    steps: list[str] = []

    async def clean_up() -> None:
        await anyio.sleep(0.5)
        steps.append("cleaned")

    async with world() as there:
        async with there.connect("a") as client, anyio.create_task_group() as tasks:
            await client.create("/n")
            there.server.faults.drop_request(OpCode.DELETE)
            api = recipe_api(client)
            errand = api.submit(api.operations.delete("/n"), is_idempotent=True)
            tasks.start_soon(api.clean_up_after, errand, lambda: clean_up)
            await anyio.lowlevel.checkpoint()
        assert steps == ["cleaned"]
        assert there.znodes() == set()


@asyncio_only
async def test_native_cancellations_end_the_wait_and_not_what_is_left_after_an_errand() -> None:
    steps: list[str] = []

    async def clean_up() -> None:
        await anyio.sleep(1)
        steps.append("cleaned")

    async with world() as there, there.connect("a") as client:
        there.network.cut()
        api = recipe_api(client)
        errand = api.submit(api.operations.delete("/missing"), is_idempotent=True)
        task = asyncio.ensure_future(api.clean_up_after(errand, lambda: clean_up))
        for _ in range(2):
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not errand.is_done
        there.network.heal()
        await errand.wait_done()
        await anyio.sleep(1.1)
        assert steps == ["cleaned"]


async def test_an_engine_that_fails_ends_the_others_and_its_error_is_bare() -> None:
    tasks, ended = ClientTasks(), []

    async def go_on() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("engine")

    async def fail() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await tasks.run(go_on, fail, close=_nothing)
    assert ended == ["engine"]
    await tasks.stop()
