"""`zkrecipes verify`: its lines and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import run_command
from zkrecipes.cli.exit_codes import ExitCode

pytestmark = pytest.mark.apache


def test_each_check_is_a_line() -> None:
    done = run_command("verify", "--installation", timeout=50)
    assert {line.split()[0] for line in done.stdout.splitlines()} <= {"ok", "note", "FAILED"}
    assert done.stdout.splitlines()[-1].startswith("ok      server: ZooKeeper 3.")
    assert all(" -> " in line for line in done.stdout.splitlines() if not line.startswith("ok"))


def test_a_failed_check_is_code_1(tmp_path: Path) -> None:
    done = run_command("verify", "--installation", str(tmp_path), "--json")
    assert done.returncode == ExitCode.CHECK_FAILED
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["exit_code"]) == (False, 1)
    assert answer["checks"][-1]["state"] == "FAILED"
    assert answer["checks"][-1]["fix"]


def test_without_an_option_it_names_the_option() -> None:
    done = run_command("verify")
    assert done.returncode == ExitCode.USAGE
    assert "--installation [HOME]" in done.stderr
