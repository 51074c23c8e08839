"""The server's end of a connection: the meaning of bytes, and the bytes of replies."""

from __future__ import annotations

import struct

import pytest

from zkrecipes.codec.messages import (
    ConnectReply,
    ConnectRequest,
    CreateReply,
    CreateRequest,
    DeleteRequest,
    Empty,
    ErrorReply,
    GetDataRequest,
    PingRequest,
    ReplyHeader,
    WatchEventMessage,
)
from zkrecipes.codec.multi import MultiReply
from zkrecipes.codec.records import Node, Stat
from zkrecipes.enums import EventType, KeeperState, OpCode
from zkrecipes.protocol.server_side import (
    Broken,
    Event,
    FourLetterWord,
    Greeted,
    Requested,
    ServerSide,
)

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def _framed(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data


def _greeting(read_only: bool | None = False) -> bytes:
    return _framed(ConnectRequest(0, 0, 10_000, 0, bytes(16), read_only).encode())


def _events(side: ServerSide, data: bytes, *, size: int | None = None) -> list[Event]:
    events = []
    step = size or len(data)
    for start in range(0, len(data), step):
        side.receive_data(data[start : start + step])
        while (event := side.next_event()) is not None:
            events.append(event)
    return events


def _greeted() -> ServerSide:
    side = ServerSide()
    _events(side, _greeting())
    return side


@pytest.mark.parametrize("size", [None, 1, 3])
def test_a_greeting_and_requests_come_out_in_order_however_they_are_split(size: int | None) -> None:
    data = _greeting() + GetDataRequest("/a", True).encode_frame(1) + PingRequest().encode_frame(-2)
    assert _events(ServerSide(), data, size=size) == [
        Greeted(ConnectRequest(0, 0, 10_000, 0, bytes(16), False)),
        Requested(1, OpCode.GET_DATA, GetDataRequest("/a", True)),
        Requested(-2, OpCode.PING, PingRequest()),
    ]


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("word", ["srvr", "ruok", "isro", "envi", "mntr"])
def test_a_four_letter_word_instead_of_a_greeting(word: str, size: int | None) -> None:
    side = ServerSide()
    assert _events(side, word.encode() + b"\n", size=size) == [FourLetterWord(word)]
    side.send_text("imok")
    assert side.data_to_send() == b"imok"
    assert _events(side, _greeting()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"abcdefgh",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\xff" * 8,
        b"\x7f\xff\xff\xff" + bytes(8),
        _framed(b"short"),
        _framed(b""),
    ],
)
def test_bytes_that_are_not_a_greeting_break_the_connection(data: bytes) -> None:
    side = ServerSide()
    (event,) = _events(side, data, size=1)
    assert isinstance(event, Broken)
    assert event.why
    assert side.data_to_send() == b""


def test_a_broken_connection_reads_nothing() -> None:
    side = _greeted()
    assert [type(event) for event in _events(side, b"\xff" * 8)] == [Broken]
    assert _events(side, GetDataRequest("/a").encode_frame(1)) == []


def test_requests_before_the_break_are_still_reported() -> None:
    side = _greeted()
    data = GetDataRequest("/a").encode_frame(7) + b"\xff\xff\xff\xff" + bytes(8)
    first, second = _events(side, data)
    assert first == Requested(7, OpCode.GET_DATA, GetDataRequest("/a"))
    assert isinstance(second, Broken)
    assert "negative" in second.why


def test_a_frame_of_the_limit_passes_and_a_larger_one_breaks() -> None:
    side = ServerSide(frame_size_max=100)
    _events(side, _greeting())
    frame = DeleteRequest("/" + "x" * 83, 0).encode_frame(1)
    assert len(frame) == 104
    assert [type(event) for event in _events(side, frame)] == [Requested]
    frame = DeleteRequest("/" + "x" * 84, 0).encode_frame(1)
    (event,) = _events(side, frame)
    assert isinstance(event, Broken)
    assert "101 bytes" in event.why


def test_a_request_without_a_header_breaks() -> None:
    (event,) = _events(_greeted(), _framed(b"\0\0\0\1\0\0\0"))
    assert isinstance(event, Broken)
    assert "no header" in event.why


def test_an_unknown_opcode_is_a_request_without_a_record() -> None:
    (event,) = _events(_greeted(), _framed(struct.pack("!ii", 5, 999) + b"whatever"))
    assert event == Requested(5, 999, None)


def test_a_malformed_body_is_a_request_without_a_record() -> None:
    side = _greeted()
    events = _events(
        side,
        _framed(struct.pack("!iii", 5, OpCode.GET_DATA, 1000)) + GetDataRequest("/a").encode_frame(6),
    )
    assert events == [
        Requested(5, OpCode.GET_DATA, None),
        Requested(6, OpCode.GET_DATA, GetDataRequest("/a")),
    ]


@pytest.mark.parametrize("answered", [None, False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_the_reply_to_a_greeting_has_the_read_only_byte_if_the_greeting_had(
    asked: bool | None, answered: bool | None
) -> None:
    side = ServerSide()
    _events(side, _greeting(asked))
    side.accept(ConnectReply(0, 4000, 77, b"p" * 16, answered))
    data = side.data_to_send()
    assert len(data) == (40 if asked is None else 41)
    reply = ConnectReply.decode(data[4:])
    assert reply == ConnectReply(0, 4000, 77, b"p" * 16, None if asked is None else bool(answered))


def test_a_reply_is_header_and_body_in_one_frame() -> None:
    side = _greeted()
    side.reply(3, 99, 0, Node(b"data", STAT))
    body = ReplyHeader(3, 99, 0).encode() + Node(b"data", STAT).encode()
    assert side.queued == len(body) + 4
    assert side.data_to_send() == _framed(body)
    assert side.queued == 0
    assert side.data_to_send() == b""


def test_a_reply_with_an_error_has_no_body() -> None:
    side = _greeted()
    side.reply(3, 99, -101, Node(b"data", STAT))
    side.reply(4, 99)
    expected = _framed(ReplyHeader(3, 99, -101).encode()) + _framed(ReplyHeader(4, 99, 0).encode())
    assert side.data_to_send() == expected


def test_an_event_is_a_separate_frame() -> None:
    side = _greeted()
    event = WatchEventMessage(EventType.CREATED, KeeperState.CONNECTED, "/a")
    side.notify(12, event)
    side.reply(1, 12, 0, CreateReply("/a"))
    assert side.data_to_send() == (
        _framed(ReplyHeader(-1, 12, 0).encode() + event.encode())
        + _framed(ReplyHeader(1, 12, 0).encode() + CreateReply("/a").encode())
    )


def test_a_multi_that_failed_has_its_errors_in_the_body() -> None:
    side = _greeted()
    results = MultiReply((ErrorReply(0), ErrorReply(-110)))
    opcodes = [CreateRequest.opcode, DeleteRequest.opcode]
    side.reply_multi(8, 44, opcodes, results)
    data = side.data_to_send()
    assert ReplyHeader.decode(data[4:]) == ReplyHeader(8, 44, 0)
    assert MultiReply.read(data, 20, len(data)) == (results, len(data))


def test_a_multi_that_succeeded_has_a_result_under_each_opcode() -> None:
    side = _greeted()
    results = MultiReply((CreateReply("/a"), Empty()))
    side.reply_multi(8, 44, [CreateRequest.opcode, DeleteRequest.opcode], results)
    data = side.data_to_send()
    assert MultiReply.read(data, 20, len(data)) == (results, len(data))
