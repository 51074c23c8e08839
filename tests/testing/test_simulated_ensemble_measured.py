"""The simulated ensemble has the times that were measured on real servers.

Measured on three servers of version 3.8.0, with the default tick of 2 s, `syncLimit` 5 and a session of 4 s.
With a follower cut from its peers, kazoo's lock had two holders for 3.7 to 5.3 s. A leader cut from its
followers continued to answer `sync` for 10.1 s, and the new leader expired the session at 14.9 s.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from tests.devserver.raw_client import OPEN, ClosedError, RawClient
from zkrecipes.codec.messages import CreateRequest, ExistsRequest, SyncRequest
from zkrecipes.testing import SimulatedEnsemble

pytestmark = pytest.mark.trio

SEEDS = range(8)


async def _attached(ensemble: SimulatedEnsemble, number: int) -> tuple[RawClient, int]:
    client = RawClient(await ensemble.network.connect(ensemble.host(number), 2181))
    hello = await client.attach(session_timeout=4)
    return client, hello.session_id


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_holder_that_trusts_pings_shares_its_lock_as_long_as_on_real_servers(
    seed: int, autojump_clock: MockClock
) -> None:
    async with SimulatedEnsemble(seed=seed) as ensemble:
        follower, leader = ensemble.followers[seed % 2], ensemble.leader or 0
        holder, _ = await _attached(ensemble, follower)
        await holder.ok(CreateRequest("/lock", b"", OPEN, 1))
        rival, _ = await _attached(ensemble, leader)
        await rival.ok(ExistsRequest("/lock", True))
        has_it_at = 0.0

        async def contend() -> None:
            nonlocal has_it_at
            while not rival.events:
                await trio.sleep(0.05)
                await rival.ping()
            has_it_at = trio.current_time()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(contend)
            await _ping_for(holder, 10 + seed / 4)
            ensemble.isolate(follower)
            with suppress(ClosedError):
                await _ping_for(holder, 60)
            believed_until = trio.current_time()
        assert 3.5 < believed_until - has_it_at < 6.5


async def _ping_for(client: RawClient, seconds: float) -> None:
    with trio.move_on_after(seconds):
        while True:
            await client.ping()
            await trio.sleep(0.05)


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_isolated_leader_answers_and_is_replaced_as_late_as_a_real_one(
    seed: int, autojump_clock: MockClock
) -> None:
    async with SimulatedEnsemble(seed=seed) as ensemble:
        leader = ensemble.leader or 0
        client, session_id = await _attached(ensemble, leader)
        await _ping_for(client, 10 + seed / 4)
        ensemble.isolate(leader)
        cut_at = trio.current_time()
        with suppress(ClosedError):
            while True:
                await client.ok(SyncRequest("/"))
                await trio.sleep(0.05)
        assert 9 < trio.current_time() - cut_at < 13
        assert 14 < await ensemble.session_ended(session_id) - cut_at < 17
