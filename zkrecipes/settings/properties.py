r"""Java's properties: `key=value` lines with comments, continuation and escapes.

The syntax is that of `java.util.Properties.load`. This is a separate reader because the readers on PyPI know
no line numbers, and give the value only after its escapes were replaced: then a Windows path that was
written with single backslashes (`C:\zk\ca.pem`) is lost. It needs no package, so that the most common format
works with the core alone. Tests compare it with the JDK.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from zkrecipes.settings.entries import Entry

__all__ = ["has_useless_escape", "is_unescaped_path", "natural_lines", "read_properties"]

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BLANKS: Final = " \t\f"
_KEY_AND_VALUE: Final = re.compile(
    r"(?P<key>(?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(?P<value>.*)", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|(?P<letter>.))", re.DOTALL)
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_MALFORMED: Final = r"\u must be followed by four hexadecimal digits (write a backslash as \\)"

# A drive and one backslash; or the two of a UNC path, whose escaped form has four.
_WINDOWS_PATH: Final = re.compile(r"[A-Za-z]:\\(?!\\)|\\\\[^\\]")
# The characters that may need a backslash.
_NEEDS_ESCAPE: Final = frozenset("\\tnrf:=#! \t\f\"'")


def natural_lines(text: str) -> list[str]:
    r"""Return the lines of a text as Java's readers see them: ended by `\n`, `\r` or `\r\n` only."""
    return _LINE_END.split(text)


def read_properties(text: str, source: str) -> Iterator[Entry]:
    """Yield the entries of a properties file, in its order. A repeated key is repeated."""
    for line, logical in _logical_lines(text):
        match = _KEY_AND_VALUE.match(logical)
        assert match is not None  # each part may be empty
        raw = match["value"]
        try:
            key = _unescape(match["key"])
        except ValueError:
            key = match["key"]  # Java refuses the file, and no key of ours has a backslash
        try:
            yield Entry(key, _unescape(raw), source, line, raw)
        except ValueError as error:
            yield Entry(key, raw, source, line, raw, str(error))


def is_unescaped_path(raw: str) -> bool:
    r"""Whether the path contains single backslashes that are meant literally, as in `C:\zk\ca.pem`.

    Java reads `C:zkca.pem` there, or a tab for `\t`. No path is meant like that. In a relative path,
    `\u00e4` is an escape.
    """
    return _WINDOWS_PATH.match(raw) is not None or any(
        letter in "._" or (letter.isascii() and letter.isalnum()) for letter in _escaped_letters(raw)
    )


def has_useless_escape(raw: str) -> bool:
    """Whether a backslash stands before a character that needs none, so that Java drops the backslash."""
    return any(letter not in _NEEDS_ESCAPE for letter in _escaped_letters(raw))


def _escaped_letters(raw: str) -> Iterator[str]:
    """Yield the character after each backslash, except for Unicode escapes."""
    return (match["letter"] for match in _ESCAPE.finditer(raw) if match["code"] is None)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that is neither blank nor a comment, joined with its continuation lines."""
    lines = enumerate(natural_lines(text), start=1)
    for number, natural in lines:
        logical = natural.lstrip(_BLANKS)
        if logical.startswith(("#", "!")):
            continue
        while _is_continued(logical):
            _, following = next(lines, (0, ""))
            joined = logical[:-1] + following.lstrip(_BLANKS)
            # Java still looks for a comment if the line has nothing but this backslash.
            logical = "" if logical == "\\" and joined.startswith(("#", "!")) else joined
        if logical:
            yield number, logical


def _is_continued(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _unescape(raw: str) -> str:
    if "\\" not in raw:
        return raw
    text = _ESCAPE.sub(_meaning, raw)
    # Java's escapes are UTF-16: two of them may be the halves of one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _meaning(escape: re.Match[str]) -> str:
    code, letter = escape["code"], escape["letter"]
    if code is not None:
        return chr(int(code, 16))
    if letter == "u":
        raise ValueError(_MALFORMED)
    return _ESCAPED.get(letter, letter)
