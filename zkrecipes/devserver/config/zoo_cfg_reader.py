"""A real server's configuration file, read for the dev server (`QuorumPeerConfig.java`, 3.9).

For keys that the file lacks, a real server's defaults apply. The exception is the address: without one in the
file, the server accepts only clients on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from zkrecipes.devserver.config.settings import Settings
from zkrecipes.properties import Property, parse_properties

__all__ = ["ConfigError", "ZooCfg", "parse_zoo_cfg", "read_zoo_cfg"]

# `ZooKeeperServer.DEFAULT_TICK_TIME`, `ServerCnxnFactory` and `FourLetterCommands`.
_DEFAULTS: Final = Settings(tick_time=3.0, connections_per_address_max=60, four_letter_words=frozenset())

# Keys without effect on a standalone server with its own storage, which need no warning. The keys of the
# admin and metrics servers are not among them, because users would miss these servers.
_NO_EFFECT: Final = frozenset(
    "initLimit syncLimit connectToLearnerMasterLimit electionAlg electionPortBindRetry dataLogDir snapCount "
    "snapSizeLimitInKb preAllocSize forceSync fsync.warningthresholdms standaloneEnabled reconfigEnabled "
    "globalOutstandingLimit clientPortListenBacklog leaderServes cnxTimeout quorumListenOnAllIPs "
    "digest.enabled snapshot.trust.empty serverCnxnFactory tcpKeepAlive admin.enableServer".split()
)
_NO_EFFECT_PREFIXES: Final = ("autopurge.", "jvm.pause.")
_PATHS: Final = frozenset({"dataDir", "dataLogDir"})


class ConfigError(Exception):
    """A configuration file cannot be used. The message is one line with the place and the reason."""


class ZooCfg(NamedTuple):
    """The content of a configuration file."""

    settings: Settings
    without_effect: tuple[str, ...]
    """The keys that the dev server ignores, although a real server may use them."""


def read_zoo_cfg(path: Path) -> ZooCfg:
    """Read a file.

    Raises:
        ConfigError: the file cannot be read, or a value in it is invalid.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    # Java reads every byte as a Latin-1 character (`Properties.load` of an `InputStream`).
    return parse_zoo_cfg(raw.decode("latin-1"), name=str(path))


def parse_zoo_cfg(text: str, *, name: str = "zoo.cfg") -> ZooCfg:
    """Read the text of a file.

    Args:
        text: the content of the file.
        name: its name in messages.

    Raises:
        ConfigError: a value is invalid. The message names the key, the value and the line.
    """
    entries = {entry.key: entry for entry in parse_properties(text, paths=_PATHS)}
    _check_byte_order_mark(entries, name)
    values: dict[str, Any] = {}
    unknown = []
    for entry in entries.values():
        reader = _READERS.get(entry.key)
        if reader is not None:
            field, read = reader
            try:
                values[field] = read(entry.value)
            except ValueError as error:
                raise ConfigError(f"{_location(name, entry)} {error}") from error
        elif entry.key not in _NO_EFFECT and not entry.key.startswith(_NO_EFFECT_PREFIXES):
            unknown.append(entry.key)
    if "clientPort" not in entries:
        values.update(_client_address(entries, values.get("data_dir"), name))
    settings = replace(_DEFAULTS, **values)
    _check_timeouts(settings, entries, name)
    return ZooCfg(settings, tuple(unknown))


def _location(name: str, entry: Property) -> str:
    return f"{name}, line {entry.line}: {entry.key}={entry.value}:"


def _check_byte_order_mark(entries: Mapping[str, Property], name: str) -> None:
    """Refuse a file whose byte-order mark changes its first key."""
    key = next(iter(entries), "")
    if key.startswith(_BYTE_ORDER_MARK):
        rest = key.removeprefix(_BYTE_ORDER_MARK)
        if rest[:1] not in ("", "#", "!"):
            raise ConfigError(
                f"{name} starts with a byte-order mark, which Java reads as part of the first key, {rest}: "
                "save the file as UTF-8 without a byte-order mark"
            )


