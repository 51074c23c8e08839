"""Our barrier, kazoo's `Barrier` and Curator's `DistributedBarrier` are one gate, on a real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, Family
from tests.interop.peer import Peer, StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

CLOSE = {"Barrier": "create", "DistributedBarrier": "set"}


@pytest.fixture
def anyio_backend() -> str:
    return "trio"  # the other side is a separate process; other tests run ours on both loops


@pytest.fixture(params=["kazoo_peer", "curator"])
def family(request: pytest.FixtureRequest, apache_server: ApacheServer, fresh_path: str) -> Family:
    start: StartPeer = request.getfixturevalue(request.param)
    name = "Barrier" if request.param == "kazoo_peer" else "DistributedBarrier"
    return Family(apache_server, fresh_path, start, layout="", lock_class=name)


async def let_through(
    family: Family,
    waiter: int,
    wait: Callable[[], Awaitable[object]],
    remove: Callable[[], Awaitable[object]],
) -> None:
    """Check that the waiter passes when the gate is opened, and not before."""
    has_passed = anyio.Event()

    async def pass_through() -> None:
        await wait()
        has_passed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_through)
        await family.until_watched(family.path, by=waiter)
        assert not has_passed.is_set()
        await remove()


async def test_we_open_what_they_wait_at(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer:
            gate, session_id = await both_gates(family, client, peer)
            await gate.create()
            assert not await peer.call("wait", "gate", 0.1)

            async def wait() -> None:
                assert await peer.call("wait", "gate", 10)

            await let_through(family, session_id, wait, gate.remove)
            assert await peer.call("wait", "gate", 10)


async def test_they_open_what_we_wait_at(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer:
            gate, _ = await both_gates(family, client, peer)
            await gate.wait()
            await peer.call(CLOSE[family.lock_class], "gate")

            async def remove() -> None:
                await peer.call("remove", "gate")

            await let_through(family, client.session.id, gate.wait, remove)
            await gate.wait()
            assert await client.exists(family.path) is None


async def test_a_gate_may_be_closed_and_opened_by_both(family: Family) -> None:
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer:
            gate, _ = await both_gates(family, client, peer)
            await gate.create()
            await peer.call(CLOSE[family.lock_class], "gate")
            await gate.remove()
            await peer.call("remove", "gate")
            await gate.wait()


async def both_gates(family: Family, client: zk.Client, peer: Peer) -> tuple[zk.Barrier, int]:
    await peer.call(family.lock_class, "gate", family.path)
    session_id: int = await peer.call("session-id")
    return zk.Barrier(client, family.path), session_id
