"""Aimed schedules: a server that answers its clients as if nothing had happened, and has no quorum behind it.

Pings and reads are answered there, and a lock that trusted them would have two holders. These servers are
slow to notice (`syncLimit` of 12 s), so that the time in which they are wrong is longer than a session.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import anyio
import pytest

import zkrecipes as zk
from tests.apache.members import follower_of, until_nothing_is_left
from tests.apache.partition import cut_off
from tests.apache.raw_session import RawSession, raw_session
from tests.apache.recorder import Recorder, take_turns
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

SESSION_TIMEOUT = 5.0

# Each schedule takes seconds of real time, and the proof knows no loop: each runs on one of the two.
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(scope="module")
def _slow_to_notice() -> Iterator[ApacheEnsemble]:
    ensemble = ApacheEnsemble(
        size=3,
        settings={"tickTime": 500, "initLimit": 40, "syncLimit": 24, "forceSync": "no"},
        java_options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    )
    ensemble.open()
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(anyio.run, ensemble.start).result()
        yield ensemble
    finally:
        ensemble.close()


@pytest.fixture
def ensemble(_slow_to_notice: ApacheEnsemble) -> Iterator[ApacheEnsemble]:
    yield _slow_to_notice
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, _slow_to_notice.heal).result()


def connect(*members: ApacheServer) -> AbstractAsyncContextManager[zk.Client]:
    return zk.connect(",".join(each.connect_string for each in members), session_timeout=SESSION_TIMEOUT)


class Holding:
    """A lock that is held for as long as it can be, and what its end looked like.

    Attributes:
        ended_at: when its body ended, on the clock of the loop.
        proven_until: what the hold said of itself, the last time that it could.
        is_lost: whether the loss was told.
    """

    def __init__(self) -> None:
        self.hold: zk.Hold
        self.ended_at = 0.0
        self.proven_until = 0.0
        self.is_lost = False
        self.release = anyio.Event()
        self._is_held = anyio.Event()

    async def wait_held(self) -> None:
        with anyio.fail_after(20):
            await self._is_held.wait()

    @property
    def was_in_time(self) -> bool:
        return self.ended_at < self.proven_until

    async def run(self, client: zk.Client, path: str, recorder: Recorder) -> None:
        try:
            async with zk.Mutex(client, path, identifier="holder") as self.hold:
                with recorder.entered("holder", self.hold.fencing_token):
                    self._is_held.set()
                    try:
                        while not self.release.is_set():
                            self.proven_until = self.hold.valid_until
                            await anyio.sleep(0.01)
                    finally:
                        self.ended_at = anyio.current_time()
        except zk.LockLostError:
            self.is_lost = True


@asynccontextmanager
async def pinged(session: RawSession) -> AsyncIterator[Callable[[], float]]:
    """Ping all the time; the call tells when the newest ping that was answered had been sent."""
    answered = float("-inf")

    async def ping() -> None:
        nonlocal answered
        while True:
            sent_at = anyio.current_time()
            await session.ping()
            answered = sent_at
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ping)
        yield lambda: answered
        tasks.cancel_scope.cancel()


# Which members are stopped, given the one that the holder is attached to and the leader.
STOPPED: dict[str, tuple[bool, Callable[[ApacheServer, ApacheServer], bool]]] = {
    "both-followers-of-its-leader": (True, lambda each, leader: each is not leader),
    "leader-of-its-follower": (False, lambda each, leader: each is leader),
    "all-but-its-follower": (False, lambda _each, _leader: True),
}


@pytest.mark.parametrize(
    ("case", "anyio_backend"),
    [
        ("both-followers-of-its-leader", "trio"),
        ("leader-of-its-follower", "trio"),
        ("all-but-its-follower", "asyncio"),
    ],
)
async def test_without_a_quorum_a_hold_ends_in_time_although_pings_are_answered(
    ensemble: ApacheEnsemble, fresh_path: str, case: str
) -> None:
    is_at_leader, is_stopped = STOPPED[case]
    leader = await ensemble.leader()
    server = leader if is_at_leader else (await ensemble.followers())[0]
    recorder, holding = Recorder(), Holding()
    async with (
        connect(server) as holder,
        connect(server) as contender,
        raw_session(server.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
        anyio.create_task_group() as tasks,
    ):
        holder.update_hosts(ensemble.connect_string)
        contender.update_hosts(ensemble.connect_string)
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        async with pinged(witness) as answered_ping:
            for member in ensemble.members:
                if member is not server and is_stopped(member, leader):
                    member.pause()

            async def has_ended_and_pings_are_answered() -> bool:
                return holding.is_lost and answered_ping() > holding.ended_at

            await until(has_ended_and_pings_are_answered)
            assert holding.was_in_time
            assert recorder.names == ["holder"]
        for member in ensemble.members:
            member.resume()
        await recorder.until_entered(2)
        await take_turns(holder, fresh_path, recorder, "holder again", turns=1)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender", "holder again"]
        await until_nothing_is_left(ensemble, contender, fresh_path)


@on_trio
async def test_a_hold_moves_away_from_a_follower_that_is_cut_off(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    async with zk.connect(ensemble.connect_string, session_timeout=SESSION_TIMEOUT) as holder:
        follower = await follower_of(ensemble, holder)
        others = [member for member in ensemble.members if member is not follower]
        session = holder.session
        async with (
            connect(*others) as contender,
            raw_session(follower.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
            anyio.create_task_group() as tasks,
        ):
            await witness.create_ephemeral(f"{fresh_path}-witness")
            tasks.start_soon(holding.run, holder, fresh_path, recorder)
            await holding.wait_held()
            tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
            async with (
                contender.exists_and_watch(f"{fresh_path}-witness") as (_, expired),
                pinged(witness) as answered_ping,
            ):
                with cut_off(follower):
                    with anyio.fail_after(20):
                        await expired.wait()
                    gone_at = anyio.current_time()

                    async def is_answered_although_expired() -> bool:
                        return answered_ping() > gone_at

                    await until(is_answered_although_expired)
                    # So much for pings. Meanwhile the lock:
                    assert not holding.is_lost, "it went to another server"
                    await holding.hold.confirm()
                    assert recorder.names == ["holder"]
                    assert holder.session is session
            holding.release.set()
            await recorder.until_entered(2)
            assert recorder.faults == []
            assert not holding.is_lost
            follower.kill()  # what was dropped is sent again late: it is quicker to start anew
            await ensemble.heal()
            await until_nothing_is_left(ensemble, contender, fresh_path)


@on_asyncio
async def test_a_hold_that_cannot_leave_a_cut_off_follower_ends_before_the_next_begins(
    ensemble: ApacheEnsemble, fresh_path: str
) -> None:
    recorder, holding = Recorder(), Holding()
    follower = (await ensemble.followers())[0]
    others = [member for member in ensemble.members if member is not follower]
    async with (
        connect(follower) as holder,
        connect(*others) as contender,
        raw_session(follower.connect_string, session_timeout=SESSION_TIMEOUT) as witness,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(holding.run, holder, fresh_path, recorder)
        await holding.wait_held()
        tasks.start_soon(partial(take_turns, turns=1), contender, fresh_path, recorder, "contender")
        async with pinged(witness) as answered_ping:
            with cut_off(follower):
                await recorder.until_entered(2)
                entered_at = anyio.current_time()
                assert holding.is_lost
                assert holding.was_in_time
                assert holding.ended_at < entered_at

                async def is_answered_although_another_holds() -> bool:
                    return answered_ping() > entered_at

                await until(is_answered_although_another_holds)
        holder.update_hosts(ensemble.connect_string)
        follower.kill()
        await take_turns(holder, fresh_path, recorder, "holder again", turns=1)
        assert recorder.faults == []
        assert recorder.names == ["holder", "contender", "holder again"]
        await ensemble.heal()
        await until_nothing_is_left(ensemble, contender, fresh_path)
