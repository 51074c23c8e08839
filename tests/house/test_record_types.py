"""A record's tuple, as type checkers see it, has the types of its fields, in order."""

from __future__ import annotations

from typing import get_args, get_origin, get_type_hints

import pytest

from zkrecipes.codec import messages, multi, records
from zkrecipes.codec.jute import Record

DECLARED: set[type[Record]] = {
    each
    for module in (records, messages, multi)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Record) and each.fields
}


def tuple_of(record: type[Record]) -> tuple[object, ...] | None:
    bases = [base for base in record.__dict__.get("__orig_bases__", ()) if get_origin(base) is tuple]
    return get_args(bases[0]) if bases else None


@pytest.mark.parametrize("record", sorted(DECLARED, key=str))
def test_the_tuple_of_a_record_has_the_types_of_its_fields(record: type[Record]) -> None:
    items = tuple_of(record)
    if items is not None:
        hints = get_type_hints(record)
        assert items == tuple(hints[name] for name in record.fields)


@pytest.mark.parametrize("name", records.__all__)
def test_a_public_record_names_its_tuple(name: str) -> None:
    assert tuple_of(getattr(records, name)) is not None


@pytest.mark.parametrize("name", records.__all__)
def test_a_public_record_is_matched_by_position(name: str) -> None:
    record = getattr(records, name)
    assert record.__match_args__ == record.fields
