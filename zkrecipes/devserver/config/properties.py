"""Java's properties files, in which a zoo.cfg is written (`java.util.Properties.load`). Pure."""

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
    """Without blanks around it."""
    line: int
    """Where it begins, counted from 1."""


def parse_properties(text: str, *, paths: Collection[str] = ()) -> list[Property]:
    r"""Read a properties file. Of a key that is given twice both are there, in order; Java takes the last.

    Args:
        text: the file's.
        paths: keys whose values are paths of files. There a backslash stands for itself unless it is
            doubled: who writes `C:\temp` does not mean a tabulator, which Java would read.
    """
    found = []
    for number, line in _logical_lines(text):
        raw_key = _KEY.match(line)
        assert raw_key is not None, "a pattern that matches nothing at least"
        key = _unescaped(raw_key[0])
        separator = _SEPARATOR.match(line, raw_key.end())
        assert separator is not None, "a pattern that matches nothing at least"
        raw = line[separator.end() :]
        value = raw.replace("\\\\", "\\") if key in paths else _unescaped(raw)
        found.append(Property(key, value.strip(), number))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, each joined with those that a backslash at its end continues it with."""
    whole, begun = "", 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        rest = line.lstrip(_BLANK)
        if not begun:
            if not rest or rest[0] in "#!":
                continue
            begun = number
        backslashes = len(rest) - len(rest.rstrip("\\"))
        if backslashes % 2:
            whole += rest[:-1]
            continue
        yield begun, whole + rest
        whole, begun = "", 0
    if begun:
        yield begun, whole


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(_meaning, text)


def _meaning(escape: re.Match[str]) -> str:
    letters = escape[1]
    return chr(int(letters[1:], 16)) if len(letters) > 1 else _ESCAPES.get(letters, letters)
