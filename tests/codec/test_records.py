"""The records that users see: their bytes both ways, and the fields of ZooKeeper's `data` module."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.codec.cases import CASES, STAT, STAT_BYTES
from tests.codec.strategies import damaged, records
from zkrecipes.codec.jute import Record
from zkrecipes.codec.records import ACL, ClientInfo, Id, Node, Stat, StatPersisted
from zkrecipes.errors import ProtocolError

CLASSES: list[type[Record]] = [ACL, ClientInfo, Id, Node, Stat, StatPersisted]
SHARED = [(record, data) for record, data in CASES if type(record) in CLASSES]


@pytest.mark.parametrize(("record", "data"), SHARED, ids=repr)
def test_a_record_and_its_bytes(record: Record, data: bytes) -> None:
    assert record.encode() == data
    assert type(record).decode(data) == record
    assert type(record).decode(data + b"newer") == record
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            type(record).decode(data[:end])


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_any_record_is_read_as_it_was_written(cls: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(cls))
    assert cls.decode(record.encode()) == record


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_any_bytes_are_a_record_or_a_protocol_error(cls: type[Record], data: st.DataObject) -> None:
    encoded = data.draw(records(cls)).encode()
    try:
        record = cls.decode(data.draw(damaged(encoded) | st.binary(max_size=100)))
    except ProtocolError:
        return
    assert cls.decode(record.encode()) == record


def test_a_stat_has_its_fields_by_name() -> None:
    stat = Stat.decode(bytes.fromhex(STAT_BYTES))
    assert (stat.czxid, stat.pzxid) == (0x100000001, 0x100000003)
    assert stat.ephemeral_owner == 0x0123456789ABCDEF
    assert (stat.data_length, stat.num_children) == (6, 7)


def test_a_node_unpacks_into_data_and_stat() -> None:
    data, stat = Node(b"x", STAT)
    assert (data, stat) == (b"x", STAT)
