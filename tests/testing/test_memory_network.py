"""The network in memory: deliveries, faults, and the ends that notice them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from zkrecipes.net.transport.network import Address, Stream
from zkrecipes.testing import Link, MemoryNetwork

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _pair(network: MemoryNetwork, *, source: str = "") -> AsyncIterator[tuple[Stream, Stream, Link]]:
    """Open a connection, and yield its two ends and its link."""
    accepted: list[Stream] = []

    async def accept(stream: Stream) -> None:
        accepted.append(stream)
        await anyio.sleep_forever()

    async with network.serve("server", 2181, accept):
        client = await network.view(source).connect("server", 2181)
        await anyio.wait_all_tasks_blocked()
        yield client, accepted[0], network.links[-1]
        await client.aclose()
        await accepted[0].aclose()


async def _blocks(stream: Stream) -> bool:
    """Whether a receive blocks now."""
    with anyio.move_on_after(0.01) as scope:
        await stream.receive()
    return scope.cancelled_caught


async def test_bytes_arrive_in_order_in_both_directions() -> None:
    async with _pair(MemoryNetwork()) as (client, server, _):
        await client.send(b"one")
        await client.send(b"two")
        await server.send(b"three")
        assert await server.receive() == b"onetwo"
        assert await client.receive() == b"three"


@pytest.mark.parametrize("size", [1, 3])
async def test_chunks_have_the_requested_size(size: int) -> None:
    async with _pair(MemoryNetwork(chunk_size=size)) as (client, server, _):
        await client.send(b"abcdefg")
        chunks = [await server.receive() for _ in range(-(-7 // size))]
    assert b"".join(chunks) == b"abcdefg"
    assert {len(chunk) for chunk in chunks[:-1]} == {size}


async def test_each_end_knows_the_address_of_the_other() -> None:
    async with _pair(MemoryNetwork()) as (client, server, _):
        assert client.peer == Address("server", 2181)
        assert server.peer.host == "127.0.0.1"


async def test_a_sender_waits_while_the_buffer_is_full() -> None:
    async with _pair(MemoryNetwork()) as (client, server, link):
        data = bytes(1_000_000)
        received = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.send, data)
            await anyio.wait_all_tasks_blocked()
            assert 0 < link.to_server.waiting < len(data)
            while received < len(data):
                received += len(await server.receive())
        assert received == len(data)


async def test_bytes_sent_before_a_close_still_arrive() -> None:
    async with _pair(MemoryNetwork()) as (client, server, link):
        await server.send(b"last words")
        await server.aclose()
        assert await client.receive() == b"last words"
        assert await client.receive() == b""
        assert await client.receive() == b""
        with pytest.raises(ConnectionResetError):
            await client.send(b"x")
        assert link.is_open
        await client.aclose()
        await client.aclose()
        assert not link.is_open


async def test_closing_ends_the_calls_of_this_end() -> None:
    async with _pair(MemoryNetwork()) as (client, _, _):
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                with pytest.raises(ConnectionAbortedError):
                    await client.receive()

            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        with pytest.raises(ConnectionAbortedError):
            await client.send(b"x")


async def test_a_waiting_sender_notices_the_close() -> None:
    async with _pair(MemoryNetwork()) as (client, server, _), anyio.create_task_group() as tasks:

        async def send() -> None:
            with pytest.raises(ConnectionResetError):
                await client.send(bytes(1_000_000))

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await server.aclose()


async def test_both_ends_notice_a_reset_at_once_and_bytes_in_transit_are_lost() -> None:
    network = MemoryNetwork()
    async with _pair(network) as (client, server, _):
        await client.send(b"lost")
        network.reset(port=1)
        assert await server.receive() == b"lost"
        await client.send(b"lost")
        network.reset(host="server")
        for stream in (client, server):
            with pytest.raises(ConnectionResetError):
                await stream.receive()
            with pytest.raises(ConnectionResetError):
                await stream.send(b"x")
        assert not network.links[-1].is_open


async def test_a_direction_can_be_held_and_released() -> None:
    async with _pair(MemoryNetwork()) as (client, server, link):
        link.to_client.hold()
        await server.send(b"late")
        await client.send(b"in time")
        assert await server.receive() == b"in time"
        assert await _blocks(client)
        link.to_client.release()
        assert await client.receive() == b"late"
        link.hold()
        await server.send(b"never")
        link.to_client.discard()
        link.release()
        assert await _blocks(client)


async def test_a_held_link_also_hides_the_close() -> None:
    async with _pair(MemoryNetwork()) as (client, server, link):
        link.hold()
        await server.aclose()
        assert await _blocks(client)
        await client.send(b"unnoticed")
        link.release()
        assert await client.receive() == b""


async def test_a_cut_holds_connections_and_new_ones_until_it_is_healed() -> None:
    network = MemoryNetwork()
    async with _pair(network) as (client, server, _):
        network.cut(host="server")
        await client.send(b"x")
        assert await _blocks(server)
        connected = []

        async def connect() -> None:
            connected.append(await network.connect("server", 2181))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connect)
            await anyio.wait_all_tasks_blocked()
            assert not connected
            network.heal(host="server")
        assert await server.receive() == b"x"
        await connected[0].aclose()


async def test_one_client_alone_can_be_cut_off() -> None:
    network = MemoryNetwork()
    async with _pair(network, source="a") as (client, server, link):
        other = await network.view("b").connect("server", 2181)
        network.cut(source="a")
        await client.send(b"x")
        assert await _blocks(server)
        assert link.is_cut
        assert not network.links[-1].is_cut
        network.heal()
        assert await server.receive() == b"x"
        await other.aclose()


async def test_a_hold_of_a_test_survives_the_end_of_a_cut() -> None:
    network = MemoryNetwork()
    async with _pair(network) as (client, server, link):
        link.hold()
        network.cut()
        network.heal()
        await client.send(b"x")
        assert await _blocks(server)


async def test_a_black_hole_never_answers_but_old_connections_work() -> None:
    network = MemoryNetwork()
    async with _pair(network) as (client, server, _):
        network.black_hole(port=2181)
        with anyio.move_on_after(0.01) as scope:
            await network.connect("server", 2181)
        assert scope.cancelled_caught
        await client.send(b"x")
        assert await server.receive() == b"x"


async def test_a_refused_connect_is_an_error_but_old_connections_work() -> None:
    network = MemoryNetwork()
    async with _pair(network) as (client, server, _):
        network.refuse(host="server", port=2181)
        with pytest.raises(ConnectionRefusedError, match="Connection refused"):
            await network.connect("server", 2181)
        await client.send(b"x")
        assert await server.receive() == b"x"
        network.heal(host="other")
        with pytest.raises(ConnectionRefusedError):
            await network.connect("server", 2181)
        network.heal(host="server", port=2181)
        await (await network.connect("server", 2181)).aclose()


async def test_a_connect_without_a_listener_is_refused() -> None:
    with pytest.raises(ConnectionRefusedError):
        await MemoryNetwork().connect("server", 2181)


async def test_names_resolve_by_the_table_and_listeners_to_themselves() -> None:
    network = MemoryNetwork()
    network.names["zk"] = ["10.0.0.1", "10.0.0.2"]
    assert await network.resolve("zk", 1) == [Address("10.0.0.1", 1), Address("10.0.0.2", 1)]
    assert await network.view("a").resolve("10.0.0.9", 1) == [Address("10.0.0.9", 1)]
    with pytest.raises(OSError, match="not known"):
        await network.resolve("server", 1)
    async with _pair(network):
        assert await network.resolve("server", 1) == [Address("server", 1)]


async def test_a_free_port_is_given_and_a_taken_one_refused() -> None:
    async def ignore(stream: Stream) -> None:
        await stream.aclose()

    network = MemoryNetwork()
    async with (
        network.serve("server", 0, ignore) as first,
        network.view("").serve("server", 0, ignore) as second,
    ):
        assert first.port != second.port
        with pytest.raises(OSError, match="in use"):
            async with network.serve("server", first.port, ignore):
                raise AssertionError("unreachable")


async def test_leaving_cancels_the_handlers_and_an_error_is_raised_bare() -> None:
    ended = []

    async def wait(stream: Stream) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(stream)

    network = MemoryNetwork()

    async def fail() -> None:
        async with network.serve("server", 1, wait):
            await network.connect("server", 1)
            await anyio.wait_all_tasks_blocked()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert len(ended) == 1
    with pytest.raises(ConnectionRefusedError):
        await network.connect("server", 1)


async def test_sent_bytes_are_recorded_on_request() -> None:
    network = MemoryNetwork(record=True)
    async with _pair(network) as (client, server, link):
        await client.send(b"abc")
        await client.send(b"def")
        await server.send(b"x")
        assert link.to_server.recorded == b"abcdef"
        assert link.to_client.recorded == b"x"
    async with _pair(network):
        assert len(network.links) == 2
    async with _pair(MemoryNetwork()) as (_, _, link):
        with pytest.raises(RuntimeError, match="record=True"):
            _ = link.to_server.recorded


async def test_links_that_have_ended_are_forgotten() -> None:
    network = MemoryNetwork()
    for _ in range(3):
        async with _pair(network):
            pass
    assert len(network.links) == 1


async def test_receiving_cancelled_loses_nothing() -> None:
    async with _pair(MemoryNetwork()) as (client, server, _):
        assert await _blocks(server)
        await client.send(b"x")
        assert await server.receive() == b"x"
