"""Hypothesis strategies for records, built from their declarations."""

from __future__ import annotations

from hypothesis import strategies as st

from zkrecipes.codec import field_types
from zkrecipes.codec.code_generation import FieldType
from zkrecipes.codec.jute import Record, record_type_of

# Every text that UTF-8 can encode: lone surrogates are not text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def records(cls: type[Record]) -> st.SearchStrategy[Record]:
    """Generate the records of a class."""
    return st.builds(cls, *[values(field_type) for field_type in record_type_of(cls).fields.values()])


def values(field_type: FieldType) -> st.SearchStrategy[object]:
    """Generate the values of a type of field."""
    match field_type:
        case field_types.IntegerType():
            half = 1 << (8 * field_type.size_min - 1)
            return st.integers(-half, half - 1)
        case field_types.BooleanType():
            return st.booleans()
        case field_types.OptionalBooleanType():
            return st.none() | st.booleans()
        case field_types.UStringType(null=null):
            return TEXTS if null is not None else st.none() | TEXTS
        case field_types.BufferType():
            return st.none() | st.binary(max_size=20)
        case field_types.VectorType(element=element):
            return st.none() | st.lists(values(element), max_size=12)
        case field_types.RecordType(record=record):
            assert issubclass(record, Record)
            return records(record)
    raise AssertionError(field_type)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Generate `data` with some bytes replaced, often by wrong lengths and counts."""
    wrong = st.sampled_from([-1, -2, 0, 1, 2**31 - 1, -(2**31)]).map(lambda n: n.to_bytes(4, signed=True))
    patches = st.lists(st.tuples(st.integers(0, len(data)), wrong | st.binary(max_size=3)), max_size=3)

    def patched(changes: list[tuple[int, bytes]]) -> bytes:
        result = bytearray(data)
        for position, patch in changes:
            result[position : position + len(patch)] = patch
        return bytes(result)

    return patches.map(patched)
