"""Control of one installed server, as `zkServer.sh` does it: start, stop, status and their relatives.

The server is a daemon: it outlives this program, unlike an `ApacheServer`. Its state is in the process table
and in the pid file, so that each call may come from another program, including `zkServer.sh`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import anyio

from zkrecipes.ensemble.errors import (
    PortInUseError,
    ServerConfigError,
    ServerDataError,
    ServerNotFoundError,
    ServerRunningError,
    ServerStartError,
)
from zkrecipes.ensemble.four_letter import ServerStatus
from zkrecipes.ensemble.installation import find_java
from zkrecipes.ensemble.process_table import (
    MAIN_CLASS,
    RunningServer,
    end_process,
    find_running,
    running_servers,
)
from zkrecipes.ensemble.server_config import ServerConfig, read_server_config
from zkrecipes.ensemble.server_location import ServerLocation, locate_config, locate_server
from zkrecipes.ensemble.server_probe import Probe, probe_server
from zkrecipes.ensemble.start_checks import check_data_directories, check_my_id, check_ports, check_writable
from zkrecipes.ensemble.start_lock import one_start

__all__ = ["ServerControl", "ServerReport", "StartedServer"]

_START_LIMIT = 30.0
_STOP_LIMIT = 30.0
_POLL_INTERVAL = 0.1
_LOG_TAIL_LINES = 30
_HEAP: Final = "1000"  # zkEnv.sh, in megabytes
# ExitCode.java (3.5 to 3.9).
_EXIT_CONFIG, _EXIT_DATA, _EXIT_ADMIN, _EXIT_QUORUM_PORT = 2, 3, 4, 14


@final
@dataclass(frozen=True)
class StartedServer:
    """A server that `start` has started."""

    pid: int
    config: Path
    pid_file: Path
    log: Path
    """The file of its output."""
    probe: Probe
    """Its last answer. A member of an ensemble without a quorum has no status."""

    @property
    def is_serving(self) -> bool:
        """Whether it answers to clients."""
        return self.probe.status is not None


@final
@dataclass(frozen=True)
class ServerReport:
    """The state of a server."""

    config: Path
    pid: int | None
    """Its process id; None if no process of this machine that this user may see runs it."""
    probe: Probe
    """Its answer, or the reason why there is no answer."""

    @property
    def status(self) -> ServerStatus | None:
        """The status; None if the server does not serve."""
        return self.probe.status


@final
class ServerControl:
    """Start, stop and ask one server of an installed ZooKeeper.

    ```python
    control = ServerControl("/etc/zookeeper/conf/zoo.cfg")
    started = await control.start()
    print(started.pid, (await control.status()).status)
    await control.stop()
    ```

    Args:
        config: the configuration file: the name of a file in the configuration folder, or else in the current
            folder; with a slash, a path; None for the installation's default.
        config_directory: the configuration folder; None for `ZOOCFGDIR`, or else the installation's.
        environ: the environment variables; None for those of this process. Those that `zookeeper-env.sh` and
            `java.env` in the configuration folder set take precedence.

    Every method that reads the configuration raises `ServerConfigError`, with path, line and key, and
    `ServerNotFoundError` if ZooKeeper or Java is not installed.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        config_directory: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = None if config is None else str(config)
        self._config_directory = config_directory
        self._environ = dict(os.environ if environ is None else environ)
        self._location: ServerLocation | None = None

    async def start(self, *, wait: float = _START_LIMIT) -> StartedServer:
        """Start the server as a daemon, write its pid file, and wait until it serves.

        A start waits for another start with the same file, and finds the server of that start.

        Args:
            wait: the longest wait in seconds. A member of an ensemble serves only when a majority runs. If it
                still waits for the others then, it keeps running, and the result has no status.

        Raises:
            ServerRunningError: the server runs already; it has the pid.
            PortInUseError: the server cannot listen on one of its ports, including the AdminServer's.
            ServerDataError: a directory is not writable, or another running server uses it.
            ServerStartError: the process ended, or a standalone server does not serve in time and was ended.

        **Cancellation**: a cancelled start ends the process.
        """
        config, location = await self.read_config(), await self._locate()
        async with one_start(config.path, wait=wait):
            await anyio.to_thread.run_sync(self._check_start, config, location)
            return await self._launch_and_wait(config, location, wait)

    async def _launch_and_wait(
        self, config: ServerConfig, location: ServerLocation, wait: float
    ) -> StartedServer:
        command = self._command(config, location)
        log = self._log_file(location)
        check_writable(log.parent, "the log directory (ZOO_LOG_DIR)")
        pid_file = self._pid_file(config)
        check_writable(pid_file.parent, "the directory of the pid file (ZOOPIDFILE)")
        launched: list[subprocess.Popen[bytes]] = []
        try:
            # Ctrl-C raises in the main thread only, where it could leave a process that nothing refers to.
            output = await anyio.to_thread.run_sync(_launch, command, log, location.environ, launched)
            (process,) = launched
            pid_file.write_text(str(process.pid), "ascii")
            probe = await self._wait_until_serving(process, config, location, output, wait)
        except BaseException:
            for process in launched:
                process.kill()
                process.wait()
                pid_file.unlink(missing_ok=True)
            raise
        # The daemon is not a child to wait for, and Popen would warn of one.
        process.returncode = 0
        return StartedServer(process.pid, config.path, pid_file, log, probe)

    async def stop(self, *, wait: float = _STOP_LIMIT, kill: bool = False) -> int | None:
        """Send SIGTERM to the server, wait until its process has exited, and remove the pid file.

        The process is found by its command line, so neither a missing pid file nor a pid that another process
        has now does harm.

        Args:
            wait: the longest wait in seconds.
            kill: whether to send SIGKILL after the wait.

        Returns:
            The pid of the process; None if no process runs this server.

        Raises:
            ServerStopError: the process still runs after the wait.
            PermissionError: the process belongs to another user.
        """
        with contextlib.suppress(ServerNotFoundError):  # only its environment files may name the pid file
            await self._locate()
        config = await self.read_config()
        running = await anyio.to_thread.run_sync(find_running, config.path)
        if running is not None:
            await anyio.to_thread.run_sync(lambda: end_process(running, wait=wait, kill=kill))
        with contextlib.suppress(OSError):  # the file of another user, for example
            self._pid_file(config).unlink()
        return None if running is None else running.pid

    async def restart(
        self, *, wait: float = _START_LIMIT, stop_wait: float = _STOP_LIMIT, kill: bool = False
    ) -> StartedServer:
        """Stop the server if it runs, and start it.

        Raises:
            ServerStopError: the process still runs after the wait; see also `start`.
        """
        await self.command()  # a server that could not be started again must not be stopped
        await self.stop(wait=stop_wait, kill=kill)
        return await self.start(wait=wait)

    async def status(self) -> ServerReport:
        """Find the server's process and ask the server for its status.

        The port is that of `clientPort`, or of the server's own `server.N` line (including lines in
        `dynamicConfigFile`), or `secureClientPort`. The last is asked through Java, as zkServer.sh does.
        """
        config = await self.read_config()
        running = await anyio.to_thread.run_sync(_find_running_if_possible, config.path)
        java, class_path, environ = None, "", self._environ
        if config.client_endpoint is None and config.secure_endpoint is not None:
            location = await self._locate()
            environ = dict(location.environ)
            java, class_path = find_java(environ), _class_path(location)
        probe = await probe_server(config, java, class_path, environ)
        return ServerReport(config.path, None if running is None else running.pid, probe)

    async def version(self) -> str:
        """Return the version of the installed jars, such as `3.8.0`."""
        location = await self._locate()
        done = await anyio.run_process(
            [
                str(find_java(location.environ)),
                "-cp",
                _class_path(location),
                "org.apache.zookeeper.Version",
                "--full",
            ],
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        match = re.match(r"[\w.]+(?:-(?:alpha|beta|rc)[\w.]*)?", done.stdout.decode("utf-8", "replace"))
        if match is None:
            raise ServerNotFoundError(
                f"the jars in {location.layout.home} have no version", "install ZooKeeper again"
            )
        return match[0]

    async def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return self._command(await self.read_config(), await self._locate())

    async def prepare_foreground(self) -> list[str]:
        """Check all that `start` checks, and return the command that runs the server in the foreground.

        Raises:
            ServerRunningError, PortInUseError, ServerDataError: see `start`.
        """
        config, location = await self.read_config(), await self._locate()
        await anyio.to_thread.run_sync(self._check_start, config, location)
        return self._command(config, location)

    async def environment(self) -> Mapping[str, str]:
        """Return the environment variables of the server, after `zookeeper-env.sh` and `java.env`."""
        return (await self._locate()).environ

    async def initialize(self, *, my_id: int | None = None, force: bool = False) -> ServerConfig:
        """Create the data directories of a new server, as zkServer-initialize.sh does.

        Args:
            my_id: the number to write into `myid`; None to leave the file as it is.
            force: whether to delete the data of a server that was initialized before.

        Raises:
            ServerConfigError: no `server.N` line has the number.
            ServerDataError: there are data, or a directory is not writable.
            ServerRunningError: the server runs.
        """
        config = await self.read_config()
        if my_id is not None and config.members and my_id not in config.members:
            numbers = ", ".join(map(str, sorted(config.members)))
            raise config.error(f"has server lines for {numbers}, and not for --myid {my_id}")
        running = await anyio.to_thread.run_sync(find_running, config.path)
        if running is not None:
            raise ServerRunningError(running.pid, config.path)
        await anyio.to_thread.run_sync(_initialize, config, my_id, force)
        return config

    async def read_config(self) -> ServerConfig:
        """Read the configuration file."""
        if self._location is not None:
            path = self._location.config
        else:
            path = await anyio.to_thread.run_sync(
                lambda: locate_config(self._config, self._environ, config_directory=self._config_directory)
            )
        return read_server_config(path)

    async def _locate(self) -> ServerLocation:
        if self._location is None:
            self._location = await anyio.to_thread.run_sync(
                lambda: locate_server(self._config, self._environ, config_directory=self._config_directory)
            )
        return self._location

    def _check_start(self, config: ServerConfig, location: ServerLocation) -> None:
        find_java(location.environ)
        servers = list(running_servers())
        own = config.path.resolve()
        for server in servers:
            if server.config == own:
                raise ServerRunningError(server.pid, config.path)
        check_my_id(config)
        create = not location.environ.get("ZOO_DATADIR_AUTOCREATE_DISABLE")
        check_data_directories(config, servers, create=create)
        check_ports(config, has_admin_server=_has_admin_server(location))

    async def _wait_until_serving(
        self,
        process: subprocess.Popen[bytes],
        config: ServerConfig,
        location: ServerLocation,
        output: _Output,
        wait: float,
    ) -> Probe:
        java, class_path = find_java(location.environ), _class_path(location)
        probe = Probe("", 0, is_tls=False, status=None, problem="not asked")
        with anyio.move_on_after(wait):
            while process.poll() is None:
                probe = await probe_server(config, java, class_path, location.environ)
                if probe.status is not None:
                    return probe
                await anyio.sleep(_POLL_INTERVAL)
        if process.poll() is not None:
            raise _start_error(process.returncode, output, config)
        if config.is_replicated:
            return probe
        raise ServerStartError(f"the server does not serve after {wait:g} s and was ended", output.tail())

    def _command(self, config: ServerConfig, location: ServerLocation) -> list[str]:
        environ = location.environ
        create = (
            []
            if not environ.get("ZOO_DATADIR_AUTOCREATE_DISABLE")
            else ["-Dzookeeper.datadir.autocreate=false"]
        )
        return [
            str(find_java(environ)),
            *create,
            f"-Dzookeeper.log.dir={location.log_directory}",
            f"-Dzookeeper.log.file={self._log_file(location).with_suffix('.log').name}",
            # For the logger configurations of releases before 3.8, and of Debian.
            f"-Dzookeeper.root.logger={environ.get('ZOO_LOG4J_PROP') or 'INFO,CONSOLE'}",
            "-XX:+HeapDumpOnOutOfMemoryError",
            "-XX:+ExitOnOutOfMemoryError",
            "-cp",
            _class_path(location),
            f"-Xmx{environ.get('ZK_SERVER_HEAP') or _HEAP}m",
            *_flags("SERVER_JVMFLAGS", location),
            *_flags("JVMFLAGS", location),
            MAIN_CLASS,
            str(config.path),
        ]

    def _log_file(self, location: ServerLocation) -> Path:
        user = location.environ.get("USER", "")
        return location.log_directory / f"zookeeper-{user}-server-{socket.gethostname()}.out"

    def _pid_file(self, config: ServerConfig) -> Path:
        environ = self._environ if self._location is None else self._location.environ
        given = environ.get("ZOOPIDFILE")
        return Path(given) if given else config.data_dir / "zookeeper_server.pid"


def _find_running_if_possible(config: Path) -> RunningServer | None:
    """Find the process; a status needs no psutil."""
    try:
        return find_running(config)
    except ImportError:
        return None


def _class_path(location: ServerLocation) -> str:
    return os.pathsep.join(map(str, [location.config_directory, *location.layout.class_path]))


def _has_admin_server(location: ServerLocation) -> bool:
    names = [jar.name for jar in location.layout.class_path]
    return any(name.startswith("jetty-server") for name in names)


def _flags(variable: str, location: ServerLocation) -> list[str]:
    value = location.environ.get(variable, "")
    try:
        return shlex.split(value)
    except ValueError as error:
        problem = f"must be flags for java with matching quotes, not {value!r}"
        raise ServerConfigError(location.config_directory, problem, key=variable) from error


@dataclass(frozen=True)
class _Output:
    """The output of one process in a file, which several servers may share."""

    log: Path
    begin: int

    def tail(self) -> str:
        try:
            text = self.log.read_bytes()[self.begin :].decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


def _launch(
    command: list[str], log: Path, environ: Mapping[str, str], launched: list[subprocess.Popen[bytes]]
) -> _Output:
    """Start the process, append it to `launched`, and return its output."""
    with log.open("ab") as output:
        begin = output.tell()
        launched.append(
            subprocess.Popen(  # noqa: S603 - the command is the installation's Java
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal does not reach a daemon
            )
        )
    return _Output(log, begin)


def _start_error(
    exit_status: int, output: _Output, config: ServerConfig
) -> ServerStartError | PortInUseError | ServerConfigError | ServerDataError:
    """Return the error for a process that has ended."""
    text, log = output.tail(), output.log
    causes = re.findall(r"[\w.$]+(?:Exception|Error): (.+)$", text, re.MULTILINE)
    reason = causes[-1] if causes else f"Java exited with status {exit_status}"
    if exit_status == _EXIT_CONFIG:
        return config.error(f"ZooKeeper refuses it: {reason}; its log: {log}")
    if exit_status == _EXIT_DATA:
        return ServerDataError(config.data_dir, f"ZooKeeper cannot use it: {reason}; its log: {log}")
    if exit_status == _EXIT_ADMIN:
        host, port = config.admin_endpoint or ("", 0)
        return PortInUseError(host or "0.0.0.0", port, "admin.serverPort, the AdminServer", reason)  # noqa: S104
    if exit_status == _EXIT_QUORUM_PORT:
        own = config.members.get(config.read_my_id() or 0)
        host, port = ("", 0) if own is None else (own.host, own.quorum_port)
        return PortInUseError(host, port, "the quorum or election port of the server's own line", reason)
    return ServerStartError(f"the server ended with status {exit_status}: {reason}", text)


def _initialize(config: ServerConfig, my_id: int | None, force: bool) -> None:
    folders = {config.data_dir, config.transaction_log_dir}
    for folder in folders:
        check_writable(folder, "the directory")
        data = folder / "version-2"
        if data.exists() and not force:
            raise ServerDataError(folder, "there are data of a server already; --force deletes them")
    for folder in folders:
        shutil.rmtree(folder / "version-2", ignore_errors=True)
        (folder / "version-2").mkdir()
    if my_id is not None:
        (config.data_dir / "myid").write_text(f"{my_id}\n", "ascii")
    # A server with `zookeeper.db.autocreate=false` accepts an empty directory only with this file.
    (config.data_dir / "initialize").touch()
