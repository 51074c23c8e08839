"""The search for a server: each reason of a failure, the order of attempts, the pauses between passes."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import anyio
import pytest
import trio.testing

from tests.net.peers import accept_all, saying, scripted
from zkrecipes import AuthFailedError, DevServer, SessionExpiredError
from zkrecipes.codec.messages import ConnectReply, ConnectRequest
from zkrecipes.enums import OpCode
from zkrecipes.net.connect_string import Host
from zkrecipes.net.connector import Connector
from zkrecipes.net.host_list import HostList
from zkrecipes.net.transport.network import Address, Network, Stream
from zkrecipes.net.wakeup import current_parking
from zkrecipes.protocol.events import Connected, Greeting
from zkrecipes.protocol.server_side import Requested, ServerSide
from zkrecipes.protocol.watch_table import WatchTable
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio


class MemoryNetworkBox:
    """A network whose methods a test can replace one by one."""

    def __init__(self) -> None:
        self.inside = MemoryNetwork()

    async def resolve(self, host: str, port: int) -> list[Address]:
        return await self.inside.resolve(host, port)

    async def connect(self, host: str, port: int) -> Stream:
        return await self.inside.connect(host, port)

    @asynccontextmanager
    async def serve(self, host: str, port: int, handler: object) -> AsyncIterator[Address]:
        yield Address(host, port)


def _connector(network: Network, *names: str, seed: int = 1, packet_size_max: int = 2**20) -> Connector:
    hosts = HostList(tuple(Host(name, 2181) for name in names), random.Random(seed))
    return Connector(network, hosts, WatchTable(), current_parking(), packet_size_max)


class FixedPace:
    """A pace with a fixed time for each step of a host, shared by its addresses; it also limits pauses."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def step_timeout(self, passes: int, hosts: int, addresses: int = 1) -> float:
        return self._seconds / addresses

    def pause_max(self) -> float:
        return self._seconds


async def _attach(
    attacher: Connector, greeting: Greeting | None = None, *, attempt: float = 1.0
) -> Connected:
    connection, connected, _ = await attacher.attach(greeting or Greeting(10.0), FixedPace(attempt))
    await connection.aclose()
    return connected


async def _reasons(attacher: Connector, greeting: Greeting | None = None) -> dict[str, str]:
    """Return the reason of each host that does not attach the session in three seconds."""
    with anyio.move_on_after(3):
        await _attach(attacher, greeting)
        raise AssertionError("attached")
    return attacher.failure_reasons()