def _client_address(entries: Mapping[str, Property], data_dir: Path | None, name: str) -> dict[str, object]:
    """Return the address for clients from this server's `server.N` line, for a file without `clientPort`.

    If there are several such lines, `myid` in the data directory selects one.
    """
    addresses = {key: address for key, entry in entries.items() if (address := _address_of(key, entry, name))}
    if len(addresses) > 1:
        own_key = f"server.{_read_my_id(data_dir)}"
        if own_key not in addresses:
            raise ConfigError(
                f"{name} has no clientPort, and several server lines name one: add clientPort, or a file "
                f"myid in dataDir with the number of this server's line"
            )
        addresses = {own_key: addresses[own_key]}
    for host, port in addresses.values():
        return {"port": port} | ({"host": host} if host and "clientPortAddress" not in entries else {})
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
        raise ConfigError(f"{_location(name, entry)} the client port {error}") from error


def _read_my_id(data_dir: Path | None) -> str:
    try:
        return "" if data_dir is None else (data_dir / "myid").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _check_timeouts(settings: Settings, entries: Mapping[str, Property], name: str) -> None:
    shortest, longest = settings.session_timeout_min, settings.session_timeout_max
    shortest = 2 * settings.tick_time if shortest is None else shortest
    longest = 20 * settings.tick_time if longest is None else longest
    if shortest > longest:
        entry = entries.get("minSessionTimeout") or entries["maxSessionTimeout"]
        both = f"{shortest * 1000:g} above {longest * 1000:g}"
        raise ConfigError(
            f"{_location(name, entry)} minSessionTimeout must be at most maxSessionTimeout, not {both}"
        )


def _integer(least: int, most: int, unit: str) -> Callable[[str], int]:
    def read(value: str) -> int:
        # A pattern, because `int` also accepts "1_000" and digits of other scripts; Java's `Integer.parseInt`
        # accepts a sign.
        digits = value[1:] if value[:1] in ("+", "-") else value
        number = int(value) if digits.isascii() and digits.isdigit() else None
        if number is None or not least <= number <= most:
            raise ValueError(f"must be a whole number{unit}, {least} to {most}")
        return number

    return read


def _seconds(value: str) -> float:
    return _MILLISECONDS(value) / 1000


def _longest(value: str) -> float | None:
    """Return the longest session timeout; -1 means the default."""
    return None if value == "-1" else _seconds(value)


def _shortest(value: str) -> float | None:
    """Return the shortest session timeout; -1 means the default, any other number below 1 no limit."""
    return None if value == "-1" else max(1, _INTEGER(value)) / 1000


def _boolean(value: str) -> bool:
    """Parse like Java's `Boolean.parseBoolean`: anything but "true" is false."""
    return value.lower() == "true"


def _path(value: str) -> Path:
    return Path(_non_empty(value))


def _host(value: str) -> str:
    """Return an address to listen on, without brackets; empty means loopback (`InetAddress.getByName`)."""
    return value.removeprefix("[").removesuffix("]") or "127.0.0.1"


def _non_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _words(value: str) -> frozenset[str] | None:
    words = frozenset(word.strip() for word in value.split(","))
    return None if "*" in words else words


_INT_MAX = 2**31 - 1
_BYTE_ORDER_MARK: Final = "\xef\xbb\xbf"  # the byte-order mark of UTF-8, read as Latin-1
_SERVER_LINE: Final = re.compile(r"server\.\d+")
_INTEGER = _integer(-_INT_MAX, _INT_MAX, " of milliseconds")
_PORT = _integer(0, 65535, "")
_MILLISECONDS = _integer(1, _INT_MAX, " of milliseconds")

_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "4lw.commands.whitelist": ("four_letter_words", _words),
    "DigestAuthenticationProvider.superDigest": ("super_digest", _non_empty),
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
"""For each key, the setting and the function that reads its value, or raises `ValueError`."""
