"""A read-write lock that its holder may enter again, to read always and to write only if it writes."""

# ruff: noqa: PT012 - what comes out of a whole block is what these tests are about

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import (
    TIMEOUT,
    Outcome,
    World,
    cancel_at_each_pass,
    inject_into_each_request,
    virtual_time,
    world,
)
from zkrecipes.devserver import FaultKind

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

DIRECTORY = "/locks/table"
STAYS = {"/locks", DIRECTORY}


def _lock(client: zk.Client) -> zk.ReadWriteLock:
    return zk.ReadWriteLock(client, DIRECTORY, reentrant=True)


@asynccontextmanager
async def _one_client() -> AsyncIterator[tuple[World, zk.Client]]:
    async with world() as there, there.connect("a") as client:
        yield there, client
        await anyio.sleep(TIMEOUT / 8)
        assert there.znodes() <= STAYS


async def test_a_writer_may_write_and_read_again_without_a_request() -> None:
    async with _one_client() as (there, client):
        lock = _lock(client)
        async with lock.write() as hold:
            del there.requests[:]
            async with lock.read() as reading, lock.write() as writing, lock.read(wait=0) as again:
                assert reading is writing is again is hold
            assert there.requests == []
            hold.check()
            with pytest.raises(RuntimeError, match="wait for itself"):
                async with _lock(client).read(wait=0):
                    raise AssertionError("another object is another contender")
        assert hold.remaining() == 0


async def test_a_reader_may_read_again_and_gets_an_error_if_it_writes() -> None:
    async with _one_client() as (_, client):
        lock = _lock(client)
        async with lock.read() as hold:
            async with lock.read() as again:
                assert again is hold
                with pytest.raises(
                    RuntimeError, match=r"this task reads under <ReadWriteLock .*wait for itself"
                ):
                    async with lock.write():
                        raise AssertionError("a reader that writes")
            hold.check()


async def test_a_child_task_waits() -> None:
    async with _one_client() as (_, client):
        lock = _lock(client)
        order = []

        async def child() -> None:
            async with lock.read(), lock.read():
                order.append("child")

        async with anyio.create_task_group() as tasks, lock.write():
            tasks.start_soon(child)
            async with lock.read():
                await anyio.sleep(1)
            order.append("parent")
        assert order == ["parent", "child"]


async def test_only_the_outermost_block_is_downgraded() -> None:
    """An inner block may rely on the write lock."""
    async with _one_client() as (_, client):
        lock = _lock(client)
        async with lock.write() as hold:
            async with lock.read():
                with pytest.raises(
                    RuntimeError, match=r"leave the inner blocks of .* before you downgrade it"
                ):
                    await lock.downgrade()
            await lock.downgrade()
            async with lock.read() as again:
                assert again is hold
            with pytest.raises(RuntimeError, match="this task reads"):
                async with lock.write():
                    raise AssertionError("a reader that writes")


async def test_the_outermost_block_raises_the_loss() -> None:
    async with _one_client() as (_, client):
        lock = _lock(client)
        with pytest.raises(zk.LockLostError):
            async with lock.write() as hold, lock.read():
                await client.delete(hold.path)
                await anyio.sleep_forever()


async def _hold_twice(_: World, client: zk.Client) -> str:
    lock = _lock(client)
    async with lock.write() as hold:
        async with lock.read():
            await anyio.lowlevel.checkpoint()
        await lock.downgrade()
        async with lock.read():
            hold.check()
    return "held"


def _is_held_or_lost(outcome: Outcome) -> None:
    assert outcome.result == "held" or type(outcome.error) is zk.LockLostError


def _is_held_or_cancelled(outcome: Outcome) -> None:
    assert outcome.result == "held" or isinstance(outcome.error, anyio.get_cancelled_exc_class())


@pytest.mark.parametrize("fault_kind", list(FaultKind))
async def test_fault_in_each_request(fault_kind: FaultKind) -> None:
    assert await inject_into_each_request(_hold_twice, _is_held_or_lost, fault_kind, may_remain=STAYS) >= 4


async def test_cancelled_at_each_pass() -> None:
    await cancel_at_each_pass(_hold_twice, _is_held_or_cancelled, may_remain=STAYS)
