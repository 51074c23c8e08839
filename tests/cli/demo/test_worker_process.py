"""A worker's process, as the demo sees it."""

from __future__ import annotations

import pytest

from zkrecipes.cli.demo.events import EventKind, Order
from zkrecipes.cli.demo.worker_process import WorkerProcess
from zkrecipes.devserver.server import DevServer

pytestmark = pytest.mark.trio


async def test_a_worker_that_fails_says_why() -> None:
    async with WorkerProcess("Ann", ["too", "few", "arguments"]) as worker:
        assert await worker.next_event() is None
        assert (await worker.why_failed()).startswith("ValueError: not enough values")
        await worker.answer(Order.GO)  # nobody hears it, and nothing breaks


async def test_a_worker_is_gone_when_it_was_killed() -> None:
    async with (
        DevServer() as server,
        WorkerProcess("Ann", [server.connect_string, "/demo", "Ann", "4", "1"]) as worker,
    ):
        joined = await worker.next_event()
        assert joined is not None
        assert (joined.kind, joined.worker) == (EventKind.JOINED, "Ann")
        await worker.kill()
        while await worker.next_event() is not None:
            pass  # what it could still say
        assert "-9" in await worker.why_failed() or "NoNodeError" in await worker.why_failed()
