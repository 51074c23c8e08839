"""Our barriers and Curator's `DistributedBarrier` and `DistributedDoubleBarrier`, on a real server.

It runs on one loop. The scenarios of the gate run on both loops with kazoo, which starts faster.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from itertools import permutations

import anyio
import anyio.lowlevel
import pytest

import zkrecipes as zk
from tests.apache.raw_session import end_session
from tests.interop import barrier_scenarios as scenarios
from tests.interop.barrier_scenarios import Gate
from tests.interop.mutex_scenarios import LIMIT, until
from tests.interop.peer import Peer, PeerEndedError, PeerError, StartPeer
from tests.sweeps import IS_WHOLE, sample
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

# Curator's waits have a limit, because without one Curator may miss the event that it waits for.
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


class SharedBarrier:
    """A barrier that members of Curator's and of ours enter at one path."""

    def __init__(self, server: ApacheServer, path: str) -> None:
        self.path = path
        self.inside: set[str] = set()
        self.out: set[str] = set()
        self.may_leave = anyio.Event()
        self.server = server

    def again(self) -> SharedBarrier:
        """Return a barrier at the same path that no member has entered."""
        return SharedBarrier(self.server, self.path)

    def connect(self) -> AbstractAsyncContextManager[zk.Client]:
        return zk.connect(self.server.connect_string, session_timeout=4.0)

    async def ours(self, client: zk.Client, name: str, parties: int) -> None:
        async with zk.DoubleBarrier(client, self.path, parties=parties, identifier=name):
            self.inside.add(name)
            await self.may_leave.wait()
        self.out.add(name)

    async def theirs(self, peer: Peer, name: str, parties: int) -> None:
        await peer.call("DistributedDoubleBarrier", name, self.path, parties)
        assert await peer.call("enter", name, SECONDS)
        self.inside.add(name)
        await self.may_leave.wait()
        assert await peer.call("leave", name, SECONDS)
        self.out.add(name)

    async def until_there(self, client: zk.Client, number: int) -> None:
        barrier = zk.DoubleBarrier(client, self.path, parties=1)

        async def are_there() -> bool:
            return len(await barrier.members()) == number

        await until(are_there)

    async def until(self, names: set[str], number: int) -> None:
        async def has_number() -> bool:
            await anyio.lowlevel.checkpoint()
            return len(names) == number

        await until(has_number)


@pytest.fixture
def shared(apache_server: ApacheServer, fresh_path: str) -> SharedBarrier:
    return SharedBarrier(apache_server, fresh_path)


@pytest.mark.parametrize("last", ["ours", "theirs"])
async def test_in_together_and_out_together(shared: SharedBarrier, curator: StartPeer, last: str) -> None:
    """The last member to arrive lets all members in, and the last to leave lets all members out."""
    with anyio.fail_after(LIMIT):
        async with shared.connect() as client, curator() as peer, anyio.create_task_group() as tasks:
            tasks.start_soon(shared.ours, client, "ours-1", 3)
            tasks.start_soon(shared.theirs, peer, "theirs-1", 3)
            await shared.until_there(client, 2)
            await anyio.sleep(0.2)
            assert not shared.inside
            if last == "ours":
                tasks.start_soon(shared.ours, client, "ours-2", 3)
            else:
                tasks.start_soon(shared.theirs, peer, "theirs-2", 3)
            await shared.until(shared.inside, 3)
            assert "ready" in await client.get_children(shared.path)
            shared.may_leave.set()
            await shared.until(shared.out, 3)
            await until_empty(client, shared.path)


async def test_a_killed_curator_keeps_no_member_waiting(shared: SharedBarrier, curator: StartPeer) -> None:
    with anyio.fail_after(2 * LIMIT):
        async with shared.connect() as client, anyio.create_task_group() as tasks:
            async with curator(session_timeout=2.0) as peer:
                await peer.call("DistributedDoubleBarrier", "theirs", shared.path, 2)
                shared.may_leave.set()
                tasks.start_soon(shared.ours, client, "ours", 2)
                assert await peer.call("enter", "theirs", SECONDS)
                await shared.until(shared.inside, 1)
                peer.kill()
                assert shared.out == set()
            await shared.until(shared.out, 1)
            await until_empty(client, shared.path)


async def test_one_round_follows_another(shared: SharedBarrier, curator: StartPeer) -> None:
    """Each round of Curator's needs a new object, because each object has the name of one znode."""
    rounds = 10
    with anyio.fail_after(2 * LIMIT):
        async with shared.connect() as client, shared.connect() as other, curator() as peer:
            for number in range(rounds):
                at = shared.again()
                at.may_leave.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(at.ours, client, f"a-{number}", 3)
                    tasks.start_soon(at.ours, other, f"b-{number}", 3)
                    tasks.start_soon(at.theirs, peer, f"c-{number}", 3)
                assert len(at.out) == 3
            await until_empty(client, shared.path)


