"""Aimed schedules with a server that continues to answer its clients without a quorum.

It answers pings and reads, and a lock that relied on them would have two holders. These servers notice late
(`syncLimit` of 12 s), so that they are wrong for longer than a session lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial

import anyio
import pytest

import zkrecipes as zk
from tests.apache.holding import Holding, pinged
from tests.apache.members import until_nothing_is_left
from tests.apache.raw_session import raw_session
from tests.apache.recorder import Recorder, take_turns
from tests.apache.server_versions import version_of_server
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble, ApacheServer
from zkrecipes.enums import ServerVersion

pytestmark = [pytest.mark.anyio, pytest.mark.apache]

SESSION_TIMEOUT = 5.0


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


# The members to stop, given the holder's member and the leader.
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
    # A server before 3.5 works sequentially, so all pings wait behind a write without a quorum.
    are_pings_held_up = version_of_server(server) < ServerVersion.V3_5
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
                return holding.is_lost and (are_pings_held_up or answered_ping() > holding.ended_at)

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
