"""Jobs on a real server: engines in turn, one that dies, and the record as the server keeps it."""

from __future__ import annotations

import math
import time

import anyio
import pytest

import zkrecipes as zk
from tests.apache.loops import every_loop
from tests.apache.raw_session import end_session
from zkrecipes.ensemble import ApacheServer

pytestmark = pytest.mark.anyio
anyio_backend = every_loop()


async def test_engines_run_a_job_once_and_a_dead_engines_run_again(
    apache_server: ApacheServer, fresh_path: str
) -> None:
    path = f"{fresh_path}/jobs/report"
    finished: list[str] = []
    refused: list[float] = []

    async def engine(name: str) -> None:
        async with zk.connect(apache_server.connect_string, session_timeout=4) as client:
            try:
                async with zk.OncePer(client, path, period=math.inf, identifier=name) as run:
                    assert run.previous is not None
                    assert (run.previous.engine, run.previous.outcome) == ("dead", "died")
                    assert abs(run.started_at - time.time()) < 10
                    await anyio.sleep(0.1)
                finished.append(name)
            except zk.NotDueError as error:
                refused.append(error.due_in)

    async with zk.connect(apache_server.connect_string, session_timeout=4) as client:
        job = zk.OncePer(client, path, period=math.inf, identifier="dead")
        with pytest.raises(zk.LockLostError):  # noqa: PT012 - the block is in it
            async with job:
                await end_session(apache_server.connect_string, client.session.id, client.session.password)
                await anyio.sleep(10)
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(engine, f"engine-{number}")
        assert len(finished) == 1
        assert refused == 3 * [math.inf]
        status = await job.status()
        assert status.running is None
        assert status.last is not None
        assert (status.last.engine, status.last.outcome) == (finished[0], "finished")
        assert await client.get_children(path) == []