# --- every order, and kills ------------------------------------------------------------------------------

MEMBERS = ("ours-1", "ours-2", "theirs")
ORDERS = [(arriving, leaving) for arriving in permutations(MEMBERS) for leaving in permutations(MEMBERS)]
KILLS = [(victim, when) for victim in ("theirs", "ours-1") for when in ("waiting", "inside", "leaving")]


class Round:
    """A round of two members of ours and one of Curator's, each of which leaves on command."""

    def __init__(
        self, shared: SharedBarrier, peer: Peer, clients: dict[str, zk.Client], parties: int
    ) -> None:
        self.inside: list[str] = []
        self.out: list[str] = []
        self.may_leave = {name: anyio.Event() for name in MEMBERS}
        self.path = shared.path
        self.observer = clients["observer"]
        self._peer = peer
        self._clients = clients
        self._parties = parties

    async def enter_and_leave(self, name: str) -> None:
        """Go through the barrier."""
        if name == "theirs":
            await self._theirs()
        else:
            barrier = zk.DoubleBarrier(self._clients[name], self.path, parties=self._parties, identifier=name)
            async with barrier:
                self.inside.append(name)
                await self.may_leave[name].wait()
            self.out.append(name)

    async def _theirs(self) -> None:
        name = str(uuid.uuid4())
        await self._peer.call("DistributedDoubleBarrier", name, self.path, self._parties)
        assert await self._peer.call("enter", name, SECONDS)
        self.inside.append("theirs")
        await self.may_leave["theirs"].wait()
        assert await self._peer.call("leave", name, SECONDS)
        self.out.append("theirs")

    async def members(self) -> list[str]:
        """Return the names of the znodes."""
        try:
            names = await self.observer.get_children(self.path)
        except zk.NoNodeError:
            return []
        return sorted(name for name in names if name != "ready")

    async def until_there(self, number: int) -> None:
        async def are_there() -> bool:
            return len(await self.members()) == number

        await until(are_there)

    async def until_it_waits_to_leave(self, before: list[str]) -> None:
        """Wait until a member that may leave has deleted its znode, or has had time to wait as the first."""
        with anyio.move_on_after(0.3):
            while await self.members() == before:  # noqa: ASYNC110 - no event announces it
                await anyio.sleep(0.01)


@asynccontextmanager
async def three_clients(shared: SharedBarrier) -> AsyncIterator[dict[str, zk.Client]]:
    async with AsyncExitStack() as stack:
        names = ("ours-1", "ours-2", "observer")
        yield {name: await stack.enter_async_context(shared.connect()) for name in names}


@pytest.mark.timeout(120)
@pytest.mark.sweep
@pytest.mark.parametrize("parties", [3, 2])
async def test_every_order_of_arriving_and_leaving(
    shared: SharedBarrier, curator: StartPeer, parties: int
) -> None:
    """No member is inside before a round begins with it, or out before all members of the round are out."""
    orders = sample(ORDERS, 5, f"{parties} parties")
    async with three_clients(shared) as clients, curator() as peer:
        for number, (arriving, leaving) in enumerate(orders):
            at = SharedBarrier(shared.server, f"{shared.path}-{number}")
            with anyio.fail_after(LIMIT):
                if parties == 3:
                    await three_go_through(Round(at, peer, clients, parties), arriving, leaving)
                else:
                    await one_is_late(Round(at, peer, clients, parties), arriving, leaving)


async def three_go_through(barrier_round: Round, arriving: Sequence[str], leaving: Sequence[str]) -> None:
    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(arriving):
            assert barrier_round.inside == []
            tasks.start_soon(barrier_round.enter_and_leave, name)
            await barrier_round.until_there(number + 1)
        while len(barrier_round.inside) < 3:  # noqa: ASYNC110 - no event announces it
            await anyio.sleep(0.005)
        for name in leaving:
            assert barrier_round.out == []
            before = await barrier_round.members()
            barrier_round.may_leave[name].set()
            if name != leaving[-1]:
                await barrier_round.until_it_waits_to_leave(before)
    await until_empty(barrier_round.observer, barrier_round.path)


