"""The checks before the start of a server: the known reasons for which it would not serve."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from zkrecipes.ensemble.errors import PortInUseError, ServerConfigError, ServerDataError
from zkrecipes.ensemble.process_table import RunningServer
from zkrecipes.ensemble.server_config import ServerConfig, read_server_config

__all__ = ["check_data_directories", "check_my_id", "check_ports", "check_writable"]

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the address of the check, not of a server
_MY_ID_REMEDY = "`zkrecipes server initialize --myid N` writes it for a new server"


def check_my_id(config: ServerConfig) -> None:
    """Check that a member of an ensemble has a `myid` with the number of one of its `server.N` lines.

    Raises:
        ServerConfigError: `myid` is missing, or no line has its number.
    """
    if not config.is_replicated:
        return
    path = config.data_dir / "myid"
    number = config.read_my_id()
    numbers = ", ".join(map(str, sorted(config.members)))
    if number is None:
        problem = f"there is no such file; it must contain one of {numbers}: {_MY_ID_REMEDY}"
        raise ServerConfigError(path, problem)
    if number not in config.members:
        problem = f"must be one of {numbers}, the server lines of {config.path}, not {number}"
        raise ServerConfigError(path, problem, line=1)


def check_data_directories(config: ServerConfig, others: Iterable[RunningServer], *, create: bool) -> None:
    """Check that the server can write into its directories, and that no other server does.

    Args:
        config: the server's configuration.
        others: the other servers that run on this machine.
        create: whether to create missing directories. If not, they must contain `version-2`, as
            `ZOO_DATADIR_AUTOCREATE_DISABLE` requires.

    Raises:
        ServerDataError: a directory cannot be used.
    """
    for other in others:
        try:
            theirs = read_server_config(other.config)
        except ServerConfigError:
            continue
        if theirs.data_dir.resolve() == config.data_dir.resolve():
            raise ServerDataError(
                config.data_dir, f"used by the running server {other.pid}, configured by {other.config}"
            )
    for key, directory in (("dataDir", config.data_dir), ("dataLogDir", config.transaction_log_dir)):
        if not create and not (directory / "version-2").is_dir():
            raise ServerDataError(
                directory,
                f"there is no version-2 in this {key}, and ZOO_DATADIR_AUTOCREATE_DISABLE is set; correct "
                "the path, or run `zkrecipes server initialize`",
            )
        check_writable(directory, f"this {key}")


def check_writable(directory: Path, name: str) -> None:
    """Create the directory if it is missing, and check that this user can create files in it.

    Raises:
        ServerDataError: it cannot be created, or is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(dir=directory)
        os.close(handle)
        Path(probe).unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServerDataError(directory, f"cannot write into {name}: {reason}") from error


def check_ports(config: ServerConfig, *, has_admin_server: bool) -> None:
    """Check that the server's ports are free.

    Args:
        config: the server's configuration.
        has_admin_server: whether the jars contain an AdminServer.

    Raises:
        ServerConfigError: the file has no port for clients.
        PortInUseError: the server cannot listen on one of the addresses.
    """
    client, secure = config.client_endpoint, config.secure_endpoint
    if client is None and secure is None:
        raise ServerConfigError(
            config.path,
            "is missing, like secureClientPort and a port in the server's own line; add clientPort=2181",
            key="clientPort",
        )
    if client is not None:
        _check_port(*client, "clientPort")
    if secure is not None:
        _check_port(*secure, "secureClientPort")
    admin = config.admin_endpoint
    if has_admin_server and admin is not None:
        remedy = "; set admin.serverPort to another port, or admin.enableServer=false"
        _check_port(*admin, "admin.serverPort, the AdminServer", remedy)
    own = config.members.get(config.read_my_id() or 0)
    if config.is_replicated and own is not None:
        _check_port(own.host, own.election_port, "the election port of the server's own line")
        _check_port(own.host, own.quorum_port, "the quorum port of the server's own line")


def _check_port(host: str, port: int, key: str, remedy: str = "") -> None:
    if port == 0:
        return
    address = host or _ANY_ADDRESS
    try:
        family, kind, _, _, bound = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PortInUseError(address, port, key, f"the address cannot be resolved: {error}") from error
    with socket.socket(family, kind) as probe:
        # As the JVM does, treat a port whose last connections are in TIME_WAIT as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(bound)
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise PortInUseError(address, port, key, reason + remedy) from error
