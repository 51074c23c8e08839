"""Hostile clients and faults: after the clients have left, the server keeps nothing of them.

A run depends only on its seed. `ZKRECIPES_LEFTOVERS_SEEDS=1000` tries more seeds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.hostile_client import HostileClient
from tests.devserver.raw_client import OPEN, ask_word
from zkrecipes.devserver import DevServer, FaultKind
from zkrecipes.ensemble.four_letter import parse_mntr
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio

SEEDS = int(os.environ.get("ZKRECIPES_LEFTOVERS_SEEDS", "80"))
CLIENTS = 8
STEPS = 40
LARGE = bytes(150_000)  # two of them fill a wire, so that the server waits for a client that does not read


class FaultMaker:
    """Injects faults, and removes them in the end."""

    def __init__(self, server: DevServer, network: MemoryNetwork, random: Random) -> None:
        self._server = server
        self._network = network
        self._random = random

    async def make_fault(self) -> None:
        if self._random.random() < 0.1:
            await self._server.restart(keep=self._random.random() < 0.7, downtime=3.0)
        else:
            actions: list[Callable[[], object]] = [
                self.remove_faults,
                self._let_time_pass,
                self._let_requests_fail,
                self._server.become_read_only,
                self._server.drop_connections,
                self._server.expire,
                self._server.faults.hold_replies,
                self._server.pause,
                self._network.cut,
                self._network.reset,
            ]
            self._random.choice(actions)()

    def _let_time_pass(self) -> None:
        self._server.jump(self._random.choice([1.0, 60.0]))

    def _let_requests_fail(self) -> None:
        if self._random.random() < 0.5:
            self._server.faults.delay_reply(self._random.choice([0.1, 30.0]), times=5)
        else:
            kind = self._random.choice([kind for kind in FaultKind if kind is not FaultKind.DELAY])
            self._server.faults.inject(self._random.randint(1, 4), kind)

    def remove_faults(self) -> None:
        self._server.resume()
        self._server.faults.clear()
        self._network.heal()
        if self._server.processor.is_read_only:
            self._server.become_writable()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_left_of_clients_that_have_left(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", random)
    network = MemoryNetwork(chunk_size=random.choice([None, 7]))
    async with DevServer(network=network, host="zk", port=2181, seed=seed, start_time=1e9) as server:
        server.processor.tree.add("/large", LARGE, tuple(OPEN), 0, 0)
        clients = [HostileClient(network, random, ["zk"]) for _ in range(CLIENTS)]
        fault_maker = FaultMaker(server, network, random)
        for step in range(STEPS):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.misbehave)
            # Not until the end: some faults would clean up after others.
            if step > STEPS / 2:
                fault_maker.remove_faults()
            elif random.random() < 0.5:
                await fault_maker.make_fault()
        for client in clients:
            await client.go()
        await trio.sleep(100)
        figures = parse_mntr(await ask_word(server, network, "mntr"))
        left = {
            name: figures[f"zk_{name}"]
            for name in ("num_alive_connections", "global_sessions", "watch_count", "ephemerals_count")
        }
        assert left.pop("num_alive_connections") == "1"  # the connection that asks
        assert left == dict.fromkeys(left, "0")
        assert not server.processor.attached
        assert not any(link.is_open for link in network.links)
