"""A real ensemble: its leader is found, killed and paused, and the ensemble is healed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zkrecipes.ensemble import ApacheEnsemble, ApacheServer, Installation, ServerStartError


def test_it_has_at_least_one_member() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        ApacheEnsemble(size=0)


@pytest.mark.anyio
async def test_one_leads_and_the_others_follow(apache_ensemble: ApacheEnsemble) -> None:
    leader = await apache_ensemble.leader()
    followers = await apache_ensemble.followers()
    assert {leader, *followers} == set(apache_ensemble.members)
    assert apache_ensemble.connect_string.split(",") == [m.connect_string for m in apache_ensemble.members]
    assert [member.server_id for member in apache_ensemble.members] == [1, 2, 3]


def test_a_member_is_found_by_its_address(apache_ensemble: ApacheEnsemble) -> None:
    second = apache_ensemble.members[1]
    assert apache_ensemble.member(second.connect_string) is second
    with pytest.raises(KeyError, match=r"127\.0\.0\.1:1"):
        apache_ensemble.member("127.0.0.1:1")


@pytest.mark.anyio
@pytest.mark.parametrize("harm", [ApacheServer.kill, ApacheServer.pause])
async def test_another_leads_when_the_leader_fails(apache_ensemble: ApacheEnsemble, harm: object) -> None:
    assert callable(harm)
    leader = await apache_ensemble.leader()
    harm(leader)
    with anyio.fail_after(20):
        successor = await apache_ensemble.leader()
    assert successor is not leader
    await apache_ensemble.heal()
    assert await apache_ensemble.leader() is successor
    assert len(await apache_ensemble.followers()) == 2


def test_the_next_test_gets_a_repaired_ensemble(apache_ensemble: ApacheEnsemble) -> None:
    assert len(anyio.run(apache_ensemble.followers)) == 2
    for member in apache_ensemble.members:
        member.kill()  # the next test that uses it finds all members running


@pytest.mark.anyio
@pytest.mark.apache
async def test_a_single_member_leads() -> None:
    async with ApacheEnsemble(size=1) as ensemble:
        assert await ensemble.leader() is ensemble.members[0]
        assert await ensemble.followers() == []
        directory = ensemble.members[0].directory
    assert not directory.exists()


@pytest.mark.anyio
@pytest.mark.apache
async def test_a_member_that_cannot_start_stops_all_members() -> None:
    ensemble = ApacheEnsemble(size=3, settings={"tickTime": "soon"})
    with pytest.raises(ServerStartError):
        async with ensemble:
            pytest.fail("the ensemble started")
    assert not any(member.is_running for member in ensemble.members)


@pytest.mark.anyio
async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexec sleep 600\n")
    java.chmod(0o755)
    ensemble = ApacheEnsemble(installation=Installation(java, ()))
    with anyio.move_on_after(0.2) as scope:
        async with ensemble:
            pytest.fail("the ensemble started")
    assert scope.cancelled_caught
    assert not any(member.is_running for member in ensemble.members)
