"""Injected faults: each hits the selected request, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.raw_client import OPEN, ClosedError, RawClient
from zkrecipes.codec.messages import (
    CreateReply,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    SetDataRequest,
    SyncRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.devserver import DevServer, FaultKind
from zkrecipes.enums import EventType, OpCode
from zkrecipes.errors import ProtocolError
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[DevServer, MemoryNetwork]]:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        yield server, network


def _create(path: str, flags: int = 0) -> CreateRequest:
    return CreateRequest(path, b"", OPEN, flags)


async def test_a_dropped_request_is_not_applied(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        fault = server.faults.drop_request(OpCode.CREATE)
        await client.ok(SyncRequest("/"))
        await client.send(_create("/a"))
        assert await client.is_closed()
        assert "/a" not in server.processor.tree
        assert fault.times_used == 1
        assert fault.is_spent
        client, _ = await RawClient.greet(server, network)
        await client.ok(_create("/a"))


async def test_a_request_whose_reply_is_lost_is_applied(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        watcher, _ = await RawClient.greet(server, network)
        client, _ = await RawClient.greet(server, network)
        for each in (client, watcher):
            assert (await each.call(ExistsRequest("/a", True))).err == -101
        server.faults.lose_reply(OpCode.CREATE)
        await client.send(_create("/a"))
        assert await client.is_closed()
        assert client.events == []
        assert await watcher.seen() == [(EventType.CREATED, "/a")]
        assert "/a" in server.processor.tree


async def test_replies_before_the_lost_one_arrive(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        server.faults.lose_reply(OpCode.DELETE)
        await client.send(_create("/a"), _create("/b"), DeleteRequest("/a", -1), _create("/c"))
        assert [(await client.receive()).record for _ in range(2)] == [CreateReply("/a"), CreateReply("/b")]
        assert await client.is_closed()
        tree = server.processor.tree
        assert ("/a" in tree, "/b" in tree, "/c" in tree) == (False, True, False)


async def test_a_fault_selects_path_session_count_and_skip(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        one, hello = await RawClient.greet(server, network)
        other, _ = await RawClient.greet(server, network)
        fault = server.faults.drop_request(path="/a", session_id=hello.session_id, skip=1, times=2)
        await other.ok(_create("/a"))
        await one.ok(ExistsRequest("/a"))
        await one.ok(_create("/b"))
        await one.send(MultiRequest((SetDataRequest("/a", b"", -1), _create("/c"))))
        assert await one.is_closed()
        assert "/c" not in server.processor.tree
        one, _ = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        await one.send(MultiReadRequest((GetDataRequest("/a"),)))
        assert await one.is_closed()
        assert fault.is_spent
        await other.ok(ExistsRequest("/a"))


async def test_a_fault_can_be_removed_and_waited_for(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network), trio.open_nursery() as nursery:
        client, _ = await RawClient.greet(server, network)
        server.faults.drop_request().remove()
        await client.ok(_create("/a"))
        fault = server.faults.lose_reply(OpCode.DELETE, times=2)
        waited = []

        async def wait() -> None:
            await fault.wait_used(2)
            waited.append(fault.times_used)

        nursery.start_soon(wait)
        for _ in range(2):
            assert waited == []
            client, _ = await RawClient.greet(server, network)
            await client.send(DeleteRequest("/a", -1))
            assert await client.is_closed()
        await fault.wait_used(2)
    assert waited == [2]


async def test_only_a_fault_that_names_them_hits_pings_and_greetings(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        fault = server.faults.drop_request()
        client, _ = await RawClient.greet(server, network)
        await client.ping()
        assert not fault.is_spent
        server.faults.clear()
        server.faults.drop_request(OpCode.PING)
        with pytest.raises(ClosedError):
            await client.ping()


@pytest.mark.parametrize("applied", [True, False])
async def test_a_greeting_can_be_dropped_or_its_reply_lost(applied: bool, autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        inject = server.faults.lose_reply if applied else server.faults.drop_request
        inject(OpCode.CREATE_SESSION, skip=1)
        await RawClient.greet(server, network)
        with pytest.raises(ClosedError):
            await RawClient.greet(server, network)
        assert len(server.processor.sessions) == 1 + applied
        await RawClient.greet(server, network)


async def test_a_fault_can_hit_the_greeting_of_a_resumed_session(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        await client.stream.aclose()
        server.faults.drop_request(OpCode.CREATE_SESSION, session_id=hello.session_id)
        await RawClient.greet(server, network)
        with pytest.raises(ClosedError):
            await RawClient.greet(
                server, network, session_id=hello.session_id, password=hello.password or b""
            )


@pytest.mark.parametrize(
    "fault_kind", [kind for kind in FaultKind if kind not in {FaultKind.CORRUPT, FaultKind.DELAY}]
)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("of_next_session", [True, False])
async def test_a_fault_hits_the_nth_request_of_a_session(
    nth: int, fault_kind: FaultKind, of_next_session: bool, autojump_clock: MockClock
) -> None:
    async with _serving() as (server, network):
        bystander, _ = await RawClient.greet(server, network)
        if of_next_session:
            fault = server.faults.inject(nth, fault_kind)
            client, hello = await RawClient.greet(server, network)
        else:
            client, hello = await RawClient.greet(server, network)
            fault = server.faults.inject(nth, fault_kind, session_id=hello.session_id)
        await bystander.ok(_create("/bystander"))
        answered = 0
        try:
            while True:
                if fault_kind is not FaultKind.BEFORE_SEND:
                    await client.ping()
                await client.ok(_create(f"/{answered + 1}"))
                answered += 1
        except ClosedError:
            pass
        assert answered == nth - 1
        assert fault.times_used == 1
        assert (f"/{nth}" in server.processor.tree) is (fault_kind is FaultKind.AFTER_COMMIT)
        session = server.processor.sessions.find(hello.session_id)
        assert (session is None) is (fault_kind is FaultKind.EXPIRE)
        await bystander.ok(GetChildrenRequest("/"))


async def test_requests_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="nth must be at least 1, not 0"):
        DevServer(network=MemoryNetwork()).faults.inject(0, FaultKind.AFTER_SEND)


async def test_a_fault_before_the_first_request_needs_no_connection(
    autojump_clock: MockClock,
) -> None:
    async with _serving() as (server, _):
        assert server.faults.inject(1, FaultKind.BEFORE_SEND, session_id=77).is_spent


async def test_the_nth_reply_of_a_session_is_late(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        server.faults.inject(2, FaultKind.DELAY, session_id=hello.session_id, seconds=3)
        began = trio.current_time()
        times = []
        for path in ("/1", "/2", "/3"):
            await client.ok(_create(path))
            times.append(trio.current_time() - began)
        assert times == pytest.approx([0, 3, 3])


async def test_a_delay_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="seconds must be above 0, not 0"):
        DevServer(network=MemoryNetwork()).faults.delay_reply(0)


async def test_a_corrupt_reply_is_a_whole_frame_of_garbage(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        fault = server.faults.corrupt_reply(OpCode.CREATE)
        await client.send(SyncRequest("/"), _create("/a"), SyncRequest("/"))
        assert (await client.receive()).err == 0
        length = 16 + len(CreateReply("/a").encode())
        garbage = await client.frame()
        assert len(garbage) == length
        assert garbage[:4] == bytes(255 - byte for byte in b"\0\0\0\2")
        assert (await client.frame())[:4] == b"\0\0\0\3"
        assert fault.is_spent
        assert "/a" in server.processor.tree


async def test_a_greeting_can_be_answered_with_garbage_or_late(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        server.faults.corrupt_reply(OpCode.CREATE_SESSION)
        with pytest.raises(ProtocolError):
            await RawClient.greet(server, network)
        server.faults.delay_reply(3, OpCode.CREATE_SESSION)
        began = trio.current_time()
        await RawClient.greet(server, network)
        assert trio.current_time() - began == pytest.approx(3)


async def test_a_delayed_reply_delays_later_replies_but_no_request(
    autojump_clock: MockClock,
) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        other, _ = await RawClient.greet(server, network)
        server.faults.delay_reply(3, OpCode.CREATE)
        began = trio.current_time()
        await client.send(SyncRequest("/"), _create("/a"), ExistsRequest("/b", True))
        assert (await client.receive()).err == 0
        assert trio.current_time() == began
        await trio.sleep(1)
        await client.send(_create("/c"))
        await other.ok(_create("/b"))
        assert all(path in server.processor.tree for path in ("/a", "/b", "/c"))
        assert (await client.receive()).record == CreateReply("/a")
        assert trio.current_time() - began == pytest.approx(3)
        assert (await client.receive()).err == -101
        assert (await client.receive()).record == CreateReply("/c")
        assert trio.current_time() - began == pytest.approx(3)


async def test_a_slow_server_delays_each_reply(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        fault = server.faults.delay_reply(0.3, times=1000)
        began = trio.current_time()
        arrived = []
        for number in range(5):
            await client.send(_create(f"/{number}"))
            await trio.sleep(0.1)
        for _ in range(5):
            await client.receive()
            arrived.append(trio.current_time() - began)
        assert arrived == pytest.approx([0.5, 0.5, 0.5, 0.6, 0.7])
        fault.remove()
        await client.ok(SyncRequest("/"))
        assert trio.current_time() - began == pytest.approx(0.7)


async def test_a_delay_follows_the_servers_clock(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=40.0)
        server.faults.delay_reply(5, OpCode.CREATE, times=2)
        began = trio.current_time()
        await client.send(_create("/a"))
        await trio.sleep(1)
        server.jump(3.0)
        assert (await client.receive()).record == CreateReply("/a")
        assert trio.current_time() - began == pytest.approx(2)
        await client.send(_create("/b"))
        await trio.sleep(1)
        server.pause()
        await trio.sleep(10)
        server.resume()
        assert (await client.receive()).record == CreateReply("/b")
        assert trio.current_time() - began == pytest.approx(2 + 15)


async def test_a_delayed_reply_arrives_before_its_connection_closes(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        server.faults.delay_reply(3, OpCode.CREATE)
        await client.send(_create("/a"))
        await trio.sleep(1)
        server.expire(hello.session_id)
        assert (await client.receive()).record == CreateReply("/a")
        assert await client.is_closed()


async def test_a_delayed_reply_is_lost_when_connections_are_dropped(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        server.faults.delay_reply(3, OpCode.CREATE)
        await client.send(_create("/a"))
        await trio.sleep(1)
        began = trio.current_time()
        server.drop_connections()
        assert await client.is_closed()
        assert trio.current_time() == began


async def test_a_delay_is_on_the_clock_of_a_server_that_is_paused(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        server.faults.delay_reply(3, OpCode.CREATE)
        began = trio.current_time()
        await client.send(_create("/a"))
        await trio.sleep(1)
        server.pause()
        await trio.sleep(10)
        server.resume()
        assert (await client.receive()).record == CreateReply("/a")
        assert trio.current_time() - began == pytest.approx(13)


async def test_held_replies_arrive_after_their_release(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        other, _ = await RawClient.greet(server, network)
        held = server.faults.hold_replies(session_id=hello.session_id)
        assert (await other.call(ExistsRequest("/b"))).err == -101
        await client.send(_create("/a"), ExistsRequest("/b", True))
        await trio.sleep(1)
        await other.ok(_create("/b"))
        assert "/a" in server.processor.tree
        with trio.move_on_after(1) as scope:
            await client.frame()
        assert scope.cancelled_caught
        held.release()
        held.release()
        assert (await client.receive()).record == CreateReply("/a")
        assert (await client.receive()).err == -101
        assert await client.seen() == [(EventType.CREATED, "/b")]


async def test_all_replies_can_be_held_including_greetings(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        held = server.faults.hold_replies()
        with trio.move_on_after(1) as scope:
            await RawClient.greet(server, network)
        assert scope.cancelled_caught
        held.release()
        await RawClient.greet(server, network)


async def test_a_closing_connection_waits_for_its_held_replies(
    autojump_clock: MockClock,
) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        server.faults.hold_replies()
        await client.send(_create("/a"))
        await trio.sleep(1)
        server.expire(hello.session_id)
        await trio.sleep(1)
        server.faults.clear()
        assert (await client.receive()).record == CreateReply("/a")
        assert await client.is_closed()


async def test_the_server_stops_reading_while_too_many_replies_are_held(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("zkrecipes.devserver.connections.QUEUED_MAX", 5_000)
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=40)
        held = server.faults.hold_replies()
        for number in range(100):
            await client.send(_create(f"/{number:0100d}"))
            await trio.sleep(0.001)
        count = len(server.processor.tree)
        assert 30 < count < 60
        held.release()
        for _ in range(100):
            assert (await client.receive()).err == 0


async def test_held_replies_of_a_dropped_connection_are_forgotten(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        held = server.faults.hold_replies()
        await client.send(_create("/a"))
        await trio.sleep(1)
        server.drop_connections()
        assert await client.is_closed()
        held.release()
