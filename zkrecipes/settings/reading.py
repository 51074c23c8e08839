"""read_settings(): a file, the environment or both in, `Settings` out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from zkrecipes.codec.secret import hides_arguments
from zkrecipes.settings.entries import Entry, shown_key
from zkrecipes.settings.errors import SettingsError
from zkrecipes.settings.flink import read_flat
from zkrecipes.settings.given import GivenSettings
from zkrecipes.settings.keys import Key
from zkrecipes.settings.properties import has_useless_escape, is_unescaped_path, read_properties
from zkrecipes.settings.settings import Settings
from zkrecipes.settings.toml_file import read_toml
from zkrecipes.settings.vocabulary import (
    Vocabulary,
    check_prefix,
    environment_vocabulary,
    file_vocabulary,
)
from zkrecipes.settings.yaml_file import read_yaml

__all__ = ["SettingsFormat", "read_settings"]

logger: logging.Logger = logging.getLogger("zkrecipes.settings")

SettingsFormat: TypeAlias = Literal["properties", "toml", "flink", "yaml"]
"""`flink` is the flat `flink-conf.yaml`; `yaml` is any other YAML file, including Flink's `config.yaml`."""

_READERS: Final[Mapping[str, Callable[[str, str], Iterator[Entry]]]] = {
    "properties": read_properties,
    "toml": read_toml,
    "flink": read_flat,
    "yaml": read_yaml,
}
_FORMAT_BY_SUFFIX: Final = {".properties": "properties", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_ENVIRONMENT: Final = "environment"
_COMMENT: Final = re.compile(r"\s#")
_NAMES_MAX: Final = 20
"""The number of unknown keys that one warning names."""


def read_settings(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    prefix: str = "zookeeper",
    format: SettingsFormat | None = None,  # noqa: A002 - the word for it
) -> Settings:
    """Read connection settings: `settings = zk.read_settings("application.properties")`.

    It is a function, like `read_jaas`, because `Settings(path)` would not show that it reads a file.

    A value that is not valid is an error, and so is a key that is one slip away from one of ours. Other
    unknown keys below the prefix are named in one WARNING. Keys of other programs are ignored.

    Args:
        path: the file, in UTF-8. None: only the environment.
        environ: variables that replace the values of the file, usually `os.environ`: the variable of
            `zookeeper.session-timeout` is `ZOOKEEPER_SESSION_TIMEOUT`. An empty variable counts as not set.
            None: the environment is not read.
        prefix: the prefix of our keys. In TOML and YAML it is a table. Empty: the keys have no prefix.
        format: the format of the file. None: that of its name (`.properties`, `.toml`, `flink-conf.yaml`,
            another `.yaml` or `.yml`). In the last two, Flink's keys are also ours.

    Raises:
        SettingsError: the file is not valid, or a setting is not; the message names the place.
        OSError: the file cannot be read.
        ValueError: the name of the file does not show its format, or an argument is not valid.
        ModuleNotFoundError: the file is YAML, and the package PyYAML is missing.
    """
    if path is None and environ is None:
        raise ValueError("a path or environ must be given, for example environ=os.environ")
    if environ is not None and not prefix:
        del environ  # which may hold secrets; this frame is a part of the traceback
        raise ValueError("prefix must not be empty if environ is given")
    name = None if path is None else _check_path(path)
    chosen = None if name is None else _format_of(name) if format is None else _check_format(format)
    try:
        return _read(name, chosen, environ, check_prefix(prefix))
    finally:
        del environ


@hides_arguments
def _read(path: str | None, chosen: str | None, environ: Mapping[str, str] | None, prefix: str) -> Settings:
    given, entries, names = GivenSettings({}), list[Entry](), list[str]()
    with_flink = chosen in ("flink", "yaml")
    if path is not None and chosen is not None:
        entries += _READERS[chosen](_decode(Path(path).read_bytes(), path), path)
        given = _collect(entries, file_vocabulary(prefix, with_flink=with_flink), path)
        names.append(path)
    if environ is not None:
        variables = [Entry(name, value, _ENVIRONMENT) for name, value in environ.items() if value.strip()]
        entries += variables
        given = given.replaced_by(_collect(variables, environment_vocabulary(prefix), _ENVIRONMENT))
        names.append(_ENVIRONMENT)
    return Settings(given, entries, source=" and ".join(names), with_flink=with_flink)


def _collect(entries: list[Entry], vocabulary: Vocabulary, source: str) -> GivenSettings:
    found: list[tuple[Key, Entry]] = []
    unknown: dict[str, None] = {}
    for entry in entries:
        key = vocabulary.find(entry)
        if key is not None:
            found.append((key, entry))
        elif vocabulary.concerns(entry):
            unknown[shown_key(entry.key)] = None
    given = GivenSettings.collect(found)
    _warn_of_unknown_keys(list(unknown), source)
    for key, entry in found:
        if entry.raw is not None:
            _warn_of_backslashes(key, entry, entry.raw)
            _warn_of_comment(key, entry)
    return given


def _warn_of_unknown_keys(names: list[str], source: str) -> None:
    if names:
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        shown = ", ".join(names[:_NAMES_MAX])
        logger.warning("%s: unknown keys are ignored: %s%s", source, shown, more)


def _warn_of_backslashes(key: Key, entry: Entry, raw: str) -> None:
    r"""Log a backslash that Java would drop. A path keeps it: `C:\zk\ca.pem` is meant literally."""
    if key.is_path and is_unescaped_path(raw):
        logger.warning(
            "%s: the path is read with its single backslashes, but a Java program drops them "
            "(write each backslash twice, or use '/')",
            entry.place,
        )
    elif has_useless_escape(raw):
        logger.warning("%s: a single backslash is dropped (write it twice if it is meant)", entry.place)


def _warn_of_comment(key: Key, entry: Entry) -> None:
    """Log text that looks like a comment and is a part of the value, as in Java. A secret may contain it."""
    if key.cut is None and not key.is_secret and _COMMENT.search(entry.value):
        logger.warning("%s: the text from '#' on is a part of the value, not a comment", entry.place)


# --- files -----------------------------------------------------------------------------------------------


def _check_path(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    if "\n" in name:
        del path, name  # which may hold a password
        raise ValueError("path must be the path of a file, not its content")
    return name


def _format_of(path: str) -> str:
    name = re.split(r"[/\\]", path)[-1].lower()
    if name == "flink-conf.yaml":
        return "flink"
    for suffix, found in _FORMAT_BY_SUFFIX.items():
        if name.endswith(suffix):
            return found
    suffixes = ", ".join(_FORMAT_BY_SUFFIX)
    raise ValueError(f"the name of {path} must end with one of {suffixes}, or format must be given")


def _check_format(given: str) -> str:
    if given not in _READERS:
        raise ValueError(f"format must be one of {', '.join(_READERS)}, not {given!r}")
    return given


def _decode(data: bytes, path: str) -> str:
    """Return the text of a file, without a byte order mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SettingsError("the file must be encoded in UTF-8, not in UTF-16", source=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        byte = data[error.start]
    raise SettingsError(
        f"the file must be encoded in UTF-8; the byte 0x{byte:02x} is not", source=path, line=line
    )
