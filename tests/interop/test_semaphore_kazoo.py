"""Our semaphore and kazoo's `Semaphore` on one path, on a real server, on both loops."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT
from tests.interop.peer import Peer, PeerError, StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


async def test_never_more_than_the_limit(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    recorder = Recorder(limit=2)

    async def ours(client: zk.Client, name: str) -> None:
        semaphore = zk.Semaphore(client, fresh_path, limit=2, identifier=name)
        for _ in range(4):
            async with semaphore.acquire():
                with recorder.inside(name):
                    await anyio.lowlevel.checkpoint()

    async def theirs(peer: Peer, name: str) -> None:
        await peer.call("Semaphore", name, fresh_path, name, 2)
        for _ in range(4):
            assert await peer.call("acquire", name)
            with recorder.inside(name):
                await anyio.lowlevel.checkpoint()
            await peer.call("release", name)

    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            await zk.Semaphore(client, fresh_path, limit=2).set_limit(2)
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(ours, client, f"ours-{number}")
                    tasks.start_soon(theirs, peer, f"theirs-{number}")
            assert len(recorder.order) == 24
            assert await client.get_children(fresh_path) == []


async def test_the_limit_is_agreed_on_in_both_directions(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            first, second = f"{fresh_path}-1", f"{fresh_path}-2"
            await peer.call("Semaphore", "theirs", first, "theirs", 2)
            assert await peer.call("acquire", "theirs")
            with pytest.raises(ValueError, match="has a limit of 2, not 3"):
                async with zk.Semaphore(client, first, limit=3).acquire():
                    pass
            semaphore = zk.Semaphore(client, first, limit=2, identifier="ours")
            async with semaphore.acquire(wait=0):
                assert [each.identifier for each in await semaphore.holders()] == ["theirs", "ours"]
                assert sorted(await peer.call("contenders", "theirs")) == ["ours", "theirs"]
            with pytest.raises(zk.AcquireTimeoutError):
                async with semaphore.acquire(permits=2, wait=0):
                    pass
            await peer.call("release", "theirs")
            async with zk.Semaphore(client, second, limit=2).acquire(permits=2):
                await peer.call("Semaphore", "wrong", second, "wrong", 3)
                with pytest.raises(PeerError, match="Inconsistent max leases"):
                    await peer.call("acquire", "wrong")
                await peer.call("Semaphore", "right", second, "right", 2)
                assert not await peer.call("acquire", "right", 0.2)
            assert await peer.call("acquire", "right", 5)
            await peer.call("release", "right")
