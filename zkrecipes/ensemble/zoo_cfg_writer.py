"""Writes the text of a server's zoo.cfg and of its logger configurations. Pure: settings in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

__all__ = ["LOGGER_FILES", "Peer", "Setting", "render"]

Setting = str | int | bool
"""The types of a value in zoo.cfg."""

# Without these, log4j 1 (in ZooKeeper up to 3.7, and in Debian's) logs nothing, and logback (from 3.8) logs
# all.
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

# The defaults for a server that serves only this machine.
_DEFAULTS: Mapping[str, Setting] = {
    "tickTime": 2000,
    "initLimit": 10,
    "syncLimit": 5,
    "maxClientCnxns": 0,
    "4lw.commands.whitelist": "*",
    "admin.enableServer": False,
}
# Set by `ApacheServer`, which must know them.
_RESERVED = ("clientPort", "clientPortAddress", "dataDir")


@final
@dataclass(frozen=True)
class Peer:
    """One `server.N` line: the address and ports for the other members of an ensemble."""

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
    """Return the text of a zoo.cfg.

    Args:
        settings: zoo.cfg's keys and values; they override the defaults.
        host: the address that clients connect to.
        port: the port that clients connect to.
        data: the folder for snapshots and logs.
        peers: the members of the ensemble by their ids; empty for a standalone server.

    Raises:
        ValueError: a key belongs to one of the other arguments, or a key or value would break its line.
    """
    for key in settings:
        if key in _RESERVED or key.startswith("server."):
            raise ValueError(f"settings must not contain {key!r}, which the server sets itself")
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
        raise ValueError(f"a key of zoo.cfg must be printable, without spaces or any of =:#!\\, not {key!r}")
    return key


def _value(key: str, value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text.isprintable():
        raise ValueError(f"the value of {key} must be printable, not {value!r}")
    # ZooKeeper reads zoo.cfg as Java properties, in which a backslash escapes.
    return text.replace("\\", "\\\\")
