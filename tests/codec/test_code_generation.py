"""Generated functions: a traceback and a debugger show their lines."""

from __future__ import annotations

import linecache
import traceback

import pytest

from zkrecipes.codec.jute import Int, Record, UString
from zkrecipes.errors import ProtocolError


class Named(Record):
    number: Int
    name: UString


def _lines_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_traceback_through_a_generated_reader_shows_its_lines() -> None:
    with pytest.raises(ProtocolError) as caught:
        Named.decode(bytes(4) + b"\xff\xff\xff\xfe")
    linecache.checkcache()  # it drops the entries of files that have changed
    shown = _lines_of(caught.value)
    assert f"<generated {__name__}.Named.read>" in shown
    assert "raise wrong_length('name', length)" in shown


def test_a_traceback_through_a_generated_encoder_shows_its_lines() -> None:
    with pytest.raises(TypeError) as caught:
        Named(1, b"").encode()  # type: ignore[arg-type]  # the point of the test
    assert ".encode()" in _lines_of(caught.value)
    assert "raise unencodable('Named', error) from error" in _lines_of(caught.value)
