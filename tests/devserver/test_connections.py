"""How many connections one address may have, and who gives up when."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.raw_client import ClosedError, RawClient, ask_word
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.connections import GREETING_TIME_MAX
from zkrecipes.ensemble.four_letter import parse_mntr
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio


async def test_one_too_many_is_closed_until_another_has_gone(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181, connections_per_address_max=2) as server:
        first, _ = await RawClient.greet(server, network)
        second, _ = await RawClient.greet(server, network)
        with pytest.raises(ClosedError):
            await RawClient.greet(server, network)
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await RawClient.greet(server, network)
        await second.stream.aclose()  # to leave room for the connection that asks
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


async def test_nobody_is_cut_off_while_the_server_stands_still(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        server.pause()
        client = RawClient(await network.connect("zk", 2181))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(client.attach)
            await trio.sleep(GREETING_TIME_MAX * 3)
            server.resume()
        await client.ping()
