"""Each type of field alone: its bytes, its nulls, and its errors for impossible lengths."""

from __future__ import annotations

import array
import tracemalloc

import pytest

from zkrecipes.codec.jute import (
    Bool,
    Buffer,
    Int,
    Long,
    OptionalBool,
    OptionalUString,
    Record,
    UString,
    Vector,
)
from zkrecipes.codec.records import Id
from zkrecipes.errors import ProtocolError


class OneInt(Record):
    value: Int


class OneLong(Record):
    value: Long


class OneBool(Record):
    value: Bool


class OneOptionalBool(Record):
    value: OptionalBool = None


class OneText(Record):
    value: UString


class OneOptionalText(Record):
    value: OptionalUString


class OneBuffer(Record):
    value: Buffer


class Texts(Record):
    value: Vector[UString]


class Numbers(Record):
    value: Vector[Int]


class Ids(Record):
    value: Vector[Id]


BOTH_WAYS: list[tuple[Record, str]] = [
    (OneInt(0), "00000000"),
    (OneInt(-(2**31)), "80000000"),
    (OneInt(2**31 - 1), "7fffffff"),
    (OneLong(-1), "ffffffffffffffff"),
    (OneLong(2**63 - 1), "7fffffffffffffff"),
    (OneBool(True), "01"),
    (OneBool(False), "00"),
    (OneOptionalBool(), ""),
    (OneOptionalBool(False), "00"),
    (OneOptionalBool(True), "01"),
    (OneText(""), "00000000"),
    (OneText("\0"), "00000001 00"),
    (OneText("aä€"), "00000006 61c3a4e282ac"),
    (OneText("😀"), "00000004 f09f9880"),
    (OneText("\udcff"), "00000001 ff"),
    (OneOptionalText(None), "ffffffff"),
    (OneOptionalText(""), "00000000"),
    (OneOptionalText("a"), "00000001 61"),
    (OneBuffer(None), "ffffffff"),
    (OneBuffer(b""), "00000000"),
    (OneBuffer(b"\xff\0"), "00000002 ff00"),
    (Texts(None), "ffffffff"),
    (Texts([]), "00000000"),
    (Texts(["", "a"]), "00000002 00000000 00000001 61"),
    (Numbers([1, -1]), "00000002 00000001 ffffffff"),
    (Ids([Id("a", "")]), "00000001 00000001 61 00000000"),
]


@pytest.mark.parametrize(("record", "text"), BOTH_WAYS, ids=repr)
def test_a_value_and_its_bytes(record: Record, text: str) -> None:
    assert record.encode() == bytes.fromhex(text)
    assert type(record).decode(bytes.fromhex(text)) == record


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("02", OneBool(True)),
        ("ff", OneOptionalBool(True)),
        ("ffffffff", OneText("")),
        ("00000002 ffffffff 00000001 61", Texts(["", "a"])),
        # Java writes a character beyond U+FFFF as two surrogates of three bytes each
        ("00000008 61 eda0bdedb880 62", OneText("a😀b")),
        ("00000006 eda0bdedb880", OneOptionalText("😀")),
        ("00000001 00000006 eda0bdedb880", Texts(["😀"])),
        # a lone surrogate is not text; its bytes are written back unchanged
        ("00000003 eda0bd", OneText("\udced\udca0\udcbd")),
    ],
)
def test_other_bytes_that_read_as_the_same_value(text: str, record: Record) -> None:
    assert type(record).decode(bytes.fromhex(text)) == record


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"xaxb")[1::2]])
def test_a_buffer_accepts_every_bytes_like_object(data: bytes) -> None:
    assert OneBuffer(data).encode() == bytes.fromhex("00000002 6162")


def test_the_length_of_a_buffer_is_that_of_its_bytes() -> None:
    wide = memoryview(array.array("H", [1, 1]))
    assert OneBuffer(wide).encode() == bytes.fromhex("00000004") + wide.tobytes()  # type: ignore[arg-type]


def test_a_vector_accepts_a_tuple() -> None:
    assert Texts(("a",)).encode() == Texts(["a"]).encode()  # type: ignore[arg-type]  # not in the annotation


@pytest.mark.parametrize("cls", [OneText, OneOptionalText, OneBuffer, Texts, Numbers, Ids])
@pytest.mark.parametrize("length", [-2, -(2**31), 1, 2**31 - 1])
def test_an_impossible_length_is_a_protocol_error(cls: type[Record], length: int) -> None:
    """Case 43."""
    with pytest.raises(ProtocolError):
        cls.decode(length.to_bytes(4, signed=True))


@pytest.mark.parametrize("length", [-2, -(2**31), 2, 2**31 - 1])
@pytest.mark.parametrize("names", [1, 20])
def test_a_wrong_length_within_a_list_is_a_protocol_error(length: int, names: int) -> None:
    good = Texts(["a"] * names).encode()
    for position in range(4, len(good), 5):
        bad = good[:position] + length.to_bytes(4, signed=True) + good[position + 4 :]
        with pytest.raises(ProtocolError):
            Texts.decode(bad)


def test_nothing_is_allocated_for_an_impossible_count() -> None:
    data = (2**31 - 1).to_bytes(4) + bytes(1000)
    for cls in (Texts, Numbers, Ids, OneBuffer, OneText):
        with pytest.raises(ProtocolError):
            cls.decode(data)
    tracemalloc.start()
    for cls in (Texts, Numbers, Ids, OneBuffer, OneText):
        with pytest.raises(ProtocolError):
            cls.decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


def test_errors_name_the_field_and_the_length() -> None:
    with pytest.raises(ProtocolError, match="value has the impossible length -2"):
        OneBuffer.decode(b"\xff\xff\xff\xfe")
    with pytest.raises(ProtocolError, match="the bytes end before value does"):
        OneBuffer.decode(b"\0\0\0\2a")
    with pytest.raises(ProtocolError, match="value cannot have 3 elements in the remaining 2 bytes"):
        Texts.decode(b"\0\0\0\3aa")
    with pytest.raises(ProtocolError, match="value has the impossible length -7"):
        Texts.decode(b"\xff\xff\xff\xf9")
