"""Exact numbers of the lists that waiters request, and of the names that they keep."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, virtual_time, world
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.enums import OpCode
from zkrecipes.recipes.locking.lock_layouts import MUTEXES, READERS, WRITERS
from zkrecipes.recipes.locking.queue_listing import share_list
from zkrecipes.recipes.locking.queue_order import QueueOrder

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

MANY = 100
"""More contenders than a short queue has."""


@asynccontextmanager
async def _client() -> AsyncIterator[tuple[World, zk.Client]]:
    async with world() as there, there.connect("a") as client:
        yield there, client


async def _settle() -> None:
    await anyio.sleep(0.1)


def _kept_names(directory: Iterable[str]) -> int:
    """Count the names of the directory in all lists, tuples and dicts of this process, with repetitions."""
    names = set(directory)
    gc.collect()
    kept = 0
    for each in gc.get_objects():
        if type(each) is list or type(each) is tuple or type(each) is dict:
            kept += sum(1 for item in each if type(item) is str and item in names)
    return kept


# --- memory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mutex", "readers", "writers", "semaphore", "election"])
async def test_waiters_keep_no_list_of_the_queue(kind: str) -> None:
    async with _client() as (there, client), anyio.create_task_group() as tasks:
        lock = zk.ReadWriteLock(client, "/q")
        semaphore = zk.Semaphore(client, "/s", limit=1)

        async def wait() -> None:
            acquisition: AbstractAsyncContextManager[object, bool | None]
            if kind == "mutex":
                acquisition = zk.Mutex(client, "/q").acquire()
            elif kind == "semaphore":
                acquisition = semaphore.acquire()
            elif kind == "election":
                acquisition = zk.Election(client, "/q").lead()
            else:
                acquisition = lock.read() if kind == "readers" else lock.write()
            async with acquisition:
                await anyio.sleep_forever()

        async with lock.write() if kind in ("readers", "writers") else zk.Mutex(client, "/q"):
            for _ in range(MANY):
                tasks.start_soon(wait)
            await _settle()
            directory = "/s-__lock__" if kind == "semaphore" else "/q"
            names = await client.get_children(directory)
            assert len(names) >= MANY - 1
            there.requests.clear()  # remembered by the test's own server
            ours = len(names) + 100  # the list just read, and a few that are being created
            of_server = 2 * len(names)  # the dev server's own children and ephemerals
            assert _kept_names(names) <= ours + of_server
            tasks.cancel_scope.cancel()


# --- requests ------------------------------------------------------------------------------------------


async def test_readers_that_enter_together_share_one_list() -> None:
    async with _client() as (there, client), anyio.create_task_group() as tasks:
        lock = zk.ReadWriteLock(client, "/q")
        inside = 0

        async def read() -> None:
            nonlocal inside
            async with lock.read():
                inside += 1
                await anyio.sleep(TIMEOUT)

        async with lock.write():
            for _ in range(MANY):
                tasks.start_soon(read)
            await _settle()
            # one each with its own create; a long queue is not listed again with the watch
            assert there.count(OpCode.GET_CHILDREN) <= 1 + MANY + 64
            del there.requests[:]
        await _settle()
        assert inside == MANY
        assert there.count(OpCode.GET_CHILDREN) == 1


async def test_a_reader_behind_a_first_writer_requests_a_long_list_once() -> None:
    async with _client() as (there, client), there.connect("b") as other:
        await client.create("/q", make_parents=True)
        async with other.pipeline() as pipe:
            pipe.create("/q/" + "f" * 32 + "__lock__", ephemeral=True, sequential=True)
            for number in range(MANY):
                pipe.create(f"/q/{number:032x}__rlock__", ephemeral=True, sequential=True)
        del there.requests[:]
        with anyio.move_on_after(1):
            async with zk.ReadWriteLock(client, "/q").read():
                pytest.fail("the writer is before it")
        assert there.count(OpCode.GET_CHILDREN) == 1


async def test_a_shared_list_goes_to_each_task_and_outlives_the_cancelled_ones() -> None:
    async with _client() as (there, client):
        await client.create("/q", make_parents=True)
        await client.create("/q/" + "a" * 32 + "__lock__", sequential=True)
        api, layout = recipe_api(client), MUTEXES["kazoo"]
        before = there.count(OpCode.GET_CHILDREN)
        orders: list[QueueOrder] = []

        async def ask(scope: anyio.CancelScope) -> None:
            listing = share_list(api, "/q", layout)
            with scope:
                orders.append(await listing.wait())
            listing.drop()

        scopes = [anyio.CancelScope() for _ in range(5)]
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(ask, scope)
            scopes[0].cancel()
            scopes[1].cancel()
        assert len(orders) == 3
        assert len(set(map(id, orders))) == 1
        assert there.count(OpCode.GET_CHILDREN) == before + 1


async def test_an_unsent_list_without_a_waiter_is_not_sent() -> None:
    async with _client() as (there, client):
        await client.create("/q", make_parents=True)
        before = there.count(OpCode.GET_CHILDREN)
        listings = [share_list(recipe_api(client), "/q", MUTEXES["kazoo"]) for _ in range(2)]
        for listing in listings:
            listing.drop()
        await _settle()
        assert there.count(OpCode.GET_CHILDREN) == before


async def test_each_task_gets_its_own_error() -> None:
    async with _client() as (_, client):
        listings = [share_list(recipe_api(client), "/missing", MUTEXES["kazoo"]) for _ in range(2)]
        errors = []
        for listing in listings:
            with pytest.raises(zk.NoNodeError) as caught:
                await listing.wait()
            errors.append(caught.value)
            listing.drop()
        assert errors[0] is not errors[1]
        assert errors[0].path == errors[1].path == "/missing"


async def test_a_list_that_was_sent_is_not_joined() -> None:
    async with _client() as (there, client):
        await client.create("/q", make_parents=True)
        first = share_list(recipe_api(client), "/q", MUTEXES["kazoo"])
        await first.wait()
        second = share_list(recipe_api(client), "/q", MUTEXES["kazoo"])
        assert second is not first
        assert list(await second.wait()) == []
        assert there.count(OpCode.GET_CHILDREN) == 2


# --- the order: pure -----------------------------------------------------------------------------------


def test_one_order_answers_for_readers_and_writers() -> None:
    kinds = "wrrwrw"
    names = [
        f"{number:032x}{'__lock__' if kind == 'w' else '__rlock__'}{number:010}"
        for number, kind in enumerate(kinds)
    ]
    order = QueueOrder(reversed(names), READERS["kazoo"])
    layouts = {"w": WRITERS["kazoo"], "r": READERS["kazoo"]}
    before = [order.before(name, layouts[kind]) for name, kind in zip(names, kinds, strict=True)]
    assert before == [None, names[0], names[0], names[2], names[3], names[4]]
    assert order.first() == names[0]
    assert order.first({names[0]}.__contains__) == names[1]
    assert order.before(names[4], layouts["r"], {names[3]}.__contains__) == names[0]
    assert order.before(names[4], layouts["r"], {names[0], names[3]}.__contains__) is None
    assert QueueOrder([], READERS["kazoo"]).first() is None


def test_unexpected_names_include_those_of_other_libraries() -> None:
    kazoos = "a" * 32 + "__lock__0000000001"
    curators = "_c_12345678-1234-1234-1234-123456789012-lock-0000000002"
    order = QueueOrder([kazoos, curators, "stranger", "x0000000003"], MUTEXES["kazoo"])
    assert list(order) == [kazoos, curators]
    assert order.unexpected == [curators, "stranger", "x0000000003"]
