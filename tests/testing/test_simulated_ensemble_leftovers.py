"""Hostile clients on a failing ensemble leave nothing behind when they have disconnected."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.hostile_client import HostileClient
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.testing import SimulatedEnsemble

pytestmark = pytest.mark.trio

CLIENTS = 6
STEPS = 30


def _inject_fault(ensemble: SimulatedEnsemble, random: Random) -> None:
    one, other = random.sample(ensemble.numbers, 2)
    actions: list[Callable[[], object]] = [
        lambda: _repair(ensemble),
        lambda: ensemble.crash(one),
        lambda: ensemble.cut(one, other),
        lambda: ensemble.isolate(one),
        lambda: ensemble.lag(one, random.choice([1, 5])),
        ensemble.move_leader,
        lambda: ensemble.network.cut(host=ensemble.host(one)),
        lambda: ensemble.pause(one),
        lambda: ensemble.restart(one),
    ]
    random.choice(actions)()


def _repair(ensemble: SimulatedEnsemble) -> None:
    ensemble.heal()
    ensemble.network.heal()
    for number in ensemble.numbers:
        ensemble.lag(number, 0)
        ensemble.resume(number)
        if not ensemble.is_serving(number):
            ensemble.restart(number)


def _all_nodes(tree: DataTree) -> list[tuple[object, ...]]:
    nodes = [tree.get(path) for path in sorted(tree.paths())]
    return [(node.path, node.data, node.mzxid, node.pzxid, node.version, node.creates) for node in nodes]


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_left_of_clients_that_have_left(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", random)
    async with SimulatedEnsemble(seed=seed) as ensemble:
        hosts = [ensemble.host(number) for number in ensemble.numbers]
        clients = [HostileClient(ensemble.network, random, hosts) for _ in range(CLIENTS)]
        for step in range(STEPS):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.misbehave)
            if step > STEPS / 2:
                _repair(ensemble)
            elif random.random() < 0.5:
                _inject_fault(ensemble, random)
        for client in clients:
            await client.go()
        await ensemble.serving()
        await trio.sleep(100)
        assert not any(link.is_open for link in ensemble.network.links)
        trees = [ensemble.tree(number) for number in ensemble.numbers]
        assert [tree.all_ephemerals() for tree in trees] == [{}] * 3
        copies = [_all_nodes(tree) for tree in trees]
        assert copies == [copies[0]] * 3
