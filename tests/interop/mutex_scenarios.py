"""Scenarios with our mutex and another library's lock on one path, written once for each library.

A test file passes its library as a `Family` and runs each scenario.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast, final

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.interop.peer import Peer, StartPeer
from tests.interop.recorder import Recorder
from zkrecipes.ensemble import ask
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

LIMIT = 15.0
_POLL_INTERVAL = 0.02
_ROUNDS = 6


@final
@dataclass(frozen=True)
class PeerLock:
    """A lock of the other library."""

    peer: Peer
    name: str

    async def acquire(self, *seconds: float) -> bool:
        """Acquire the lock, at most in this time; return whether that succeeded."""
        acquired: bool = await self.peer.call("acquire", self.name, *seconds)
        return acquired

    async def release(self) -> None:
        await self.peer.call("release", self.name)


class Listening(Protocol):
    """A server, Apache's or the dev server."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def connect_string(self) -> str: ...


@final
@dataclass(frozen=True)
class Family:
    """A library, the server, and a path on it that no other test uses.

    Attributes:
        layout: our name for its layout.
        lock_class: the library's name for its mutex.
    """

    server: Listening
    path: str
    start: StartPeer
    layout: str
    lock_class: str

    def connect(self) -> AbstractAsyncContextManager[zk.Client]:
        """Connect one of our clients."""
        return zk.connect(self.server.connect_string, session_timeout=4.0)

    def ours(self, client: zk.Client, name: str) -> zk.Mutex:
        return zk.Mutex(client, self.path, identifier=name, layout=cast(LockLayoutName, self.layout))

    async def theirs(self, peer: Peer, name: str) -> PeerLock:
        await peer.call(self.lock_class, name, self.path, name)
        return PeerLock(peer, name)

    async def make_directory(self, client: zk.Client) -> None:
        """Create the directory for a lock that is used again later: kazoo's lock creates it only once."""
        await client.ensure_path(self.path)

    async def until_queued(self, client: zk.Client, count: int) -> None:
        """Wait until this many contenders hold the lock or wait for it."""
        while True:
            async with client.get_children_and_watch(self.path) as (names, changed):
                if len(names) == count:
                    return
                await changed.wait()

    async def until_watched(self, path: str, *, by: int) -> None:
        """Wait until this session watches this znode."""

        async def is_watched() -> bool:
            return by in (await self._watches()).get(path, ())

        await until(is_watched)

    async def assert_nothing_left(self, client: zk.Client) -> None:
        """Check that no znode remains in the queue, and soon no watch."""
        with suppress(zk.NoNodeError):  # an empty container
            assert await client.get_children(self.path) == []

        async def is_unwatched() -> bool:
            return not any(path.startswith(self.path) for path in await self._watches())

        await until(is_unwatched)

    async def _watches(self) -> dict[str, set[int]]:
        """Return the sessions with a one-shot watch (`wchp` lists a path, then its sessions, indented)."""
        watches: dict[str, set[int]] = {}
        path = ""
        for line in (await ask(self.server.host, self.server.port, "wchp")).splitlines():
            if line.startswith("/"):
                path = line
            elif line.startswith("\t"):
                watches.setdefault(path, set()).add(int(line, 16))
        return watches


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a change that causes no event; the caller limits the time."""
    while not await condition():  # noqa: ASYNC110
        await anyio.sleep(_POLL_INTERVAL)


async def reaper_has_passed(client: zk.Client, path: str) -> None:
    """Wait until the server has looked for empty containers, and deleted those that exist now."""
    for _ in range(2):  # a pass that had already begun may have deleted the first one
        await client.create(path, b"", container=True)
        await client.delete(await client.create(f"{path}/child"))

        async def is_deleted() -> bool:
            return await client.exists(path) is None

        await until(is_deleted)


# --- contenders --------------------------------------------------------------------------------------


async def hold_ours(mutex: zk.Mutex, recorder: Recorder, tokens: list[int], *, rounds: int = 1) -> None:
    """Hold the lock repeatedly, and record each hold's token."""
    for _ in range(rounds):
        async with mutex as hold:
            with recorder.inside(mutex.identifier):
                tokens.append(hold.fencing_token)
                await anyio.lowlevel.checkpoint()


