"""Locks on a link that is slow and never fails, with several round trips, in virtual time."""

# ruff: noqa: PT012, SIM117 - what comes out of a whole block is what these tests are about

from __future__ import annotations

import logging
import random

import anyio
import pytest

import zkrecipes as zk
from tests.recipes.far_network import far_network
from tests.recipes.fault_sweep import TIMEOUT, virtual_time, world

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

SAMPLES = 3
"""Idle times before an acquire, for each round trip. `test_hold_forecast.py` tries many more."""


def _idle_times(round_trip: float) -> list[float]:
    rng = random.Random(f"far {round_trip}")
    return [rng.random() * TIMEOUT for _ in range(SAMPLES)]


@pytest.mark.parametrize("round_trip", [0.01, 0.03, 0.05, 0.06, 0.0625, 0.07, 0.08, 0.09, 0.1])
@pytest.mark.parametrize("kind", ["mutex", "semaphore"])
async def test_up_to_a_tenth_of_the_timeout_each_lock_is_acquired_and_kept(
    round_trip: float, kind: str
) -> None:
    for idle in _idle_times(round_trip):
        async with world() as there, far_network(there, round_trip * TIMEOUT) as network:
            async with there.connect("far", network=network) as client:
                await anyio.sleep(idle)
                lock = zk.Mutex(client, "/m") if kind == "mutex" else zk.Semaphore(client, "/s", limit=1)
                async with lock.acquire(wait=TIMEOUT) as hold:
                    await anyio.sleep(3 * TIMEOUT)
                    hold.check()
                assert client.stats().connections == 1


@pytest.mark.parametrize("round_trip", [0.05, 0.07, 0.1])
async def test_a_client_with_holds_can_ask_what_the_server_can_do(round_trip: float) -> None:
    """With a round trip of a sixteenth of a timeout or more, a check of the holds is always in flight."""
    async with world() as there, far_network(there, round_trip * TIMEOUT) as network:
        async with there.connect("far", network=network) as client:
            async with zk.Mutex(client, "/m"):
                await anyio.sleep(TIMEOUT)
                with anyio.fail_after(TIMEOUT / 2):
                    await client.get_ephemerals()


@pytest.mark.parametrize("round_trip", [0.115, 0.13, 0.16, 0.2])
async def test_beyond_that_no_lock_is_lost_and_no_server_is_left(
    round_trip: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The acquire waits for a proof, and the log contains the reason."""
    caplog.set_level(logging.WARNING)
    async with world() as there, far_network(there, round_trip * TIMEOUT) as network:
        async with there.connect("far", network=network) as client:
            with pytest.raises(zk.AcquireTimeoutError) as caught:
                async with zk.Mutex(client, "/m").acquire(wait=3 * TIMEOUT):
                    pytest.fail("it could not be kept")
            assert caught.value.waiting_for == "proof"
            assert (client.stats().connections, client.stats().sessions) == (1, 1)
            [line] = [each for each in caplog.messages if "tenth of the session timeout" in each]
            assert f"takes {round_trip * TIMEOUT:.3f} seconds" in line
            await anyio.sleep(1)
            assert await client.get_children("/m") == []


async def test_a_link_that_becomes_too_slow_ends_the_hold_and_the_next_waits_until_it_is_fast() -> None:
    async with world() as there, far_network(there, 0.05 * TIMEOUT) as network:
        async with there.connect("far", network=network) as client:
            with pytest.raises(zk.LockLostError, match="could not be proven alive"):
                async with zk.Mutex(client, "/m"):
                    await anyio.sleep(TIMEOUT)
                    network.round_trip = 0.2 * TIMEOUT
                    await anyio.sleep_forever()
            async with anyio.create_task_group() as tasks:

                async def get_faster() -> None:
                    await anyio.sleep(2 * TIMEOUT)
                    network.round_trip = 0.05 * TIMEOUT

                tasks.start_soon(get_faster)
                began = anyio.current_time()
                async with zk.Mutex(client, "/m") as hold:
                    assert 2 * TIMEOUT < anyio.current_time() - began < 3.5 * TIMEOUT
                    await anyio.sleep(2 * TIMEOUT)
                    hold.check()
