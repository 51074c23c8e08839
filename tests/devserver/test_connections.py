"""The limits for connections and greetings, and the tasks of a connection."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.raw_client import OPEN, ClosedError, RawClient, ask_word
from zkrecipes.codec.messages import AddWatchRequest, CreateRequest, SetDataRequest
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.connections import GREETING_TIME_MAX
from zkrecipes.ensemble.four_letter import parse_mntr
from zkrecipes.enums import AddWatchMode, EventType
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio


async def test_a_connection_beyond_the_limit_is_refused_until_another_ends(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181, connections_per_address_max=2) as server:
        first, _ = await RawClient.greet(server, network)
        second, _ = await RawClient.greet(server, network)
        with pytest.raises(ClosedError):
            await RawClient.greet(server, network)
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await RawClient.greet(server, network)
        await second.stream.aclose()  # leaves room for the connection that reads the status
        await trio.testing.wait_all_tasks_blocked()
        figures = parse_mntr(await ask_word(server, network, "mntr"))
        assert figures["zk_connection_rejected"] == "1"
        assert figures["zk_num_alive_connections"] == "2"


async def test_a_connection_may_take_its_time_to_ask_for_a_session(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        slow = RawClient(await network.connect("zk", 2181))
        await trio.sleep(GREETING_TIME_MAX - 0.1)
        assert (await slow.attach(session_timeout=20.0)).session_id
        late = RawClient(await network.connect("zk", 2181))
        await trio.sleep(GREETING_TIME_MAX + 0.1)
        await slow.ping()
        assert await late.is_closed()
        figures = parse_mntr(await ask_word(server, network, "mntr"))
        assert figures["zk_sessionless_connections_expired"] == "1"


async def test_no_connection_is_dropped_while_the_server_is_paused(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        server.pause()
        client = RawClient(await network.connect("zk", 2181))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(client.attach)
            await trio.sleep(GREETING_TIME_MAX * 3)
            server.resume()
        await client.ping()


class _SpawnCounter(trio.abc.Instrument):
    """Counts the tasks that start while it is installed."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_an_event_for_many_connections_starts_no_tasks(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        writer, _ = await RawClient.greet(server, network)
        await writer.ok(CreateRequest("/a", b"", OPEN, 0))
        watchers = [(await RawClient.greet(server, network))[0] for _ in range(50)]
        for watcher in watchers:
            await watcher.ok(AddWatchRequest("/a", AddWatchMode.PERSISTENT))
        await trio.testing.wait_all_tasks_blocked()
        counter = _SpawnCounter()
        trio.lowlevel.add_instrument(counter)
        await writer.ok(SetDataRequest("/a", b"", -1))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(counter)
        assert counter.count == 0
        for watcher in watchers:
            assert await watcher.seen() == [(EventType.DATA_CHANGED, "/a")]


async def test_the_tasks_of_a_connection_end_with_it(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        clients = [(await RawClient.greet(server, network))[0] for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living > before
        for client in clients:
            await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
