"""The errors of recipes whose client has ended before they are used, or before their blocks are left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

PATH = "/there"

BLOCKS: dict[str, Callable[[zk.Client], AbstractAsyncContextManager[Any, Any]]] = {
    "mutex": lambda client: zk.Mutex(client, PATH),
    "read lock": lambda client: zk.ReadWriteLock(client, PATH).read(),
    "semaphore": lambda client: zk.Semaphore(client, PATH, limit=1),
    "multi lock": lambda client: zk.MultiLock([zk.Mutex(client, PATH)]),
    "leadership": lambda client: zk.Election(client, PATH).lead(),
    "observed election": lambda client: zk.Election(client, PATH).changes(),
    "membership": lambda client: zk.Group(client, PATH).join("me"),
    "followed group": lambda client: zk.Group(client, PATH).changes(),
    "config": lambda client: zk.ConfigWatch(client, PATH),
    "followed tree": lambda client: zk.ConfigTree(client, PATH).changes(),
    "double barrier": lambda client: zk.DoubleBarrier(client, PATH, parties=1),
}
HOLDS = {"mutex", "read lock", "semaphore", "multi lock", "leadership"}
CALLS: dict[str, Callable[[zk.Client], Awaitable[object]]] = {
    "contenders": lambda client: zk.Mutex(client, PATH).contenders(),
    "revoke": lambda client: zk.Mutex(client, PATH).revoke(),
    "set limit": lambda client: zk.Semaphore(client, PATH, limit=1).set_limit(2),
    "holders": lambda client: zk.Semaphore(client, PATH, limit=1).holders(),
    "leader": lambda client: zk.Election(client, PATH).leader(),
    "run": lambda client: zk.Election(client, PATH).run(lambda _: anyio.sleep(1)),
    "members": lambda client: zk.Group(client, PATH).members(),
    "wait for": lambda client: zk.Group(client, PATH).wait_for(1),
    "update": lambda client: zk.ConfigWatch(client, PATH).update(lambda _: b"1"),
    "snapshot": lambda client: zk.ConfigTree(client, PATH).snapshot(),
    "create": lambda client: zk.Barrier(client, PATH).create(),
    "remove": lambda client: zk.Barrier(client, PATH).remove(),
    "wait": lambda client: zk.Barrier(client, PATH).wait(),
}


@pytest.mark.parametrize("block", BLOCKS)
async def test_no_block_begins_when_the_client_is_over(block: str) -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        with pytest.raises(zk.SessionClosedError):
            await BLOCKS[block](client).__aenter__()


@pytest.mark.parametrize("call", CALLS)
async def test_no_call_is_answered_when_the_client_is_over(call: str) -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        with pytest.raises(zk.SessionClosedError):
            await CALLS[call](client)


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_block_is_left_well_after_its_client(block: str) -> None:
    """By a task that outlives the client: a hold is lost, and nothing else raises."""
    ended: list[BaseException | None] = []
    async with world() as there, anyio.create_task_group() as tasks:
        async with there.connect("a") as client:
            entered, leave = anyio.Event(), anyio.Event()

            async def stay() -> None:
                try:
                    async with BLOCKS[block](client):
                        entered.set()
                        await leave.wait()
                except zk.ZooKeeperError as error:
                    ended.append(error)
                else:
                    ended.append(None)

            tasks.start_soon(stay)
            await entered.wait()
        leave.set()
    (error,) = ended
    if block == "leadership":
        assert isinstance(error, zk.LeadershipLostError)
    elif block in HOLDS:
        assert isinstance(error, zk.LockLostError)
    elif block == "double barrier":
        assert isinstance(error, zk.BrokenBarrierError)
    else:
        assert error is None
