"""Elections on real servers: all candidates lead in turn, and observers follow while servers fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

import zkrecipes as zk
from tests.apache.members import follower_of, member_of, until_nothing_is_left
from tests.apache.recorder import Recorder
from tests.apache.served import Served
from tests.apache.waiting import until
from zkrecipes.ensemble import ApacheEnsemble
from zkrecipes.recipes.following.latest_value import LatestReader

pytestmark = pytest.mark.anyio


async def _lead(client: zk.Client, path: str, name: str, recorder: Recorder, over: anyio.Event) -> None:
    async with zk.Election(client, path, data=name.encode()).lead() as leadership:
        with recorder.entered(name, leadership.fencing_token):
            await over.wait()
            leadership.check()


async def _until_led_by(leaders: LatestReader[zk.Contender | None], name: str | None) -> None:
    with anyio.fail_after(20):
        async for leader in leaders:
            if (None if leader is None else leader.data.decode()) == name:
                return


async def _until_candidates(election: zk.Election, number: int) -> None:
    async def are_there() -> bool:
        return len(await election.contenders()) == number

    await until(are_there)


async def test_all_candidates_lead_in_turn(server: Served, fresh_path: str) -> None:
    recorder = Recorder()
    names = ["one", "two", "three"]
    over = {name: anyio.Event() for name in names}
    async with (
        zk.connect(server.connect_string, session_timeout=10) as client,
        zk.connect(server.connect_string, session_timeout=10) as other,
    ):
        election = zk.Election(other, fresh_path)
        assert await election.leader() is None
        async with election.changes() as leaders, anyio.create_task_group() as tasks:
            assert await anext(leaders) is None
            for number, name in enumerate(names, 1):
                tasks.start_soon(_lead, client, fresh_path, name, recorder, over[name])
                await _until_candidates(election, number)
            for name in names:
                await _until_led_by(leaders, name)
                leader = await election.leader()
                assert leader is not None
                assert (leader.identifier, leader.session_id) == (name, client.session.id)
                over[name].set()
            await _until_led_by(leaders, None)
        assert recorder.names == names
        assert recorder.faults == []
        assert await election.contenders() == []


async def _kill_its_server(ensemble: ApacheEnsemble, leader: zk.Client) -> None:
    (await member_of(ensemble, leader)).kill()


async def _kill_the_leading_server(ensemble: ApacheEnsemble, leader: zk.Client) -> None:
    (await ensemble.leader()).kill()


# one loop each, because restarting servers takes long
@pytest.mark.parametrize(
    ("anyio_backend", "harm"), [("trio", _kill_its_server), ("asyncio", _kill_the_leading_server)]
)
async def test_a_server_is_killed_while_a_leadership_is_held(
    apache_ensemble: ApacheEnsemble,
    fresh_path: str,
    harm: Callable[[ApacheEnsemble, zk.Client], Awaitable[None]],
) -> None:
    """The leadership is kept or ends before the next begins; observers end with the current leader."""
    recorder = Recorder()
    over = anyio.Event()
    hosts = apache_ensemble.connect_string
    async with (
        zk.connect(hosts, session_timeout=6) as first,
        zk.connect(hosts, session_timeout=6) as second,
        zk.connect(hosts, session_timeout=6) as observer,
    ):
        await follower_of(apache_ensemble, first)
        election = zk.Election(observer, fresh_path)
        async with election.changes() as leaders, anyio.create_task_group() as tasks:
            try:
                async with zk.Election(first, fresh_path, data=b"first").lead() as leadership:
                    with recorder.entered("first", leadership.fencing_token):
                        await _until_led_by(leaders, "first")
                        tasks.start_soon(_lead, second, fresh_path, "second", recorder, over)
                        await _until_candidates(election, 2)
                        await harm(apache_ensemble, first)
                        await leadership.confirm()  # there is a leader with a quorum again
                        leader = await election.leader()
                        assert leader is not None
                        assert leader.data == b"first"
            except zk.LeadershipLostError:
                recorder.losses += 1
            await _until_led_by(leaders, "second")
            await recorder.until_entered(2)
            over.set()
            await _until_led_by(leaders, None)
        assert recorder.faults == []
        assert recorder.names == ["first", "second"]
        await apache_ensemble.heal()
        await until_nothing_is_left(apache_ensemble, observer, fresh_path)
