"""The command and the dev server as processes, as users run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ZKRECIPES = (sys.executable, "-W", "error", "-c", "from zkrecipes.cli import main; main()")
DEV_SERVER = (sys.executable, "-W", "error", "-m", "zkrecipes.devserver")


def run_command(*arguments: str, timeout: float = 15) -> subprocess.CompletedProcess[str]:
    """Run `zkrecipes` to its end."""
    return subprocess.run(
        [*ZKRECIPES, *arguments], check=False, capture_output=True, text=True, timeout=timeout
    )


@contextmanager
def running_server(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server in a separate process, yield it with its connect string, and kill it at the end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert "ready on " in ready, ready
            yield process, ready.rpartition(" ")[2].strip()
        finally:
            process.kill()
