"""Blocks of watches and streams that are left, also by another task, and requests that are refused."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_5, OldServer
from tests.recipes.fault_sweep import World, virtual_time, world
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Enter = Callable[[zk.Client], AbstractAsyncContextManager[Any]]
Wait = Callable[[Any], Awaitable[Any]]


async def _endless() -> AsyncIterator[zk.Operation[Any]]:
    await anyio.sleep_forever()
    yield  # type: ignore[misc] # never reached; it makes this a generator


BLOCKS: dict[str, tuple[Enter, Wait]] = {
    "watch": (lambda client: client.watch("/n"), anext),
    "recursive watch": (lambda client: client.watch("/n", recursive=True), anext),
    "get": (lambda client: client.get_and_watch("/n"), lambda entered: entered[1].wait()),
    "exists": (lambda client: client.exists_and_watch("/n"), lambda entered: entered[1].wait()),
    "children": (lambda client: client.get_children_and_watch("/n"), lambda entered: entered[1].wait()),
    "changed paths": (lambda client: recipe_api(client).changed_paths(), lambda changed: changed.wait()),
    "follow-up": (
        lambda client: recipe_api(client).read_when_changed(client.operations.get("/n")),
        lambda triggered: triggered.wait(),
    ),
    "session changes": (lambda client: client.session_changes(), anext),
    "stream of an async iterable": (lambda client: client.stream(_endless()), anext),
}
every_block = pytest.mark.parametrize(("enter", "wait"), BLOCKS.values(), ids=BLOCKS)


async def _waits_in_vain(wait: Wait, entered: Any) -> None:
    with pytest.raises(RuntimeError, match=r"block .*(left|ended)"):
        await wait(entered)


@every_block
async def test_a_wait_after_the_block_was_left_raises_at_once(enter: Enter, wait: Wait) -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        async with enter(client) as entered:
            pass
        await _waits_in_vain(wait, entered)


@every_block
async def test_leaving_the_block_wakes_another_task_that_waits(enter: Enter, wait: Wait) -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        async with anyio.create_task_group() as tasks, enter(client) as entered:
            tasks.start_soon(_waits_in_vain, wait, entered)
            await anyio.wait_all_tasks_blocked()


async def test_on_a_server_without_persistent_watches_it_is_the_same() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with old.serving(), zk.connect("old", network=there.network, session_timeout=16) as client:
            async with anyio.create_task_group() as tasks, client.watch("/n") as events:
                tasks.start_soon(_waits_in_vain, anext, events)
                await anyio.wait_all_tasks_blocked()
            await _waits_in_vain(anext, events)


@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])
async def test_leaving_the_stream_wakes_a_task_that_waits_for_a_reply(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        operations = [client.operations.exists("/n")] * 3

        async def asynchronously() -> AsyncIterator[zk.Operation[Any]]:
            for operation in operations:
                yield operation

        held = there.server.faults.hold_replies(session_id=client.session.id)
        async with anyio.create_task_group() as tasks:
            async with client.stream(asynchronously() if is_async else operations) as replies:
                tasks.start_soon(_waits_for_what_is_dropped, lambda: anext(replies))
                await anyio.wait_all_tasks_blocked()
        held.release()


async def test_leaving_the_pipeline_with_an_error_wakes_a_task_that_waits_for_a_result() -> None:
    async with world() as there, there.connect("a") as client:
        held = there.server.faults.hold_replies(session_id=client.session.id)
        async with anyio.create_task_group() as tasks:
            with pytest.raises(ValueError, match="mine"):
                async with client.pipeline() as pipe:
                    pending = pipe.get("/")
                    tasks.start_soon(_waits_for_what_is_dropped, pending.wait)
                    await anyio.wait_all_tasks_blocked()
                    raise ValueError("mine")
        held.release()


async def test_leaving_the_walk_wakes_a_task_that_iterates() -> None:
    async with world() as there, there.connect("a") as client:
        held = there.server.faults.hold_replies(session_id=client.session.id)
        async with anyio.create_task_group() as tasks, client.walk("/") as znodes:
            tasks.start_soon(_waits_for_what_is_dropped, lambda: anext(znodes))
            await anyio.wait_all_tasks_blocked()
        held.release()


async def _waits_for_what_is_dropped(wait: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(RuntimeError, match="its block has been left"):
        await wait()


async def test_what_was_not_read_of_a_watch_goes_with_its_block_and_a_one_shot_event_stays() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        async with client.watch("/n") as events, client.get_and_watch("/n") as (_, changed):
            await client.set("/n", b"1")
            await client.exists("/")
        await _waits_in_vain(anext, events)
        assert (await changed.wait()).type is zk.EventType.DATA_CHANGED


async def test_a_read_that_one_owner_of_many_watches_gives_up_takes_none_of_the_others() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n")
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            await changed.submit(api.operations.exists("/n", watch=True)).wait()
            held = there.server.faults.hold_replies(session_id=client.session.id)
            with anyio.move_on_after(1):
                await changed.submit(api.operations.exists("/other", watch=True)).wait()
            held.release()
            await client.set("/n", b"1")
            with anyio.fail_after(1):
                assert await changed.wait() == ["/n"]
        await anyio.sleep(1)
        assert len(there.server.processor.watches) == 0


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_an_owner_of_very_many_watches_is_left_in_slices(is_suspended: bool) -> None:
    async with world() as there, there.connect("a") as client:
        api = recipe_api(client)
        async with api.changed_paths() as changed:
            for number in range(3500):
                changed.submit(api.operations.exists(f"/{number}", watch=True))
            await client.sync()
            assert client.stats().watches == 3500
            if is_suspended:
                await there.server.refuse()
                there.network.reset(source="a")
                await anyio.wait_all_tasks_blocked()
        assert 0 < client.stats().watches < 3500
        await anyio.sleep(1)
        assert client.stats().watches == 0
        await there.server.accept()
        await client.sync()
        await anyio.sleep(1)
        assert len(there.server.processor.watches) == 0


@pytest.mark.parametrize("is_recursive", [False, True])
async def test_a_watch_that_was_entered_and_left_is_not_kept(is_recursive: bool) -> None:
    async with world() as there, there.connect("a") as client:
        left = [await _enter_and_leave(client, is_recursive=is_recursive) for _ in range(3)]
        await anyio.sleep(1)
        gc.collect()
        assert [watch() for watch in left] == [None] * 3


async def _enter_and_leave(client: zk.Client, *, is_recursive: bool) -> weakref.ref[zk.WatchEvents]:
    async with client.watch("/n", recursive=is_recursive) as events:
        return weakref.ref(events)


# --- requests that the server refuses ----------------------------------------------------------------------


def _throttle(there: World, *opcodes: OpCode, times: int) -> list[OpCode]:
    """Let the server refuse the next requests with these opcodes; return the list of refused ones."""
    refused: list[OpCode] = []

    def refuse(seen: Any) -> None:
        if seen.opcode in opcodes and len(refused) < times:
            refused.append(OpCode(seen.opcode))
            raise zk.ThrottledError(None)

    there.before_request = refuse
    return refused


FORMS: dict[str, tuple[str, Callable[[zk.Client], Any]]] = {
    "get": ("/n", lambda client: client.get_and_watch("/n")),
    "exists": ("/n", lambda client: client.exists_and_watch("/n")),
    "exists, of nothing": ("/missing", lambda client: client.exists_and_watch("/missing")),
    "children": ("/n", lambda client: client.get_children_and_watch("/n")),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("is_read_first", [False, True])
@pytest.mark.parametrize(("path", "form"), FORMS.values(), ids=FORMS)
async def test_a_one_shot_watch_beside_a_refused_persistent_one_fires(
    path: str, form: Callable[[zk.Client], Any], is_read_first: bool, times: int
) -> None:
    """It relied on the persistent watch, whose request is sent directly before the read."""
    async with world() as there, there.connect("a") as client, there.connect("b") as other:
        await client.create("/n")
        await client.whoami()  # so that it is known what the server can do
        refused = _throttle(there, OpCode.ADD_WATCH, times=times)

        async def watch() -> None:
            with pytest.raises(zk.ThrottledError):
                async with client.watch(path):
                    pass

        async def read() -> None:
            async with form(client) as (_, changed):
                await anyio.sleep(1)
                await other.set("/n", b"1")
                await other.create("/n/child")
                await other.create("/missing")
                with anyio.fail_after(1):
                    assert (await changed.wait()).path == path

        async with anyio.create_task_group() as tasks:
            for each in (read, watch) if is_read_first else (watch, read):
                tasks.start_soon(each)
        await anyio.sleep(1)
        assert refused[0] is OpCode.ADD_WATCH
        assert len(there.server.processor.watches) == 0


async def test_a_removal_that_is_throttled_is_done_later() -> None:
    async with world() as there, there.connect("a") as client:
        refused = _throttle(there, OpCode.REMOVE_WATCHES, times=3)
        async with client.exists_and_watch("/n"), client.watch("/m"):
            pass
        await anyio.sleep(5)
        assert len(refused) == 3
        assert len(there.server.processor.watches) == 0
