"""A real server's configuration file, read for the dev server (`QuorumPeerConfig.java`, 3.9).

Where the file is silent, a real server's defaults hold, but for the address: nobody outside this machine is
served unless the file says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from zkrecipes.devserver.properties import Property, parse_properties
from zkrecipes.devserver.settings import Settings

__all__ = ["ConfigError", "ZooCfg", "parse_zoo_cfg", "read_zoo_cfg"]

# `ZooKeeperServer.DEFAULT_TICK_TIME`, `ServerCnxnFactory` and `FourLetterCommands`.
_DEFAULTS: Final = Settings(tick_time=3.0, connections_per_address_max=60, four_letter_words=frozenset())

# What makes no difference to a server that is alone and has its own way to keep data. Not the servers for
# administration and metrics, which somebody will miss.
_IDLE: Final = frozenset(
    "initLimit syncLimit connectToLearnerMasterLimit electionAlg electionPortBindRetry dataLogDir snapCount "
    "snapSizeLimitInKb preAllocSize forceSync fsync.warningthresholdms standaloneEnabled reconfigEnabled "
    "globalOutstandingLimit clientPortListenBacklog leaderServes cnxTimeout quorumListenOnAllIPs "
    "digest.enabled snapshot.trust.empty serverCnxnFactory tcpKeepAlive admin.enableServer".split()
)
_IDLE_BEGINNINGS: Final = ("autopurge.", "jvm.pause.")
_PATHS: Final = frozenset({"dataDir", "dataLogDir"})


class ConfigError(Exception):
    """A configuration file cannot be used; the message is one line that says where and why."""


class ZooCfg(NamedTuple):
    """What a file says."""

    settings: Settings
    without_effect: tuple[str, ...]
    """The keys that mean nothing to the dev server, though they may mean something to a real one."""


def read_zoo_cfg(path: Path) -> ZooCfg:
    """Read a file.

    Raises:
        ConfigError: the file cannot be read, or a value in it is bad.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse_zoo_cfg(text, name=str(path))


def parse_zoo_cfg(text: str, *, name: str = "zoo.cfg") -> ZooCfg:
    """Read the text of a file.

    Args:
        text: the file's.
        name: what messages call it.

    Raises:
        ConfigError: a value is bad; the message names key, value and line.
    """
    given = {entry.key: entry for entry in parse_properties(text, paths=_PATHS)}
    values: dict[str, Any] = {}
    unknown = []
    for entry in given.values():
        reader = _READERS.get(entry.key)
        if reader is not None:
            field, read = reader
            try:
                values[field] = read(entry.value)
            except ValueError as error:
                raise ConfigError(f"{_where(name, entry)} {error}") from error
        elif entry.key not in _IDLE and not entry.key.startswith(_IDLE_BEGINNINGS):
            unknown.append(entry.key)
    settings = replace(_DEFAULTS, **values)
    _check_timeouts(settings, given, name)
    return ZooCfg(settings, tuple(unknown))


def _where(name: str, entry: Property) -> str:
    return f"{name}, line {entry.line}: {entry.key}={entry.value}:"


def _check_timeouts(settings: Settings, given: Mapping[str, Property], name: str) -> None:
    shortest = settings.session_timeout_min or 2 * settings.tick_time
    longest = settings.session_timeout_max or 20 * settings.tick_time
    if shortest > longest:
        entry = given.get("minSessionTimeout") or given["maxSessionTimeout"]
        both = f"minSessionTimeout is {shortest * 1000:g}, maxSessionTimeout {longest * 1000:g}"
        raise ConfigError(f"{_where(name, entry)} the shortest is above the longest: {both}")


def _integer(least: int, most: int, unit: str) -> Callable[[str], int]:
    def read(value: str) -> int:
        # `int` takes "1_000" and other alphabets' digits, too.
        digits = value.removeprefix("-")
        number = int(value) if digits.isascii() and digits.isdigit() else None
        if number is None or not least <= number <= most:
            raise ValueError(f"must be a whole number{unit}, {least} to {most}")
        return number

    return read


def _seconds(value: str) -> float:
    return _MILLISECONDS(value) / 1000


def _timeout(value: str) -> float | None:
    """A session timeout; -1 is the default."""
    return None if value == "-1" else _seconds(value)


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _path(value: str) -> Path:
    return Path(_filled(value))


def _filled(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _words(value: str) -> frozenset[str] | None:
    words = frozenset(word.strip() for word in value.split(","))
    return None if "*" in words else words


_INT_MAX = 2**31 - 1
_MILLISECONDS = _integer(1, _INT_MAX, " of milliseconds")

_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "4lw.commands.whitelist": ("four_letter_words", _words),
    "DigestAuthenticationProvider.superDigest": ("super_digest", _filled),
    "clientPort": ("port", _integer(0, 65535, "")),
    "clientPortAddress": ("host", _filled),
    "dataDir": ("data_dir", _path),
    "extendedTypesEnabled": ("extended_types", _boolean),
    "jute.maxbuffer": ("max_packet_size", _integer(1024, _INT_MAX, " of bytes")),
    "maxClientCnxns": ("connections_per_address_max", _integer(0, _INT_MAX, "")),
    "maxSessionTimeout": ("session_timeout_max", _timeout),
    "minSessionTimeout": ("session_timeout_min", _timeout),
    "tickTime": ("tick_time", _seconds),
}
"""For each key, what it sets and how its value is read; a `ValueError` says what would be right."""
