"""Cancelling a call at every point: nothing is left behind, and the connection stays usable.

The same on trio, on asyncio, and by asyncio's own cancellations, twice in a row.
"""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
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

Act = Callable[[World, zk.Client], Awaitable[Any]]


# --- acts ------------------------------------------------------------------------------------------------


async def _read(_: World, client: zk.Client) -> object:
    return await client.exists("/n")


async def _write(_: World, client: zk.Client) -> object:
    return await client.create("/n", b"1")


async def _make_with_parents(_: World, client: zk.Client) -> object:
    return await client.create("/a/b/n", b"1", make_parents=True)


async def _make_with_stat(_: World, client: zk.Client) -> object:
    return await client.create_with_stat("/n", b"1")


async def _ask_in_a_pipeline(_: World, client: zk.Client) -> object:
    async with client.pipeline() as pipe:
        replies = [pipe.exists("/n") for _ in range(5)]
    return [reply.result() for reply in replies]


async def _commit(_: World, client: zk.Client) -> object:
    async with client.transaction() as tx:
        made = tx.create("/n")
        tx.set("/n", b"2")
    return made.result()


async def _watch(_: World, client: zk.Client) -> object:
    async with client.watch("/n"):
        await client.exists("/n")
    return None


async def _watch_below(_: World, client: zk.Client) -> object:
    async with client.watch("/n", recursive=True):
        await anyio.lowlevel.checkpoint()
    return None


async def _watch_once(_: World, client: zk.Client) -> object:
    async with client.exists_and_watch("/n") as (stat, _changed):
        await anyio.lowlevel.checkpoint()
    return stat


async def _watch_the_root_thrice(_: World, client: zk.Client) -> object:
    async with client.get_children_and_watch("/") as (children, _changed):
        async with client.get_and_watch("/"), client.watch("/"):
            await anyio.lowlevel.checkpoint()
    return children


async def _stream(_: World, client: zk.Client) -> object:
    async with client.stream((client.operations.exists("/n") for _ in range(9)), window=2) as replies:
        return [reply.result() async for reply in replies]


async def _stream_what_comes_by_and_by(_: World, client: zk.Client) -> object:
    async def requests() -> AsyncIterator[zk.Operation[zk.Stat | None]]:
        for _ in range(9):
            await anyio.lowlevel.checkpoint()
            yield client.operations.exists("/n")

    async with client.stream(requests(), window=2) as replies:
        return [reply.result() async for reply in replies]


async def _read_together(_: World, client: zk.Client) -> object:
    async with client.multi_read() as reads:
        children = reads.get_children("/")
    return children.result()


async def _walk(_: World, client: zk.Client) -> object:
    async with client.walk() as znodes:
        return [path async for path, _ in znodes]


async def _ask_who(_: World, client: zk.Client) -> object:
    return await client.whoami(), await client.get_ephemerals(), await client.get_config()


ACTS: list[Act] = [
    _read,
    _write,
    _make_with_parents,
    _make_with_stat,
    _ask_in_a_pipeline,
    _commit,
    _watch,
    _watch_below,
    _watch_once,
    _watch_the_root_thrice,
    _stream,
    _stream_what_comes_by_and_by,
    _read_together,
    _walk,
    _ask_who,
]
STAYS = {"/n", "/a", "/a/b", "/a/b/n"}
by_name = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__.strip("_"))


def _is_cancelled_or_done(outcome: Outcome) -> None:
    assert outcome.error is None or not isinstance(outcome.error, Exception), outcome


# --- at every point --------------------------------------------------------------------------------------


@by_name
async def test_cancelling_at_every_point_leaves_nothing_behind(act: Act) -> None:
    """Case 61."""
    assert await cancel_at_each_pass(act, _is_cancelled_or_done, may_remain=STAYS) > 2


@asyncio_only
@by_name
@pytest.mark.parametrize("again_after", [None, 0, 1, 3])
async def test_cancelling_natively_once_or_twice_leaves_nothing_behind(
    act: Act, again_after: int | None
) -> None:
    passes = await cancel_at_each_pass(
        act, _is_cancelled_or_done, may_remain=STAYS, native=True, again_after=again_after
    )
    assert passes > 2


@by_name
@pytest.mark.parametrize(
    "fault_kind",
    [FaultKind.BEFORE_SEND, FaultKind.AFTER_SEND, FaultKind.AFTER_COMMIT],
    ids=lambda kind: kind.name,
)
async def test_a_connection_that_breaks_at_every_request_leaves_nothing_behind(
    act: Act, fault_kind: FaultKind
) -> None:
    def is_done_or_unknown(outcome: Outcome) -> None:
        assert outcome.error is None or isinstance(
            outcome.error, (zk.ConnectionLossError, zk.NodeExistsError)
        )

    assert await inject_into_each_request(act, is_done_or_unknown, fault_kind, may_remain=STAYS) >= 1


