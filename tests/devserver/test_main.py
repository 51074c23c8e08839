"""The command `python -m zkrecipes.devserver`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "zkrecipes.devserver"]

IN_USE = (
    "Address already in use. Another server may be running there; choose another port with --port (0 takes a "
    "free one)"
)


@contextmanager
def _serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("zkrecipes dev server ready on 127.0.0.1:"), process.communicate()
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_stops_it(ending: signal.Signals) -> None:
    with _serving("--port", "0") as (process, port):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"ruok")
            assert connection.recv(100) == b"imok"
        idle = socket.create_connection(("127.0.0.1", port), 5)
        process.send_signal(ending)
        out, err = process.communicate()
        idle.close()
        assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_line_and_an_exit_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run("--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"cannot listen on 127.0.0.1:{port}: {IN_USE}\n"


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"], ["--nonsense"]])
def test_wrong_arguments_are_explained(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m zkrecipes.devserver")
    assert "Traceback" not in done.stderr


def test_the_help_documents_the_exit_codes() -> None:
    done = _run("--help")
    assert done.returncode == 0
    assert "exit codes:" in done.stdout
    assert "or 2181" in " ".join(done.stdout.split())


def test_a_bad_file_and_a_bad_folder_have_exit_codes_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text("clientPort=x\n")
    done = _run(str(file))
    assert done.returncode == 7
    assert done.stderr == f"{file}, line 1: clientPort=x: must be a whole number, 0 to 65535\n"
    done = _run("--port", "0", "--data-dir", str(file))
    assert done.returncode == 8
    assert done.stderr == f"data directory {file} cannot be used: File exists\n"


@pytest.mark.parametrize("port", ["http", "-1", "65536"])
def test_a_port_that_cannot_be_right_is_refused_with_what_is_required(port: str) -> None:
    done = _run(f"--port={port}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"argument --port: a port must be a number from 0 to 65535, not {port!r}\n")
