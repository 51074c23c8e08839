"""One client side over one stream: when bytes leave, the meaning of silence, and how each end is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trio.testing

from tests.net.peers import accept_all, saying, scripted
from zkrecipes.codec.messages import ExistsRequest, SetDataRequest, SyncRequest
from zkrecipes.enums import OpCode
from zkrecipes.net.connection import Connection
from zkrecipes.net.transport.network import Address, Stream
from zkrecipes.net.wakeup import current_parking
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Broken, Connected, Greeting, Replied, Ticket
from zkrecipes.protocol.send_window import FIRST_SIZE
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.protocol.watch_table import WatchTable
from zkrecipes.testing import MemoryNetwork


class Watched:
    """A stream that records what is sent and when; it breaks on request."""

    def __init__(self, stream: Stream) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.is_broken = False
        self.rate = float("inf")
        self._stream = stream

    @property
    def peer(self) -> Address:
        return self._stream.peer

    async def send(self, data: bytes) -> None:
        if self.is_broken:
            await anyio.lowlevel.checkpoint()
            raise ConnectionResetError("broken")
        self.sent.append((anyio.current_time(), data))
        await anyio.sleep(len(data) / self.rate)
        await self._stream.send(data)

    async def receive(self) -> bytes:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Driver:
    """A session that only records the events."""

    def __init__(self, side: ClientSide) -> None:
        self.side = side
        self.events: list[object] = []
        self.ticks: list[float] = []
        self.blocks: list[tuple[float, float]] = []
        self.deadline = float("inf")
        self.on_event: Callable[[], None] = lambda: None

    def next_deadline(self) -> float:
        return self.deadline

    def look_at_clock(self) -> None:
        """Do nothing: the machine is not suspended during a test."""

    def was_blocked(self, at_least: float, at_most: float) -> None:
        self.blocks.append((at_least, at_most))

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        if now >= self.deadline:
            self.deadline = float("inf")

    def handle_events(self, now: float) -> None:
        while (event := self.side.next_event()) is not None:
            self.events.append(event)
            self.on_event()


def answer_all(side: ServerSide, requested: Requested) -> bool:
    if requested.opcode == OpCode.PING:
        side.reply(-2, 1)
    else:
        side.reply(requested.xid, 1, -101)
    return True


@asynccontextmanager
async def greeted(
    network: MemoryNetwork, host: str = "scripted"
) -> AsyncIterator[tuple[Connection, Watched, Driver]]:
    side = ClientSide(Greeting(10.0), WatchTable(), now=anyio.current_time(), packet_size_max=2**20)
    stream = Watched(await network.connect(host, 2181))
    connection = Connection(stream, side, current_parking())
    try:
        assert isinstance(await connection.greet(), Connected)
        yield connection, stream, Driver(side)
    finally:
        with anyio.CancelScope(shield=True):
            await connection.aclose()


@pytest.mark.trio
async def test_requests_queued_in_one_pass_leave_in_one_send(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, stream, owner),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        before = len(stream.sent)
        for _ in range(FIRST_SIZE):
            connection.side.send(Ticket(ExistsRequest("/a")))
            connection.wake()
        await anyio.wait_all_tasks_blocked()
        assert len(stream.sent) == before + 1
        assert len(owner.events) == FIRST_SIZE
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_ping_goes_out_when_nothing_was_sent_for_a_third_of_the_timeout(
    autojump_clock: object,
) -> None:
    """Case 15."""
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, stream, owner),
    ):
        start = anyio.current_time()
        with anyio.move_on_after(19.9):
            await connection.run(owner)
        times = [round(at - start, 3) for at, _ in stream.sent[1:]]
        assert times == pytest.approx([10 / 3 * n for n in range(1, 6)], abs=0.01)
        assert owner.events == []


@pytest.mark.trio
async def test_a_connection_on_which_nothing_is_heard_for_two_thirds_of_the_timeout_is_dead(
    autojump_clock: object,
) -> None:
    """Case 14."""
    network = MemoryNetwork()
    async with scripted(network, greet=accept_all()), greeted(network) as (connection, _, owner):
        start = anyio.current_time()
        await connection.run(owner)
        assert anyio.current_time() - start == pytest.approx(20 / 3)
        [broken] = owner.events
        assert isinstance(broken, Broken)
        assert "nothing heard for 6.7 " in str(broken.error)


@pytest.mark.trio
async def test_a_write_that_fails_ends_the_connection_although_nothing_is_received(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with scripted(network, greet=accept_all()), greeted(network) as (connection, stream, owner):
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.run, owner)
            await anyio.wait_all_tasks_blocked()
            stream.is_broken = True
            connection.side.send(Ticket(ExistsRequest("/a")))
            connection.wake()
        assert anyio.current_time() == start
        [broken] = owner.events
        assert isinstance(broken, Broken)
        assert "broken" in str(broken.error)


@pytest.mark.trio
async def test_the_end_of_the_stream_ends_the_connection(autojump_clock: object) -> None:
    """Case 16."""
    network = MemoryNetwork()

    def hang_up(_side: ServerSide, _requested: Requested) -> bool:
        return False

    async with (
        scripted(network, greet=accept_all(), answer=hang_up),
        greeted(network) as (connection, _, owner),
    ):
        connection.side.send(Ticket(ExistsRequest("/a")))
        await connection.run(owner)
        [broken] = owner.events
        assert isinstance(broken, Broken)
        assert "closed by the server while live" in str(broken.error)


@pytest.mark.trio
async def test_a_reset_ends_the_connection(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        network.reset()
        await anyio.wait_all_tasks_blocked()
        assert isinstance(owner.events[-1], Broken)


@pytest.mark.trio
async def test_a_fault_of_the_session_comes_out_as_it_is(autojump_clock: object) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
    ):
        owner.on_event = fail
        connection.side.send(Ticket(ExistsRequest("/a")))
        with pytest.raises(ZeroDivisionError):
            await connection.run(owner)


@pytest.mark.trio
async def test_a_deadline_of_the_session_is_kept_also_when_it_comes_nearer(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
        anyio.create_task_group() as tasks,
    ):
        owner.deadline = anyio.current_time() + 3.0
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        connection.hurry(start + 3.1)  # later than the timer: nothing changes
        owner.deadline = start + 1.0
        connection.hurry(owner.deadline)
        await anyio.sleep(1.5)
        assert owner.ticks == [start + 1.0]
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_events_that_came_with_the_greeting_are_taken_first(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
    ):
        connection.side.lose("given up by its driver")
        await connection.run(owner)
        assert isinstance(owner.events[0], Broken)


@pytest.mark.trio
async def test_one_reply_can_be_awaited_without_running_the_connection(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, _),
    ):
        ticket = Ticket(ExistsRequest("/a"))
        connection.side.send(ticket)
        replied = await connection.next_reply()
        assert isinstance(replied, Replied)
        assert replied.ticket is ticket
        network.reset()
        assert isinstance(await connection.next_reply(), Broken)


@pytest.mark.trio
async def test_a_greeting_that_is_answered_with_nonsense_is_a_broken_connection(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with saying(network, b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        side = ClientSide(Greeting(10.0), WatchTable(), now=anyio.current_time(), packet_size_max=2**20)
        connection = Connection(await network.connect("foreign", 2181), side, current_parking())
        assert isinstance(await connection.greet(), Broken)
        await connection.aclose()


@pytest.mark.trio
async def test_a_loop_that_was_blocked_is_noticed_before_time_is_judged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, stream, owner),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(connection.run, owner)
        await anyio.sleep(4.0)  # its last turn was the ping at 3.33 s, and it looks at the clock every 1.25 s
        sent = len(stream.sent)
        autojump_clock.jump(8.0)
        await anyio.wait_all_tasks_blocked()
        [(at_least, at_most)] = owner.blocks
        assert (at_least, at_most) == pytest.approx((12 - 10 / 3 - 1.25, 12 - 10 / 3))
        assert [at for at, _ in stream.sent[sent:]] == [anyio.current_time()]  # the ping
        assert owner.events == []
        await anyio.sleep(20.0)
        assert owner.events == []
        assert len(owner.blocks) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_timer_that_is_a_little_late_is_not_a_block(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        autojump_clock.jump(1.8)  # the next look is due after 1.25 s, and 0.625 s late is a block
        await anyio.wait_all_tasks_blocked()
        assert owner.blocks == []
        connection.hurry(float("-inf"))
        await anyio.wait_all_tasks_blocked()
        assert owner.blocks == []
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_first_look_at_the_clock_after_a_block_notices_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
        anyio.create_task_group() as tasks,
    ):
        connection.look_at_clock()  # it is not served yet
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        autojump_clock.jump(5.0)
        connection.look_at_clock()
        assert owner.blocks == [(3.75, 5.0)]
        await anyio.wait_all_tasks_blocked()
        assert len(owner.blocks) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_nothing_urgent_waits_for_a_whole_batch_that_the_stream_takes_slowly(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()

    def take_in(_side: ServerSide, _requested: Requested) -> bool:
        return True

    async with (
        scripted(network, greet=accept_all(timeout_ms=10_000), answer=take_in),
        greeted(network) as (connection, stream, owner),
        anyio.create_task_group() as tasks,
    ):
        stream.rate = 200_000.0
        tasks.start_soon(connection.run, owner)
        for _ in range(FIRST_SIZE):
            connection.side.send(Ticket(SetDataRequest("/a", b"x" * 200_000, -1)))
        connection.wake()
        await anyio.sleep(2.5)
        connection.side.send(Ticket(SyncRequest("/urgent")), urgent=True)
        connection.side.authenticate("digest", b"credential")
        await anyio.sleep(1.0)
        at, data = stream.sent[-1]
        assert at == pytest.approx(3.0, abs=0.01)
        assert b"/urgent" in data
        assert b"credential" in data
        assert all(len(data) < 300_000 for _, data in stream.sent)
        tasks.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_timer_that_did_not_run_while_the_loop_ran_is_not_a_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    async with (
        scripted(network, greet=accept_all(), answer=answer_all),
        greeted(network) as (connection, _, owner),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(connection.run, owner)
        await anyio.wait_all_tasks_blocked()
        for _ in range(4):
            autojump_clock.jump(0.6)
            connection.look_at_clock()
        assert owner.blocks == []
        autojump_clock.jump(0.7)
        connection.look_at_clock()
        [(at_least, at_most)] = owner.blocks
        assert at_least == at_most == pytest.approx(0.7)
        tasks.cancel_scope.cancel()
