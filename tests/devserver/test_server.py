"""A whole server over the network in memory, under a virtual clock: greetings, order, time, restarts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from tests.devserver.raw_client import OPEN, ClosedError, RawClient
from zkrecipes.codec.messages import (
    AddWatchRequest,
    CloseSessionRequest,
    ConnectReply,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    SetDataRequest,
)
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.processor import Processor
from zkrecipes.enums import EventType
from zkrecipes.net.transport.network import TcpNetwork
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio


@asynccontextmanager
async def _serving(**options: Any) -> AsyncIterator[tuple[DevServer, MemoryNetwork]]:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181, seed=0, **options) as server:
        yield server, network


def _create(path: str, flags: int = 0) -> CreateRequest:
    return CreateRequest(path, b"", OPEN, flags)


# --- greetings ---------------------------------------------------------------------------------------------


async def test_a_client_is_greeted_and_served(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        assert hello.timeout_ms == 10_000
        assert len(hello.password or b"") == 16
        assert await client.ok(_create("/a")) == CreateReply("/a")
        assert (await client.ping()).zxid == server.processor.zxid


async def test_the_address_is_a_connect_string(autojump_clock: MockClock) -> None:
    async with _serving() as (server, _):
        assert (server.host, server.port, server.connect_string) == ("zk", 2181, "zk:2181")
    async with DevServer(network=MemoryNetwork(), host="::1") as server:
        assert server.connect_string == f"[::1]:{server.port}"
        assert server.port != 0


async def test_an_address_in_use_raises_a_bare_error(autojump_clock: MockClock) -> None:
    async with _serving() as (_, network):
        with pytest.raises(OSError, match="in use"):
            await DevServer(network=network, host="zk", port=2181).__aenter__()


async def test_an_error_of_the_block_stays_bare(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with DevServer(network=MemoryNetwork()):
            raise KeyError("mine")


async def test_the_first_zxid_is_the_time_or_what_is_asked_for(autojump_clock: MockClock) -> None:
    async with _serving(start_time=1_000_000_000) as (server, _):
        assert server.processor.zxid == 1_000_000_000 << 32
    async with _serving(start_zxid=5) as (server, network):
        client, _ = await RawClient.greet(server, network)
        assert (await client.call(_create("/a"))).zxid == 7
        assert (await client.ok(ExistsRequest("/a"))).stat.czxid == 7


async def test_a_client_that_is_ahead_is_closed_without_a_reply(autojump_clock: MockClock) -> None:
    async with _serving(start_zxid=5) as (server, network):
        with pytest.raises(ClosedError):
            await RawClient.greet(server, network, zxid=6)


async def test_an_unknown_session_gets_a_refusal_and_is_closed(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network, session_id=77)
        assert hello == ConnectReply(0, 0, 0, bytes(16), False)
        assert await client.is_closed()


async def test_resuming_closes_the_old_connection_and_keeps_the_ephemerals(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        old, hello = await RawClient.greet(server, network)
        await old.ok(_create("/e", 1))
        new, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert (again.session_id, again.timeout_ms) == (hello.session_id, 10_000)
        assert await old.is_closed()
        assert (await new.ok(ExistsRequest("/e"))).stat.ephemeral_owner == hello.session_id


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 20, bytes(40), b"\0\0\0\x05hello", b"\x7f" * 8]
)
async def test_garbage_is_cut_off_and_others_are_served(data: bytes, autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        stranger = RawClient(await network.connect("zk", 2181))
        await stranger.stream.send(data)
        assert await stranger.is_closed()
        await client.ok(_create("/a"))


async def test_half_a_greeting_and_silence_do_no_harm(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        silent = await network.connect("zk", 2181)
        half = await network.connect("zk", 2181)
        await half.send(b"\0\0\0\x2d\0\0")
        client, _ = await RawClient.greet(server, network)
        await client.ok(_create("/a"))
        await half.aclose()
        await silent.aclose()


async def test_four_letter_words_are_answered_and_closed(autojump_clock: MockClock) -> None:
    async with _serving() as (_, network):
        for word, start in ((b"ruok", b"imok"), (b"srvr", b"Zookeeper version"), (b"hash", b"hash is not")):
            stream = await network.connect("zk", 2181)
            await stream.send(word)
            assert (await stream.receive()).startswith(start)
            assert await stream.receive() == b""
            await stream.aclose()


async def test_bytes_may_arrive_one_by_one(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(chunk_size=1)
    async with DevServer(network=network, host="zk", port=2181) as server:
        client, _ = await RawClient.greet(server, network)
        await client.send(_create("/a"), _create("/b"), GetChildrenRequest("/"))
        assert [(await client.receive()).err for _ in range(3)] == [0, 0, 0]


# --- order -------------------------------------------------------------------------------------------------


async def test_the_replies_to_a_chunk_are_sent_in_order_and_together(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        await client.send(*(_create(f"/{number}") for number in range(100)))
        assert [(await client.receive()).record.path for _ in range(100)] == [f"/{n}" for n in range(100)]


async def test_an_event_arrives_before_the_reply_to_its_write(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        await client.send(ExistsRequest("/a", True), _create("/a"), _create("/b"))
        assert (await client.receive()).err == -101
        assert client.events == []
        created = await client.receive()
        assert client.events == [(created.zxid, EventType.CREATED, "/a")]
        assert (await client.receive()).err == 0


async def test_other_clients_receive_events_unasked(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        watcher, _ = await RawClient.greet(server, network)
        await watcher.ok(AddWatchRequest("/", 1))
        await client.send(_create("/a"), _create("/a/b"), SetDataRequest("/a", b"x", -1))
        for _ in range(3):
            assert (await client.receive()).err == 0
        assert await watcher.seen() == [(1, "/a"), (1, "/a/b"), (3, "/a")]


async def test_a_multi_travels(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        record = await client.ok(MultiRequest((_create("/a"), DeleteRequest("/a", 0))))
        assert isinstance(record, MultiReply)
        assert record.results[0] == CreateReply("/a")


async def test_closing_the_session_is_answered_before_the_connection_ends(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        await client.ok(_create("/e", 1))
        assert (await client.call(CloseSessionRequest())).err == 0
        assert await client.is_closed()
        _, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.timeout_ms == 0
        assert "/e" not in server.processor.tree


async def test_requests_behind_a_close_are_not_answered(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        await client.send(CloseSessionRequest(), _create("/late"))
        assert (await client.receive()).err == 0
        assert await client.is_closed()
        assert "/late" not in server.processor.tree


async def test_a_client_that_reads_no_events_is_dropped(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("zkrecipes.devserver.server_connection.QUEUED_MAX", 100_000)
    async with _serving() as (server, network):
        writer, _ = await RawClient.greet(server, network)
        slow, _ = await RawClient.greet(server, network)
        await slow.ok(AddWatchRequest("/", 1))
        link = network.links[-1]
        link.to_client.hold()
        path = "/" + "x" * 1000
        await writer.ok(_create(path))
        for _ in range(500):
            await writer.ok(SetDataRequest(path, b"", -1))
        link.to_client.release()
        assert await slow.is_closed()
        await writer.ok(DeleteRequest(path, -1))


# --- time --------------------------------------------------------------------------------------------------


async def test_a_session_that_is_silent_expires_in_ticks(autojump_clock: MockClock) -> None:
    async with _serving(tick_time=2.0) as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=10.0)
        await client.ok(_create("/e", 1))
        assert await client.is_closed()
        assert trio.current_time() == 12.0
        assert "/e" not in server.processor.tree


async def test_pings_keep_a_session_alive(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=4.0)
        for _ in range(10):
            await trio.sleep(3.5)
            await client.ping()


async def test_all_sessions_can_be_ended_at_once(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        clients = [(await RawClient.greet(server, network))[0] for _ in range(2)]
        server.expire()
        assert [await client.is_closed() for client in clients] == [True, True]
        assert len(server.processor.sessions) == 0


async def test_time_that_passes_on_the_server_alone_ends_sessions(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=10)
        began = trio.current_time()
        await client.ok(_create("/before"))
        server.jump(9)
        await client.ping()
        await client.ok(_create("/after"))
        server.jump(13)
        assert await client.is_closed()
        assert trio.current_time() == began
        before, after = (server.processor.tree.get(path).stat() for path in ("/before", "/after"))
        assert after.ctime - before.ctime == 9000
        with pytest.raises(ValueError, match="seconds must be at least 0, not -1"):
            server.jump(-1)


async def test_a_shorter_session_that_came_later_expires_first(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        long, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await trio.sleep(1)
        short, _ = await RawClient.greet(server, network, session_timeout=4.0)
        assert await short.is_closed()
        assert trio.current_time() == 6.0
        await long.ping()


async def test_a_connection_that_broke_leaves_its_session_until_it_expires(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=4.0)
        await client.ok(_create("/e", 1))
        network.reset()
        await trio.sleep(5.9)
        assert "/e" in server.processor.tree
        await trio.sleep(0.2)
        assert "/e" not in server.processor.tree


async def test_the_interval_of_reaping_is_an_option(autojump_clock: MockClock) -> None:
    async with _serving(container_check_interval=5.0) as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await client.ok(CreateContainerRequest("/c", b"", OPEN, 4))
        await client.ok(_create("/c/x"))
        await client.ok(DeleteRequest("/c/x", -1))
        await trio.sleep(4.9)
        assert "/c" in server.processor.tree
        await trio.sleep(0.2)
        assert "/c" not in server.processor.tree


async def test_containers_and_ttl_znodes_are_reaped(autojump_clock: MockClock) -> None:
    async with _serving(extended_types=True) as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await client.ok(CreateContainerRequest("/c", b"", OPEN, 4))
        await client.ok(_create("/c/x"))
        await client.ok(CreateTTLRequest("/t", b"", OPEN, 5, 1000))
        await client.ok(DeleteRequest("/c/x", -1))
        server.reap()
        assert ("/c" in server.processor.tree, "/t" in server.processor.tree) == (False, True)
        await trio.sleep(1.5)
        server.reap()
        assert "/t" not in server.processor.tree
        await client.ok(CreateTTLRequest("/t", b"", OPEN, 5, 1000))
        with anyio.move_on_after(61):
            while True:
                await trio.sleep(20)
                await client.ping()
        assert "/t" not in server.processor.tree


async def test_ttls_go_by_the_servers_calendar(autojump_clock: MockClock) -> None:
    async with _serving(start_time=1_000_000) as (server, network):
        client, _ = await RawClient.greet(server, network)
        await trio.sleep(1.25)
        await client.ok(_create("/a"))
        assert (await client.ok(ExistsRequest("/a"))).stat.ctime == 1_000_001_250


# --- faults of the server ----------------------------------------------------------------------------------


async def test_expiring_a_session_by_hand(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        watcher, _ = await RawClient.greet(server, network)
        await client.ok(_create("/e", 1))
        await watcher.ok(ExistsRequest("/e", True))
        server.expire(hello.session_id)
        assert await client.is_closed()
        assert await watcher.seen() == [(EventType.DELETED, "/e")]
        with pytest.raises(KeyError, match="no session"):
            server.expire(hello.session_id)


async def test_dropping_all_connections_keeps_the_sessions(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        await client.ok(_create("/e", 1))
        server.drop_connections()
        assert await client.is_closed()
        _, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.session_id == hello.session_id


async def test_refusing_new_connections_leaves_the_old_ones(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        await server.accept()
        await server.refuse()
        await server.refuse()
        with pytest.raises(ConnectionRefusedError):
            await network.connect("zk", 2181)
        await client.ok(_create("/a"))
        await server.accept()
        await RawClient.greet(server, network)


async def test_a_paused_server_answers_nothing_and_its_clock_stands(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network, session_timeout=4.0)
        server.pause()
        server.pause()
        await client.send(_create("/a"))
        with trio.move_on_after(100) as scope:
            await client.receive()
        assert scope.cancelled_caught
        stranger = await network.connect("zk", 2181)
        await stranger.send(b"ruok")
        assert len(server.processor.sessions) == 1
        server.resume()
        assert (await client.receive()).record == CreateReply("/a")
        assert await stranger.receive() == b"imok"
        await stranger.aclose()
        assert await client.is_closed()
        assert trio.current_time() == 106.0


async def test_events_wait_for_the_end_of_a_pause(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        other, _ = await RawClient.greet(server, network)
        await other.ok(_create("/e", 1))
        await client.ok(ExistsRequest("/e", True))
        server.pause()
        server.expire(other_id := hello.session_id + 1)
        with trio.move_on_after(1) as scope:
            await client.frame()
        assert scope.cancelled_caught
        server.resume()
        assert await client.seen() == [(EventType.DELETED, "/e")]
        assert server.processor.sessions.find(other_id) is None


@pytest.mark.parametrize("keep", [True, False])
async def test_a_restart_keeps_or_loses_the_tree(keep: bool, autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network)
        answer = await client.call(_create("/a"))
        await client.ok(_create("/e", 1))
        await server.restart(keep=keep, downtime=3.0)
        assert trio.current_time() == 3.0
        assert await client.is_closed()
        # The server is not behind any client, although it lost its state.
        client, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b"", zxid=answer.zxid + 1
        )
        assert (again.timeout_ms != 0) is keep
        if not keep:
            client, _ = await RawClient.greet(server, network, zxid=answer.zxid)
        assert ((await client.call(ExistsRequest("/a"))).err == 0) is keep
        assert ((await client.call(ExistsRequest("/e"))).err == 0) is keep


async def test_a_restart_that_is_cancelled_leaves_it_away_until_the_next(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        _, hello = await RawClient.greet(server, network, session_timeout=4.0)
        with trio.move_on_after(1):
            await server.restart(downtime=100.0)
        with pytest.raises(ConnectionRefusedError):
            await network.connect("zk", 2181)
        await trio.sleep(100)
        await server.restart()
        _, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.session_id == hello.session_id


async def test_it_runs_once(autojump_clock: MockClock) -> None:
    async with _serving() as (server, _):
        with pytest.raises(RuntimeError, match=r"a DevServer runs only once"):
            await server.__aenter__()
    with pytest.raises(RuntimeError, match=r"a DevServer runs only once"):
        await server.__aenter__()


async def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="container_check_interval must be above 0"):
        DevServer(container_check_interval=0)
    with pytest.raises(ValueError, match="tick_time must be above 0"):
        DevServer(tick_time=0)
    with pytest.raises(ValueError, match="sasl_required needs sasl_users"):
        DevServer(sasl_required=True)


async def test_after_a_restart_sessions_have_a_whole_timeout_to_return(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        _, hello = await RawClient.greet(server, network, session_timeout=4.0)
        await trio.sleep(3)
        await server.restart()
        await trio.sleep(4.5)
        assert server.processor.sessions.find(hello.session_id) is not None
        await trio.sleep(1)
        assert server.processor.sessions.find(hello.session_id) is None


async def test_no_session_expires_while_the_server_is_away(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network, session_timeout=4.0)
        await client.ok(_create("/e", 1))
        await server.restart(downtime=100.0)
        client, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.session_id == hello.session_id
        await client.ok(ExistsRequest("/e"))


async def test_a_server_that_lost_all_gives_out_new_session_ids(autojump_clock: MockClock) -> None:
    async with _serving(start_time=1_000_000, start_zxid=0) as (server, network):
        _, before = await RawClient.greet(server, network)
        await server.restart(keep=False)
        _, after = await RawClient.greet(server, network)
        assert after.session_id > before.session_id
        assert server.processor.zxid >= 1_000_000 << 32


async def test_faults_can_be_cleared_before_the_start(autojump_clock: MockClock) -> None:
    DevServer(network=MemoryNetwork()).faults.clear()


async def test_while_it_is_away_it_refuses(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network), trio.open_nursery() as nursery:
        client, _ = await RawClient.greet(server, network)
        nursery.start_soon(lambda: server.restart(downtime=5.0))
        assert await client.is_closed()
        with pytest.raises(ConnectionRefusedError):
            await network.connect("zk", 2181)


async def test_a_fault_of_ours_ends_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with _serving() as (server, network):
        one, _ = await RawClient.greet(server, network)
        other, _ = await RawClient.greet(server, network)
        with monkeypatch.context() as patched:
            patched.setattr(Processor, "process", fail)
            await one.send(_create("/a"))
            assert await one.is_closed()
        assert "a bug" in caplog.text
        await other.ok(_create("/a"))


async def test_the_log_names_sessions_and_reasons_and_no_password(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG, "zkrecipes")
    async with _serving() as (server, network):
        client, hello = await RawClient.greet(server, network, session_timeout=4.0)
        assert await client.is_closed()
    assert f"session 0x{hello.session_id:x} has expired" in caplog.text
    assert repr(hello.password) not in caplog.text


async def test_the_same_seed_gives_the_same_bytes(autojump_clock: MockClock) -> None:
    recorded = []
    for _ in range(2):
        network = MemoryNetwork(record=True)
        async with DevServer(network=network, host="zk", port=1, seed=7, start_time=1_000_000) as server:
            client, _ = await RawClient.greet(server, network)
            for name in "abcdef":
                await client.ok(_create(f"/{name}"))
            await client.ok(GetChildrenRequest("/"))
            recorded.append(network.links[-1].to_client.recorded)
    assert recorded[0] == recorded[1]


async def test_a_request_of_the_limit_passes_and_a_larger_one_is_cut_off(autojump_clock: MockClock) -> None:
    async with _serving(max_packet_size=1000) as (server, network):
        client, _ = await RawClient.greet(server, network)
        await client.ok(_create("/a"))
        room = 1000 - 8 - 4 - len("/a") - 4 - 4
        await client.ok(SetDataRequest("/a", bytes(room), -1))
        await client.send(SetDataRequest("/a", bytes(room + 1), -1))
        assert await client.is_closed()


async def test_leaving_closes_every_connection(autojump_clock: MockClock) -> None:
    async with _serving() as (server, network):
        client, _ = await RawClient.greet(server, network)
        stream = client.stream
    assert await stream.receive() == b""
    with pytest.raises(ConnectionRefusedError):
        await network.connect("zk", 2181)


async def test_a_server_can_be_left_while_a_client_is_being_sent_to(autojump_clock: MockClock) -> None:
    with contextlib.suppress(ClosedError):
        async with _serving() as (server, network):
            client, _ = await RawClient.greet(server, network)
            await client.ok(_create("/a"))
            await client.ok(SetDataRequest("/a", bytes(900_000), -1))
            network.links[-1].to_client.hold()
            await client.send(GetDataRequest("/a"))
            await trio.sleep(0.001)
    assert isinstance(server.processor, Processor)


# --- over TCP ----------------------------------------------------------------------------------------------


async def test_it_serves_over_tcp_and_survives_a_restart_there() -> None:
    network = TcpNetwork()
    async with DevServer() as server:
        assert server.host == "127.0.0.1"
        client, hello = await RawClient.greet(server, network)
        await client.ok(_create("/a"))
        await client.stream.aclose()
        port = server.port
        await server.restart()
        assert server.port == port
        client, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.session_id == hello.session_id
        await client.ok(ExistsRequest("/a"))
        await client.stream.aclose()
