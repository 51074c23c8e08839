"""The demo's znodes: written once, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import zkrecipes as zk
from zkrecipes.cli.demo.znodes import DemoZnodes, LedgerLine, Mark, remove_tree
from zkrecipes.enums import OpCode

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _znodes() -> AsyncIterator[tuple[zk.DevServer, zk.Client, DemoZnodes]]:
    async with zk.DevServer() as server, zk.connect(server.connect_string) as client:
        board = DemoZnodes(client, "/demo")
        await board.set_up(2)
        yield server, client, board


async def test_a_job_is_begun_and_marked_done_in_the_name_of_the_hold() -> None:
    async with _znodes() as (_, client, board):
        async with zk.Mutex(client, board.lock_path) as hold:
            await board.begin(hold, 2)
            await board.mark_done(hold, 2)
            token = hold.fencing_token
        assert await board.marks() == [Mark(1, 0, None), Mark(2, 1, token)]
        assert await board.ledger() == [LedgerLine("begin", token, 2), LedgerLine("end", token, 2)]


async def test_a_job_cannot_be_marked_twice() -> None:
    async with _znodes() as (_, client, board):
        async with zk.Mutex(client, board.lock_path) as hold:
            await board.mark_done(hold, 1)
        async with zk.Mutex(client, board.lock_path) as hold:
            with pytest.raises(zk.TransactionError):
                await board.mark_done(hold, 1)
        assert [mark.times for mark in await board.marks()] == [1, 0]
        assert len(await board.ledger()) == 1


async def test_one_who_has_lost_the_lock_writes_nothing() -> None:
    async with _znodes() as (_, client, board):

        async def mark_too_late() -> None:
            async with zk.Mutex(client, board.lock_path) as hold:
                await client.delete(hold.path)
                await board.mark_done(hold, 1)

        with pytest.raises(zk.LockLostError):
            await mark_too_late()
        assert [mark.times for mark in await board.marks()] == [0, 0]
        assert await board.ledger() == []


async def test_everything_is_removed() -> None:
    async with _znodes() as (_, client, _):
        await remove_tree(client, "/demo")
        await remove_tree(client, "/demo")
        assert await client.get_children("/") == ["zookeeper"]


@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not applied"])
async def test_a_lost_reply_makes_no_second_mark(is_applied: bool) -> None:
    async with _znodes() as (server, client, board):
        inject = server.faults.lose_reply if is_applied else server.faults.drop_request
        async with zk.Mutex(client, board.lock_path) as hold:
            fault = inject(OpCode.MULTI, path="/demo/jobs/01")
            await board.mark_done(hold, 1)
        assert fault.is_spent
        assert [mark.times for mark in await board.marks()] == [1, 0]
        assert len(await board.ledger()) == 1
