"""Multi: a list of operations and their results, which may contain only certain operations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.codec.cases import STAT, STAT_BYTES
from tests.codec.strategies import damaged, records
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    REQUESTS,
    CheckRequest,
    ChildrenReply,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Empty,
    ErrorReply,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    PingRequest,
    Request,
    SetDataRequest,
    StatReply,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiReply, MultiRequest
from zkrecipes.codec.records import ACL, Id, Node
from zkrecipes.enums import OpCode
from zkrecipes.errors import ProtocolError

END = "ffffffff 01 ffffffff"
ACLS = [ACL(31, Id("world", "anyone"))]
ACL_BYTES = "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65"

REQUEST_CASES: list[tuple[MultiRequest | MultiReadRequest, str]] = [
    (MultiRequest(()), END),
    (MultiRequest((CheckRequest("/a", 3),)), "0000000d 00 ffffffff 00000002 2f61 00000003" + END),
    (
        MultiRequest(
            (
                CreateRequest("/a", b"x", ACLS, 1),
                Create2Request("/b", None, None, 0),
                CreateContainerRequest("/c", b"", [], 4),
                CreateTTLRequest("/d", b"", [], 5, 60_000),
                DeleteRequest("/e", -1),
                SetDataRequest("/f", b"y", 2),
            )
        ),
        f"00000001 00 ffffffff 00000002 2f61 00000001 78 {ACL_BYTES} 00000001"
        "0000000f 00 ffffffff 00000002 2f62 ffffffff ffffffff 00000000"
        "00000013 00 ffffffff 00000002 2f63 00000000 00000000 00000004"
        "00000015 00 ffffffff 00000002 2f64 00000000 00000000 00000005 000000000000ea60"
        "00000002 00 ffffffff 00000002 2f65 ffffffff"
        "00000005 00 ffffffff 00000002 2f66 00000001 79 00000002" + END,
    ),
    (
        MultiReadRequest((GetDataRequest("/a"), GetChildrenRequest("/b", False))),
        "00000004 00 ffffffff 00000002 2f61 00 00000008 00 ffffffff 00000002 2f62 00" + END,
    ),
]

# Each with the opcodes of the operations that the results belong to.
REPLY_CASES: list[tuple[list[int], MultiReply, str]] = [
    ([], MultiReply(()), END),
    (
        [OpCode.CREATE, OpCode.CREATE2, OpCode.DELETE, OpCode.SET_DATA, OpCode.CHECK],
        MultiReply((CreateReply("/a"), Create2Reply("/b", STAT), Empty(), StatReply(STAT), Empty())),
        f"00000001 00 00000000 00000002 2f61 0000000f 00 00000000 00000002 2f62 {STAT_BYTES}"
        f"00000002 00 00000000 00000005 00 00000000 {STAT_BYTES} 0000000d 00 00000000" + END,
    ),
    (
        [OpCode.CHECK, OpCode.DELETE, OpCode.CREATE],
        MultiReply((ErrorReply(0), ErrorReply(-101), ErrorReply(-2))),
        "ffffffff 00 00000000 00000000 ffffffff 00 ffffff9b ffffff9b ffffffff 00 fffffffe fffffffe" + END,
    ),
    (
        [OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.GET_DATA],
        MultiReply((Node(b"x", STAT), ChildrenReply(["c"]), ErrorReply(-101))),
        f"00000004 00 00000000 00000001 78 {STAT_BYTES} 00000008 00 00000000 00000001 00000001 63"
        "ffffffff 00 ffffff9b ffffff9b" + END,
    ),
]


@pytest.mark.parametrize(("request_", "text"), REQUEST_CASES, ids=lambda value: repr(value)[:40])
def test_a_request_and_its_bytes(request_: MultiRequest | MultiReadRequest, text: str) -> None:
    """Case 48."""
    data = bytes.fromhex(text)
    assert request_.encode() == data
    assert type(request_).decode(data) == request_
    assert type(request_).decode(data + b"rubbish") == request_
    head = (len(data) + 8).to_bytes(4) + (77).to_bytes(4) + int(request_.opcode).to_bytes(4)
    assert request_.encode_frame(77) == head + data


@pytest.mark.parametrize(("opcodes", "reply", "text"), REPLY_CASES)
def test_a_reply_and_its_bytes(opcodes: list[int], reply: MultiReply, text: str) -> None:
    data = bytes.fromhex(text)
    assert reply.encode_results(opcodes) == data
    assert MultiReply.decode(data) == reply
    assert MultiReply.decode(data + b"rubbish") == reply


@pytest.mark.parametrize(
    ("cls", "text"),
    [(type(request), text) for request, text in REQUEST_CASES]
    + [(MultiReply, text) for *_, text in REPLY_CASES],
)
def test_a_multi_that_is_cut_short_is_a_protocol_error(cls: type[Record], text: str) -> None:
    data = bytes.fromhex(text)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            cls.decode(data[:end])
        with pytest.raises(ProtocolError):
            cls.read(data, 0, end)


def test_every_create_with_a_stat_is_answered_under_the_opcode_of_create2() -> None:
    result = Create2Reply("/a", STAT)
    opcodes = [OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL]
    data = MultiReply((result, result, result)).encode_results(opcodes)
    assert MultiReply.decode(data).results == (result, result, result)
    assert data.count(bytes.fromhex("0000000f 00 00000000")) == 3


def test_each_multi_has_its_opcode_and_reply() -> None:
    assert REQUESTS[OpCode.MULTI] is MultiRequest
    assert REQUESTS[OpCode.MULTI_READ] is MultiReadRequest
    assert MultiRequest.reply is MultiReply
    assert MultiReadRequest.reply is MultiReply
    assert MultiRequest.is_write
    assert not MultiReadRequest.is_write


def test_repr_names_the_operations_and_the_results() -> None:
    check = CheckRequest("/a", 3)
    assert repr(MultiRequest((check,))) == f"MultiRequest(operations=({check!r},))"
    assert repr(MultiReadRequest(())) == "MultiReadRequest(operations=())"
    assert repr(MultiReply((Empty(),))) == "MultiReply(results=(Empty(),))"


def test_a_reply_is_not_encoded_without_its_opcodes() -> None:
    with pytest.raises(TypeError, match=r"use encode_results\(opcodes\)"):
        MultiReply(()).encode()
    with pytest.raises(ValueError, match="longer"):
        MultiReply((Empty(),)).encode_results([])
    with pytest.raises(TypeError, match=r"Empty\(\) does not answer an operation of the opcode 1"):
        MultiReply((Empty(),)).encode_results([OpCode.CREATE])
    with pytest.raises(TypeError, match="opcode 11"):
        MultiReply((Empty(),)).encode_results([OpCode.PING])


@pytest.mark.parametrize(
    "multi",
    [
        MultiRequest((GetDataRequest("/a"),)),
        MultiRequest((ExistsRequest("/a"),)),
        MultiRequest((PingRequest(),)),
        MultiRequest((MultiRequest(()),)),
        MultiRequest((CreateReply("/a"),)),  # type: ignore[arg-type]  # the point of the test
        MultiReadRequest((DeleteRequest("/a", 1),)),
    ],
    ids=repr,
)
def test_an_operation_that_cannot_be_in_a_multi_is_refused(multi: MultiRequest | MultiReadRequest) -> None:
    with pytest.raises(TypeError, match="cannot contain"):
        multi.encode()
    with pytest.raises(TypeError, match="cannot contain"):
        multi.encode_frame(1)


@pytest.mark.parametrize("cls", [MultiRequest, MultiReadRequest, MultiReply])
@pytest.mark.parametrize("opcode", [OpCode.PING, OpCode.MULTI, OpCode.EXISTS, OpCode.CLOSE_SESSION, 999])
def test_an_opcode_that_cannot_be_in_a_multi_is_a_protocol_error(cls: type[Record], opcode: int) -> None:
    data = opcode.to_bytes(4, signed=True) + b"\0\xff\xff\xff\xff" + bytes(20) + bytes.fromhex(END)
    with pytest.raises(ProtocolError, match=f"contains the opcode {opcode}, which it cannot contain"):
        cls.decode(data)


def operations(cls: type[MultiRequest | MultiReadRequest]) -> st.SearchStrategy[tuple[Request[Any], ...]]:
    one = st.one_of([records(each) for each in cls.allowed.values()])
    return st.lists(one, max_size=5).map(tuple)  # type: ignore[arg-type]  # they are requests


@pytest.mark.parametrize("cls", [MultiRequest, MultiReadRequest])
@given(data=st.data())
def test_any_multi_is_read_as_it_was_written(
    cls: type[MultiRequest | MultiReadRequest], data: st.DataObject
) -> None:
    multi = cls(data.draw(operations(cls)))
    assert cls.decode(multi.encode()) == multi


@pytest.mark.parametrize("cls", [MultiRequest, MultiReadRequest, MultiReply])
@given(data=st.data())
def test_any_bytes_are_a_multi_or_a_protocol_error(cls: type[Record], data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([text for *_, text in REQUEST_CASES + REPLY_CASES]))
    try:
        multi = cls.decode(data.draw(damaged(bytes.fromhex(text)) | st.binary(max_size=100)))
    except ProtocolError:
        return
    if not isinstance(multi, MultiReply):
        assert cls.decode(multi.encode()) == multi


def test_a_failure_of_any_operation_is_found_by_its_code() -> None:
    failed = MultiReply((ErrorReply(0), ErrorReply(-118), ErrorReply(-2)))
    assert failed.has_failed_with(-118)
    assert not failed.has_failed_with(-101)
    assert not MultiReply(()).has_failed_with(0)
    assert not MultiReply((Empty(), Empty())).has_failed_with(0)


def test_the_results_must_answer_their_operations() -> None:
    operations: list[Request[Any]] = [CheckRequest("/a", 1), SetDataRequest("/a", b"", 1)]
    MultiReply((Empty(), StatReply(STAT))).check_answers(operations, errors=False)
    MultiReply((ErrorReply(0), ErrorReply(-101))).check_answers(operations, errors=True)
    with pytest.raises(ProtocolError, match="2 operations were answered by 1 results"):
        MultiReply((Empty(),)).check_answers(operations, errors=False)
    with pytest.raises(ProtocolError, match="SetDataRequest was answered by Empty"):
        MultiReply((Empty(), Empty())).check_answers(operations, errors=True)
    with pytest.raises(ProtocolError, match="CheckRequest was answered by ErrorReply"):
        MultiReply((ErrorReply(0), ErrorReply(0))).check_answers(operations, errors=False)
