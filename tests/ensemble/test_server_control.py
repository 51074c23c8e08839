"""Control of an installed server: each verb and each refusal, with real servers of this machine's package."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest

import zkrecipes as zk
from tests.house.source_tree import ROOT
from tests.net.tls_peers import papers
from zkrecipes.ensemble import (
    ApacheEnsemble,
    ApacheServer,
    PortInUseError,
    ServerConfigError,
    ServerControl,
    ServerDataError,
    ServerNotFoundError,
    ServerRunningError,
    ServerStartError,
    ServerStopError,
)
from zkrecipes.ensemble.ports import free_ports
from zkrecipes.ensemble.process_table import find_running

pytestmark = [pytest.mark.anyio, pytest.mark.apache]
JVMFLAGS = "-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "ZOO_LOG_DIR": str(tmp_path / "logs"), "JVMFLAGS": JVMFLAGS}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a standalone server, which is killed after the test."""
    path = tmp_path / "zoo.cfg"
    write(path, clientPort=free_ports(1)[0])
    yield path
    running = find_running(path)
    if running is not None:
        running.process.kill()
        running.process.wait(10)


def write(path: Path, **keys: object) -> None:
    lines = {"dataDir": path.parent / "data", "clientPortAddress": "127.0.0.1", "admin.enableServer": "false"}
    path.write_text("".join(f"{key}={value}\n" for key, value in (lines | keys).items()))


async def test_a_server_is_started_asked_and_stopped(config: Path, environ: dict[str, str]) -> None:
    control = ServerControl(config, environ=environ)
    assert await control.stop() is None
    assert (await control.status()).status is None
    started = await control.start()
    assert started.is_serving
    assert started.pid_file == config.parent / "data/zookeeper_server.pid"
    assert started.pid_file.read_text() == str(started.pid)
    async with zk.connect(f"127.0.0.1:{started.probe.port}") as client:
        await client.create("/a")
    # Another program, without the pid file, finds the same process.
    started.pid_file.unlink()
    other = ServerControl(config, environ=environ)
    report = await other.status()
    assert report.status is not None
    assert (report.status.mode, report.pid) == ("standalone", started.pid)
    with pytest.raises(ServerRunningError, match=f"already running as process {started.pid}"):
        await other.start()
    with pytest.raises(ServerRunningError):
        await other.initialize(force=True)
    stolen = config.with_name("other.cfg")
    write(stolen, clientPort=free_ports(1)[0])
    with pytest.raises(ServerDataError, match=f"used by the running server {started.pid}"):
        await ServerControl(stolen, environ=environ).start()
    assert await other.stop() == started.pid
    assert not psutil.pid_exists(started.pid)


async def test_one_of_two_starts_at_once_finds_the_server_of_the_other(
    config: Path, environ: dict[str, str]
) -> None:
    refused: list[int] = []
    started: list[int] = []

    async def start() -> None:
        try:
            started.append((await ServerControl(config, environ=environ).start()).pid)
        except ServerRunningError as error:
            refused.append(error.pid)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        tasks.start_soon(start)
    assert len(started) == 1
    assert refused == started
    pid_file = config.parent / "data/zookeeper_server.pid"
    assert await anyio.Path(pid_file).read_text() == str(started[0])
    # A restart that would find no Java leaves the server alone.
    without_java = ServerControl(config, environ={**environ, "JAVA_HOME": str(config.parent)})
    with pytest.raises(ServerNotFoundError, match="no Java"):
        await without_java.restart()
    assert await ServerControl(config, environ=environ).stop() == started[0]


async def test_a_server_that_does_not_exit_in_time_is_named_and_killed_on_request(
    config: Path, environ: dict[str, str]
) -> None:
    control = ServerControl(config, environ=environ)
    started = await control.start()
    os.kill(started.pid, signal.SIGSTOP)
    with pytest.raises(ServerStopError, match=f"process {started.pid} still runs 0.2 s after SIGTERM"):
        await control.stop(wait=0.2)
    assert started.pid_file.exists()
    assert await control.stop(wait=0.2, kill=True) == started.pid
    assert not started.pid_file.exists()


