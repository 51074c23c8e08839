"""There is one history under all faults: no answered write is lost or applied twice."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from zkrecipes.testing import SimulatedEnsemble

pytestmark = pytest.mark.trio

CLIENTS = 2
SECONDS = 40.0


async def _count(client: zk.Client, tally: dict[str, int]) -> None:
    """Increment a counter repeatedly, guarded by its version."""
    while True:
        node = await client.get("/count")
        before = int(node.data or b"")
        try:
            await client.set("/count", str(before + 1).encode(), version=node.stat.version)
        except zk.BadVersionError:
            continue
        except (zk.ConnectionLossError, zk.SessionExpiredError):
            tally["unknown"] += 1
        else:
            tally["done"] += 1
        await trio.sleep(0.2)


async def _fail(ensemble: SimulatedEnsemble, rng: random.Random) -> None:
    """Inject temporary faults into random replicas."""
    while True:
        await trio.sleep(rng.uniform(0, 4))
        one, other = rng.sample(ensemble.numbers, 2)
        match rng.randrange(6):
            case 0:
                ensemble.crash(one)
                await trio.sleep(rng.uniform(0, 3))
                ensemble.restart(one)
            case 1:
                ensemble.cut(one, other)
            case 2:
                ensemble.isolate(one)
            case 3:
                ensemble.pause(one)
                await trio.sleep(rng.uniform(0, 15))
                ensemble.resume(one)
            case 4:
                ensemble.move_leader(one)
            case _:
                ensemble.lag(one, rng.uniform(0, 2))
        if rng.random() < 0.5:
            ensemble.heal()


@pytest.mark.parametrize("seed", range(8))
async def test_every_answered_write_is_applied_once(seed: int, autojump_clock: MockClock) -> None:
    rng = random.Random(seed)
    tally = {"done": 0, "unknown": 0}
    async with SimulatedEnsemble(rng.choice((3, 5)), tick_time=1, sync_limit=3, seed=seed) as ensemble:
        async with (
            zk.connect(ensemble.connect_string, network=ensemble.network) as first,
            trio.open_nursery() as nursery,
        ):
            await first.create("/count", b"0")
            for _ in range(CLIENTS):
                nursery.start_soon(_with_client, ensemble, tally)
            nursery.start_soon(_fail, ensemble, rng)
            await trio.sleep(SECONDS)
            nursery.cancel_scope.cancel()
        ensemble.heal()
        for number in ensemble.numbers:
            ensemble.lag(number, 0)
            ensemble.restart(number)
        await ensemble.serving()
        async with zk.connect(ensemble.connect_string, network=ensemble.network) as last:
            await last.sync()
            total = int((await last.get("/count")).data or b"")
        await trio.sleep(1)
        copies = {ensemble.tree(number).get("/count").data for number in ensemble.numbers}
    assert tally["done"] > 20
    assert tally["done"] <= total <= tally["done"] + tally["unknown"] + CLIENTS
    assert copies == {str(total).encode()}


async def _with_client(ensemble: SimulatedEnsemble, tally: dict[str, int]) -> None:
    while True:
        with suppress(zk.SessionExpiredError, zk.ConnectTimeoutError):
            async with zk.connect(ensemble.connect_string, network=ensemble.network) as client:
                await _count(client, tally)
