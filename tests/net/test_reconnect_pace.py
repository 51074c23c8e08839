"""The time limits of steps and pauses; and thousands of clients that wait for one server."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

import pytest
import trio

import zkrecipes as zk
from tests.net.peers import saying
from zkrecipes.net.connect_string import Host
from zkrecipes.net.host_list import HostList
from zkrecipes.net.reconnect_pace import SearchPace
from zkrecipes.net.transport.network import Stream
from zkrecipes.testing import MemoryNetwork

NEVER = float("inf")


def _pace(timeout: float = 10.0, **changes: object) -> SearchPace:
    facts = {"is_new": False, "connect_timeout": None, "ends_at": lambda: NEVER, "has_holds": lambda: False}
    return SearchPace(timeout, **(facts | changes))  # type: ignore[arg-type]  # a table of keywords


@pytest.mark.parametrize("hosts", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("addresses", [1, 3])
@pytest.mark.parametrize("timeout", [2.0, 4.0, 10.0, 60.0])
@pytest.mark.parametrize("connect_timeout", [3.0, 15.0, 120.0])
def test_a_step_of_a_new_session_takes_a_third_of_its_timeout_or_a_fair_share_of_the_wait(
    hosts: int, addresses: int, timeout: float, connect_timeout: float
) -> None:
    pace = _pace(timeout, is_new=True, connect_timeout=connect_timeout)
    steps = [pace.step_timeout(passes, hosts, addresses) for passes in range(50)]
    assert steps == sorted(steps)
    assert steps[0] >= timeout / 3
    assert steps[-1] == max(timeout / 3, connect_timeout / (hosts * addresses))


def test_a_step_of_a_new_session_without_a_limit_grows_to_a_minute() -> None:
    pace = _pace(is_new=True)
    assert [round(pace.step_timeout(passes, 5), 2) for passes in (0, 1, 2, 50)] == [3.33, 6.67, 13.33, 60]


def test_a_step_of_an_old_session_doubles_from_pass_to_pass() -> None:
    assert [_pace().step_timeout(passes, 5) for passes in (0, 1, 2, 3, 50)] == [1, 2, 4, 5, 5]
    assert _pace().step_timeout(0, 5, addresses=4) == 0.25


def test_a_step_with_holds_is_as_long_as_a_check_may_be_unanswered() -> None:
    pace = _pace(has_holds=lambda: True)
    assert [pace.step_timeout(passes, 5) for passes in (0, 1, 2)] == [1.25, 2.5, 5]


@pytest.mark.trio
@pytest.mark.parametrize(("left", "longest"), [(12.0, 2.0), (6.0, 1.0), (3.0, 0.5), (0.5, 0.25), (-1, 0.25)])
async def test_a_pause_is_a_part_of_the_time_that_is_left(
    autojump_clock: object, left: float, longest: float
) -> None:
    await trio.sleep(100)
    assert _pace(ends_at=lambda: 100 + left).pause_max() == pytest.approx(longest)


@pytest.mark.trio
@pytest.mark.parametrize(("connect_timeout", "longest"), [(None, NEVER), (15.0, 2.5), (0.5, 0.25)])
async def test_a_pause_of_a_new_session_does_not_shrink(
    autojump_clock: object, connect_timeout: float | None, longest: float
) -> None:
    pace = _pace(is_new=True, connect_timeout=connect_timeout, ends_at=lambda: 0.0)
    assert pace.pause_max() == pytest.approx(longest)


class Outcome(NamedTuple):
    """The outcome for the clients of a server that was down.

    Attributes:
        lost: the number of sessions that ended.
        back_after: the seconds from the server's return until the last of the other clients was back.
        most_at_once: the most attempts in a tenth of a second after the server's return.
    """

    lost: int
    back_after: float
    most_at_once: int


def _outage(seconds: float, clients: int, timeout: float, seed: int) -> Outcome:
    """Let one server refuse each attempt at once while it is down; each client starts at its loss."""
    attempts: Counter[int] = Counter()
    lost, back_after = 0, 0.0
    for number in range(clients):
        hosts = HostList((Host("zk", 2181),), random.Random(f"{seed} {number}"))
        now = hosts._rng.uniform(0, 0.01)  # noqa: SLF001 - the same seed for all of it
        ends_at = timeout - hosts._rng.uniform(0, timeout / 3)  # noqa: SLF001 - the last answer was before
        while now < ends_at:
            hosts.next_host()
            attempts[int(now * 10)] += 1
            if now >= seconds:
                back_after = max(back_after, now - seconds)
                break
            # as `SearchPace.pause_max`, whose clock is the loop's
            now += hosts.end_pass(max((ends_at - now) / 6, timeout / 40))
        else:
            lost += 1
    later = [count for tenth, count in attempts.items() if tenth >= seconds * 10]
    return Outcome(lost, back_after, max(later))


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_clients_keep_their_sessions_over_an_outage_and_do_not_come_back_at_once(
    seed: int,
) -> None:
    short = _outage(1.0, clients=2000, timeout=10.0, seed=seed)
    assert short.lost == 0
    assert short.back_after < 1.6
    longer = _outage(6.0, clients=2000, timeout=10.0, seed=seed)
    assert longer.lost == 0
    assert longer.back_after < 0.7
    # spread over the pause: no tenth of a second sees half of them
    assert longer.most_at_once < 1000


class SlowNetwork:
    """A network that connects at once, and takes a fixed time for each chunk of bytes to the server."""

    def __init__(self, network: MemoryNetwork, delay: float) -> None:
        self._network = network
        self.delay = delay
        self.attempts = 0
        self.serve = network.serve
        self.resolve = network.resolve

    async def connect(self, host: str, port: int) -> Stream:
        self.attempts += 1
        stream = await self._network.connect("zk", 2181)
        send = stream.send

        async def send_late(data: bytes) -> None:
            await trio.sleep(self.delay)
            await send(data)

        stream.send = send_late  # type: ignore[method-assign]
        return stream


@pytest.mark.trio
@pytest.mark.parametrize(("delay", "attempts"), [(0.5, 1), (1.3, 1), (2.5, 6)])
async def test_a_slow_ensemble_of_many_hosts_gives_a_session(
    autojump_clock: object, delay: float, attempts: int
) -> None:
    network = MemoryNetwork()
    slow = SlowNetwork(network, delay)
    hosts = ",".join(f"10.0.0.{number}" for number in range(5))
    async with (
        zk.DevServer(host="zk", port=2181, network=network) as server,
        zk.connect(hosts, session_timeout=4, connect_timeout=15, network=slow),
    ):
        assert slow.attempts == attempts
        assert len(server.processor.sessions) == 1


@pytest.mark.trio
async def test_hosts_that_swallow_packets_leave_time_for_the_others(autojump_clock: object) -> None:
    network = MemoryNetwork()
    for number in range(4):
        network.black_hole(host=f"10.0.0.{number}")
    hosts = ",".join([*(f"10.0.0.{number}" for number in range(4)), "zk"])
    async with zk.DevServer(host="zk", port=2181, network=network):
        for _ in range(5):
            async with zk.connect(hosts, session_timeout=10, connect_timeout=15, network=network):
                pass


@pytest.mark.trio
async def test_an_old_session_survives_an_ensemble_that_has_become_slow(autojump_clock: object) -> None:
    """Each step has its own limit, which grows from pass to pass."""
    network = MemoryNetwork()
    slow = SlowNetwork(network, 0.0)
    hosts = ",".join(f"10.0.0.{number}" for number in range(5))
    async with (
        zk.DevServer(host="zk", port=2181, network=network),
        zk.connect(hosts, session_timeout=10, network=slow) as client,
    ):
        session = client.session
        slow.delay = 1.5
        network.reset()
        await client.exists("/")
        assert client.session is session


@pytest.mark.trio
async def test_a_server_that_is_silent_in_the_middle_is_left_after_one_step(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        saying(network, b"\x00\x00\x00\x25half", "half"),
        zk.DevServer(host="zk", port=2181, network=network),
    ):
        started = trio.current_time()
        for _ in range(5):
            async with zk.connect("half,zk", session_timeout=6, connect_timeout=15, network=network):
                pass
        assert trio.current_time() - started <= 5 * 4
