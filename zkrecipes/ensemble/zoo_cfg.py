"""The text of a server's zoo.cfg and of the loggers' files beside it. Pure: settings in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

__all__ = ["LOGGER_FILES", "Peer", "Setting", "render"]

Setting = str | int | bool
"""What a value in zoo.cfg can be."""

# Without these, log4j 1 (ZooKeeper up to 3.7, and Debian's) logs nothing, and logback (3.8 on) everything.
LOGGER_FILES = {
    "log4j.properties": """\
log4j.rootLogger=INFO, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p [%t:%C{1}@%L] - %m%n
""",
    "logback.xml": """\
<configuration>
  <appender name="CONSOLE" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t:%C{1}@%L] - %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="CONSOLE"/></root>
</configuration>
""",
}

# What a server on this machine only needs, unless it is told otherwise.
_DEFAULTS: Mapping[str, Setting] = {
    "tickTime": 2000,
    "initLimit": 10,
    "syncLimit": 5,
    "maxClientCnxns": 0,
    "4lw.commands.whitelist": "*",
    "admin.enableServer": False,
}
# Decided by the server object, which has to know them.
_OURS = ("clientPort", "clientPortAddress", "dataDir")


@final
@dataclass(frozen=True)
class Peer:
    """One `server.N` line: where the members of an ensemble meet one another."""

    host: str
    quorum_port: int
    election_port: int


def render(
    settings: Mapping[str, Setting],
    *,
    host: str,
    port: int,
    data: Path,
    peers: Mapping[int, Peer],
) -> str:
    """The text of a zoo.cfg.

    Args:
        settings: zoo.cfg's own keys and their values; they go before the defaults.
        host: the address that clients connect to.
        port: the port that clients connect to.
        data: the folder for snapshots and logs.
        peers: the members of the ensemble by their ids; empty for a standalone server.

    Raises:
        ValueError: a key that is given by the other arguments, or a key or value that would break its line.
    """
    for key in settings:
        if key in _OURS or key.startswith("server."):
            raise ValueError(f"{key} is set by the server itself, not among its settings")
    lines: dict[str, Setting] = {
        **_DEFAULTS,
        **settings,
        "clientPortAddress": host,
        "clientPort": port,
        "dataDir": str(data),
    }
    for number, peer in peers.items():
        lines[f"server.{number}"] = f"{peer.host}:{peer.quorum_port}:{peer.election_port}"
    return "".join(f"{_key(key)}={_value(key, value)}\n" for key, value in lines.items())


def _key(key: str) -> str:
    if not key or not key.isprintable() or any(letter in "=:#!\\ " for letter in key):
        raise ValueError(f"not a key of zoo.cfg: {key!r}")
    return key


def _value(key: str, value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text.isprintable():
        raise ValueError(f"the value of {key} would break its line: {value!r}")
    # zoo.cfg is read as Java properties, where a backslash escapes.
    return text.replace("\\", "\\\\")
