"""The configuration file of a real server (zoo.cfg), with the checks that a start needs.

ZooKeeper reads the file as Java properties (`QuorumPeerConfig.java`, 3.4 to 3.9), and so does this module. Of
a repeated key the last one counts, and a backslash escapes. Errors name the file, the line and the key.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from zkrecipes.ensemble.errors import ServerConfigError
from zkrecipes.properties import Property, parse_properties

__all__ = ["MemberLine", "ServerConfig", "read_server_config"]

_PATHS: Final = ("dataDir", "dataLogDir", "dynamicConfigFile")
_PORTS: Final = ("clientPort", "secureClientPort", "admin.serverPort")
_NUMBERS: Final = (
    "tickTime",
    "initLimit",
    "syncLimit",
    "maxClientCnxns",
    "minSessionTimeout",
    "maxSessionTimeout",
)
_ADDRESS: Final = re.compile(
    r"(\[[^\]]+\]|[^:\[\]\s]+):(\d+):(\d+)(?::(participant|observer))?", re.IGNORECASE
)
_ADMIN_PORT = 8080  # JettyAdminServer.DEFAULT_PORT


@final
@dataclass(frozen=True)
class MemberLine:
    """A `server.N` line."""

    host: str
    """The name or address for the other members, without brackets."""
    quorum_port: int
    election_port: int
    role: str
    """`participant` or `observer`."""
    client: tuple[str, int] | None
    """Address (empty for all addresses) and port for clients, after a semicolon."""
    path: Path
    """The file of the line: the configuration file or its dynamic file."""
    line: int
    """The number of the line."""


@final
@dataclass(frozen=True)
class ServerConfig:
    """The parts of a configuration file that starting, stopping and asking a server need."""

    path: Path
    data_dir: Path
    """The directory of snapshots, `myid` and, by default, the pid file."""
    transaction_log_dir: Path
    """The directory of transaction logs; the same as `data_dir` unless `dataLogDir` is set."""
    members: Mapping[int, MemberLine]
    """The `server.N` lines by number, including those of `dynamicConfigFile`."""
    properties: Mapping[str, Property]
    """Every key of the file with its value and line."""

    @property
    def is_replicated(self) -> bool:
        """Whether the server is a member of an ensemble (`QuorumPeerConfig.isDistributed`)."""
        alone = self.value("standaloneEnabled", "true").lower() == "true"
        return len(self.members) > 1 or (len(self.members) == 1 and not alone)

    @property
    def client_endpoint(self) -> tuple[str, int] | None:
        """Address (empty for all addresses) and port for clients without TLS, or None."""
        if "clientPort" in self.properties:
            return self.value("clientPortAddress", ""), int(self.value("clientPort"))
        number = self.read_my_id()
        # Without an id, only one line can be this server's.
        lines = list(self.members.values()) if len(self.members) == 1 else []
        line = lines[0] if lines else None if number is None else self.members.get(number)
        return None if line is None else line.client

    @property
    def secure_endpoint(self) -> tuple[str, int] | None:
        """Address (empty for all addresses) and port for clients with TLS, or None."""
        if "secureClientPort" not in self.properties:
            return None
        return self.value("secureClientPortAddress", ""), int(self.value("secureClientPort"))

    @property
    def admin_endpoint(self) -> tuple[str, int] | None:
        """Address and port of the AdminServer; None if it is disabled. Servers from 3.5 have one."""
        if self.value("admin.enableServer", "true").lower() != "true":
            return None
        return self.value("admin.serverAddress", ""), int(self.value("admin.serverPort", str(_ADMIN_PORT)))

    def value(self, key: str, default: str = "") -> str:
        """Return the value of a key."""
        found = self.properties.get(key)
        return default if found is None else found.value

    def error(self, problem: str, key: str | None = None) -> ServerConfigError:
        """Return an error at the line of the key."""
        found = None if key is None else self.properties.get(key)
        return ServerConfigError(self.path, problem, line=None if found is None else found.line, key=key)

    def read_my_id(self) -> int | None:
        """Read `myid` in the data directory.

        Returns:
            The number; None if there is no such file.

        Raises:
            ServerConfigError: the file does not contain a number.
        """
        path = self.data_dir / "myid"
        try:
            text = path.read_text("utf-8", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ServerConfigError(path, f"cannot read it: {error.strerror or error}") from error
        if not (text.isascii() and text.isdigit()):
            raise ServerConfigError(path, f"must contain the number of this server, not {text!r}", line=1)
        return int(text)


def read_server_config(path: Path) -> ServerConfig:
    """Read a configuration file and its dynamic file.

    Raises:
        ServerConfigError: the file cannot be read, has a bad value, lacks `dataDir`, or has two lines with
            the same server number.
    """
    text = _read(path)
    entries = {entry.key: entry for entry in parse_properties(text)}
    _check_values(path, entries)
    _check_backslashes(path, text, entries)
    if not entries.get("dataDir", Property("", "", 0)).value:
        raise ServerConfigError(path, "is missing; set it to the directory of the data", key="dataDir")
    data_dir = Path(entries["dataDir"].value).absolute()
    log_dir = entries.get("dataLogDir")
    config = ServerConfig(
        path=path,
        data_dir=data_dir,
        transaction_log_dir=data_dir if log_dir is None else Path(log_dir.value).absolute(),
        members=_read_members(path, text, entries),
        properties=entries,
    )
    if config.is_replicated:
        for key in ("initLimit", "syncLimit"):
            if key not in entries:
                raise ServerConfigError(path, "is missing; members of an ensemble need it", key=key)
    return config


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        sample = path.with_name("zoo_sample.cfg")
        remedy = f"; copy {sample} to it and edit the copy" if sample.exists() else ""
        raise ServerConfigError(path, f"there is no such file{remedy}") from None
    except OSError as error:
        raise ServerConfigError(path, f"cannot read it: {error.strerror or error}") from error
    if raw.startswith(codecs.BOM_UTF8):
        raise ServerConfigError(
            path, "must not begin with a byte order mark, which Java reads as a part of the first key", line=1
        )
    # Java reads every byte as a Latin-1 character (`Properties.load` of an `InputStream`).
    return raw.decode("latin-1")


def _check_values(path: Path, entries: Mapping[str, Property]) -> None:
    for key in (*_PORTS, *_NUMBERS):
        entry = entries.get(key)
        if entry is None:
            continue
        if re.fullmatch(r"[+-]?[0-9]{1,20}", entry.value) is None:
            problem = f"must be a whole number, not {entry.value!r}"
        elif key in _PORTS and not 0 < int(entry.value) < 65536:
            problem = f"must be a port, 1 to 65535, not {entry.value}"
        else:
            continue
        raise ServerConfigError(path, problem, line=entry.line, key=key)


def _check_backslashes(path: Path, text: str, entries: Mapping[str, Property]) -> None:
    r"""Refuse `dataDir=C:\data`, from which Java reads `C:data`."""
    for entry in parse_properties(text, paths=_PATHS):
        if entry.key in _PATHS and entry.line == entries[entry.key].line:
            read_by_java = entries[entry.key].value
            if entry.value != read_by_java:
                slashes = entry.value.replace("\\", "/")
                raise ServerConfigError(
                    path,
                    f"Java reads {read_by_java!r}, because a backslash escapes; write {slashes}, or double "
                    "each backslash",
                    line=entry.line,
                    key=entry.key,
                )


def _read_members(path: Path, text: str, entries: Mapping[str, Property]) -> dict[int, MemberLine]:
    members = _parse_members(path, text)
    dynamic = entries.get("dynamicConfigFile")
    if dynamic is None or members:
        return members
    dynamic_path = Path(dynamic.value)
    try:
        return _parse_members(dynamic_path, dynamic_path.read_bytes().decode("latin-1"))
    except OSError as error:
        problem = f"cannot read {dynamic_path}: {error.strerror or error}"
        raise ServerConfigError(path, problem, line=dynamic.line, key=dynamic.key) from error


def _parse_members(path: Path, text: str) -> dict[int, MemberLine]:
    members: dict[int, MemberLine] = {}
    for entry in parse_properties(text):
        if not entry.key.startswith("server."):
            continue
        number = entry.key.removeprefix("server.")
        if not (number.isascii() and number.isdigit()):
            raise ServerConfigError(
                path, f"must be server. and a number, not {number!r}", line=entry.line, key=entry.key
            )
        if int(number) in members:
            first = members[int(number)].line
            raise ServerConfigError(
                path, f"line {first} has the same server number {int(number)}", line=entry.line, key=entry.key
            )
        members[int(number)] = _parse_member(path, entry)
    return members


def _parse_member(path: Path, entry: Property) -> MemberLine:
    """Parse `host:port:port[:role][|host:port:port][;[[host:]port][;[host:]port]]`."""
    server, *clients = entry.value.split(";")
    match = _ADDRESS.fullmatch(server.partition("|")[0].strip())
    client = clients[0].strip() if clients else ""
    host, _, port = client.rpartition(":")
    if match is None or (client and not (port.isascii() and port.isdigit())):
        raise ServerConfigError(
            path,
            f"must be host:port:port, optionally with :observer and ;clientPort, not {entry.value!r}",
            line=entry.line,
            key=entry.key,
        )
    return MemberLine(
        host=match[1].strip("[]"),
        quorum_port=int(match[2]),
        election_port=int(match[3]),
        role=(match[4] or "participant").lower(),
        client=(host.strip("[]"), int(port)) if client else None,
        path=path,
        line=entry.line,
    )
