"""A session that answers is not given up: slow links, large replies, blocked loops; on both loops."""

from __future__ import annotations

import logging
import re
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, block_the_loop, virtual_time, world
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address, Handler, Stream

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()


class SlowLink:
    """A network that limits the bytes a client receives in a second.

    Args:
        there: has the server.
        rate: the limit, in bytes per second.
        chunk_size: the number of bytes that arrive at once.
    """

    def __init__(self, there: World, rate: float, *, chunk_size: int = 8 * 1024) -> None:
        self._network = there.network
        self._rate = rate
        self._chunk_size = chunk_size
        self.resolve = there.network.resolve

    async def connect(self, host: str, port: int) -> Stream:
        stream = await self._network.connect_from("slow", host, port)
        link = self._network.links[-1]
        link.to_client.chunk_size = self._chunk_size
        receive, arriving = stream.receive, list[bytes]()

        async def receive_slowly() -> bytes:
            if not arriving:
                arriving.append(await receive())
            await anyio.sleep(len(arriving[0]) / self._rate)  # when this is cancelled, the bytes stay
            return arriving.pop()

        stream.receive = receive_slowly  # type: ignore[method-assign]
        return stream

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        raise NotImplementedError


async def test_one_reply_that_takes_longer_than_the_session_timeout_keeps_the_session() -> None:
    async with world() as there, there.connect("b") as other:
        await other.create("/big", b"x" * 800_000)
        async with there.connect("a", network=SlowLink(there, 800_000 / (2 * TIMEOUT))) as client:
            session = client.session
            await client.create("/mine", ephemeral=True)
            start = anyio.current_time()
            node = await client.get("/big")
            assert len(node.data) == 800_000
            assert anyio.current_time() - start > 1.9 * TIMEOUT
            assert client.session is session
            assert client.stats().connections == 1
            assert await other.exists("/mine") is not None


