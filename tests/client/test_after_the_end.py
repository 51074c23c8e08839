"""A client whose block has ended: every call raises the same error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

Call = Callable[[zk.Client], Awaitable[object]]


def entered(block: Callable[[zk.Client], AbstractAsyncContextManager[object]]) -> Call:
    async def enter(client: zk.Client) -> None:
        async with block(client):
            pass

    return enter


async def operations(client: zk.Client) -> AsyncIterator[zk.Operation[zk.Node]]:
    yield client.operations.get("/")


async def stream(client: zk.Client) -> None:
    async with client.stream([client.operations.get("/")]) as replies:
        async for reply in replies:
            reply.result()


async def asynchronous_stream(client: zk.Client) -> None:
    async with client.stream(operations(client)) as replies:
        async for reply in replies:
            reply.result()


async def transaction(client: zk.Client) -> None:
    async with client.transaction() as tx:
        tx.create("/n")


async def multi_read(client: zk.Client) -> None:
    async with client.multi_read() as reads:
        reads.get("/")


async def pipeline(client: zk.Client) -> None:
    async with client.pipeline() as pipe:
        pending = pipe.get("/")
    pending.result()


async def walk(client: zk.Client) -> None:
    async with client.walk("/") as znodes:
        async for _ in znodes:
            pass


CALLS: dict[str, Call] = {
    "get": lambda client: client.get("/"),
    "create": lambda client: client.create("/n"),
    "create_with_stat": lambda client: client.create_with_stat("/n"),
    "container": lambda client: client.create("/n", container=True),
    "delete recursively": lambda client: client.delete("/n", recursive=True),
    "ensure_path": lambda client: client.ensure_path("/n/m"),
    "wait_for_node": lambda client: client.wait_for_node("/n"),
    "whoami": lambda client: client.whoami(),
    "four_letter_word": lambda client: client.four_letter_word("ruok"),
    "add_auth": lambda client: client.add_auth("digest", "user:password"),
    "stream": stream,
    "asynchronous stream": asynchronous_stream,
    "transaction": transaction,
    "multi_read": multi_read,
    "pipeline": pipeline,
    "walk": walk,
    "watch": entered(lambda client: client.watch("/")),
    "get_and_watch": entered(lambda client: client.get_and_watch("/")),
    "exists_and_watch": entered(lambda client: client.exists_and_watch("/")),
    "mutex": entered(lambda client: zk.Mutex(client, "/lock").acquire()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_call_says_that_the_client_is_closed(call: Call) -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        with pytest.raises(zk.SessionClosedError, match="the client is closed"):
            await call(client)


async def test_no_change_of_the_session_comes_any_more() -> None:
    async with world() as there:
        async with there.connect("a") as client:
            pass
        async with client.session_changes() as changes:
            assert [change async for change in changes] == []
