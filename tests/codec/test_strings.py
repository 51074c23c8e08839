"""Lists of names, read as one block if they have one length, otherwise one by one."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given, strategies as st

from tests.codec.strategies import TEXTS
from zkrecipes.codec.strings import decode_string, encode_string, read_strings
from zkrecipes.errors import ProtocolError


def written(texts: list[str]) -> bytes:
    pieces = [text.encode("utf-8", "surrogateescape") for text in texts]
    return b"".join(pack("!i", len(piece)) + piece for piece in pieces)


LISTS = {
    "of one length": [f"lock-{number:010}" for number in range(100)],
    "of many lengths": [f"item-{number * 7919}" for number in range(100)],
    "one differs": ["abc"] * 20 + ["abcd"] + ["abc"] * 20,
    "one differs, and one makes up for it": ["abc"] * 10 + ["abcd"] + ["abc"] * 10 + ["ab"] + ["abc"],
    "empty": [""] * 20,
    "not ASCII, of one length": [f"ü{number:02}" for number in range(20)],
    "ASCII and not, of one length in bytes": ["abcd", "abü", "€a"] * 5 + ["abcd"],
    "not text, of one length": ["\udcff\udcfe"] * 20,
    "the names contain the length": ["\0\0\0\4"] * 20,
    "the length begins in a name": ["a\0\0\0", "\4abc", "abcd"] * 5 + ["abcd"],
    "a length beyond ASCII": ["x" * 200] * 10,
    "few": ["a", "b"],
    "one": ["a"],
}


@pytest.mark.parametrize("texts", LISTS.values(), ids=LISTS)
def test_a_list_is_read_as_it_was_written(texts: list[str]) -> None:
    data = written(texts)
    assert read_strings(b"xx" + data + b"yy", 2, 2 + len(data), len(texts)) == (texts, 2 + len(data))


@pytest.mark.parametrize("texts", LISTS.values(), ids=LISTS)
def test_a_list_that_is_cut_short_is_a_protocol_error(texts: list[str]) -> None:
    data = written(texts)
    for end in range(4, len(data), 7):
        with pytest.raises(ProtocolError):
            read_strings(data, 0, end, len(texts))


@given(st.lists(TEXTS | st.sampled_from(["ab", "cd", "\0\0", "\0\0\0\2"]), max_size=30))
def test_any_list_is_read_as_it_was_written(texts: list[str]) -> None:
    data = written(texts)
    assert read_strings(data, 0, len(data), len(texts)) == (texts, len(data))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_text_that_stays_the_same(data: bytes) -> None:
    """Case 41."""
    text = decode_string(data)
    assert decode_string(encode_string(text)) == text


@given(TEXTS)
def test_text_is_read_as_java_writes_it(text: str) -> None:
    units = memoryview(text.encode("utf-16-le")).cast("H")
    as_java = b"".join(chr(unit).encode("utf-8", "surrogatepass") for unit in units)
    assert decode_string(as_java) == text
