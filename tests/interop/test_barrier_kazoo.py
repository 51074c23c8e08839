"""Our barrier and kazoo's `Barrier` at one path, on a real server and both loops."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.interop import barrier_scenarios as scenarios
from tests.interop.barrier_scenarios import Gate
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def gate(apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str) -> Gate:
    return Gate(apache_server, f"{fresh_path}/gate", kazoo_peer, gate_class="Barrier", close="create")


async def test_we_close_and_kazoo_waits(gate: Gate) -> None:
    await scenarios.we_close_and_they_wait(gate)


async def test_kazoo_closes_and_we_wait(gate: Gate) -> None:
    await scenarios.they_close_and_we_wait(gate)


async def test_kazoo_dies_and_it_stays_closed(gate: Gate) -> None:
    await scenarios.they_die_and_it_stays_closed(gate)


async def test_members_of_kazoos_double_barrier_are_not_counted(gate: Gate) -> None:
    """kazoo's members remove `ready` when they begin to leave, so it is another barrier."""
    with anyio.fail_after(LIMIT):
        async with zk.connect(gate.server.connect_string) as client, gate.start() as peer:

            async def is_there() -> bool:
                stat = await client.exists(gate.path)
                return stat is not None and stat.num_children == 1

            await peer.call("DoubleBarrier", "theirs", gate.path, 3)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "enter", "theirs")
                await until(is_there)
                with anyio.move_on_after(0.3):
                    async with zk.DoubleBarrier(client, gate.path, parties=2):
                        raise AssertionError("began with a member of kazoo's")
                tasks.cancel_scope.cancel()
