"""Our election with Curator's `LeaderLatch` and with its `LeaderSelector` on one path, on a real server.

It runs on one loop. The same scenarios run on both loops with kazoo's election, which starts faster.
"""

from __future__ import annotations

import pytest

from tests.interop import election_scenarios as scenarios
from tests.interop.election_scenarios import Words
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(params=["curator-latch", "curator-selector"])
def family(
    request: pytest.FixtureRequest, apache_server: ApacheServer, curator: StartPeer, fresh_path: str
) -> Family:
    their_class = {"curator-latch": "LeaderLatch", "curator-selector": "LeaderSelector"}[request.param]
    return Family(apache_server, fresh_path, curator, layout=request.param, lock_class=their_class)


@pytest.fixture
def words(family: Family) -> Words:
    return scenarios.LATCH if family.layout == "curator-latch" else scenarios.SELECTOR


async def test_all_candidates_lead_in_turn(family: Family, words: Words) -> None:
    await scenarios.all_candidates_lead_in_turn(family, words)


async def test_a_leader_of_theirs_dies_and_one_of_ours_is_removed(family: Family, words: Words) -> None:
    await scenarios.a_leader_of_theirs_dies_and_one_of_ours_is_removed(family, words)
