"""Our read-write lock and Curator's `InterProcessReadWriteLock` on one path, on a real server."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


async def _is_refused(*acquisitions: zk.Acquisition) -> None:
    for refused in acquisitions:
        with pytest.raises(zk.AcquireTimeoutError):
            async with refused:
                pass


async def test_their_writer_excludes_us_and_their_reader_only_our_writer(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, curator() as peer:
            lock = zk.ReadWriteLock(client, fresh_path, identifier="ours", layout="curator")
            await peer.call("InterProcessReadWriteLock", "theirs", fresh_path, "theirs")
            assert await peer.call("acquire-write", "theirs")
            await _is_refused(lock.read(wait=0), lock.write(wait=0))
            await peer.call("release-write", "theirs")
            assert await peer.call("acquire-read", "theirs")
            async with lock.read(wait=0) as hold:
                assert [each.identifier for each in await lock.contenders()] == ["theirs", "ours"]
                assert hold.path in await peer.call("readers", "theirs")
            await _is_refused(lock.write(wait=0))
            await peer.call("release-read", "theirs")
            async with lock.write(wait=0):
                assert not await peer.call("acquire-read", "theirs", 0.2)
                assert not await peer.call("acquire-write", "theirs", 0.2)
            assert await lock.contenders() == []


async def test_their_own_downgrade_is_a_read_lock_to_us(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    """Take a read lock inside our own write lock."""
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, curator() as peer:
            lock = zk.ReadWriteLock(client, fresh_path, identifier="ours", layout="curator")
            await peer.call("InterProcessReadWriteLock", "theirs", fresh_path, "theirs")
            assert await peer.call("acquire-write", "theirs")
            assert await peer.call("acquire-read", "theirs")
            # Curator 5.4 takes a separate number for it, later releases take the writer's
            paths = [each.path for each in await lock.contenders()]
            assert [path[-18:-10] for path in paths] == ["__WRIT__", "__READ__"]
            await _is_refused(lock.read(wait=0), lock.write(wait=0))
            await peer.call("release-write", "theirs")
            async with lock.read(wait=0):
                pass
            await _is_refused(lock.write(wait=0))
            await peer.call("release-read", "theirs")
            async with lock.write(wait=0):
                pass


async def test_our_downgrade_admits_their_reader_and_not_their_writer(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> None:
    with anyio.fail_after(LIMIT):
        async with zk.connect(apache_server.connect_string) as client, curator() as peer:
            lock = zk.ReadWriteLock(client, fresh_path, identifier="ours", layout="curator")
            for name in ("reader", "writer"):
                await peer.call("InterProcessReadWriteLock", name, fresh_path, name)
            entered: list[str] = []

            async def enter(name: str) -> None:
                assert await peer.call("acquire-read" if name == "reader" else "acquire-write", name)
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
                    await peer.call("release-read", "reader")
                    await anyio.sleep(0.2)
                    assert entered == ["reader"]
                    await hold.confirm()
                await until(lambda: have_entered("reader", "writer"))
                await peer.call("release-write", "writer")
            assert await lock.contenders() == []
