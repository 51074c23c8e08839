"""A worker's process, as the demo sees it."""

from __future__ import annotations

import pytest

from zkrecipes.cli.demo.events import EventKind, Instruction
from zkrecipes.cli.demo.worker_process import WorkerProcess
from zkrecipes.devserver.server import DevServer

pytestmark = pytest.mark.trio


async def test_a_worker_that_fails_says_why() -> None:
    async with WorkerProcess("Ann", ["too", "few", "arguments"]) as worker:
        assert await worker.next_event() is None
        assert (await worker.why_failed()).startswith("ValueError: not enough values")
        await worker.answer(Instruction.CONTINUE)  # the process has ended, and this is not an error


async def test_a_killed_worker_has_ended() -> None:
    async with (
        DevServer() as server,
        WorkerProcess("Ann", [server.connect_string, "/demo", "Ann", "4", "1"]) as worker,
    ):
        joined = await worker.next_event()
        assert joined is not None
        assert (joined.kind, joined.worker) == (EventKind.JOINED, "Ann")
        await worker.kill()
        while await worker.next_event() is not None:
            pass  # events that it reported before its end
        assert "-9" in await worker.why_failed() or "NoNodeError" in await worker.why_failed()
