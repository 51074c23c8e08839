"""Our barriers and Curator's `DistributedBarrier` and `DistributedDoubleBarrier`, on a real server.

On one loop: the gate's scenarios run on both with kazoo's, which is started sooner.
"""

from __future__ import annotations

import uuid
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.interop import barrier_scenarios as scenarios
from tests.interop.barrier_scenarios import Gate
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import Peer, StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

# Curator's waits are given a limit: without one it may miss the event that it waits for.
SECONDS = 10


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def gate(apache_server: ApacheServer, curator: StartPeer, fresh_path: str) -> Gate:
    return Gate(apache_server, f"{fresh_path}/gate", curator, gate_class="DistributedBarrier", close="set")


async def test_we_close_and_curator_waits(gate: Gate) -> None:
    await scenarios.we_close_and_they_wait(gate)


async def test_curator_closes_and_we_wait(gate: Gate) -> None:
    await scenarios.they_close_and_we_wait(gate)


async def test_curator_dies_and_it_stays_closed(gate: Gate) -> None:
    await scenarios.they_die_and_it_stays_closed(gate)


# --- the double barrier ----------------------------------------------------------------------------------


class Meeting:
    """Some of Curator's members and some of ours, at one path."""

    def __init__(self, server: ApacheServer, path: str) -> None:
        self.path = path
        self.inside: set[str] = set()
        self.gone: set[str] = set()
        self.may_leave = anyio.Event()
        self._server = server

    def again(self) -> Meeting:
        """Another one at the same path, where nobody has been yet."""
        return Meeting(self._server, self.path)

    def connect(self) -> AbstractAsyncContextManager[zk.Client]:
        return zk.connect(self._server.connect_string, session_timeout=4.0)

    async def ours(self, client: zk.Client, name: str, parties: int) -> None:
        async with zk.DoubleBarrier(client, self.path, parties=parties, identifier=name):
            self.inside.add(name)
            await self.may_leave.wait()
        self.gone.add(name)

    async def theirs(self, peer: Peer, name: str, parties: int) -> None:
        await peer.call("DistributedDoubleBarrier", name, self.path, parties)
        assert await peer.call("enter", name, SECONDS)
        self.inside.add(name)
        await self.may_leave.wait()
        assert await peer.call("leave", name, SECONDS)
        self.gone.add(name)

    async def until_there(self, client: zk.Client, number: int) -> None:
        barrier = zk.DoubleBarrier(client, self.path, parties=1)

        async def are_there() -> bool:
            return len(await barrier.members()) == number

        await until(are_there)

    async def until(self, names: set[str], number: int) -> None:
        async def are_so_many() -> bool:
            await anyio.lowlevel.checkpoint()
            return len(names) == number

        await until(are_so_many)


@pytest.fixture
def meeting(apache_server: ApacheServer, fresh_path: str) -> Meeting:
    return Meeting(apache_server, fresh_path)


@pytest.mark.parametrize("last", ["ours", "theirs"])
async def test_in_together_and_out_together(meeting: Meeting, curator: StartPeer, last: str) -> None:
    """Whoever comes last lets all of them in, and whoever leaves last lets all of them out."""
    with anyio.fail_after(LIMIT):
        async with meeting.connect() as client, curator() as peer, anyio.create_task_group() as tasks:
            tasks.start_soon(meeting.ours, client, "ours-1", 3)
            tasks.start_soon(meeting.theirs, peer, "theirs-1", 3)
            await meeting.until_there(client, 2)
            await anyio.sleep(0.2)
            assert not meeting.inside
            if last == "ours":
                tasks.start_soon(meeting.ours, client, "ours-2", 3)
            else:
                tasks.start_soon(meeting.theirs, peer, "theirs-2", 3)
            await meeting.until(meeting.inside, 3)
            assert "ready" in await client.get_children(meeting.path)
            meeting.may_leave.set()
            await meeting.until(meeting.gone, 3)
            await until_empty(client, meeting.path)


async def test_each_waits_until_the_other_has_left(meeting: Meeting, curator: StartPeer) -> None:
    """The first by name keeps its znode until the other has gone: ours does it as Curator's does."""
    seen: set[tuple[str, str]] = set()
    with anyio.fail_after(3 * LIMIT):
        async with meeting.connect() as client, curator() as peer:
            while len(seen) < 4:  # names are random
                for leaves_first in ("ours", "theirs"):
                    seen.add(
                        (leaves_first, await leave_one_by_one(meeting.again(), client, peer, leaves_first))
                    )


async def leave_one_by_one(at: Meeting, client: zk.Client, peer: Peer, leaves_first: str) -> str:
    """Let one begin to leave, and then the other; who is the first by name."""
    name = str(uuid.uuid4())
    may_theirs_leave = anyio.Event()

    async def theirs() -> None:
        await may_theirs_leave.wait()
        assert await peer.call("leave", name, SECONDS)
        at.gone.add("theirs")

    async with anyio.create_task_group() as tasks:
        await peer.call("DistributedDoubleBarrier", name, at.path, 2)
        tasks.start_soon(at.ours, client, "ours", 2)
        assert await peer.call("enter", name, SECONDS)
        tasks.start_soon(theirs)
        await at.until(at.inside, 1)
        first = await client.get(f"{at.path}/{min(await client.get_children(at.path))}")
        events = [at.may_leave, may_theirs_leave]
        for event in events if leaves_first == "ours" else reversed(events):
            assert at.gone == set()
            event.set()
            await anyio.sleep(0.2)
        await at.until(at.gone, 2)
    await until_empty(client, at.path)
    return "ours" if first.data == b"ours" else "theirs"


async def test_a_killed_curator_keeps_nobody_waiting(meeting: Meeting, curator: StartPeer) -> None:
    with anyio.fail_after(2 * LIMIT):
        async with meeting.connect() as client, anyio.create_task_group() as tasks:
            async with curator(session_timeout=2.0) as peer:
                await peer.call("DistributedDoubleBarrier", "theirs", meeting.path, 2)
                meeting.may_leave.set()
                tasks.start_soon(meeting.ours, client, "ours", 2)
                assert await peer.call("enter", "theirs", SECONDS)
                await meeting.until(meeting.inside, 1)
                peer.kill()
                assert meeting.gone == set()
            await meeting.until(meeting.gone, 1)
            await until_empty(client, meeting.path)


async def test_again_and_again(meeting: Meeting, curator: StartPeer) -> None:
    """Each round of Curator's is a new object, as each of them has one znode's name."""
    rounds = 10
    with anyio.fail_after(2 * LIMIT):
        async with meeting.connect() as client, meeting.connect() as other, curator() as peer:
            for number in range(rounds):
                at = meeting.again()
                at.may_leave.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(at.ours, client, f"a-{number}", 3)
                    tasks.start_soon(at.ours, other, f"b-{number}", 3)
                    tasks.start_soon(at.theirs, peer, f"c-{number}", 3)
                assert len(at.gone) == 3
            await until_empty(client, meeting.path)


async def until_empty(client: zk.Client, path: str) -> None:
    """Nothing is left: Curator removes `ready` after it has answered."""
    while True:
        try:
            async with client.get_children_and_watch(path) as (names, changed):
                if not names:
                    return
                await changed.wait()
        except zk.NoNodeError:
            return  # a container, which was reaped
