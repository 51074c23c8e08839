"""The errors of finding, configuring, starting and stopping a real server."""

from __future__ import annotations

from pathlib import Path
from typing import final

from zkrecipes.errors import ZooKeeperError

__all__ = [
    "PortInUseError",
    "ServerConfigError",
    "ServerDataError",
    "ServerNotFoundError",
    "ServerRunningError",
    "ServerStartError",
    "ServerStopError",
]


@final
class ServerNotFoundError(ZooKeeperError):
    """No Apache ZooKeeper, or no Java to run it with, is installed here.

    Attributes:
        missing: the missing thing, and the place where it was expected.
        remedy: a command to run, or a setting to change.
    """

    def __init__(self, missing: str, remedy: str) -> None:
        super().__init__(f"{missing}; {remedy}")
        self.missing = missing
        self.remedy = remedy


@final
class ServerConfigError(ZooKeeperError):
    """A configuration file of a server cannot be read, or has a bad value.

    Attributes:
        path: the file.
        line: the number of the line, from 1; None if the error belongs to no line.
        key: the key; None if the error belongs to no key.
        problem: the requirement and the given value.
    """

    def __init__(self, path: Path, problem: str, *, line: int | None = None, key: str | None = None) -> None:
        place = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {problem}" if key is None else f"{place}: {key}: {problem}")
        self.path = path
        self.line = line
        self.key = key
        self.problem = problem


@final
class ServerDataError(ZooKeeperError):
    """A directory of a server cannot be used: not writable, or used by another server.

    Attributes:
        directory: the directory.
        problem: the reason, and the remedy if one is known.
    """

    def __init__(self, directory: Path, problem: str) -> None:
        super().__init__(f"{directory}: {problem}")
        self.directory = directory
        self.problem = problem


@final
class PortInUseError(ZooKeeperError):
    """A server cannot listen on an address.

    Attributes:
        host: the address.
        port: the port.
        key: the key of the configuration that names the port.
    """

    def __init__(self, host: str, port: int, key: str, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({key}): {reason}")
        self.host = host
        self.port = port
        self.key = key


@final
class ServerRunningError(ZooKeeperError):
    """The server runs already.

    Attributes:
        pid: its process id.
        config: its configuration file.
    """

    def __init__(self, pid: int, config: Path) -> None:
        super().__init__(f"already running as process {pid} with {config}")
        self.pid = pid
        self.config = config


@final
class ServerStartError(ZooKeeperError):
    """A server was launched and does not serve.

    Attributes:
        reason: the server's exit status, or the time without an answer.
        log_tail: the last lines of the server's log.
    """

    def __init__(self, reason: str, log_tail: str) -> None:
        super().__init__(f"{reason}; the end of its log:\n{log_tail}")
        self.reason = reason
        self.log_tail = log_tail


@final
class ServerStopError(ZooKeeperError):
    """A server did not exit in time. It still runs.

    Attributes:
        pid: its process id.
    """

    def __init__(self, pid: int, limit: float) -> None:
        super().__init__(f"process {pid} still runs {limit:g} s after SIGTERM; --kill ends it with SIGKILL")
        self.pid = pid
