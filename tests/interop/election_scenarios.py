"""Scenarios with our election and another library's on one path, written once for each library.

A test file passes its library as a `Family` and runs each scenario.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast, final

import anyio
import anyio.abc
import pytest

import zkrecipes as zk
from tests.interop.mutex_scenarios import LIMIT, Family, both, until
from tests.interop.peer import Peer, PeerEndedError
from zkrecipes.recipes.following.latest_value import LatestReader
from zkrecipes.recipes.locking.lock_layouts import ElectionLayoutName

_HAND_OVER_LIMIT = 5.0


@final
@dataclass(frozen=True)
class Words:
    """The commands of a library's candidate.

    Attributes:
        stand: become a candidate.
        step_down: give the leadership up.
        names: list the identifiers of all candidates in order.
        leader: return the leader's identifier, if the library can.
        is_answered_when_it_has_led: whether `stand` is answered only after the candidate has led.
    """

    stand: str
    step_down: str
    names: str
    leader: str = ""
    is_answered_when_it_has_led: bool = False


KAZOO = Words("run", "relinquish", "contenders", is_answered_when_it_has_led=True)
LATCH = Words("start", "close", "participants", "leader")
SELECTOR = Words("start", "relinquish", "participants", "leader")


@final
@dataclass(frozen=True)
class Candidate:
    """A candidate of the other library; its name is its identifier."""

    peer: Peer
    words: Words
    name: str

    async def stand(self, tasks: anyio.abc.TaskGroup) -> None:
        if self.words.is_answered_when_it_has_led:
            tasks.start_soon(self._run)
        else:
            await self.peer.call(self.words.stand, self.name)

    async def _run(self) -> None:
        with suppress(PeerEndedError):  # the process was killed
            await self.peer.call(self.words.stand, self.name)

    async def leads(self, within: float) -> bool:
        leads: bool = await self.peer.call("await", self.name, within)
        return leads

    async def step_down(self) -> None:
        await self.peer.call(self.words.step_down, self.name)

    async def sees(self, names: list[str]) -> None:
        """Wait until it sees these candidates; check that it considers the first one the leader."""

        async def are_seen() -> bool:
            seen: Any = await self.peer.call(self.words.names, self.name)
            return bool(seen == names)

        await until(are_seen)
        if self.words.leader:
            assert await self.peer.call(self.words.leader, self.name) == names[0]


async def candidate(family: Family, peer: Peer, words: Words, name: str) -> Candidate:
    """Create a candidate of theirs, which does not stand yet."""
    await peer.call(family.lock_class, name, family.path, name)
    return Candidate(peer, words, name)


def election(family: Family, client: zk.Client, data: str) -> zk.Election:
    """Return a candidate of ours."""
    return zk.Election(
        client, family.path, data=data.encode(), layout=cast(ElectionLayoutName, family.layout)
    )


async def _names(election: zk.Election) -> list[str]:
    return [each.identifier for each in await election.contenders()]


async def _next(leaders: LatestReader[zk.Contender | None]) -> str | None:
    leader = await anext(leaders)
    return None if leader is None else leader.identifier


# --- scenarios -------------------------------------------------------------------------------------------


async def all_candidates_lead_in_turn(family: Family, words: Words) -> None:
    """Lead in order of arrival, without delay, and see the other side's addresses."""
    names = ["öurs:80", "thëirs:80", "ours-2:80"]
    led: list[str] = []
    over = {name: anyio.Event() for name in names}

    async def lead(name: str) -> None:
        async with election(family, client, name).lead() as leadership:
            led.append(name)
            await over[name].wait()
            leadership.check()

    async with both(family) as (client, peer):
        theirs = await candidate(family, peer, words, names[1])
        ours = election(family, client, "observer")
        async with anyio.create_task_group() as tasks, ours.changes() as leaders:
            assert await _next(leaders) is None
            tasks.start_soon(lead, names[0])
            assert await _next(leaders) == names[0]
            await theirs.stand(tasks)
            await family.until_queued(client, 2)
            tasks.start_soon(lead, names[2])
            await family.until_queued(client, 3)
            assert await _names(ours) == names
            await theirs.sees(names)
            assert not await theirs.leads(0.1)
            over[names[0]].set()
            assert await theirs.leads(_HAND_OVER_LIMIT)
            assert await _next(leaders) == names[1]
            leader = await ours.leader()
            assert leader is not None
            assert (leader.data.decode(), leader.session_id) == (names[1], await peer.call("session-id"))
            assert await _names(ours) == names[1:]
            await theirs.sees(names[1:])
            assert led == names[:1]
            await theirs.step_down()
            assert await _next(leaders) == names[2]
            over[names[2]].set()
            assert await _next(leaders) is None
        assert led == [names[0], names[2]]


async def a_leader_of_theirs_dies_and_one_of_ours_is_removed(family: Family, words: Words) -> None:
    """Succeed a killed process when its session has ended; our leader notices that its znode was deleted."""
    with anyio.fail_after(LIMIT):
        async with family.connect() as client, family.start() as peer, anyio.create_task_group() as tasks:
            ours = election(family, client, "ours")
            async with family.start(session_timeout=1.0) as dying:
                theirs = await candidate(family, dying, words, "dying")
                await theirs.stand(tasks)
                assert await theirs.leads(_HAND_OVER_LIMIT)
                first = await ours.leader()
                assert first is not None
                assert first.identifier == "dying"
                dying.kill()
            successor = await candidate(family, peer, words, "successor")
            with pytest.raises(zk.LeadershipLostError):  # noqa: PT012 - the loss comes out of the whole block
                async with ours.lead() as leadership:
                    assert leadership.fencing_token > first.fencing_token
                    await successor.stand(tasks)
                    await family.until_watched(leadership.path, by=await peer.call("session-id"))
                    await client.delete(leadership.path)
                    await anyio.sleep_forever()
            assert await successor.leads(_HAND_OVER_LIMIT)
            await successor.sees(["successor"])
            await successor.step_down()

            async def no_candidate_leads() -> bool:
                return await ours.leader() is None

            await until(no_candidate_leads)
            await family.assert_nothing_left(client)