async def test_each_peer_that_is_not_a_server_has_its_reason(autojump_clock: object) -> None:
    """Case 3."""
    network = MemoryNetwork()
    half_frame = (37).to_bytes(4, "big") + bytes(10)
    async with AsyncExitStack() as stack:
        network.black_hole(host="black-hole")
        for name, data in [("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("half", half_frame)]:
            await stack.enter_async_context(saying(network, data, name))
        await stack.enter_async_context(saying(network, random.Random(1).randbytes(100), "random"))
        await stack.enter_async_context(saying(network, b"", "silent"))
        await stack.enter_async_context(saying(network, b"", "closing", then_close=True))
        await stack.enter_async_context(saying(network, b"", "black-hole"))
        await stack.enter_async_context(saying(network, b"", "refused"))
        network.refuse(host="refused")
        names = ["http", "half", "random", "silent", "closing", "black-hole", "refused", "unknown"]
        attacher = _connector(network, *names)
        with anyio.move_on_after(9):
            await _attach(attacher)
        reasons = attacher.failure_reasons()
    assert list(reasons) == [f"{name}:2181" for name in names]
    assert reasons["http:2181"] == "it speaks HTTP: is this the port of the AdminServer?"
    assert reasons["half:2181"] == "no answer within 1 seconds, while greeting"
    assert "it does not speak ZooKeeper's protocol" in reasons["random:2181"]
    assert reasons["silent:2181"] == "no answer within 1 seconds, while greeting"
    assert reasons["closing:2181"] == (
        "closed by the server while greeting; usual causes: it has no quorum or is starting, this address has"
        " too many connections to it (maxClientCnxns), or this is a port for TLS (`tls=`)"
    )
    assert reasons["black-hole:2181"] == "no answer to the attempt to connect within 1 seconds"
    assert "Connection refused" in reasons["refused:2181"]
    assert reasons["unknown:2181"].startswith("the name does not resolve: ")


async def test_a_host_not_yet_tried_and_one_that_has_not_answered_yet_are_listed_too(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with saying(network, b"", "one"), saying(network, b"", "two"):
        attacher = _connector(network, "one", "two")
        with anyio.move_on_after(0.5):
            await _attach(attacher)
    assert sorted(attacher.failure_reasons().values()) == ["no answer yet, while greeting", "not tried yet"]


async def test_a_host_that_is_no_longer_named_is_not_listed(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with saying(network, b"", "one"):
        attacher = _connector(network, "one", "two")
        with anyio.move_on_after(0.5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_attach, attacher)
                await anyio.wait_all_tasks_blocked()
                attacher.hosts.replace((Host("three", 2181),))
                assert attacher.failure_reasons() == {"three:2181": "not tried yet"}


async def test_the_next_host_is_tried_at_once_and_a_pause_comes_only_after_a_whole_pass(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 1."""
    times: list[float] = []

    class Refusing(MemoryNetworkBox):
        async def resolve(self, host: str, port: int) -> list[Address]:
            times.append(anyio.current_time())
            raise OSError("not known")

    with anyio.move_on_after(60):
        await _attach(_connector(Refusing(), "a", "b", "c"), attempt=3.0)
    passes = [times[at : at + 3] for at in range(0, len(times), 3)]
    assert all(len(set(each)) == 1 for each in passes)
    pauses = [later[0] - earlier[0] for earlier, later in pairwise(passes)]
    assert len(pauses) > 10
    assert all(0 < pause <= 3.0 for pause in pauses)  # at most the time of an attempt
    assert max(pauses[:2]) <= 0.4
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    logged = [record.getMessage() for record in warnings]
    assert "b:2181: the name does not resolve: not known; c:2181" in logged[0]
    # the others have a count, and are ever more rare
    assert 3 <= len(logged) <= 6
    assert all("times so far; retrying in " in each for each in logged[1:])


async def test_a_black_hole_costs_one_attempt_and_then_the_next_host_has_its_turn(
    autojump_clock: object,
) -> None:
    """Case 2."""
    network = MemoryNetwork()
    async with saying(network, b"", "hole"), DevServer(host="zk", port=2181, network=network):
        network.black_hole(host="hole")
        for seed in range(4):
            start = anyio.current_time()
            await _attach(_connector(network, "hole", "zk", seed=seed), attempt=2.0)
            assert anyio.current_time() - start in (0, 2.0)


async def test_a_name_is_resolved_afresh_at_every_attempt(autojump_clock: object) -> None:
    """Case 4."""
    network = MemoryNetwork()
    network.names["zk"] = ["10.0.0.1"]
    attacher = _connector(network, "zk")
    async with DevServer(host="10.0.0.2", port=2181, network=network):
        assert "refused" in (await _reasons(attacher))["zk:2181"]
        network.names["zk"] = ["10.0.0.2"]
        await _attach(attacher)


@pytest.mark.parametrize("trouble", ["refused", "silent"])
async def test_every_address_of_a_name_has_its_share_of_the_attempt(
    autojump_clock: object, trouble: str
) -> None:
    """Case 5."""
    network = MemoryNetwork()
    network.names["zk"] = ["::1", "10.0.0.1", "10.0.0.2"]
    async with DevServer(host="10.0.0.2", port=2181, network=network):
        if trouble == "silent":
            network.black_hole(host="::1")
            network.black_hole(host="10.0.0.1")
        start = anyio.current_time()
        _, _, address = await _connector(network, "zk").attach(Greeting(10.0), FixedPace(3.0))
        assert address == Address("10.0.0.2", 2181)
        waited = anyio.current_time() - start
        # The IPv6 address is the first, as in the resolver's answer; the others follow in any order.
        assert waited in ({1.0, 2.0} if trouble == "silent" else {0})


async def test_a_resolver_that_hangs_costs_one_attempt(autojump_clock: object) -> None:
    class Hanging(MemoryNetworkBox):
        async def resolve(self, host: str, port: int) -> list[Address]:
            await anyio.sleep_forever()
            return []

    attacher = _connector(Hanging(), "zk")
    reason = "resolving: no answer from the name service within 1 seconds"
    assert await _reasons(attacher) == {"zk:2181": reason}


class Moving(MemoryNetworkBox):
    """A network whose resolver answers, hangs, or returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Address] | None = []

    async def resolve(self, host: str, port: int) -> list[Address]:
        if self.found is None:
            await anyio.sleep_forever()
        return self.found or []


async def test_a_name_that_resolves_to_nothing_is_not_a_silent_server(autojump_clock: object) -> None:
    assert await _reasons(_connector(Moving(), "zk")) == {"zk:2181": "the name resolves to no address"}


async def test_while_a_resolver_hangs_a_session_is_sought_at_the_last_known_addresses(
    autojump_clock: object,
) -> None:
    network = Moving()
    async with DevServer(host="10.0.0.1", port=2181, network=network.inside):
        attacher = _connector(network, "zk")
        network.found = [Address("10.0.0.1", 2181)]
        connected = await _attach(attacher)
        network.found = None
        old = Greeting(10.0, connected.session_id, connected.password)
        waits = []
        for _ in range(3):
            start = anyio.current_time()
            assert (await _attach(attacher, old)).session_id == connected.session_id
            waits.append(anyio.current_time() - start)
        assert waits[0] == 0.5
        assert all(0.125 <= wait < 0.5 for wait in waits[1:])
        # but a new session begins only at the current addresses of the name
        assert (await _reasons(attacher))["zk:2181"].startswith("resolving: no answer from the name service")
        network.found = [Address("10.0.0.1", 2181)]
        await _attach(attacher)


async def test_an_expiry_that_a_last_known_address_reports_is_only_a_failed_attempt(
    autojump_clock: object,
) -> None:
    """Another ensemble's server may have the address by now."""
    network = Moving()
    async with (
        DevServer(host="10.0.0.1", port=2181, network=network.inside) as ours,
        DevServer(host="10.0.0.2", port=2181, network=network.inside),
    ):
        attacher = _connector(network, "zk")
        network.found = [Address("10.0.0.2", 2181)]
        await _attach(attacher)
        network.found = [Address("10.0.0.1", 2181)]
        connected = await _attach(_connector(network, "zk"))
        network.found = None
        old = Greeting(10.0, connected.session_id, connected.password)
        reason = (await _reasons(attacher, old))["zk:2181"]
        assert reason.startswith("resolving: the server at the last known address, 10.0.0.2:2181, reports: ")
        network.found = [Address("10.0.0.1", 2181)]
        assert (await _attach(attacher, old)).session_id == connected.session_id
        ours.expire(connected.session_id)
        with pytest.raises(SessionExpiredError):
            await _attach(attacher, old)


async def test_a_server_that_is_behind_the_client_is_named_with_the_zxid(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 7."""
    network = MemoryNetwork()
    async with (
        DevServer(host="one", port=2181, network=network, start_zxid=5),
        DevServer(host="two", port=2181, network=network, start_zxid=5),
    ):
        attacher = _connector(network, "one", "two")
        reasons = await _reasons(attacher, Greeting(10.0, last_zxid=0xABC))
    [reason] = set(reasons.values())
    assert reason.startswith("closed right after the greeting, which named zxid 0xabc; usual causes: its ")
    [first, *_] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert first.getMessage().count("closed right after the greeting, which named zxid 0xabc") == 2


async def test_the_first_server_that_does_not_know_the_session_expires_it(
    autojump_clock: object,
) -> None:
    """Case 10."""
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network):
        with pytest.raises(SessionExpiredError):
            await _attach(_connector(network, "zk"), Greeting(10.0, session_id=0x99))


async def test_a_greeting_that_names_another_session_is_an_expiry(autojump_clock: object) -> None:
    """Case 11."""
    network = MemoryNetwork()
    async with scripted(network, greet=accept_all(0x77)):
        with pytest.raises(SessionExpiredError, match="another session"):
            await _attach(_connector(network, "scripted"), Greeting(10.0, session_id=0x99))


async def test_a_refused_credential_ends_the_search(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network):
        with pytest.raises(AuthFailedError):
            await _attach(_connector(network, "zk"), Greeting(10.0, credentials=[("nonsense", b"secret")]))


async def test_the_greeting_may_be_answered_byte_by_byte_and_without_the_read_only_byte(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork(chunk_size=1)

    def greet(request: ConnectRequest) -> ConnectReply:
        return ConnectReply(0, 6_000, 0x42, bytes(16), None)

    async with scripted(network, greet=greet):
        connected = await _attach(_connector(network, "scripted"))
    assert (connected.session_id, connected.timeout, connected.read_only) == (0x42, 6.0, False)


async def test_an_answer_that_is_read_a_whole_timeout_later_attaches_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    greetings = []

    def sleep_through_the_first_answer(request: ConnectRequest) -> ConnectReply:
        greetings.append(anyio.current_time())
        if len(greetings) == 1:
            autojump_clock.jump(20)
        return ConnectReply(0, 10_000, 0x42, bytes(16), False)

    network = MemoryNetwork()
    async with scripted(network, greet=sleep_through_the_first_answer):
        old = Greeting(10.0, session_id=0x42, password=bytes(16))
        connected = await _attach(_connector(network, "scripted"), old, attempt=100.0)
    assert len(greetings) == 2
    assert connected.sent_at >= greetings[0] + 20


async def test_a_session_that_was_given_up_is_closed_on_the_first_server_that_can_be_reached(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network) as server:
        connected = await _attach(_connector(network, "zk"))
        network.refuse()
        attacher = _connector(network, "zk")
        async with anyio.create_task_group() as tasks:
            greeting = Greeting(10.0, connected.session_id, connected.password)
            tasks.start_soon(attacher.close_session, greeting, FixedPace(1.0))
            await anyio.sleep(7)
            assert len(server.processor.sessions) == 1
            network.heal()
        assert len(server.processor.sessions) == 0


async def test_closing_tries_again_when_the_connection_breaks_and_gives_up_after_three_times(
    autojump_clock: object,
) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network) as server:
        connected = await _attach(_connector(network, "zk"))
        greeting = Greeting(10.0, connected.session_id, connected.password)
        once = server.faults.drop_request(OpCode.CLOSE_SESSION, times=1)
        await _connector(network, "zk").close_session(greeting, FixedPace(1.0))
        assert once.times_used == 1
        assert len(server.processor.sessions) == 0

        connected = await _attach(_connector(network, "zk"))
        greeting = Greeting(10.0, connected.session_id, connected.password)
        always = server.faults.drop_request(OpCode.CLOSE_SESSION, times=100)
        await _connector(network, "zk").close_session(greeting, FixedPace(1.0))
        assert always.times_used == 3


async def test_closing_an_expired_session_does_nothing(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with DevServer(host="zk", port=2181, network=network):
        await _connector(network, "zk").close_session(Greeting(10.0, session_id=0x99), FixedPace(1.0))


async def test_a_close_that_is_not_answered_is_bounded(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with scripted(network, greet=accept_all(0x99)):
        start = anyio.current_time()
        await _connector(network, "scripted").close_session(Greeting(10.0, session_id=0x99), FixedPace(1.0))
        assert anyio.current_time() - start == pytest.approx(3.0, abs=0.5)


async def test_a_server_that_closes_every_connection_soon_is_not_tried_in_a_hot_loop(
    autojump_clock: object,
) -> None:
    """Case 6."""
    network = MemoryNetwork()

    def hang_up(_side: ServerSide, _requested: Requested) -> bool:
        return False

    async with scripted(network, greet=accept_all(), answer=hang_up):
        attacher = _connector(network, "scripted")
        start, tries = anyio.current_time(), 0
        with anyio.move_on_after(60):
            while True:
                await _attach(attacher, attempt=5.0)
                tries += 1
                if tries == 2:
                    assert anyio.current_time() == start  # the first time at once
        assert 10 < tries < 60
