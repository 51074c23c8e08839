"""The semaphore against the dev server and Apache's: its limit, several permits, a changed limit."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.apache.served import Served
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
async def test_the_limit_is_kept(server: Served, fresh_path: str, layout: LockLayoutName) -> None:
    with anyio.fail_after(15):
        async with zk.connect(server.connect_string, session_timeout=10) as client:
            semaphore = zk.Semaphore(client, fresh_path, limit=3, layout=layout)
            inside = 0

            async def work(permits: int) -> None:
                nonlocal inside
                async with semaphore.acquire(permits=permits) as hold:
                    inside += permits
                    assert inside <= 3
                    await anyio.sleep(0.02)
                    await hold.confirm()
                    inside -= permits

            async with anyio.create_task_group() as tasks:
                for permits in (1, 2, 3, 1, 1, 2):
                    tasks.start_soon(work, permits)
            assert await semaphore.contenders() == []


async def test_a_changed_limit(server: Served, fresh_path: str) -> None:
    with anyio.fail_after(15):
        async with zk.connect(server.connect_string, session_timeout=10) as client:
            semaphore = zk.Semaphore(client, fresh_path, limit=1)
            entered = anyio.Event()

            async def enter() -> None:
                async with zk.Semaphore(client, fresh_path, limit=1).acquire() as hold:
                    assert hold.fencing_token > first.fencing_token
                    entered.set()

            async with semaphore.acquire() as first, anyio.create_task_group() as tasks:
                tasks.start_soon(enter)
                while len(await semaphore.contenders()) < 2:  # noqa: ASYNC110 - the server does not notify us
                    await anyio.sleep(0.01)
                assert not entered.is_set()
                await semaphore.set_limit(2)
                await entered.wait()
