"""`zkrecipes server`: its output, its JSON and its exit codes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import ZKRECIPES, run_command
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.process_table import find_running

pytestmark = pytest.mark.apache
VERBS = "start start-foreground stop restart status version print-cmd initialize upgrade".split()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("server", *map(str, arguments), timeout=50)


def run_json(*arguments: str | Path) -> dict[str, Any]:
    done = run(*arguments, "--json")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["exit_code"] == done.returncode
    assert answer["ok"] == (done.returncode == 0)
    assert answer["verb"] == arguments[0]
    return answer


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ZOO_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("JVMFLAGS", "-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    path = tmp_path / "zoo.cfg"
    path.write_text(
        f"dataDir={tmp_path}/data\nclientPort={free_ports(1)[0]}\nclientPortAddress=127.0.0.1\n"
        "admin.enableServer=false\n"
    )
    yield path
    running = find_running(path)
    if running is not None:
        running.process.kill()
        running.process.wait(10)


def test_the_words_that_scripts_search_for(config: Path) -> None:
    silent = run("status", config)
    assert silent.returncode == ExitCode.CHECK_FAILED
    assert silent.stdout == "Error contacting service. It is probably not running.\n"
    assert "Connection refused" in silent.stderr
    done = run("start", config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Starting zookeeper ... STARTED\n", "")
    again = run("start", config)
    pid = (config.parent / "data/zookeeper_server.pid").read_text()
    assert again.returncode == ExitCode.CHECK_FAILED
    assert again.stdout == f"Starting zookeeper ... already running as process {pid}.\n"
    status = run("status", config)
    assert (status.returncode, status.stdout, status.stderr) == (0, "Mode: standalone\n", "")
    restarted = run_json("restart", config)
    assert restarted["state"] == "STARTED"
    assert restarted["mode"] == "standalone"
    assert str(restarted["pid"]) != pid
    assert run_json("status", config)["pid"] == restarted["pid"]
    stopped = run("stop", config)
    assert (stopped.returncode, stopped.stdout) == (0, "Stopping zookeeper ... STOPPED\n")
    assert run_json("stop", config)["pid"] is None
    assert "no zookeeper to stop" in run("stop", config).stdout


def test_a_server_in_the_foreground_receives_the_signals(config: Path) -> None:
    command = [*ZKRECIPES, "server", "start-foreground", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert any("binding to port" in line for line in process.stdout)
        assert find_running(config) is not None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == ExitCode.TERMINATED  # the exit status of Java after SIGTERM


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_an_interrupted_start_leaves_no_process(config: Path, number: signal.Signals, code: int) -> None:
    ports = free_ports(4)
    (config.parent / "data").mkdir()
    (config.parent / "data/myid").write_text("1")
    with config.open("a") as file:  # a member that waits for a majority
        file.write(f"initLimit=5\nsyncLimit=5\nserver.1=127.0.0.1:{ports[0]}:{ports[1]}\n")
        file.write(f"server.2=127.0.0.1:{ports[2]}:{ports[3]}\n")
    command = [*ZKRECIPES, "server", "start", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while find_running(config) is None:
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=15)
    assert process.returncode == code
    assert out == "Starting zookeeper ... FAILED TO START\n"
    assert find_running(config) is None
    assert not (config.parent / "data/zookeeper_server.pid").exists()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("clientPort=x", ExitCode.BAD_CONFIG, "zoo.cfg, line 5: clientPort: must be a whole number"),
        ("clientPort={taken}", ExitCode.CANNOT_LISTEN, "the port is in use"),
        ("dataDir=/proc/zk", ExitCode.BAD_DATA, "/proc/zk: cannot write into this dataDir"),
    ],
)
def test_a_refused_start_is_one_line_and_its_code(config: Path, change: str, code: int, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with config.open("a") as file:
            file.write(change.format(taken=server.getsockname()[1]) + "\n")
        done = run("start", config)
        assert done.returncode == code
        assert done.stdout == "Starting zookeeper ... FAILED TO START\n"
        (line,) = done.stderr.splitlines()
        assert message in line
        assert message in run_json("start", config)["error"]


def test_without_an_installation_each_place_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOKEEPER_HOME", "/no/such/zk")
    done = run("start", config)
    assert done.returncode == ExitCode.NO_SERVER
    assert "there is no zookeeper*.jar in ZOOKEEPER_HOME=/no/such/zk" in done.stderr
    assert "`zkrecipes serve`" in done.stderr


def test_version_command_and_initialize(config: Path) -> None:
    assert run("version").stdout.startswith("Apache ZooKeeper, version 3.")
    assert run("print-cmd", config).stdout.endswith(f"QuorumPeerMain {config}\n")
    assert run_json("print-cmd", config)["command"][-1] == str(config)
    assert run_json("initialize", config, "--myid", "3")["my_id"] == 3
    assert run("initialize", config).returncode == ExitCode.BAD_DATA


def test_upgrade_explains_itself() -> None:
    done = run("upgrade")
    assert done.returncode == ExitCode.USAGE
    assert "There is nothing to do" in done.stdout
    assert "zkrecipes server stop" in run_json("upgrade")["error"]


@pytest.mark.parametrize(("arguments", "words"), [((), "a verb is required: start"), (("fly",), "'fly'")])
def test_a_missing_or_unknown_verb_is_code_2(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == ExitCode.USAGE
    (line,) = done.stderr.splitlines()
    assert words in line


def test_the_help_lists_every_verb() -> None:
    page = run("--help").stdout
    assert all(f"  {verb} " in page for verb in VERBS)


def test_without_psutil_the_command_names_its_extra(config: Path) -> None:
    program = "import sys; sys.modules['psutil'] = None; from zkrecipes.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", program, "server", "stop", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == ExitCode.EXTRA_MISSING
    assert "pip install 'zkrecipes[cli]'" in done.stderr
