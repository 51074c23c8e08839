"""The demo's znodes are written once, even if replies are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import zkrecipes as zk
from zkrecipes.cli.demo.znodes import DemoZnodes, LedgerLine, Mark
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _znodes() -> AsyncIterator[tuple[zk.DevServer, zk.Client, DemoZnodes]]:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        znodes = DemoZnodes(client, "/demo")
        await znodes.set_up(2)
        yield server, client, znodes


async def test_a_holder_starts_a_job_and_marks_it_done_in_transactions_of_its_hold() -> None:
    async with _znodes() as (_, client, znodes):
        async with zk.Mutex(client, znodes.lock_path) as hold:
            await znodes.record_begin(hold, 2)
            await znodes.mark_done(hold, 2)
            token = hold.fencing_token
        assert await znodes.marks() == [Mark(1, 0, None), Mark(2, 1, token)]
        assert await znodes.ledger() == [LedgerLine("begin", token, 2), LedgerLine("end", token, 2)]


async def test_a_job_cannot_be_marked_twice() -> None:
    async with _znodes() as (_, client, znodes):
        async with zk.Mutex(client, znodes.lock_path) as hold:
            await znodes.mark_done(hold, 1)
        async with zk.Mutex(client, znodes.lock_path) as hold:
            with pytest.raises(zk.TransactionError):
                await znodes.mark_done(hold, 1)
        assert [mark.times for mark in await znodes.marks()] == [1, 0]
        assert len(await znodes.ledger()) == 1


async def test_a_worker_that_lost_the_lock_writes_nothing() -> None:
    async with _znodes() as (_, client, znodes):

        async def mark_too_late() -> None:
            async with zk.Mutex(client, znodes.lock_path) as hold:
                await client.delete(hold.path)
                await znodes.mark_done(hold, 1)

        with pytest.raises(zk.LockLostError):
            await mark_too_late()
        assert [mark.times for mark in await znodes.marks()] == [0, 0]
        assert await znodes.ledger() == []


@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not applied"])
async def test_a_lost_reply_makes_no_second_mark(is_applied: bool) -> None:
    async with _znodes() as (server, client, znodes):
        inject = server.faults.lose_reply if is_applied else server.faults.drop_request
        async with zk.Mutex(client, znodes.lock_path) as hold:
            fault = inject(OpCode.MULTI, path="/demo/jobs/01")
            await znodes.mark_done(hold, 1)
        assert fault.is_spent
        assert [mark.times for mark in await znodes.marks()] == [1, 0]
        assert len(await znodes.ledger()) == 1
