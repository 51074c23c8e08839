"""Our read-write lock and kazoo's `ReadLock` and `WriteLock` on one path, on a real server, on both loops."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


async def test_their_writer_excludes_us_and_their_reader_only_our_writer(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            lock = zk.ReadWriteLock(client, fresh_path, identifier="ours")
            await client.ensure_path(fresh_path)
            await peer.call("WriteLock", "writer", fresh_path, "their-writer")
            await peer.call("ReadLock", "reader", fresh_path, "their-reader")
            assert await peer.call("acquire", "writer")
            for refused in (lock.read(wait=0), lock.write(wait=0)):
                with pytest.raises(zk.AcquireTimeoutError):
                    async with refused:
                        pass
            await peer.call("release", "writer")
            assert await peer.call("acquire", "reader")
            async with lock.read(wait=0):
                assert [each.identifier for each in await lock.contenders()] == ["their-reader", "ours"]
            with pytest.raises(zk.AcquireTimeoutError):
                async with lock.write(wait=0):
                    pass
            await peer.call("release", "reader")
            async with lock.write(wait=0):
                assert not await peer.call("acquire", "reader", 0.2)
                assert not await peer.call("acquire", "writer", 0.2)
            assert await client.get_children(fresh_path) == []


async def test_our_downgrade_admits_their_reader_and_not_their_writer(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, kazoo_peer() as peer:
            lock = zk.ReadWriteLock(client, fresh_path, identifier="ours")
            await client.ensure_path(fresh_path)
            await peer.call("ReadLock", "reader", fresh_path, "their-reader")
            await peer.call("WriteLock", "writer", fresh_path, "their-writer")
            entered: list[str] = []

            async def enter(name: str) -> None:
                assert await peer.call("acquire", name)
                entered.append(name)

            async def are_queued(count: int) -> bool:
                return len(await lock.contenders()) == count

            async def have_entered(*names: str) -> bool:
                return entered == [*names]

            async with anyio.create_task_group() as tasks:
                async with lock.write() as hold:
                    tasks.start_soon(enter, "reader")
                    await until(lambda: are_queued(2))
                    tasks.start_soon(enter, "writer")
                    await until(lambda: are_queued(3))
                    assert entered == []
                    await lock.downgrade()
                    await until(lambda: have_entered("reader"))
                    await peer.call("release", "reader")
                    await anyio.sleep(0.2)
                    assert entered == ["reader"]
                    await hold.confirm()
                await until(lambda: have_entered("reader", "writer"))
                await peer.call("release", "writer")
            assert await client.get_children(fresh_path) == []
