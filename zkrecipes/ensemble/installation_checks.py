"""The checks of an installation: Java, its folders, zoo.cfg, the ports, and a write to a throw-away server.

Each check reports a fact, and a fix if the fact is a problem. Nothing of the installation is changed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import final

import anyio

from zkrecipes.client.connect import connect
from zkrecipes.ensemble.errors import PortInUseError, ServerConfigError, ServerNotFoundError, ServerStartError
from zkrecipes.ensemble.installation import Installation, Layout, find_java, find_layout
from zkrecipes.ensemble.process_table import find_running
from zkrecipes.ensemble.server import ApacheServer
from zkrecipes.ensemble.server_config import ServerConfig, read_server_config
from zkrecipes.ensemble.start_checks import check_my_id, check_ports
from zkrecipes.errors import ZooKeeperError

__all__ = ["CheckState", "InstallationCheck", "check_installation"]

_JAVA_MIN = 8  # ZooKeeper 3.5 to 3.9 (zookeeperAdmin.html, Required Software)
_SESSION_LIMIT = 15.0
_ZNODE = "/zkrecipes-verify"


@final
class CheckState(Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """It works, but the fix is worth a look."""
    FAILED = "FAILED"


@final
@dataclass(frozen=True)
class InstallationCheck:
    """One check of an installation."""

    name: str
    """`Java`, `ZOOKEEPER_HOME`, `ZooKeeper`, `zoo.cfg`, `myid`, `dataDir`, `PATH`, `ports` or `server`."""
    state: CheckState
    detail: str
    """The fact that was found."""
    fix: str = ""
    """A command to run or a change to make; empty if the state is `OK`."""


async def check_installation(
    home: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    report: Callable[[InstallationCheck], object] | None = None,
) -> list[InstallationCheck]:
    """Check an installation.

    The last check starts a server with the installation's jars and Java on a free port, with its data in a
    temporary folder, writes to it and stops it. Windows leaves out that check.

    Args:
        home: the folder of the installation; None for `ZOOKEEPER_HOME`, or else the first of the places that
            `find_installation` searches.
        environ: the environment variables; None for those of this process.
        report: a function that is called with each result as soon as it is known.

    Returns:
        All results, in order. After a check without which no other makes sense, the rest is left out.

    Raises:
        ImportError: psutil is not installed.

    **Cancellation**: the throw-away server is ended.
    """
    variables = dict(os.environ if environ is None else environ)
    checks: list[InstallationCheck] = []

    def add(*found: InstallationCheck) -> None:
        for check in found:
            checks.append(check)
            if report is not None:
                report(check)

    java = await anyio.to_thread.run_sync(_find_java, variables)
    add(java, _check_home(home, variables))
    if home is not None:
        variables["ZOOKEEPER_HOME"] = str(home)
    try:
        layout = find_layout(variables)
    except ServerNotFoundError as error:
        add(InstallationCheck("ZooKeeper", CheckState.FAILED, error.missing, error.remedy))
        return checks
    jars = ", ".join(jar.name for jar in layout.class_path if re.match(r"zookeeper-?[\d.]*jar", jar.name))
    add(InstallationCheck("ZooKeeper", CheckState.OK, f"{layout.home} ({layout.name}): {jars}"))
    add(*await anyio.to_thread.run_sync(_check_files, layout, variables))
    if java.state is not CheckState.FAILED and sys.platform != "win32":
        add(await _check_server(Installation(find_java(variables), layout.class_path)))
    return checks


def _find_java(environ: Mapping[str, str]) -> InstallationCheck:
    try:
        java = find_java(environ)
        done = subprocess.run(  # noqa: S603 - the program that find_java has found
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except ServerNotFoundError as error:
        return InstallationCheck("Java", CheckState.FAILED, error.missing, error.remedy)
    except (OSError, subprocess.TimeoutExpired) as error:
        return InstallationCheck("Java", CheckState.FAILED, f"java does not run: {error}", "install a JRE")
    # `openjdk version "17.0.15"`; up to Java 8, `java version "1.8.0_412"`.
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', done.stderr + done.stdout)
    if match is None:
        return InstallationCheck("Java", CheckState.FAILED, f"{java} has no version", "install a JRE")
    if int(match[2]) < _JAVA_MIN:
        detail = f"{java}, version {match[1]}"
        return InstallationCheck("Java", CheckState.FAILED, detail, f"install Java {_JAVA_MIN} or later")
    return InstallationCheck("Java", CheckState.OK, f"{java}, version {match[1]}")


def _check_home(home: Path | None, environ: Mapping[str, str]) -> InstallationCheck:
    name = "ZOOKEEPER_HOME"
    given = environ.get(name)
    folder = str(home) if home is not None else given
    if folder is not None and any(letter.isspace() for letter in folder):
        fix = "move the installation to a folder without blanks, which zkServer.sh cannot use"
        return InstallationCheck(name, CheckState.FAILED, f"{folder!r} has blanks", fix)
    if given is None:
        example = folder or "/opt/zookeeper"
        fix = f'set it, for example with `setx {name} "{example}"`' if sys.platform == "win32" else ""
        fix = fix or f"set it if other programs need it: export {name}={example}"
        return InstallationCheck(name, CheckState.NOTE, "not set", fix)
    if home is not None and Path(given).absolute() != home.absolute():
        fix = f"set it to {home.absolute()}"
        return InstallationCheck(name, CheckState.NOTE, f"{given}, which is another installation", fix)
    return InstallationCheck(name, CheckState.OK, given)


def _check_files(layout: Layout, environ: Mapping[str, str]) -> list[InstallationCheck]:
    path = layout.config_directory / layout.config_name
    checks = [_check_path(layout, environ)]
    try:
        config = read_server_config(path)
    except ServerConfigError as error:
        sample = path.with_name("zoo_sample.cfg")
        fix = "create it with the lines dataDir=… and clientPort=2181"
        if path.exists():
            fix = "correct the line; zookeeperAdmin.html explains every key"
        elif sample.exists():
            fix = f"copy {sample} to {path} and set dataDir in the copy"
        return [*checks, InstallationCheck("zoo.cfg", CheckState.FAILED, str(error), fix)]
    checks.append(InstallationCheck("zoo.cfg", CheckState.OK, str(path)))
    return [*checks, *_check_my_id(config), _check_data_dir(config.data_dir), _check_ports(config, layout)]


def _check_path(layout: Layout, environ: Mapping[str, str]) -> InstallationCheck:
    scripts = layout.home / "bin"
    folders = [Path(folder).resolve() for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    if scripts.resolve() in folders:
        return InstallationCheck("PATH", CheckState.OK, f"contains {scripts}")
    fix = f'add it to the PATH, or use `zkrecipes server`: export PATH="{scripts}:$PATH"'
    if sys.platform == "win32":
        fix = f"add {scripts} to Path in the environment variables of the system"
    return InstallationCheck("PATH", CheckState.NOTE, f"does not contain {scripts}", fix)


def _check_my_id(config: ServerConfig) -> list[InstallationCheck]:
    if not config.is_replicated:
        return []
    try:
        check_my_id(config)
    except ServerConfigError as error:
        fix = f"write the number of this server's line into {config.data_dir / 'myid'}"
        return [InstallationCheck("myid", CheckState.FAILED, str(error), fix)]
    return [InstallationCheck("myid", CheckState.OK, str(config.read_my_id()))]


def _check_data_dir(directory: Path) -> InstallationCheck:
    if not directory.exists():
        parent = next(folder for folder in directory.parents if folder.exists())
        may_create = os.access(parent, os.W_OK)
        state = CheckState.NOTE if may_create else CheckState.FAILED
        fix = (
            "the first start creates it"
            if may_create
            else f"create it; {parent} is not writable for this user"
        )
        return InstallationCheck("dataDir", state, f"{directory} does not exist", fix)
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        fix = "give it to the user that runs the server, or run the check as that user"
        detail = f"{directory} is not writable: {error.strerror or error}"
        return InstallationCheck("dataDir", CheckState.FAILED, detail, fix)
    if directory.is_relative_to(tempfile.gettempdir()):
        fix = "choose a folder that the system does not empty"
        return InstallationCheck("dataDir", CheckState.NOTE, f"{directory} is a temporary folder", fix)
    return InstallationCheck("dataDir", CheckState.OK, f"{directory} is writable")


def _check_ports(config: ServerConfig, layout: Layout) -> InstallationCheck:
    running = find_running(config.path)
    if running is not None:
        return InstallationCheck("ports", CheckState.OK, f"in use by this server, process {running.pid}")
    has_admin_server = any(jar.name.startswith("jetty-server") for jar in layout.class_path)
    try:
        check_ports(config, has_admin_server=has_admin_server)
    except ServerConfigError as error:
        return InstallationCheck(
            "ports", CheckState.FAILED, str(error), f"add clientPort=2181 to {config.path}"
        )
    except PortInUseError as error:
        fix = "end the program that listens there, or choose another port"
        return InstallationCheck("ports", CheckState.FAILED, str(error), fix)
    return InstallationCheck("ports", CheckState.OK, "all ports of zoo.cfg are free")


async def _check_server(installation: Installation) -> InstallationCheck:
    began = time.monotonic()
    try:
        async with ApacheServer(installation=installation) as server:
            started = time.monotonic() - began
            async with connect(server.connect_string, connect_timeout=_SESSION_LIMIT) as client:
                await client.create(_ZNODE, b"written")
                node = await client.get(_ZNODE)
                assert node.data == b"written"
            status = await server.status()
    except ServerStartError as error:
        detail = f"{error.reason}: {' / '.join(error.log_tail.splitlines()[-3:])}"
        fix = "install Java and ZooKeeper again; the jars or the Java do not work"
        return InstallationCheck("server", CheckState.FAILED, detail, fix)
    except ZooKeeperError as error:
        fix = "run the check again when the machine has less to do"
        return InstallationCheck("server", CheckState.FAILED, str(error), fix)
    version = "" if status is None else f" {status.version}"
    detail = f"ZooKeeper{version} started in {started:.1f} s, took a write, answered a read, and stopped"
    return InstallationCheck("server", CheckState.OK, detail)
