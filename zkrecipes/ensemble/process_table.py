"""The ZooKeeper servers among the processes of this machine, found by their command lines.

A pid file is only a hint: its process may have ended, and the system may have given the pid to another
process. A command line with ZooKeeper's main class and the path of a configuration file identifies a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, final

from zkrecipes.ensemble.errors import ServerStopError

if TYPE_CHECKING:
    import psutil

__all__ = ["MAIN_CLASS", "RunningServer", "end_process", "find_running", "running_servers"]

MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_MAIN_CLASSES = (MAIN_CLASS, "org.apache.zookeeper.server.ZooKeeperServerMain")
_REMEDY = "finding server processes needs psutil: pip install 'zkrecipes[cli]'"


@final
@dataclass(frozen=True)
class RunningServer:
    """A process that runs a ZooKeeper server."""

    pid: int
    config: Path
    """Its configuration file, an absolute path without symbolic links."""
    process: psutil.Process
    """The process, identified by its pid and the time of its creation."""


def find_running(config: Path) -> RunningServer | None:
    """Return the process that runs a server with this configuration file, or None.

    Raises:
        ImportError: psutil is not installed.
    """
    wanted = config.resolve()
    return next((server for server in running_servers() if server.config == wanted), None)


def running_servers() -> Iterator[RunningServer]:
    """List the ZooKeeper servers of this machine whose command lines this user may read.

    Raises:
        ImportError: psutil is not installed.
    """
    psutil = _psutil()
    for process in psutil.process_iter():
        try:
            config = _config_argument(process.cmdline())
            if config is None:
                continue
            if not config.is_absolute():
                config = Path(process.cwd(), config)
        except psutil.Error:  # it has ended, or belongs to another user
            continue
        yield RunningServer(process.pid, config.resolve(), process)


def end_process(server: RunningServer, *, wait: float, kill: bool) -> None:
    """Send SIGTERM and wait until the process has exited; with `kill`, send SIGKILL after the wait.

    Raises:
        ServerStopError: the process still runs after the wait.
        PermissionError: the process belongs to another user.
    """
    psutil = _psutil()
    try:
        server.process.terminate()  # psutil compares the time of creation, so a reused pid is safe
        server.process.wait(wait)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise PermissionError(f"process {server.pid} belongs to another user") from None
    except psutil.TimeoutExpired:
        if not kill:
            raise ServerStopError(server.pid, wait) from None
        server.process.kill()
        server.process.wait(wait)


def _config_argument(command: Sequence[str]) -> Path | None:
    for index, word in enumerate(command[:-1]):
        if word in _MAIN_CLASSES:
            return Path(command[index + 1])
    return None


def _psutil() -> ModuleType:
    try:
        import psutil
    except ImportError as error:
        raise ImportError(_REMEDY) from error
    return psutil
