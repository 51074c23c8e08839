"""The checks of an installation, each with its failure and its fix."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import anyio
import pytest

from tests.ensemble.test_installation import make_file
from tests.house.source_tree import ROOT
from zkrecipes.ensemble import CheckState, InstallationCheck, check_installation, find_installation
from zkrecipes.ensemble.ports import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.apache]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A release that consists of links to this machine's jars, in a complete layout."""
    home = tmp_path / "zk"
    (home / "lib").mkdir(parents=True)
    for jar in find_installation().class_path:
        (home / "lib" / jar.name).symlink_to(jar)
    make_file(home / "bin/zkServer.sh")
    (home / "conf").mkdir()
    (home / "data").mkdir()
    write_config(home)
    return home


def write_config(home: Path, *lines: str) -> None:
    text = f"dataDir={home}/data\nadmin.enableServer=false\nclientPort={free_ports(1)[0]}\n"
    (home / "conf/zoo.cfg").write_text(text + "".join(f"{line}\n" for line in lines))


def environ_of(home: Path) -> dict[str, str]:
    return {**os.environ, "ZOOKEEPER_HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}


async def check(home: Path, name: str, **variables: str) -> InstallationCheck:
    """Return one check. A Java that cannot run leaves out the throw-away server, which takes a second."""
    environ = {**environ_of(home), "JAVA_HOME": "/no/java", **variables}
    return {found.name: found for found in await check_installation(environ=environ)}[name]


async def test_a_complete_installation_passes_every_check(home: Path) -> None:
    seen: list[InstallationCheck] = []
    checks = await check_installation(home, environ=environ_of(home), report=seen.append)
    assert seen == checks
    names = ["Java", "ZOOKEEPER_HOME", "ZooKeeper", "PATH", "zoo.cfg", "dataDir", "ports", "server"]
    assert [check.name for check in checks] == names
    # The data directory of the test is a temporary one.
    assert [check.name for check in checks if check.state is not CheckState.OK] == ["dataDir"]
    assert "took a write" in checks[-1].detail


async def test_a_missing_java_has_its_fix_and_no_server_is_started(home: Path) -> None:
    checks = await check_installation(environ={**environ_of(home), "JAVA_HOME": "/no/java"})
    assert checks[0].state is CheckState.FAILED
    assert "set it to the folder of a JDK" in checks[0].fix
    assert checks[-1].name == "ports"


@pytest.mark.parametrize(("version", "state"), [("1.7.0_80", "FAILED"), ("1.8.0_412", "ok"), ("21", "ok")])
async def test_the_version_of_java_must_be_at_least_8(
    home: Path, tmp_path: Path, version: str, state: str
) -> None:
    java = make_file(tmp_path / "jdk/bin/java")
    await anyio.Path(java).write_text(f"#!/bin/sh\necho 'java version \"{version}\"' >&2\n")
    (home / "lib/zookeeper.jar").unlink()  # so that the checks end early
    checks = await check_installation(environ={**environ_of(home), "JAVA_HOME": str(tmp_path / "jdk")})
    assert checks[0].state.value == state
    assert f"version {version}" in checks[0].detail


async def test_a_home_with_blanks_fails(home: Path, tmp_path: Path) -> None:
    blank = tmp_path / "my zk"
    await anyio.Path(home).rename(blank)
    found = await check(blank, "ZOOKEEPER_HOME")
    assert found.state is CheckState.FAILED
    assert "folder without blanks" in found.fix


async def test_without_zookeeper_the_checks_end(tmp_path: Path) -> None:
    checks = await check_installation(tmp_path, environ=environ_of(tmp_path))
    assert (checks[-1].name, checks[-1].state) == ("ZooKeeper", CheckState.FAILED)


async def test_a_sample_alone_is_to_be_copied(home: Path) -> None:
    await anyio.Path(home / "conf/zoo.cfg").rename(home / "conf/zoo_sample.cfg")
    found = await check(home, "zoo.cfg")
    assert found.state is CheckState.FAILED
    assert found.fix.startswith(f"copy {home}/conf/zoo_sample.cfg to {home}/conf/zoo.cfg")


async def test_a_bad_value_and_a_windows_path_are_named_with_their_lines(home: Path) -> None:
    write_config(home, r"dataDir=C:\zk\data")
    found = await check(home, "zoo.cfg")
    assert found.state is CheckState.FAILED
    assert "zoo.cfg, line 4: dataDir: Java reads" in found.detail
    assert "C:/zk/data" in found.detail


@pytest.mark.parametrize(
    ("directory", "state", "words"),
    [
        ("/proc/self", CheckState.FAILED, "not writable"),
        ("{home}/new", CheckState.NOTE, "the first start creates it"),
    ],
)
async def test_the_data_directory(home: Path, directory: str, state: CheckState, words: str) -> None:
    write_config(home, "dataDir=" + directory.format(home=home))
    found = await check(home, "dataDir")
    assert found.state is state
    assert words in found.detail + found.fix


async def test_bin_that_is_not_on_the_path_is_a_note(home: Path) -> None:
    found = await check(home, "PATH", PATH="/usr/bin")
    assert found.state is CheckState.NOTE
    assert f"{home}/bin" in found.fix


async def test_a_port_in_use_fails(home: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        write_config(home, f"clientPort={port}")
        found = await check(home, "ports")
    assert found.state is CheckState.FAILED
    assert f":{port} (clientPort): the port is in use" in found.detail


async def test_a_member_of_an_ensemble_needs_its_number(home: Path) -> None:
    write_config(home, "initLimit=5", "syncLimit=5", "server.1=a:1:2", "server.2=b:1:2")
    found = await check(home, "myid")
    assert found.state is CheckState.FAILED
    await anyio.Path(home / "data/myid").write_text("2\n")
    assert (await check(home, "myid")).state is CheckState.OK


async def test_jars_that_do_not_run_fail_with_the_end_of_the_log(home: Path) -> None:
    jar = home / "lib/zookeeper.jar"
    jar.unlink()
    jar.touch()
    checks = await check_installation(environ=environ_of(home))
    assert (checks[-1].name, checks[-1].state) == ("server", CheckState.FAILED)
    assert "ended with status 1" in checks[-1].detail


async def test_the_program_of_the_page_runs(home: Path) -> None:
    page = (ROOT / "docs/how-to/verify-installation.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", program]
    done = await anyio.run_process(command, env={**environ_of(home), "PYTHONPATH": str(ROOT)})
    assert "ok server ZooKeeper 3." in done.stdout.decode()