@pytest.mark.parametrize("part", [0.5, 0.7, 0.9])
async def test_a_block_that_is_shorter_than_the_timeout_loses_nothing(
    part: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a")
        session, versions = client.session, []

        async def write() -> None:
            versions.append((await client.set("/a", b"1")).version)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(write)
            await anyio.lowlevel.checkpoint()
            block_the_loop(part * TIMEOUT)
        assert sorted(versions) == [1, 2, 3]
        await anyio.sleep(TIMEOUT)
        assert client.session is session
        assert client.stats().connections == 1
        [line] = [each.getMessage() for each in caplog.records if "blocked" in each.getMessage()]
        assert "the event loop was blocked for " in line


async def test_the_time_for_which_the_loop_was_blocked_has_bounds_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even if the connection ran between its deadline and the block."""
    async with world() as there, there.connect("a") as client:
        attached = client._engine.attached  # noqa: SLF001 - the writer looks at the clock in between
        assert attached is not None
        connection = attached.connection
        connection.hurry(float("-inf"))
        block_the_loop(TIMEOUT / 32)  # too short to count as a block
        connection.look_at_clock()
        block_the_loop(TIMEOUT / 4)
        connection.look_at_clock()
    [(least, most)] = re.findall(r"blocked for ([\d.]+) to ([\d.]+) seconds", caplog.text)
    assert float(least) <= float(most)


async def test_the_error_of_a_hold_lost_by_a_block_names_the_block() -> None:
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.LockLostError) as caught:  # noqa: PT012 - where it comes out is the point
            async with zk.Mutex(client, "/lock"):
                await anyio.sleep(TIMEOUT)
                block_the_loop(15.0)
                await anyio.sleep_forever()
        assert "the event loop was blocked for " in str(caught.value)
        assert client.stats().sessions == 1


async def test_a_hold_that_outlives_a_block_is_not_moved_to_another_server() -> None:
    async with world() as there, there.connect("a") as client, zk.Mutex(client, "/lock") as hold:
        await anyio.sleep(TIMEOUT)
        block_the_loop(TIMEOUT / 4)
        await anyio.sleep(TIMEOUT)
        hold.check()
        assert client.stats().connections == 1


async def test_a_block_moves_no_proof() -> None:
    async with world() as there, there.connect("a") as client, zk.Mutex(client, "/lock") as hold:
        await anyio.sleep(TIMEOUT)
        before = hold.valid_until
        block_the_loop(TIMEOUT / 4)
        hold.check()
        assert hold.valid_until == before


async def test_a_hold_lost_long_after_a_block_does_not_blame_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with world() as there, there.connect("a") as client:
        with pytest.raises(zk.LockLostError) as caught:  # noqa: PT012 - where it comes out is the point
            async with zk.Mutex(client, "/lock"):
                block_the_loop(TIMEOUT / 4)
                await anyio.sleep(TIMEOUT)
                there.network.cut()
                await anyio.sleep_forever()
        assert "blocked" not in str(caught.value)
        there.network.heal()


# --- many requests ---------------------------------------------------------------------------------------


async def test_a_slow_link_full_of_replies_keeps_the_session() -> None:
    async with world() as there, there.connect("b") as other:
        await other.create("/data", b"x" * 50_000)
        async with there.connect("a", network=SlowLink(there, 50_000)) as client:
            session = client.session
            await client.create("/mine", ephemeral=True)
            start = anyio.current_time()
            requests = (client.operations.get("/data") for _ in range(60))
            async with client.stream(requests) as replies:
                sizes = [len(reply.result().data) async for reply in replies]
            assert sizes == [50_000] * 60
            assert anyio.current_time() - start > 3 * TIMEOUT
            assert client.session is session
            assert client.stats().connections == 1
            assert await other.exists("/mine") is not None


async def test_a_slow_link_full_of_replies_keeps_a_hold() -> None:
    async with world() as there, there.connect("b") as other:
        await other.create("/data", b"x" * 5_000)
        async with (
            there.connect("a", network=SlowLink(there, 50_000)) as client,
            zk.Mutex(client, "/lock") as hold,
        ):
            requests = (client.operations.get("/data") for _ in range(400))
            async with client.stream(requests) as replies:
                async for reply in replies:
                    reply.result()
                    hold.check()
            assert client.stats().connections == 1


async def test_a_break_leaves_few_writes_in_doubt_if_they_are_answered_slowly() -> None:
    async with world() as there:
        slow = SlowLink(there, 2000, chunk_size=200)  # some 20 answers a second
        async with there.connect("a", network=slow) as client:
            await client.create("/a")
            async with client.pipeline() as pipe:
                writes = [pipe.set("/a", b"x") for _ in range(400)]
                await writes[200].wait()
                there.network.reset()
            lost = sum(isinstance(write.error, zk.ConnectionLossError) for write in writes)
            assert 0 < lost <= TIMEOUT / 8 * 20
            assert sum(write.error is None for write in writes) == len(writes) - lost
            assert client.stats().sessions == 1


# --- replies that break every connection -----------------------------------------------------------------


async def _set_repeatedly(client: zk.Client, outcomes: list[bool]) -> None:
    while True:
        try:
            await client.set("/ok", b"x")
            outcomes.append(True)
        except zk.ConnectionLossError:
            outcomes.append(False)
        await anyio.sleep(0.01)


async def test_a_read_that_breaks_every_connection_ends_and_takes_few_others_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as there, there.connect("a") as client:
        for path in ("/ok", "/poison"):
            await client.create(path)
        there.server.faults.drop_request(OpCode.GET_DATA, path="/poison", times=10**9)
        outcomes: list[bool] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set_repeatedly, client, outcomes)
            await anyio.sleep(0.1)
            with pytest.raises(zk.ConnectionLossError, match=r"6 connections broke .* was answered$"):
                await client.get("/poison")
            await anyio.sleep(TIMEOUT)
            tasks.cancel_scope.cancel()
        assert outcomes.count(False) <= 1
        assert outcomes[-1]
        assert there.count(OpCode.GET_DATA) == 0
        assert client.stats().connections == 7
        assert client.stats().sessions == 1
        [line] = [each.getMessage() for each in caplog.records if "sent again" in each.getMessage()]
        assert "/poison" in line


async def test_a_question_before_the_read_that_breaks_every_connection_does_not_stand_for_it() -> None:
    """The client asks on each connection whether the server supports this."""
    async with world() as there, there.connect("a") as client:
        await client.create("/ok")
        there.server.faults.drop_request(OpCode.MULTI_READ, times=10**9)
        outcomes: list[bool] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set_repeatedly, client, outcomes)
            await anyio.sleep(0.1)
            with pytest.raises(zk.ConnectionLossError):
                async with client.multi_read() as reads:
                    reads.get("/ok")
            await anyio.sleep(TIMEOUT)
            tasks.cancel_scope.cancel()
        assert outcomes.count(False) <= 1
        assert outcomes[-1]


async def test_reads_beside_the_one_that_breaks_every_connection_are_answered() -> None:
    async with world() as there, there.connect("a") as client:
        for path in ("/ok", "/poison"):
            await client.create(path)
        there.server.faults.drop_request(OpCode.GET_DATA, path="/poison", times=10**9)
        async with client.pipeline() as pipe:
            before = [pipe.get("/ok") for _ in range(20)]
            poison = pipe.get("/poison")
            after = [pipe.get("/ok") for _ in range(20)]
        assert isinstance(poison.error, zk.ConnectionLossError)
        assert [each.error for each in before + after] == [None] * 40


async def test_a_read_that_breaks_every_connection_costs_no_hold() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/poison")
        there.server.faults.drop_request(OpCode.GET_DATA, path="/poison", times=10**9)
        async with zk.Mutex(client, "/lock") as hold:
            with pytest.raises(zk.ConnectionLossError):
                await client.get("/poison")
            await anyio.sleep(TIMEOUT)
            hold.check()


async def test_a_read_on_which_the_connection_broke_five_times_is_answered_the_sixth_time() -> None:
    async with world() as there, there.connect("a") as client:
        await client.create("/a", b"data")
        there.server.faults.drop_request(OpCode.GET_DATA, path="/a", times=5)
        assert (await client.get("/a")).data == b"data"


async def test_a_clean_up_is_repeated_however_often_the_connection_breaks() -> None:
    async with world() as there, there.connect("a") as client:
        there.server.faults.drop_request(OpCode.DELETE, times=10)
        async with zk.Mutex(client, "/lock"):
            pass
        await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() <= {"/lock"}


async def test_a_reply_that_is_too_slow_for_the_holds_ends_after_two_moves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as there, there.connect("b") as other:
        await other.create("/big", b"x" * 800_000)
        slow = SlowLink(there, 800_000 / (2 * TIMEOUT), chunk_size=1024)
        async with there.connect("a", network=slow) as client, zk.Mutex(client, "/lock") as hold:
            with pytest.raises(zk.ReplyTooSlowError) as caught:
                await client.get("/big")
            assert caught.value.path == "/big"
            assert caught.value.size == pytest.approx(800_000, abs=200)
            assert caught.value.rate == pytest.approx(25_000, rel=0.1)
            assert caught.value.timeout == TIMEOUT
            said = "bytes per second, too slowly for the holds of a session with a timeout of 16 seconds"
            assert said in str(caught.value)
            await anyio.sleep(TIMEOUT)
            hold.check()
            assert client.stats().connections == 3
        assert str(caught.value) in [each.getMessage() for each in caplog.records]


async def test_a_large_reply_that_the_holds_can_wait_for_moves_nothing() -> None:
    async with world() as there, there.connect("b") as other:
        await other.create("/big", b"x" * 800_000)
        slow = SlowLink(there, 800_000 / (TIMEOUT / 4), chunk_size=1024)  # a check may wait for an eighth
        client_of_slow = there.connect("a", network=slow, tick_time=TIMEOUT / 8)
        async with client_of_slow as client, zk.Mutex(client, "/lock") as hold:
            await anyio.sleep(TIMEOUT)
            assert len((await client.get("/big")).data) == 800_000
            assert client.stats().connections == 1
            await anyio.sleep(TIMEOUT)
            hold.check()
