"""A program that ends by Ctrl-C leaves no lock behind, on either loop and at any point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.house.source_tree import ROOT
from zkrecipes.testing import ThreadedDevServer

PROGRAM = Path(__file__).with_name("interrupted_program.py")


@pytest.mark.parametrize("moment", ["waiting", "holding", "leaving"])
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_an_interrupted_program_leaves_no_lock(loop: str, moment: str) -> None:
    with ThreadedDevServer() as server:
        observer = KazooClient(server.connect_string)
        observer.start()
        try:
            if moment == "waiting":
                observer.create("/lock/0__lock__0000000000", ephemeral=True, makepath=True)
            done = subprocess.run(
                [sys.executable, PROGRAM, server.connect_string, loop, moment],
                check=False,
                capture_output=True,
                text=True,
                timeout=20,
                cwd=ROOT,
            )
            assert "KeyboardInterrupt" in done.stderr
            assert ("held" in done.stdout) == (moment != "waiting")
            left = set(observer.get_children("/lock")) - {"0__lock__0000000000"}
            assert not left  # its session lives for half a minute unless it was closed
        finally:
            observer.stop()
            observer.close()
