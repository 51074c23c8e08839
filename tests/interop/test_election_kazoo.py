"""Our election and kazoo's `Election` on one path, on a real server, on both loops."""

from __future__ import annotations

import pytest

from tests.interop import election_scenarios as scenarios
from tests.interop.mutex_scenarios import Family
from tests.interop.peer import StartPeer
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


@pytest.fixture
def family(apache_server: ApacheServer, kazoo_peer: StartPeer, fresh_path: str) -> Family:
    return Family(apache_server, fresh_path, kazoo_peer, layout="kazoo", lock_class="Election")


async def test_all_candidates_lead_in_turn(family: Family) -> None:
    await scenarios.all_candidates_lead_in_turn(family, scenarios.KAZOO)


async def test_a_leader_of_theirs_dies_and_one_of_ours_is_removed(family: Family) -> None:
    await scenarios.a_leader_of_theirs_dies_and_one_of_ours_is_removed(family, scenarios.KAZOO)