async def test_a_reused_pid_is_left_alone(config: Path, environ: dict[str, str]) -> None:
    with await anyio.to_thread.run_sync(lambda: subprocess.Popen(["sleep", "60"])) as bystander:
        pid_file = config.parent / "server.pid"
        pid_file.write_text(str(bystander.pid))
        assert await ServerControl(config, environ={**environ, "ZOOPIDFILE": str(pid_file)}).stop() is None
        assert not pid_file.exists()
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize("key", ["clientPort", "secureClientPort"])
async def test_a_port_in_use_is_found_before_java_runs(
    config: Path, environ: dict[str, str], key: str
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        write(config, **{"clientPort": free_ports(1)[0], key: port})
        with pytest.raises(
            PortInUseError, match=rf"cannot listen on .*:{port} \({key}\): the port is in use"
        ):
            await ServerControl(config, environ=environ).start()
    assert not (config.parent / "logs").exists()


async def test_the_port_of_the_admin_server_counts_if_it_is_installed(
    config: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "zk"
    (home / "lib").mkdir(parents=True)
    for name in ("zookeeper-3.9.5.jar", "jetty-server-9.4.jar"):
        (home / "lib" / name).touch()
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        write(
            config, **{"clientPort": free_ports(1)[0], "admin.enableServer": "true", "admin.serverPort": port}
        )
        with pytest.raises(
            PortInUseError, match=r"the AdminServer\): .* set admin\.serverPort to another port"
        ):
            await ServerControl(config, environ={**environ, "ZOOKEEPER_HOME": str(home)}).start()


async def test_a_file_without_a_client_port_is_refused(config: Path, environ: dict[str, str]) -> None:
    write(config)
    with pytest.raises(ServerConfigError, match=r"zoo\.cfg: clientPort: is missing"):
        await ServerControl(config, environ=environ).start()


async def test_a_data_directory_that_cannot_be_written_is_refused(
    config: Path, environ: dict[str, str]
) -> None:
    (config.parent / "data").write_text("a file")
    with pytest.raises(ServerDataError, match="data: cannot write into this dataDir"):
        await ServerControl(config, environ=environ).start()


async def test_a_missing_java_is_refused(config: Path, environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ServerNotFoundError, match="there is no Java in JAVA_HOME"):
        await ServerControl(config, environ={**environ, "JAVA_HOME": str(tmp_path)}).start()


async def test_a_value_that_only_zookeeper_refuses_ends_with_its_reason(
    config: Path, environ: dict[str, str]
) -> None:
    write(config, clientPort=free_ports(1)[0], minSessionTimeout=9000, maxSessionTimeout=4000)
    with pytest.raises(ServerConfigError, match="ZooKeeper refuses it: minSessionTimeout must not be larger"):
        await ServerControl(config, environ=environ).start()
    assert not (config.parent / "data/zookeeper_server.pid").exists()


async def test_a_server_that_ends_has_the_end_of_its_log(config: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ServerStartError, match="ended with status 1") as caught:
        await ServerControl(config, environ={**environ, "JVMFLAGS": "-XX:NoSuchFlag"}).start()
    assert "NoSuchFlag" in caught.value.log_tail


async def test_initialize_prepares_the_directories_once(config: Path, environ: dict[str, str]) -> None:
    refusing = ServerControl(config, environ={**environ, "ZOO_DATADIR_AUTOCREATE_DISABLE": "1"})
    with pytest.raises(ServerDataError, match="there is no version-2 in this dataDir"):
        await refusing.prepare_foreground()
    control = ServerControl(config, environ=environ)
    await control.initialize(my_id=7)
    data = config.parent / "data"
    assert (data / "myid").read_text() == "7\n"
    assert (data / "initialize").exists()
    assert "-Dzookeeper.datadir.autocreate=false" in await refusing.prepare_foreground()
    with pytest.raises(ServerDataError, match="--force deletes them"):
        await control.initialize()
    (data / "version-2/snapshot.0").touch()
    await control.initialize(force=True)
    assert not list((data / "version-2").iterdir())


async def test_my_id_must_be_one_of_the_server_lines(config: Path, environ: dict[str, str]) -> None:
    ports = free_ports(4)
    lines = {f"server.{n}": f"127.0.0.1:{ports[2 * n - 2]}:{ports[2 * n - 1]}" for n in (1, 2)}
    write(config, clientPort=free_ports(1)[0], initLimit=5, syncLimit=5, **lines)
    control = ServerControl(config, environ=environ)
    with pytest.raises(ServerConfigError, match="myid: there is no such file; it must contain one of 1, 2"):
        await control.start()
    with pytest.raises(ServerConfigError, match="has server lines for 1, 2, and not for --myid 3"):
        await control.initialize(my_id=3)
    (config.parent / "data").mkdir()
    (config.parent / "data/myid").write_text("3")
    with pytest.raises(ServerConfigError, match=r"must be one of 1, 2, the server lines of .*, not 3"):
        await control.start()
    (config.parent / "data/myid").write_text("1")
    # It waits for a majority, and keeps running.
    started = await control.start(wait=2)
    assert not started.is_serving
    assert find_running(config) is not None
    assert await control.stop() == started.pid


async def test_version_and_command_need_no_server(config: Path, environ: dict[str, str]) -> None:
    control = ServerControl(config, environ={**environ, "SERVER_JVMFLAGS": "-Dquoted='a b'"})
    assert (await control.version()).startswith("3.")
    command = await control.command()
    assert "-Dquoted=a b" in command
    assert command[-1] == str(config)
    broken = ServerControl(config, environ={**environ, "JVMFLAGS": "-Da='"})
    with pytest.raises(ServerConfigError, match="JVMFLAGS: must be flags for java with matching quotes"):
        await broken.command()


async def test_a_running_server_of_a_program_is_found(
    apache_server: ApacheServer, environ: dict[str, str]
) -> None:
    report = await ServerControl(apache_server.directory / "zoo.cfg", environ=environ).status()
    assert report.pid == apache_server.pid
    assert report.status is not None


async def test_a_port_that_speaks_only_tls_is_asked_through_java(
    config: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    ours = papers(tmp_path / "tls")
    ours.issue("server", "zk.example.org")
    (port,) = free_ports(1)
    text = (
        f"dataDir={tmp_path}/data\nsecureClientPort={port}\nadmin.enableServer=false\n"
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
        f"ssl.keyStore.location={ours.folder}/server.pem\nssl.trustStore.location={ours.ca_file}\n"
    )
    await anyio.Path(config).write_text(text)
    control = ServerControl(config, environ=environ)
    started = await control.start()
    assert started.is_serving
    assert started.probe.is_tls
    untrusted = ServerControl(config, environ={**environ, "CLIENT_JVMFLAGS": "-Da=b"})
    assert "CLIENT_JVMFLAGS" in (await untrusted.status()).probe.problem
    await control.stop()


async def test_the_program_of_the_page_runs(config: Path, environ: dict[str, str]) -> None:
    page = (ROOT / "docs/how-to/server-command.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    program = program.replace("/srv/zk/zoo.cfg", str(config))
    command = [sys.executable, "-W", "error", "-c", program]
    done = await anyio.run_process(command, env={**environ, "PYTHONPATH": str(ROOT)})
    assert "mode='standalone'" in done.stdout.decode()
    assert find_running(config) is None


async def test_the_mode_of_each_member_of_an_ensemble(
    apache_ensemble: ApacheEnsemble, environ: dict[str, str]
) -> None:
    files = [member.directory / "zoo.cfg" for member in apache_ensemble.members]
    reports = [await ServerControl(file, environ=environ).status() for file in files]
    modes = [report.status.mode for report in reports if report.status is not None]
    assert sorted(modes) == ["follower", "follower", "leader"]
