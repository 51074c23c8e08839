"""Our semaphore and Curator's `InterProcessSemaphoreV2` on one path, on a real server, on both loops."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT
from tests.interop.peer import Peer, StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


async def test_never_more_than_the_limit(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    recorder = Recorder(limit=2)

    async def ours(client: zk.Client, name: str) -> None:
        semaphore = zk.Semaphore(client, fresh_path, limit=2, identifier=name, layout="curator")
        for _ in range(4):
            async with semaphore.acquire():
                with recorder.inside(name):
                    await anyio.lowlevel.checkpoint()

    async def theirs(peer: Peer, name: str) -> None:
        await peer.call("InterProcessSemaphoreV2", name, fresh_path, 2, name)
        for _ in range(4):
            assert await peer.call("acquire", name, 1)
            with recorder.inside(name):
                await anyio.lowlevel.checkpoint()
            await peer.call("return", name, 1)

    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, curator() as peer:
            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(ours, client, f"ours-{number}")
                    tasks.start_soon(theirs, peer, f"theirs-{number}")
            assert len(recorder.order) == 24
            assert await zk.Semaphore(client, fresh_path, limit=2, layout="curator").contenders() == []


async def test_several_permits_at_once_on_either_side(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with (
            zk.connect(apache_server.connect_string) as client,
            zk.connect(apache_server.connect_string) as other,
            curator() as peer,
        ):
            semaphore = zk.Semaphore(client, fresh_path, limit=3, identifier="ours", layout="curator")
            another = zk.Semaphore(other, fresh_path, limit=3, layout="curator")
            await peer.call("InterProcessSemaphoreV2", "theirs", fresh_path, 3, "theirs")
            async with semaphore.acquire(permits=2):
                assert not await peer.call("acquire", "theirs", 2, 0.3)
                assert await peer.call("acquire", "theirs", 1)
                holders = [each.identifier for each in await semaphore.holders()]
                assert holders == ["ours", "ours", "theirs"]
                shown = await peer.call("participants", "theirs")
                assert len(shown) == 3
                with pytest.raises(zk.AcquireTimeoutError):
                    async with another.acquire(wait=0):
                        pass
            assert await peer.call("acquire", "theirs", 2, 5)
            await peer.call("return", "theirs", 3)
            async with semaphore.acquire(permits=3, wait=0):
                pass
