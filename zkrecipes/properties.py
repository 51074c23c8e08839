"""Reads Java's properties files, the format of a zoo.cfg (`java.util.Properties.load`). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

__all__ = ["Property", "parse_properties"]

_BLANK = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_KEY = re.compile(r"(?:[^\\=: \t\f]|\\.)*", re.DOTALL)
_SEPARATOR = re.compile(r"[ \t\f]*[=:]?[ \t\f]*")


class Property(NamedTuple):
    """One key with its value."""

    key: str
    value: str
    """The value without surrounding blanks."""
    line: int
    """The number of its first line, from 1."""


def parse_properties(text: str, *, paths: Collection[str] = ()) -> list[Property]:
    r"""Read a properties file. A repeated key appears each time, in order; Java takes the last.

    Args:
        text: the content of the file.
        paths: keys whose values are paths of files. In their values, a backslash is literal unless it is
            doubled: `C:\temp` contains no tab, although Java would read one.
    """
    properties = []
    for number, line in _logical_lines(text):
        raw_key = _KEY.match(line)
        assert raw_key is not None, "the pattern also matches an empty string"
        key = _unescaped(raw_key[0])
        separator = _SEPARATOR.match(line, raw_key.end())
        assert separator is not None, "the pattern also matches an empty string"
        raw = line[separator.end() :]
        value = raw.replace("\\\\", "\\") if key in paths else _unescaped(raw)
        properties.append(Property(key, value.strip(), number))
    return properties


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines without comments. A line that ends in a backslash is joined with the next one."""
    joined, begun = "", 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        rest = line.lstrip(_BLANK)
        if not begun:
            if not rest or rest[0] in "#!":
                continue
            begun = number
        backslashes = len(rest) - len(rest.rstrip("\\"))
        if backslashes % 2:
            joined += rest[:-1]
            continue
        yield begun, joined + rest
        joined, begun = "", 0
    if begun:
        yield begun, joined


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(_replacement, text)


def _replacement(escape: re.Match[str]) -> str:
    letters = escape[1]
    return chr(int(letters[1:], 16)) if len(letters) > 1 else _ESCAPES.get(letters, letters)
