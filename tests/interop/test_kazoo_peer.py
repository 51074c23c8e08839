"""The kazoo client of other tests behaves like kazoo, on a real server."""

from __future__ import annotations

import anyio
import pytest

from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import PeerEndedError, PeerError, StartPeer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"  # the tested code is in the other process


async def test_a_lock(kazoo_peer: StartPeer, fresh_path: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer(session_timeout=1.0) as one, kazoo_peer() as two:
            await one.call("Lock", "lock", fresh_path, "first ä")
            await two.call("Lock", "lock", fresh_path, "second")
            assert await one.call("acquire", "lock")
            assert not await two.call("acquire", "lock", 0.1)
            assert await two.call("contenders", "lock") == ["first ä"]
            session_id = await one.call("session-id")
            await one.call("expire-session")
            assert await two.call("acquire", "lock", 5)

            async def has_another_session() -> bool:
                return await one.call("session-id") not in (None, 0, session_id)

            await until(has_another_session)
            two.kill()
            with pytest.raises(PeerEndedError):
                await two.call("session-id")


async def test_a_waiter_is_cancelled(kazoo_peer: StartPeer, fresh_path: str) -> None:
    async def be_cancelled(name: str, command: str) -> None:
        with pytest.raises(PeerError) as caught:
            await peer.call(command, name)
        assert caught.value.error == "CancelledError"

    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as peer:
            for name in ("a", "b"):
                await peer.call("Lock", name, fresh_path, name)
            assert await peer.call("acquire", "a")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(be_cancelled, "b", "acquire")

                async def is_queued() -> bool:
                    return bool(await peer.call("contenders", "a") == ["a", "b"])

                await until(is_queued)
                await peer.call("cancel", "b")
            assert await peer.call("contenders", "a") == ["a"]


async def test_read_and_write_locks(kazoo_peer: StartPeer, fresh_path: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as peer:
            for name in ("a", "b"):
                await peer.call("ReadLock", name, fresh_path, name)
                assert await peer.call("acquire", name, 5)
            await peer.call("WriteLock", "c", fresh_path, "c")
            assert not await peer.call("acquire", "c", 0.1)
            assert await peer.call("contenders", "c") == ["a", "b"]


async def test_a_semaphore(kazoo_peer: StartPeer, fresh_path: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as peer:
            for name in ("a", "b", "c"):
                await peer.call("Semaphore", name, fresh_path, name, 2)
            assert await peer.call("acquire", "a", 5)
            assert await peer.call("acquire", "b", 5)
            assert not await peer.call("acquire", "c", 0.1)
            assert sorted(await peer.call("contenders", "c")) == ["a", "b"]
            await peer.call("release", "a")
            assert await peer.call("acquire", "c", 5)


async def test_an_election(kazoo_peer: StartPeer, fresh_path: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as peer, anyio.create_task_group() as tasks:
            for name in ("a", "b", "c"):
                await peer.call("Election", name, fresh_path, name)
            tasks.start_soon(peer.call, "run", "a")
            assert await peer.call("await", "a", 5)
            tasks.start_soon(peer.call, "run", "b")
            assert not await peer.call("await", "b", 0.1)
            assert await peer.call("contenders", "c") == ["a", "b"]
            await peer.call("relinquish", "a")
            assert await peer.call("await", "b", 5)
            await peer.call("relinquish", "b")


@pytest.mark.parametrize("party", ["Party", "ShallowParty"])
async def test_a_party(kazoo_peer: StartPeer, fresh_path: str, party: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as one, kazoo_peer() as two:
            await one.call(party, "party", fresh_path, "a")
            await two.call(party, "party", fresh_path, "b")
            await one.call("join", "party")
            await two.call("join", "party")
            assert await one.call("members", "party") == ["a", "b"]
            await one.call("leave", "party")
            assert await two.call("members", "party") == ["b"]


async def test_barriers(kazoo_peer: StartPeer, fresh_path: str) -> None:
    with anyio.fail_after(LIMIT):
        async with kazoo_peer() as peer:
            await peer.call("Barrier", "gate", fresh_path)
            await peer.call("create", "gate")
            assert not await peer.call("wait", "gate", 0.1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "wait", "gate")
                assert await peer.call("remove", "gate")
            for name in ("a", "b"):
                await peer.call("DoubleBarrier", name, f"{fresh_path}/double", 2)
            for command in ("enter", "leave"):
                async with anyio.create_task_group() as tasks:
                    for name in ("a", "b"):
                        tasks.start_soon(peer.call, command, name)


async def test_an_unknown_command_is_refused(kazoo_peer: StartPeer, fresh_path: str) -> None:
    async with kazoo_peer() as peer:
        await peer.call("Lock", "lock", fresh_path)
        for words in (("acquire", "other"), ("dance", "lock"), ("dance",)):
            with pytest.raises(PeerError, match="KeyError"):
                await peer.call(*words)
