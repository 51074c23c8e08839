"""The dev server from the command line, and its effects on clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

import zkrecipes as zk
from tests.cli.commands import DEV_SERVER, ZKRECIPES, run_command, running_server
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.ensemble.four_letter import ask

IN_USE = (
    "Address already in use. Another server may be running there; choose another port with --port (0 takes a "
    "free one)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_ends_it(number: signal.Signals) -> None:
    with running_server(*ZKRECIPES, "serve", "--port", "0") as (process, hosts):
        assert trio.run(_create, hosts) == "/a"
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == ExitCode.OK
        assert not errors


def test_a_port_in_use_is_one_line_and_its_own_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("serve", "--port", str(port))
    assert done.returncode == ExitCode.CANNOT_LISTEN
    assert not done.stdout
    assert done.stderr == f"zkrecipes: cannot listen on 127.0.0.1:{port}: {IN_USE}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
@pytest.mark.parametrize("command", [(*ZKRECIPES, "serve"), DEV_SERVER], ids=["zkrecipes", "python -m"])
def test_without_a_reader_it_ends_without_an_error_about_the_address(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*command, "--port", "0"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=15,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.READER_GONE, "")


def test_a_running_client_continues_after_a_restart_of_the_server() -> None:
    with ExitStack() as servers:
        first, hosts = servers.enter_context(running_server(*DEV_SERVER, "--port", "0"))

        def restart() -> None:
            first.kill()
            first.wait()
            servers.enter_context(running_server(*DEV_SERVER, "--port", hosts.rpartition(":")[2]))

        async def work(mutex: zk.Mutex) -> None:
            async with mutex:
                await trio.to_thread.run_sync(restart)
                await trio.sleep_forever()

        async def outlive() -> None:
            async with zk.connect(hosts) as client:
                before = client.session
                mutex = zk.Mutex(client, "/locks/job")
                with pytest.raises(zk.LockLostError):
                    await work(mutex)
                # Everything was in memory, so there is a new session, and the lock's directory does not
                # exist.
                async with mutex as hold:
                    hold.check()
                assert before.state is zk.SessionState.EXPIRED
                assert client.session.id != before.id

        trio.run(outlive)


async def _create(hosts: str) -> str:
    async with zk.connect(hosts) as client:
        return await client.create("/a")


# --- a configuration file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [(*ZKRECIPES, "serve"), DEV_SERVER], ids=["zkrecipes", "python -m"])
def test_a_real_servers_file_is_used_and_ignored_settings_are_reported(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text(
        "clientPort=1\n4lw.commands.whitelist=conf\ntickTime=500\nmaxClientCnxns=2\n"
        f"dataDir={tmp_path / 'data'}\nserver.1=a:1:2\nodd=1\n"
    )
    with running_server(*command, str(file), "--port", "0") as (process, hosts):
        host, _, port = hosts.rpartition(":")
        assert "minSessionTimeout=1000\n" in trio.run(ask, host, int(port), "conf")
        assert f"dataDir={tmp_path / 'data'}\n" in trio.run(ask, host, int(port), "conf")
        assert "not in the whitelist" in trio.run(ask, host, int(port), "mntr")
        with ExitStack() as connections:
            for _ in range(2):
                connections.enter_context(socket.create_connection((host, int(port))))
            with socket.create_connection((host, int(port))) as third:
                assert third.recv(1) == b""
        process.terminate()
        _, errors = process.communicate(timeout=10)
    ignored, refused = errors.splitlines()
    assert ignored.endswith("zoo.cfg has keys without effect here: server.1, odd")
    reason = "this address may have at most 2 connections"
    assert refused == f"zkrecipes: closing a new connection from 127.0.0.1: {reason}"


def test_a_bad_value_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    file = tmp_path / "zoo.cfg"
    file.write_text("# mine\ntickTime=fast\n")
    done = run_command("serve", str(file))
    assert done.returncode == ExitCode.BAD_CONFIG
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"zkrecipes: {file}, line 2: tickTime=fast: must be a whole number of milliseconds"
    )
    assert not done.stdout


def test_a_missing_file_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    done = run_command("serve", str(tmp_path / "zoo.cfg"))
    assert done.returncode == ExitCode.BAD_CONFIG
    assert done.stderr == f"zkrecipes: cannot read {tmp_path / 'zoo.cfg'}: No such file or directory\n"


def test_a_real_servers_data_beside_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "version-2").mkdir()
    with running_server(*ZKRECIPES, "serve", "--port", "0", "--data-dir", str(tmp_path)) as (process, _):
        process.terminate()
        _, errors = process.communicate(timeout=10)
    untouched = "contains a real server's data, which the dev server neither reads nor changes"
    assert errors.endswith(f"version-2 {untouched}\n")
    assert not list((tmp_path / "version-2").iterdir())
