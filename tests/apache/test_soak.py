"""A short soak: clients whose connections are cut at random, inspected in pauses."""

from __future__ import annotations

import pytest

from tests.apache.server_versions import since
from tests.soak.run import soak
from zkrecipes.ensemble import ApacheEnsemble
from zkrecipes.enums import ServerVersion


@since(ServerVersion.V3_6, "a recursive watch")
@pytest.mark.anyio
async def test_connections_cut_at_random_cost_nothing_but_time(
    apache_ensemble: ApacheEnsemble, fresh_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await soak(apache_ensemble, fresh_path, seed=1, seconds=16, pause_every=4, report_line=print)
    assert not report.faults, str(report)
    assert report.cuts > 10
    assert report.connections > report.sessions
    assert len(report.snapshots) >= 3, "too few inspections to compare"