async def one_is_late(barrier_round: Round, arriving: Sequence[str], leaving: Sequence[str]) -> None:
    """Begin a round of two; a late member of Curator's enters it, one of ours waits for the next round."""
    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(arriving[:2]):
            tasks.start_soon(barrier_round.enter_and_leave, name)
            await barrier_round.until_there(number + 1)
        while len(barrier_round.inside) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.005)
        late = arriving[2]
        tasks.start_soon(barrier_round.enter_and_leave, late)
        if late == "theirs":
            while late not in barrier_round.inside:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            assert len(await barrier_round.members()) == 3
        else:
            await anyio.sleep(0.2)
            assert late not in barrier_round.inside
            assert len(await barrier_round.members()) == 2
        for name in leaving:
            if name != late or late == "theirs":
                before = await barrier_round.members()
                barrier_round.may_leave[name].set()
                await barrier_round.until_it_waits_to_leave(before)
        if late != "theirs":
            await anyio.sleep(0.2)
            assert sorted(barrier_round.out) == sorted(arriving[:2])
            assert late not in barrier_round.inside, "the late member was alone in the next round"
            tasks.cancel_scope.cancel()


@pytest.mark.timeout(60)
@pytest.mark.sweep
@pytest.mark.parametrize(("victim", "when"), KILLS if IS_WHOLE else [KILLS[1], KILLS[5]])
async def test_a_kill_lets_no_member_in_wrongly_and_keeps_none_for_ever(
    shared: SharedBarrier, curator: StartPeer, victim: str, when: str
) -> None:
    """In a round of three, one member is killed; ours lose the session like a killed process."""
    async with three_clients(shared) as clients, curator(session_timeout=2.0) as peer:
        barrier_round = Round(shared, peer, clients, 3)
        others = [name for name in MEMBERS if name != victim]
        with anyio.fail_after(2 * LIMIT):
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()

                async def doomed() -> None:
                    with scope, suppress(PeerEndedError, PeerError, zk.BrokenBarrierError):
                        await barrier_round.enter_and_leave(victim)

                async def kill() -> None:
                    if victim == "theirs":
                        peer.kill()
                    else:
                        session = clients[victim].session
                        await end_session(shared.server.connect_string, session.id, session.password)
                    scope.cancel()

                tasks.start_soon(doomed)
                await barrier_round.until_there(1)
                if when == "waiting":
                    await kill()
                    await barrier_round.until_there(0)
                for name in others:
                    tasks.start_soon(barrier_round.enter_and_leave, name)
                if when == "waiting":
                    await barrier_round.until_there(2)
                    await anyio.sleep(0.3)
                    assert barrier_round.inside == []
                    tasks.cancel_scope.cancel()
                    return
                while len(barrier_round.inside) < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
                if when == "leaving":
                    before = await barrier_round.members()
                    barrier_round.may_leave[victim].set()
                    await barrier_round.until_it_waits_to_leave(before)
                assert barrier_round.out == []
                await kill()
                for name in others:
                    barrier_round.may_leave[name].set()
            assert sorted(barrier_round.out) == sorted(others)
        await until_empty(barrier_round.observer, barrier_round.path)


@pytest.mark.timeout(60)
async def test_a_ready_that_curator_deletes_too_early_lets_no_member_of_ours_in(
    shared: SharedBarrier, curator: StartPeer
) -> None:
    """Curator's last leaver deletes any `ready`. Then another member of Curator's creates one."""
    async with three_clients(shared) as clients, curator() as peer:
        barrier_round = Round(shared, peer, clients, 2)
        observer = clients["observer"]
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(barrier_round.enter_and_leave, "ours-1")
                tasks.start_soon(barrier_round.enter_and_leave, "theirs")
                while len(barrier_round.inside) < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
                await observer.delete(f"{shared.path}/ready")
                tasks.start_soon(barrier_round.enter_and_leave, "ours-2")
                second = str(uuid.uuid4())
                await peer.call("DistributedDoubleBarrier", second, shared.path, 2)
                assert await peer.call("enter", second, SECONDS)  # it counts the members inside
                await anyio.sleep(0.3)
                assert "ours-2" not in barrier_round.inside
                for event in barrier_round.may_leave.values():
                    event.set()
                assert await peer.call("leave", second, SECONDS)
                while len(barrier_round.out) < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
                assert "ours-2" not in barrier_round.inside
                tasks.start_soon(barrier_round.enter_and_leave, "ours-1")  # the next round
        assert sorted(barrier_round.inside) == ["ours-1", "ours-1", "ours-2", "theirs"]


async def until_empty(client: zk.Client, path: str) -> None:
    """Wait until no znode remains; Curator removes `ready` after it has answered."""
    while True:
        try:
            async with client.get_children_and_watch(path) as (names, changed):
                if not names:
                    return
                await changed.wait()
        except zk.NoNodeError:
            return  # the container was reaped
