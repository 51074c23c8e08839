"""A real server's configuration file, read for the dev server (`QuorumPeerConfig.java`, 3.9).

Where the file is silent, a real server's defaults hold, but for the address: nobody outside this machine is
served unless the file says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from zkrecipes.devserver.config.properties import Property, parse_properties
from zkrecipes.devserver.config.settings import Settings

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
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    # As Java reads it (`Properties.load` of an `InputStream`): every byte is a Latin-1 character.
    return parse_zoo_cfg(raw.decode("latin-1"), name=str(path))


def parse_zoo_cfg(text: str, *, name: str = "zoo.cfg") -> ZooCfg:
    """Read the text of a file.

    Args:
        text: the file's.
        name: what messages call it.

    Raises:
        ConfigError: a value is bad; the message names key, value and line.
    """
    given = {entry.key: entry for entry in parse_properties(text, paths=_PATHS)}
    _check_beginning(given, name)
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
    if "clientPort" not in given:
        values.update(_client_address(given, values.get("data_dir"), name))
    settings = replace(_DEFAULTS, **values)
    _check_timeouts(settings, given, name)
    return ZooCfg(settings, tuple(unknown))


def _where(name: str, entry: Property) -> str:
    return f"{name}, line {entry.line}: {entry.key}={entry.value}:"


def _check_beginning(given: Mapping[str, Property], name: str) -> None:
    """Refuse a file whose byte-order mark makes its first key another one."""
    key = next(iter(given), "")
    if key.startswith(_BYTE_ORDER_MARK):
        rest = key.removeprefix(_BYTE_ORDER_MARK)
        if rest[:1] not in ("", "#", "!"):
            raise ConfigError(
                f"{name} begins with a byte-order mark, which Java reads as part of the first key, {rest}: "
                "save the file as UTF-8 without a byte-order mark"
            )


def _client_address(given: Mapping[str, Property], data_dir: Path | None, name: str) -> dict[str, object]:
    """The address for clients that this server's own `server.N` line names, for a file without `clientPort`.

    With several such lines, `myid` in the data directory says which of them is this server's.
    """
    found = {key: address for key, entry in given.items() if (address := _address_of(key, entry, name))}
    if len(found) > 1:
        own = f"server.{_my_id(data_dir)}"
        if own not in found:
            raise ConfigError(
                f"{name} has no clientPort, and several server lines name one: add clientPort, or a file "
                f"myid in dataDir that says which line is this server's"
            )
        found = {own: found[own]}
    for host, port in found.values():
        return {"port": port} | ({"host": host} if host and "clientPortAddress" not in given else {})
    return {}


def _address_of(key: str, entry: Property, name: str) -> tuple[str, int] | None:
    """Host and port for clients in `server.N=host:port:port[:role];[[host:]port][;[host:]securePort]`."""
    if not _SERVER_LINE.fullmatch(key) or ";" not in entry.value:
        return None
    client = entry.value.split(";")[1].strip()
    if not client:
        return None
    host, _, port = client.rpartition(":")
    try:
        return _host(host) if host else "", _PORT(port)
    except ValueError as error:
        raise ConfigError(f"{_where(name, entry)} the client port {error}") from error


def _my_id(data_dir: Path | None) -> str:
    try:
        return "" if data_dir is None else (data_dir / "myid").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _check_timeouts(settings: Settings, given: Mapping[str, Property], name: str) -> None:
    shortest, longest = settings.session_timeout_min, settings.session_timeout_max
    shortest = 2 * settings.tick_time if shortest is None else shortest
    longest = 20 * settings.tick_time if longest is None else longest
    if shortest > longest:
        entry = given.get("minSessionTimeout") or given["maxSessionTimeout"]
        both = f"minSessionTimeout is {shortest * 1000:g}, maxSessionTimeout {longest * 1000:g}"
        raise ConfigError(f"{_where(name, entry)} the shortest is above the longest: {both}")


def _integer(least: int, most: int, unit: str) -> Callable[[str], int]:
    def read(value: str) -> int:
        # `int` takes "1_000" and other alphabets' digits, too; Java's `Integer.parseInt` takes a sign.
        digits = value[1:] if value[:1] in ("+", "-") else value
        number = int(value) if digits.isascii() and digits.isdigit() else None
        if number is None or not least <= number <= most:
            raise ValueError(f"must be a whole number{unit}, {least} to {most}")
        return number

    return read


def _seconds(value: str) -> float:
    return _MILLISECONDS(value) / 1000


def _longest(value: str) -> float | None:
    """The longest session timeout; -1 is the default."""
    return None if value == "-1" else _seconds(value)


def _shortest(value: str) -> float | None:
    """The shortest session timeout; -1 is the default, and everything else below 1 sets no limit."""
    return None if value == "-1" else max(1, _INTEGER(value)) / 1000


def _boolean(value: str) -> bool:
    """Java's `Boolean.parseBoolean`: everything but "true" is false."""
    return value.lower() == "true"


def _path(value: str) -> Path:
    return Path(_filled(value))


def _host(value: str) -> str:
    """An address to listen on, as `InetAddress.getByName` reads it: brackets go, and empty is loopback."""
    return value.removeprefix("[").removesuffix("]") or "127.0.0.1"


def _filled(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _words(value: str) -> frozenset[str] | None:
    words = frozenset(word.strip() for word in value.split(","))
    return None if "*" in words else words


_INT_MAX = 2**31 - 1
_BYTE_ORDER_MARK: Final = "\xef\xbb\xbf"  # of UTF-8, read as Latin-1
_SERVER_LINE: Final = re.compile(r"server\.\d+")
_INTEGER = _integer(-_INT_MAX, _INT_MAX, " of milliseconds")
_PORT = _integer(0, 65535, "")
_MILLISECONDS = _integer(1, _INT_MAX, " of milliseconds")

_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "4lw.commands.whitelist": ("four_letter_words", _words),
    "DigestAuthenticationProvider.superDigest": ("super_digest", _filled),
    "clientPort": ("port", _PORT),
    "clientPortAddress": ("host", _host),
    "dataDir": ("data_dir", _path),
    "extendedTypesEnabled": ("extended_types", _boolean),
    "jute.maxbuffer": ("max_packet_size", _integer(1024, _INT_MAX, " of bytes")),
    "maxClientCnxns": ("connections_per_address_max", _integer(-_INT_MAX, _INT_MAX, "")),
    "maxSessionTimeout": ("session_timeout_max", _longest),
    "minSessionTimeout": ("session_timeout_min", _shortest),
    "tickTime": ("tick_time", _seconds),
}
"""For each key, what it sets and how its value is read; a `ValueError` says what would be right."""
