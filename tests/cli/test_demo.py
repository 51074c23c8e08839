"""The demo as its users run it: alone, on a server, on an ensemble, interrupted, and without a server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import trio

import zkrecipes as zk
from tests.cli.commands import DEV_SERVER, ZKRECIPES, run_command, running_server
from zkrecipes.cli.demo import command as demo_command
from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.ensemble import ApacheEnsemble

LINE = re.compile(r"(?P<at>\d+\.\d{3}) (?P<kind>[a-z-]+) worker=(?P<worker>\w+)(?: token=(?P<token>\d+))?")
UNREACHABLE = "127.0.0.1:1"


@pytest.mark.timeout(40)
def test_it_ends_in_under_20_seconds_and_all_checks_pass() -> None:
    done = run_command("demo", timeout=35)
    _check_output(done)
    times = [float(found["at"]) for found in map(LINE.match, done.stdout.splitlines()) if found is not None]
    # The time is from the first worker's event to the last one, because the start of Python does not count.
    assert times[-1] - times[0] < 18


@pytest.mark.apache
def test_it_works_on_a_real_ensemble(apache_ensemble: ApacheEnsemble) -> None:
    done = run_command("demo", "--hosts", apache_ensemble.connect_string, timeout=50)
    _check_output(done)
    assert trio.run(_names_at_the_root, apache_ensemble.connect_string) == []


def _check_output(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert not done.stderr
    lines = done.stdout.splitlines()
    events = [found for line in lines if (found := LINE.match(line)) is not None]
    others = [line for line in lines if LINE.match(line) is None]
    assert all(line.startswith(("# ", "ok ")) for line in others), others
    kinds = Counter(event["kind"] for event in events)
    assert kinds["killed"] == 1
    assert kinds["cut-off"] == 1
    assert kinds["done"] == 8
    assert kinds["leads"] == kinds["stepped-down"] == 3
    tokens = [int(event["token"]) for event in events if event["kind"] == "began"]
    assert tokens == sorted(set(tokens))
    assert lines[-1].startswith("# all checks passed; ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_ends_it_and_nothing_is_left(number: signal.Signals, code: ExitCode) -> None:
    with running_server(*DEV_SERVER, "--port", "0") as (_, hosts):
        demo = _start_demo("--hosts", hosts)
        with demo:
            _read_until(demo, " began ")
            os.killpg(demo.pid, number)  # as a terminal does, so the workers also get it
            _, errors = demo.communicate(timeout=10)
        assert demo.returncode == code
        assert len(errors.splitlines()) == 1
        assert trio.run(_names_at_the_root, hosts) == []
    assert not _is_group_alive(demo.pid)


@pytest.mark.timeout(40)
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX process groups")
def test_no_worker_outlives_the_demo_even_if_it_is_killed() -> None:
    with _start_demo() as demo:
        _read_until(demo, " cut-off ", " killed ")
        demo.kill()
        demo.wait()
    for _ in range(100):
        if not _is_group_alive(demo.pid):
            return
        time.sleep(0.1)
    pytest.fail("a worker outlives the demo")


def test_a_missing_server_is_reported_in_one_line() -> None:
    done = run_command("demo", "--hosts", UNREACHABLE, "--connect-timeout", "0.3")
    assert done.returncode == ExitCode.NO_SERVER
    assert not done.stdout
    assert re.fullmatch(
        rf"zkrecipes: no ZooKeeper session within 0.3 seconds: {UNREACHABLE}: .*refused\n", done.stderr
    )


def test_a_missing_chroot_is_named() -> None:
    with running_server(*DEV_SERVER, "--port", "0") as (_, hosts):
        done = run_command("demo", "--hosts", f"{hosts}/nowhere")
    assert done.returncode == ExitCode.REFUSED
    assert done.stderr == f"zkrecipes: {hosts}/nowhere: the chroot does not exist\n"


def test_the_demo_ends_when_the_reader_of_its_output_ends() -> None:
    with _start_demo() as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.wait(timeout=10) == ExitCode.READER_GONE
        assert demo.stderr is not None
        assert not demo.stderr.read()


@pytest.mark.parametrize(("failures", "code"), [((), ExitCode.OK), (("two at once",), ExitCode.CHECK_FAILED)])
def test_a_failed_check_is_exit_code_1(
    failures: tuple[str, ...], code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_demo(*_: object, **__: object) -> list[CheckResult]:
        await trio.lowlevel.checkpoint()
        return [CheckResult("this always holds", ()), CheckResult("one at a time", failures)]

    monkeypatch.setattr(demo_command, "run_demo", run_demo)
    assert demo_command.demo.main([], standalone_mode=False) == code


def _start_demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*ZKRECIPES, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _read_until(demo: subprocess.Popen[str], *words: str) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if any(word in line for word in words):
            return
    pytest.fail(f"the demo ended before any of {words}")


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def _names_at_the_root(hosts: str) -> list[str]:
    async with zk.connect(hosts) as client:
        return [name for name in await client.get_children("/") if name.startswith("zkrecipes-demo")]
