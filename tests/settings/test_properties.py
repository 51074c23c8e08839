"""Java's properties are read as Java reads them, and as the package javaproperties writes them."""

from __future__ import annotations

import javaproperties
import pytest
from hypothesis import given, settings, strategies as st

from zkrecipes.settings.properties import has_useless_escape, is_unescaped_path, read_properties


def pairs(text: str) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in read_properties(text, "f")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", [("a", "1")]),
        ("a = 1", [("a", "1")]),
        ("a:1", [("a", "1")]),
        ("a 1", [("a", "1")]),
        ("a\t=\t1  ", [("a", "1  ")]),
        ("a==1", [("a", "=1")]),
        ("a", [("a", "")]),
        ("=1", [("", "1")]),
        ("  # c\n ! d\n\n\f\na=1 # not a comment", [("a", "1 # not a comment")]),
        ("# c \\\na=1", [("a", "1")]),
        ("a=1,\\\n   2,\\\r\n\t3", [("a", "1,2,3")]),
        ("a=1\\\n# 2", [("a", "1# 2")]),
        ("a=1\\\\\nb=2", [("a", "1\\"), ("b", "2")]),
        ("a=1\\", [("a", "1")]),
        ("\\\n", []),
        ("\\", []),
        ("\\\n# c\na=1", [("a", "1")]),
        (r"a\ b\=c\:d = e", [("a b=c:d", "e")]),
        (r"a=\t\n\r\f\q\"\\", [("a", '\t\n\r\fq"\\')]),
        (r"a=\u00e4\uD83D\uDE00", [("a", "ä😀")]),
        ("a=1\r\nb=2\rc=3\nd=4", [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
        ("a=1\x0b\x1c\x85\u2028b", [("a", "1\x0b\x1c\x85\u2028b")]),
        ("a=1\na=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_the_syntax_is_that_of_java(text: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(text) == expected


def test_an_entry_has_the_line_on_which_it_begins() -> None:
    text = "# one\n\na=1\\\n  2\nb=3\r\nc=4"
    assert [(entry.key, entry.line) for entry in read_properties(text, "f")] == [("a", 3), ("b", 5), ("c", 6)]


@pytest.mark.parametrize("value", [r"C:\users", r"\u12", r"a\u"])
def test_a_malformed_unicode_escape_is_a_mistake_of_its_entry_only(value: str) -> None:
    first, second = read_properties(f"a={value}\nb=2", "f")
    assert first.mistake is not None
    assert "four hexadecimal digits" in first.mistake
    assert second.value == "2"


@given(st.dictionaries(st.text(), st.text(), max_size=5))
@settings(deadline=None)
def test_what_another_program_writes_is_read_back(written: dict[str, str]) -> None:
    assert dict(pairs(javaproperties.dumps(written))) == written


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (r"C:\zk\certs\ca.pem", True),
        (r"C:\tls\new\ca.pem", True),
        (r"C:\users\u0041", True),
        (r"\\server\share\ca.pem", True),
        (r"certs\ca.pem", True),
        (r"..\ca.pem", True),
        (r"C:\\zk\\certs\\ca.pem", False),
        (r"\\\\server\\share\\ca.pem", False),
        (r"certs\\ca.pem", False),
        ("C:/zk/ca.pem", False),
        ("/etc/zk/ca.pem", False),
        (r"/etc/zk/\u00e4.pem", False),
        (r"/etc/with\ blank/ca.pem", False),
        (r"C\:\\zk\\ca.pem", False),
    ],
)
def test_a_windows_path_with_single_backslashes_is_recognised(raw: str, expected: bool) -> None:
    assert is_unescaped_path(raw) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(r"a\b", True), (r"\\\q", True), (r"a\\b", False), (r"\u00e4\t\=\ ", False), ("ab", False), ("", False)],
)
def test_a_backslash_that_java_drops_is_recognised(raw: str, expected: bool) -> None:
    assert has_useless_escape(raw) is expected