@by_name
async def test_a_session_that_ends_at_every_request_leaves_nothing_behind(act: Act) -> None:
    def is_done_or_told(outcome: Outcome) -> None:
        told = (zk.ConnectionLossError, zk.SessionExpiredError, zk.NodeExistsError)
        assert outcome.error is None or isinstance(outcome.error, told), outcome

    assert await inject_into_each_request(act, is_done_or_told, FaultKind.EXPIRE, may_remain=STAYS) >= 1


@by_name
async def test_cancelling_while_suspended_leaves_nothing_behind(act: Act) -> None:
    @asynccontextmanager
    async def suspended(there: World) -> AsyncIterator[None]:
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.01)
        try:
            yield
        finally:
            await there.server.accept()

    await cancel_while(act, suspended)


async def cancel_while(act: Act, trouble: Callable[[World], Any]) -> None:
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        async with trouble(there):
            with anyio.move_on_after(1) as scope:
                await act(there, client)
            assert scope.cancelled_caught
        await anyio.sleep(8)
        assert there.znodes() == set()
        assert len(there.server.processor.watches) == 0
        sent = [each.opcode for each in there.requests if each.session_id == client.session.id]
        assert sent == []  # what was not sent is not sent later
        assert await other.exists("/n") is None
        assert await client.exists("/n") is None


# --- one call --------------------------------------------------------------------------------------------


async def test_a_call_that_is_cancelled_in_flight_is_finished_and_the_next_reply_is_its_own() -> None:
    async with world() as there, there.connect("a") as client:
        held = there.server.faults.hold_replies()
        with anyio.move_on_after(1):
            await client.create("/n", b"1")
        assert there.znodes() == {"/n"}
        held.release()
        data, _ = await client.get("/n")
        assert data == b"1"


async def test_a_pipeline_that_is_cancelled_drops_what_was_not_sent() -> None:
    async with world() as there, there.connect("a") as client:
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.01)
        with anyio.move_on_after(1):
            async with client.pipeline() as pipe:
                replies = [pipe.create(f"/n{number}") for number in range(10)]
        await there.server.accept()
        await client.exists("/n")
        assert there.count(OpCode.CREATE) == 0
        with pytest.raises(RuntimeError, match="not been answered"):
            replies[0].result()
        with pytest.raises(RuntimeError, match="dropped"):
            await replies[0].wait()


async def test_a_pipeline_that_fails_drops_what_was_not_sent() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(KeyError):
            async with client.pipeline() as pipe:
                pipe.create("/n")
                raise KeyError
        await client.exists("/n")
        assert there.count(OpCode.CREATE) == 0


async def test_a_wait_inside_a_pipeline_may_be_cancelled_and_the_pipeline_ends_all_the_same() -> None:
    async with world() as there, there.connect("a") as client:
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.01)
        async with client.pipeline() as pipe:
            reply = pipe.create("/n")
            with anyio.move_on_after(1):
                await reply.wait()
            await there.server.accept()
        assert reply.result() == "/n"


async def test_thousands_of_cancelled_waits_while_there_is_no_server_do_not_add_up() -> None:
    async with world() as there, there.connect("a") as client:
        await there.server.refuse()
        there.server.drop_connections()
        await anyio.sleep(0.01)
        engine = client._engine  # noqa: SLF001 - what waits inside a client has no public name
        answered = []

        async def wait() -> None:
            answered.append(await client.exists("/n"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            for _ in range(5000):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await client.exists("/n")
            assert engine.outstanding <= 1100
            await there.server.accept()
        assert answered == [None]


# --- asyncio's own ---------------------------------------------------------------------------------------


@asyncio_only
async def test_wait_for_and_timeout_of_asyncio_end_a_call_and_leave_the_client_usable() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        held = there.server.faults.hold_replies()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("/n"), 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.get("/n")
        held.release()
        assert (await client.get("/n")).data == b"1"


@asyncio_only
async def test_a_timeout_of_asyncio_around_a_watch_removes_it() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), client.watch("/n") as events:
                await anext(events)
        await anyio.sleep(1)
        assert len(there.server.processor.watches) == 0


@asyncio_only
async def test_tasks_of_asyncio_that_share_a_client_may_be_cancelled_one_by_one() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        held = there.server.faults.hold_replies()
        tasks = [asyncio.ensure_future(client.get("/n")) for _ in range(10)]
        await asyncio.sleep(1)
        for task in tasks[::2]:
            task.cancel()
        held.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, zk.Node) for result in results] == [False, True] * 5
