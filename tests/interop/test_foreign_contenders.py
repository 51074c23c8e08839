"""A mutex in one library's layout, on a path that clients of the other library lock, on a real server."""

from __future__ import annotations

import logging

import anyio
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, Family
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def _their_lock_is_waited_for(
    family: Family, layout: LockLayoutName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer:
            mutex, lock = (
                zk.Mutex(client, family.path, layout=layout),
                await family.theirs(peer, "theirs"),
            )
            assert await lock.acquire()
            with pytest.raises(zk.AcquireTimeoutError):
                await mutex.acquire(wait=0).__aenter__()
            (theirs,) = await mutex.contenders()
            assert theirs.session_id == await peer.call("session-id")
            assert sum(theirs.path.rpartition("/")[2] in line for line in caplog.messages) == 1
            async with anyio.create_task_group() as tasks:
                got = anyio.Event()

                async def acquire() -> None:
                    async with mutex:
                        got.set()

                tasks.start_soon(acquire)
                await family.until_watched(theirs.path, by=client.session.id)
                assert not got.is_set()
                await lock.release()
            await family.assert_nothing_left(client)


async def test_curators_lock_is_waited_for_under_kazoos_layout(
    apache_server: ApacheServer, curator: StartPeer, fresh_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    family = Family(apache_server, fresh_path, curator, layout="curator", lock_class="InterProcessMutex")
    await _their_lock_is_waited_for(family, "kazoo", caplog)


async def test_kazoos_lock_is_waited_for_under_curators_layout(
    apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    family = Family(apache_server, fresh_path, kazoo_peer, layout="kazoo", lock_class="Lock")
    await _their_lock_is_waited_for(family, "curator", caplog)
