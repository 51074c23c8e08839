"""A program that receives a signal to stop releases its lock immediately, not a session timeout later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import anyio
import pytest

import zkrecipes as zk
from tests.house.source_tree import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGTERM")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])  # the loop of this test; the worker has another
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_lock_is_free_when_the_program_has_ended(backend: str, number: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples/stop_on_sigterm.py")]
    async with zk.DevServer() as server, zk.connect(server.connect_string) as observer:
        worker = await anyio.open_process(
            [*command, server.connect_string],
            stderr=subprocess.STDOUT,
            env=os.environ | {"BACKEND": backend},
        )
        async with worker:
            assert worker.stdout is not None
            output = b""
            while not output.endswith(b"\n"):
                output += await worker.stdout.receive()
            assert output == b"holding the lock\n"
            assert len(await observer.get_children("/locks/report")) == 1
            worker.send_signal(number)
            output = b"".join([chunk async for chunk in worker.stdout])
            assert await worker.wait() == 0, output
        assert output == f"stopping on {number.name}\n".encode()
        assert await observer.get_children("/locks/report") == []
