"""The command line: its output and its exit codes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from tests.cli.commands import run_command
from tests.house.source_tree import ROOT
from zkrecipes import (
    AuthFailedError,
    ConnectionLossError,
    ConnectTimeoutError,
    NoAuthError,
    SessionExpiredError,
)
from zkrecipes.cli.commands import run
from zkrecipes.cli.errors import CommandError, explain, one_line_errors
from zkrecipes.cli.exit_codes import MEANINGS, ExitCode


def test_help_lists_the_commands_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "serve" in shown
    for code, meaning in MEANINGS.items():
        assert f"{code:3}  {meaning}" in shown


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    assert MEANINGS.keys() == set(ExitCode)
    for code in ExitCode:
        assert f"| {code.value} |" in page, f"{code!r} is not in the table"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.OK
    assert "Usage: zkrecipes" in capsys.readouterr().out


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("zkrecipes, version 0")


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_every_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == ExitCode.OK
    assert f"Usage: zkrecipes {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["sing"], ["--sing"], ["demo", "--sing"], ["serve", "--port", "70000"]]
)
def test_wrong_arguments_are_one_line_and_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == ExitCode.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zkrecipes: ")
    assert line.endswith("see --help")


def run_without_extra(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.modules['click'] = None; from zkrecipes.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_without_its_extra_the_command_says_what_to_install() -> None:
    done = run_without_extra("demo")
    assert done.returncode == ExitCode.EXTRA_MISSING
    assert done.stderr == 'zkrecipes: click is missing; run: pip install "zkrecipes[cli]"\n'


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_needs_no_extra_and_names_it(arguments: tuple[str, ...]) -> None:
    done = run_without_extra(*arguments)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.startswith("Usage: zkrecipes ")
    assert 'pip install "zkrecipes[cli]"' in done.stdout
    assert "python -m zkrecipes.devserver" in done.stdout


def test_the_version_needs_no_extra() -> None:
    done = run_without_extra("--version")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.startswith("zkrecipes, version 0")


def test_python_m_zkrecipes_is_the_command() -> None:
    command = [sys.executable, "-m", "zkrecipes", "--help"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.startswith("Usage: zkrecipes ")


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (CommandError("no luck", ExitCode.CANNOT_LISTEN), "no luck", ExitCode.CANNOT_LISTEN),
        (click.UsageError("No such thing."), "No such thing; see --help", ExitCode.USAGE),
        (KeyboardInterrupt(), "interrupted", ExitCode.INTERRUPTED),
        (
            ConnectTimeoutError(5.0, {"a:2181": "refused", "b:2181": "no\nanswer"}),
            "no ZooKeeper session within 5 seconds: a:2181: refused; b:2181: no answer",
            ExitCode.NO_SERVER,
        ),
        (
            ConnectTimeoutError(5.0, {}),
            "no ZooKeeper session within 5 seconds: no host answered",
            ExitCode.NO_SERVER,
        ),
        (SessionExpiredError(), "the session expired", ExitCode.NO_SERVER),
        (
            ConnectionLossError("Create", path="/a"),
            "connection lost before Create /a was answered: whether it was applied is unknown",
            ExitCode.NO_SERVER,
        ),
        (AuthFailedError(), "authentication failed", ExitCode.REFUSED),
        (NoAuthError("/a"), "not permitted by the ACL: /a", ExitCode.REFUSED),
        (
            ZeroDivisionError("oops"),
            "ZeroDivisionError: oops (a bug in zkrecipes; --debug shows the traceback)",
            ExitCode.BUG,
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(error: BaseException, line: str, code: ExitCode) -> None:
    assert explain(error) == (line, code)
    assert explain(BaseExceptionGroup("", [BaseExceptionGroup("", [error])])) == (line, code)


def test_a_traceback_is_shown_only_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    for debug in (False, True):
        with pytest.raises(SystemExit), one_line_errors("zkrecipes", debug=debug):
            raise NoAuthError("/a")
        shown = capsys.readouterr().err
        assert shown.endswith("zkrecipes: not permitted by the ACL: /a\n")
        assert ("Traceback" in shown) is debug


def test_the_installed_command_ends_with_the_code() -> None:
    done = run_command("demo", "--hosts", "h:port")
    assert done.returncode == ExitCode.USAGE
    assert not done.stdout
    assert "a port must be a number from 1 to 65535, got 'port'" in done.stderr
