"""The catalogue: every record's bytes both ways, its fields against the jute file, requests by opcode."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.codec.cases import CASES, NAMES
from tests.codec.jute_file import DATA, NOT_IN_THE_JUTE_FILE, PROTO, RENAMED
from tests.codec.strategies import damaged, records
from zkrecipes.codec import field_types, messages, multi, records as shared
from zkrecipes.codec.code_generation import FieldType
from zkrecipes.codec.jute import Record, record_type_of, values_of
from zkrecipes.codec.messages import REQUESTS, ConnectReply, ConnectRequest, GetDataRequest, Request
from zkrecipes.enums import OpCode
from zkrecipes.errors import ProtocolError

MODULES = (messages, shared)
MULTIS = (multi.MultiRequest, multi.MultiReadRequest)
CLASSES: list[type[Record]] = [
    value
    for module in MODULES
    for value in (getattr(module, name) for name in module.__all__)
    if isinstance(value, type) and value is not Request
]

# Opcode, request, reply, whether the request may change data.
CONVERSATIONS = [
    (1, "CreateRequest", "CreateReply", True),
    (2, "DeleteRequest", "Empty", True),
    (3, "ExistsRequest", "StatReply", False),
    (4, "GetDataRequest", "Node", False),
    (5, "SetDataRequest", "StatReply", True),
    (6, "GetACLRequest", "ACLReply", False),
    (7, "SetACLRequest", "StatReply", True),
    (8, "GetChildrenRequest", "ChildrenReply", False),
    (9, "SyncRequest", "SyncReply", False),
    (11, "PingRequest", "Empty", False),
    (12, "GetChildren2Request", "GetChildren2Reply", False),
    (13, "CheckRequest", "Empty", False),
    (14, "MultiRequest", "MultiReply", True),
    (15, "Create2Request", "Create2Reply", True),
    (16, "ReconfigRequest", "Node", True),
    (17, "CheckWatchesRequest", "Empty", False),
    (18, "RemoveWatchesRequest", "Empty", False),
    (19, "CreateContainerRequest", "Create2Reply", True),
    (20, "DeleteContainerRequest", "Empty", True),
    (21, "CreateTTLRequest", "Create2Reply", True),
    (22, "MultiReadRequest", "MultiReply", False),
    (100, "AuthRequest", "Empty", False),
    (101, "SetWatchesRequest", "Empty", False),
    (102, "SASLRequest", "SASLReply", False),
    (103, "GetEphemeralsRequest", "EphemeralsReply", False),
    (104, "GetAllChildrenNumberRequest", "ChildrenNumberReply", False),
    (105, "SetWatches2Request", "Empty", False),
    (106, "AddWatchRequest", "ErrorReply", False),
    (107, "WhoAmIRequest", "WhoAmIReply", False),
    (-11, "CloseSessionRequest", "Empty", True),
]


def may_end(record: Record, data: bytes, end: int) -> bool:
    """Whether the bytes may end there: before the only field that older peers leave out."""
    is_greeting = isinstance(record, ConnectRequest | ConnectReply)
    return is_greeting and values_of(record)[-1] is not None and end == len(data) - 1


def test_every_record_has_a_case() -> None:
    assert {type(record) for record, _ in CASES} == set(CLASSES)


@pytest.mark.parametrize(("record", "data"), CASES, ids=NAMES)
def test_a_record_and_its_bytes(record: Record, data: bytes) -> None:
    assert record.encode() == data
    assert type(record).decode(data) == record
    assert type(record).read(b"before" + data + b"behind", 6, 6 + len(data)) == (record, 6 + len(data))


@pytest.mark.parametrize(("record", "data"), CASES, ids=NAMES)
def test_bytes_that_newer_peers_append_are_ignored(record: Record, data: bytes) -> None:
    """Case 33."""
    if not isinstance(record, ConnectRequest | ConnectReply) or record.read_only is not None:
        assert type(record).decode(data + b"\1\2\3") == record


@pytest.mark.parametrize(("record", "data"), CASES, ids=NAMES)
def test_a_record_that_is_cut_short_is_a_protocol_error(record: Record, data: bytes) -> None:
    for end in range(len(data)):
        if not may_end(record, data, end):
            with pytest.raises(ProtocolError):
                type(record).decode(data[:end])
            with pytest.raises(ProtocolError):
                type(record).read(data, 0, end)


@pytest.mark.parametrize("cls", [ConnectRequest, ConnectReply])
def test_a_greeting_of_3_4_has_no_read_only(
    cls: type[ConnectRequest | ConnectReply],
) -> None:
    for record, data in CASES:
        if type(record) is cls:
            assert isinstance(record, ConnectRequest | ConnectReply)
            older = data if record.read_only is None else data[:-1]
            read = cls.decode(older)
            assert (values_of(read)[:-1], read.read_only) == (values_of(record)[:-1], None)


@pytest.mark.parametrize("cls", CLASSES)
@settings(max_examples=40)
@given(data=st.data())
def test_any_record_is_read_as_it_was_written(cls: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(cls))
    encoded = record.encode()
    assert cls.decode(encoded) == record
    assert cls.read(b"x" + encoded, 1, 1 + len(encoded)) == (record, 1 + len(encoded))


@pytest.mark.parametrize("cls", CLASSES)
@settings(max_examples=40)
@given(data=st.data())
def test_any_bytes_are_a_record_or_a_protocol_error(cls: type[Record], data: st.DataObject) -> None:
    encoded = data.draw(records(cls)).encode()
    try:
        record = cls.decode(data.draw(damaged(encoded) | st.binary(max_size=100)))
    except ProtocolError:
        return
    assert cls.decode(record.encode()) == record


# --- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("record", "data"), CASES, ids=NAMES)
def test_a_request_has_a_frame(record: Record, data: bytes) -> None:
    if isinstance(record, Request):
        head = (len(data) + 8).to_bytes(4) + (-4).to_bytes(4, signed=True)
        assert record.encode_frame(-4) == head + record.opcode.to_bytes(4, signed=True) + data


def test_a_frame_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError, match="GetDataRequest cannot be encoded"):
        GetDataRequest(None).encode_frame(1)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="GetDataRequest cannot be encoded"):
        GetDataRequest("/a").encode_frame(2**31)


@pytest.mark.parametrize(("opcode", "request_name", "reply_name", "is_write"), CONVERSATIONS)
def test_a_request_is_found_by_its_opcode(
    opcode: int, request_name: str, reply_name: str, is_write: bool
) -> None:
    request = REQUESTS[opcode]
    assert (request.__name__, request.reply.__name__) == (request_name, reply_name)
    assert request.opcode == opcode
    assert request.is_write == is_write


def test_every_opcode_of_a_request_is_in_the_catalogue() -> None:
    assert set(REQUESTS) == {opcode for opcode, *_ in CONVERSATIONS}
    assert [cls.opcode for cls in MULTIS] == [OpCode.MULTI, OpCode.MULTI_READ]
    no_requests = {OpCode.NOTIFICATION, OpCode.ERROR, OpCode.CREATE_SESSION}
    assert set(OpCode) - no_requests == set(REQUESTS)


def test_only_a_request_with_one_path_has_a_path() -> None:
    assert GetDataRequest("/a").path == "/a"
    assert messages.GetEphemeralsRequest("/a").path is None
    assert messages.PingRequest().path is None


def test_passwords_and_tokens_are_not_shown() -> None:
    for record, _ in CASES:
        for field, field_type in record_type_of(type(record)).fields.items():
            if field in ("password", "token", "auth"):
                assert isinstance(field_type, field_types.BufferType)
                assert field_type.secret


# --- the fields, against the jute file ---------------------------------------------------------------------


def jute_type(field_type: FieldType) -> str:
    match field_type:
        case field_types.IntegerType(code=code):
            return {"i": "int", "q": "long"}[code]
        case field_types.BooleanType() | field_types.OptionalBooleanType():
            return "boolean"
        case field_types.UStringType():
            return "ustring"
        case field_types.BufferType():
            return "buffer"
        case field_types.VectorType(element=element):
            return f"vector<{jute_type(element)}>"
        case field_types.RecordType(record=record):
            return record.__name__
    raise AssertionError(field_type)


def snake_case(name: str) -> str:
    return RENAMED.get(name) or "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in name
    )


@pytest.mark.parametrize(
    ("fields", "cls"),
    [(fields, cls) for fields, classes in [*DATA.values(), *PROTO.values()] for cls in classes],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_fields_are_those_of_the_jute_file(fields: str, cls: type[Record]) -> None:
    theirs = [field.split() for field in fields.split(", ")]
    ours = [[jute_type(field_type), name] for name, field_type in record_type_of(cls).fields.items()]
    assert ours == [[field_type, snake_case(name)] for field_type, name in theirs]


def test_every_record_is_in_the_jute_file_or_known_not_to_be() -> None:
    found: list[Any] = [cls for _, classes in [*DATA.values(), *PROTO.values()] for cls in classes]
    assert set(found) | NOT_IN_THE_JUTE_FILE == set(CLASSES)
    assert not set(found) & NOT_IN_THE_JUTE_FILE
