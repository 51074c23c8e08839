"""Entries of a TOML file, with the lines of their keys, which `tomllib` does not report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from zkrecipes.settings.entries import Entry
from zkrecipes.settings.errors import SettingsError

__all__ = ["read_toml"]

_TABLE: Final = re.compile(r"\s*\[(?P<list>\[)?(?P<key>[^\[\]]+)\]")
_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")

_Path = tuple[str, ...]


def read_toml(text: str, source: str) -> Iterator[Entry]:
    """Yield the entries of a TOML file. Keys of nested tables are joined with dots, and lists are numbered.

    Raises:
        SettingsError: the file is not TOML.
    """
    lines = _lines_of_keys(text)
    for path, value in _leaves(_parse(text, source), ()):
        line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
        try:
            yield Entry(".".join(path), _as_text(value), source, line)
        except ValueError:  # Python's limit for the digits of a number
            yield Entry(".".join(path), "", source, line, mistake="must not be such a large number")


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        # A number stays as it was written.
        return tomllib.loads(text, parse_float=str)
    except RecursionError:
        reason, place = "the file is nested too deeply", None
    except ValueError as error:
        # Its message quotes at most one character, or a key.
        reason, place = str(error), _LINE.search(str(error))
        reason = f"the file is not valid TOML: {_LINE.sub('', reason).strip()}"
    line = None
    if place is not None:
        line = int(place[1]) if place[1] else text.count("\n") + 1
    raise SettingsError(reason, source=source, line=line)


def _leaves(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value, start=1):
            yield from _leaves(below, (*path, str(number)))
    else:
        yield path, value


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _lines_of_keys(text: str) -> dict[_Path, int]:
    """Return the lines of tables and keys, as far as one line shows them.

    A line within a string of several lines can pass for a key; the first line of a key counts.
    """
    lines: dict[_Path, int] = {}
    table: _Path = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if (header := _TABLE.match(line)) is not None:
            # The path of a table that is an item of a list has a number, which is not known here.
            table = (str(number),) if header["list"] else _path_of(header["key"])
            lines.setdefault(table, number)
        elif "=" in line:
            lines.setdefault((*table, *_path_of(line.partition("=")[0])), number)
    return lines


def _path_of(key: str) -> _Path:
    try:
        value: Any = tomllib.loads(f"{key.strip()} = 0")
    except (ValueError, RecursionError):
        return ()
    path: list[str] = []
    while isinstance(value, dict):
        ((name, value),) = value.items()
        path.append(name)
    return tuple(path)
