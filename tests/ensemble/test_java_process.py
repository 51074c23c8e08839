"""A process and its watchdog leave nothing behind, even if the program around them is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zkrecipes.ensemble.java_process import ServerProcess

SLEEPER = ["/bin/sh", "-c", "echo started; exec sleep 600"]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(SLEEPER, directory=tmp_path, log=tmp_path / "log", is_temporary=False)
    yield process
    process.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs. A process that has ended and waits for its parent does not run."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_ended(pid: int) -> None:
    """Poll until a process that is not our child has ended, because the system offers no wait for it."""
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_it_runs_from_launch_to_kill(process: ServerProcess) -> None:
    assert (process.is_running, process.pid, process.exit_status) == (False, None, None)
    process.launch()
    pid = process.pid
    assert pid is not None
    assert process.is_running
    process.kill()
    assert (process.is_running, process.pid, process.exit_status) == (False, None, -signal.SIGKILL)
    assert not is_alive(pid)


def test_it_cannot_run_twice(process: ServerProcess) -> None:
    process.launch()
    with pytest.raises(RuntimeError, match="running already"):
        process.launch()


def test_it_can_run_again_and_adds_to_its_log(process: ServerProcess, tmp_path: Path) -> None:
    for count in (1, 2):
        process.launch()
        while (tmp_path / "log").read_text() != "started\n" * count:
            assert process.is_running
            time.sleep(0.01)
        process.kill()


def test_a_stopped_process_can_be_killed(process: ServerProcess) -> None:
    process.launch()
    process.signal(signal.SIGSTOP)
    process.kill()
    assert not process.is_running


def test_signals_and_kills_to_an_ended_process_do_nothing(process: ServerProcess) -> None:
    process.kill()
    process.signal(signal.SIGTERM)
    process.launch()
    process.kill()
    process.kill()
    process.signal(signal.SIGTERM)
    process.close()
    process.close()


def test_a_watchdog_that_was_ended_is_not_an_error(process: ServerProcess, tmp_path: Path) -> None:
    process.launch()
    watchdog = process._watchdog  # noqa: SLF001 - its pid is not public
    assert watchdog is not None
    watchdog.kill()
    watchdog.wait()
    process.kill()
    process.launch()
    process.close()
    assert tmp_path.exists()


def test_a_program_that_cannot_be_run_leaves_nothing(tmp_path: Path) -> None:
    process = ServerProcess(["/no/such/java"], directory=tmp_path, log=tmp_path / "log", is_temporary=True)
    with pytest.raises(FileNotFoundError):
        process.launch()
    process.close()


PROGRAM = """
import sys, pathlib
from zkrecipes.ensemble.java_process import ServerProcess
folder = pathlib.Path(sys.argv[1])
process = ServerProcess(
    ["/bin/sleep", "600"], directory=folder, log=folder / "log", is_temporary=sys.argv[2] == "temporary"
)
process.launch()
if sys.argv[3] == "again":
    process.kill()
    process.launch()
print(process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("launches", ["once", "again"])
@pytest.mark.parametrize("kind", ["temporary", "given"])
def test_it_dies_with_a_program_that_is_killed(tmp_path: Path, kind: str, launches: str) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), kind, launches],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert is_alive(pid)
        program.kill()
    wait_until_ended(pid)
    deadline = time.monotonic() + 10
    while kind == "temporary" and folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert folder.exists() == (kind == "given")
