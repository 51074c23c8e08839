"""Streams of requests: in order, in a bounded window, and safe to cancel and to leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

import zkrecipes as zk
from tests.net.peers import OPCODES_3_5, OldServer
from tests.recipes.fault_sweep import ClientLeftovers, virtual_time, world
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

kinds_of_source = pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])


def source(operations: Iterator[zk.Operation[Any]], is_async: bool) -> Any:
    async def asynchronously() -> AsyncIterator[zk.Operation[Any]]:
        for operation in operations:
            yield operation

    return asynchronously() if is_async else operations


@kinds_of_source
@pytest.mark.parametrize("window", [1, 2, 3, 1000])
async def test_replies_come_in_the_order_of_the_requests(is_async: bool, window: int) -> None:
    async with world() as there, there.connect("a") as client:
        ops = client.operations
        requests = (ops.create("/s-", sequential=True) for _ in range(50))
        async with client.stream(source(requests, is_async), window=window) as replies:
            made = [reply.result() async for reply in replies]
        assert made == [f"/s-{number:010d}" for number in range(50)]


@kinds_of_source
async def test_an_error_is_in_its_place(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        ops = client.operations
        requests = iter([ops.create("/n"), ops.create("/n"), ops.exists("/missing"), ops.delete("/n")])
        async with client.stream(source(requests, is_async)) as replies:
            taken = [reply async for reply in replies]
        assert taken[0].result() == "/n"
        with pytest.raises(zk.NodeExistsError):
            taken[1].result()
        assert taken[2].result() is None
        assert taken[3].result() is None


@kinds_of_source
async def test_no_more_than_the_window_is_under_way_however_long_the_stream(is_async: bool) -> None:
    asked = answered = most = 0

    def requests() -> Iterator[zk.Operation[Any]]:
        nonlocal asked
        for _ in range(2000):
            asked += 1
            yield client.operations.exists("/")

    async with world() as there, there.connect("a") as client:
        async with client.stream(source(requests(), is_async), window=10) as replies:
            async for _ in replies:
                most = max(most, asked - answered)
                answered += 1
        assert answered == 2000
        # The task that reads the iterable has taken one more.
        assert most <= 10 + is_async


@kinds_of_source
async def test_an_empty_stream_has_no_replies(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        async with client.stream(source(iter(()), is_async)) as replies:
            assert [reply async for reply in replies] == []
            with pytest.raises(StopAsyncIteration):
                await replies.__anext__()
        assert there.requests == []


@kinds_of_source
async def test_an_error_of_the_iterable_is_raised_after_the_replies_before_it(is_async: bool) -> None:
    def requests() -> Iterator[zk.Operation[Any]]:
        yield client.operations.create("/a")
        yield client.operations.create("/b")
        raise KeyError("broken")

    made = []
    async with world() as there, there.connect("a") as client:
        async with client.stream(source(requests(), is_async)) as replies:
            with pytest.raises(KeyError, match="broken"):  # noqa: PT012 - of the whole loop
                async for reply in replies:
                    made.append(reply.result())  # noqa: PERF401 - it raises
            assert [reply async for reply in replies] == []
        assert made == ["/a", "/b"]


@kinds_of_source
async def test_what_cannot_travel_alone_is_refused(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        ops = client.operations
        for wrong, error, match in (
            (ops.check("/"), ValueError, "part of a transaction"),
            (ops.get("/", watch=True), ValueError, "a watch must have an owner"),
            ("/n", TypeError, "client.operations"),
        ):
            async with client.stream(source(iter([wrong]), is_async)) as replies:  # type: ignore[list-item]  # the point
                with pytest.raises(error, match=match):
                    await replies.__anext__()
        assert there.requests == []


@pytest.mark.parametrize("window", [0, -1])
async def test_a_window_without_room_is_refused(window: int) -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(ValueError, match="window must be at least 1"):
            async with client.stream([], window=window):
                raise AssertionError("not entered")


@kinds_of_source
async def test_leaving_early_drops_what_was_not_sent_and_leaves_nothing(is_async: bool) -> None:
    def requests() -> Iterator[zk.Operation[Any]]:
        while True:
            yield client.operations.create("/s-", sequential=True)

    async with world() as there, there.connect("a") as client:
        await client.exists("/")
        before = ClientLeftovers.of(there, client)
        async with client.stream(source(requests(), is_async), window=10) as replies:
            async for _ in replies:
                break
        await anyio.sleep(1)
        assert len(there.znodes()) <= 11
        assert ClientLeftovers.of(there, client) == before
        with pytest.raises(RuntimeError, match="has ended"):
            await replies.__anext__()


@kinds_of_source
async def test_what_waits_for_a_connection_is_not_sent_after_the_block(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        await there.server.refuse()
        there.network.reset(source="a")
        await anyio.sleep(1)
        requests = iter([client.operations.create(f"/{number}") for number in range(5)])
        with anyio.move_on_after(1):
            async with client.stream(source(requests, is_async)) as replies:
                await replies.__anext__()
        await there.server.accept()
        await client.exists("/")
        assert there.znodes() == set()


@kinds_of_source
async def test_a_wait_that_is_cancelled_loses_no_reply(is_async: bool) -> None:
    async with world() as there, there.connect("a") as client:
        ops = client.operations
        requests = (ops.create("/s-", sequential=True) for _ in range(20))
        taken: list[str] = []
        async with client.stream(source(requests, is_async), window=4) as replies:
            held = there.server.faults.hold_replies()
            for _ in range(3):
                with anyio.move_on_after(1) as scope:
                    await replies.__anext__()
                assert scope.cancelled_caught
            held.release()
            taken += [reply.result() async for reply in replies]
        assert taken == [f"/s-{number:010d}" for number in range(20)]


async def test_a_stream_goes_on_over_broken_connections() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/n", b"1")
        there.server.faults.drop_request(OpCode.GET_DATA, skip=30, times=3)
        async with client.stream(client.operations.get("/n") for _ in range(100)) as replies:
            assert [reply.result().data async for reply in replies] == [b"1"] * 100


async def test_an_iterable_that_takes_its_time_delays_no_reply() -> None:
    """And it may depend on the replies: here each request waits for the answer to the one before."""
    answered = anyio.Event()

    async def requests() -> AsyncIterator[zk.Operation[Any]]:
        nonlocal answered
        for number in range(5):
            yield client.operations.create(f"/{number}")
            await answered.wait()
            answered = anyio.Event()

    async with world() as there, there.connect("a") as client:
        async with client.stream(requests()) as replies:
            async for reply in replies:
                assert reply.result() in there.znodes()
                answered.set()
        assert len(there.znodes()) == 5


async def test_two_tasks_cannot_iterate_over_one_stream() -> None:
    async with world() as there, there.connect("a") as client:
        held = there.server.faults.hold_replies()
        async with (
            client.stream([client.operations.exists("/")]) as replies,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(replies.__anext__)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await replies.__anext__()
            held.release()


async def test_an_operation_that_the_server_does_not_know_has_its_error_in_its_place() -> None:
    async with world() as there:
        old = OldServer(there.network, Address("zk", 2181), OPCODES_3_5, "3.5.10")
        async with old.serving(), zk.connect("old", network=there.network) as client:
            ops = client.operations
            requests: list[zk.Operation[Any]] = [
                ops.create("/n"), ops.whoami(), ops.create_with_stat("/m"), ops.get_ephemerals(),
            ]  # fmt: skip
            async with client.stream(requests) as replies:
                taken = [reply async for reply in replies]
            assert taken[0].result() == "/n"
            with pytest.raises(zk.UnimplementedError, match=r"whoami needs ZooKeeper 3\.7"):
                taken[1].result()
            assert taken[2].result()[0] == "/m"
            with pytest.raises(zk.UnimplementedError, match=r"get_ephemerals needs ZooKeeper 3\.6"):
                taken[3].result()
            assert OpCode.WHO_AM_I not in old.opcodes_seen


async def test_a_missing_chroot_is_named() -> None:
    async with world() as there, there.connect("a") as client:
        view = client.chroot("/app")
        async with view.stream([view.operations.get("/n")]) as replies:
            reply = await replies.__anext__()
        with pytest.raises(zk.NoNodeError, match="the chroot /app itself does not exist"):
            reply.result()


async def test_an_endless_stream_on_a_client_that_is_over_can_be_cancelled() -> None:
    def requests() -> Iterator[zk.Operation[Any]]:
        while True:
            yield client.operations.exists("/")

    async with world() as there:
        async with there.connect("a") as client:
            pass
        with anyio.move_on_after(1) as scope:
            async with client.stream(requests()) as replies:
                async for reply in replies:
                    with pytest.raises(zk.SessionClosedError):
                        reply.result()
                    scope.cancel()
        assert scope.cancelled_caught