async def hold_theirs(lock: PeerLock, recorder: Recorder, *, rounds: int = 1) -> None:
    """Hold the lock repeatedly."""
    for _ in range(rounds):
        assert await lock.acquire()
        with recorder.inside(lock.name):
            await anyio.lowlevel.checkpoint()
        await lock.release()


@asynccontextmanager
async def both(family: Family) -> AsyncIterator[tuple[zk.Client, Peer]]:
    """A client of ours and one of theirs, with a time limit; at the end nothing may remain."""
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer:
            yield client, peer
            await family.assert_nothing_left(client)


# --- scenarios -------------------------------------------------------------------------------------------


async def many_contend(family: Family) -> None:
    """Let three of ours and three of theirs contend, in two clients each; never are two inside."""
    recorder, tokens = Recorder(), list[int]()
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(both(family)) for _ in range(2)]
        await family.make_directory(pairs[0][0])
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                client, peer = pairs[number % 2]
                mutex = family.ours(client, f"ours-{number}")
                tasks.start_soon(partial(hold_ours, mutex, recorder, tokens, rounds=_ROUNDS))
                lock = await family.theirs(peer, f"theirs-{number}")
                tasks.start_soon(partial(hold_theirs, lock, recorder, rounds=_ROUNDS))
        assert len(recorder.order) == 6 * _ROUNDS
        assert tokens == sorted(set(tokens))
        # they really contended: the lock passed from one library to the other
        assert "theirs" in " ".join(recorder.order).split("ours", 1)[1]


async def first_come_first_served(family: Family) -> None:
    """Check that contenders of both libraries get the lock in the order in which they queued up."""
    recorder, tokens = Recorder(), list[int]()
    async with both(family) as (client, peer):
        locks = {name: await family.theirs(peer, name) for name in ("theirs-1", "theirs-2", "theirs-3")}
        names = ["theirs-1", "ours-1", "theirs-2", "theirs-3", "ours-2", "ours-3"]
        async with anyio.create_task_group() as tasks, family.ours(client, "first"):
            for number, name in enumerate(names):
                if name in locks:
                    tasks.start_soon(hold_theirs, locks[name], recorder)
                else:
                    tasks.start_soon(hold_ours, family.ours(client, name), recorder, tokens)
                await family.until_queued(client, number + 2)
            assert recorder.order == []
        assert recorder.order == names


async def a_contender_that_does_not_wait_leaves_nothing(family: Family) -> None:
    """Check that either side gives up on a held lock, and then delays no other contender."""
    async with both(family) as (client, peer):
        mutex, lock = family.ours(client, "ours"), await family.theirs(peer, "theirs")
        await family.make_directory(client)
        async with mutex as hold:
            assert not await lock.acquire(0.2)
            assert [each.path for each in await mutex.contenders()] == [hold.path]
        assert await lock.acquire(5)
        with pytest.raises(zk.AcquireTimeoutError):
            await mutex.acquire(wait=0).__aenter__()
        assert len(await client.get_children(family.path)) == 1
        await lock.release()
        async with mutex.acquire(wait=0):
            pass


async def their_holder_dies(family: Family) -> None:
    """Kill a process of theirs while it holds the lock: we get it when its session has ended."""
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start(session_timeout=1.0) as peer:
            mutex, lock = family.ours(client, "ours"), await family.theirs(peer, "theirs")
            assert await lock.acquire()
            session_id = await peer.call("session-id")
            (theirs,) = await mutex.contenders()
            assert theirs.session_id == session_id
            async with anyio.create_task_group() as tasks:

                async def acquire() -> None:
                    async with mutex as hold:
                        assert hold.fencing_token > theirs.fencing_token
                        assert [each.identifier for each in await mutex.contenders()] == ["ours"]

                tasks.start_soon(acquire)
                await family.until_watched(theirs.path, by=client.session.id)
                peer.kill()
            await family.assert_nothing_left(client)


