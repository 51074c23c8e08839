"""Hypothesis strategies for records, built from what their declarations say."""

from __future__ import annotations

from hypothesis import strategies as st

from zkrecipes.codec import field_types
from zkrecipes.codec.code_generation import FieldType
from zkrecipes.codec.jute import Record, fields_of

# Every text that UTF-8 has: surrogates alone are none.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def records(cls: type[Record]) -> st.SearchStrategy[Record]:
    """Every record of a class."""
    return st.builds(cls, *[values(kind) for kind in fields_of(cls).kinds.values()])


def values(kind: FieldType) -> st.SearchStrategy[object]:
    """Every value of a kind of field."""
    match kind:
        case field_types.Integer():
            half = 1 << (8 * kind.smallest - 1)
            return st.integers(-half, half - 1)
        case field_types.Boolean():
            return st.booleans()
        case field_types.OptionalBoolean():
            return st.none() | st.booleans()
        case field_types.UString(null=null):
            return TEXTS if null is not None else st.none() | TEXTS
        case field_types.Buffer():
            return st.none() | st.binary(max_size=20)
        case field_types.Vector(element=element):
            return st.none() | st.lists(values(element), max_size=12)
        case field_types.RecordFields(record=record):
            assert issubclass(record, Record)
            return records(record)
    raise AssertionError(kind)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with some bytes replaced, by preference by lengths and counts that are wrong."""
    wrong = st.sampled_from([-1, -2, 0, 1, 2**31 - 1, -(2**31)]).map(lambda n: n.to_bytes(4, signed=True))
    patches = st.lists(st.tuples(st.integers(0, len(data)), wrong | st.binary(max_size=3)), max_size=3)

    def patched(changes: list[tuple[int, bytes]]) -> bytes:
        result = bytearray(data)
        for position, patch in changes:
            result[position : position + len(patch)] = patch
        return bytes(result)

    return patches.map(patched)