async def their_waiter_loses_its_session(family: Family) -> None:
    """Expire a waiter of theirs: it wakes no contender that must wait, and queues up again behind us."""
    recorder, tokens = Recorder(), list[int]()
    async with both(family) as (client, peer):
        mutex, lock = family.ours(client, "holder"), await family.theirs(peer, "theirs")

        async def is_behind_us() -> bool:
            contenders = [each.identifier for each in await mutex.contenders()]
            return contenders == ["holder", "ours", "theirs"]

        async with anyio.create_task_group() as tasks, mutex as hold:
            tasks.start_soon(hold_theirs, lock, recorder)
            await family.until_queued(client, 2)
            tasks.start_soon(hold_ours, family.ours(client, "ours"), recorder, tokens)
            await family.until_watched((await mutex.contenders())[1].path, by=client.session.id)
            await peer.call("expire-session")
            await until(is_behind_us)
            assert recorder.order == []
            hold.check()
        assert recorder.order == ["ours", "theirs"]


async def our_waiter_is_cancelled(family: Family) -> None:
    """Cancel a waiter: its znode is deleted, and the contender behind it continues to wait for the holder."""
    recorder, tokens = Recorder(), list[int]()
    async with both(family) as (client, peer):
        holder, behind = await family.theirs(peer, "holder"), await family.theirs(peer, "behind")
        assert await holder.acquire()
        contenders = family.ours(client, "").contenders
        session_id = await peer.call("session-id")
        async with anyio.create_task_group() as tasks:
            with recorder.inside("holder"):
                async with anyio.create_task_group() as waiters:
                    waiters.start_soon(hold_ours, family.ours(client, "ours"), recorder, tokens)
                    await family.until_queued(client, 2)
                    tasks.start_soon(hold_theirs, behind, recorder)
                    await family.until_queued(client, 3)
                    first, ours, last = await contenders()
                    assert ours.identifier == "ours"
                    await family.until_watched(ours.path, by=session_id)
                    waiters.cancel_scope.cancel()
                assert [each.path for each in await contenders()] == [first.path, last.path]
                # it has listed the queue again, and it is not its turn
                await family.until_watched(first.path, by=session_id)
                assert recorder.order == ["holder"]
            await holder.release()
        assert recorder.order == ["holder", "behind"]
        assert tokens == []


async def our_znode_is_deleted(family: Family) -> None:
    """Delete the holder's znode, as an administrator might: the next one enters, so our block must end."""
    async with both(family) as (client, peer):
        lock = await family.theirs(peer, "theirs")
        session_id = await peer.call("session-id")
        async with anyio.create_task_group() as tasks:

            async def hold_until_lost() -> None:
                async with family.ours(client, "ours") as hold:
                    tasks.start_soon(hold_theirs, lock, Recorder())
                    await family.until_watched(hold.path, by=session_id)
                    await client.delete(hold.path)
                    await anyio.sleep_forever()

            with pytest.raises(zk.LockLostError):
                await hold_until_lost()


async def the_directory_is_removed(family: Family) -> None:
    """Delete the directory, as a server does with an empty container: either side creates it again."""

    async def remove_directory() -> None:
        with suppress(zk.NoNodeError):  # the server was faster
            await client.delete(family.path)

    async with both(family) as (client, peer):
        mutex = family.ours(client, "ours")
        for name in ("theirs-1", "theirs-2"):
            async with mutex:
                pass
            await remove_directory()
            lock = await family.theirs(peer, name)
            assert await lock.acquire(5)
            await lock.release()
            await remove_directory()
