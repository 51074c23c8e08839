"""Frames come out as they went in, wherever the stream is split, and memory stays within the limit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from tests.codec.cases import CASES, NAMES
from zkrecipes.codec.framing import FrameBuffer, FrameTooLargeError
from zkrecipes.codec.jute import Record
from zkrecipes.errors import ProtocolError


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4) + body


def frames_of(frames: FrameBuffer) -> list[bytes]:
    found = []
    while (next_frame := frames.next_frame()) is not None:
        buffer, start, end = next_frame
        found.append(buffer[start:end])
    return found


def test_a_chunk_of_many_frames_is_not_copied() -> None:
    frames = FrameBuffer(100)
    chunk = frame(b"one") + frame(b"") + frame(b"three")
    frames.feed(chunk)
    assert frames.next_frame() == (chunk, 4, 7)
    assert frames.next_frame() == (chunk, 11, 11)
    assert frames.next_frame() == (chunk, 15, 20)
    assert frames.next_frame() is None
    assert frames.unfinished == 0


def test_no_bytes_are_no_frame() -> None:
    frames = FrameBuffer(100)
    assert frames.next_frame() is None
    frames.feed(b"")
    assert frames.next_frame() is None


@pytest.mark.parametrize(("record", "data"), CASES, ids=NAMES)
def test_a_record_fed_byte_by_byte_is_read(record: Record, data: bytes) -> None:
    frames = FrameBuffer(1000)
    whole = frame(data) * 2
    found = []
    for position in range(len(whole)):
        frames.feed(whole[position : position + 1])
        while (next_frame := frames.next_frame()) is not None:
            decoded, _ = type(record).read(*next_frame)
            found.append(decoded)
    assert found == [record, record]
    assert frames.unfinished == 0


@given(
    st.lists(st.binary(max_size=30), max_size=6),
    st.lists(st.integers(0, 200), max_size=8),
    st.booleans(),
)
def test_frames_do_not_depend_on_where_the_stream_is_split(
    bodies: list[bytes], cuts: list[int], at_once: bool
) -> None:
    stream = b"".join(map(frame, bodies))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    frames = FrameBuffer(30)
    found = []
    for start, end in pairwise(edges):
        frames.feed(stream[start:end])
        if not at_once:
            found += frames_of(frames)
        assert frames.unfinished == end - sum(len(body) + 4 for body in found)
    found += frames_of(frames)
    assert found == bodies


def test_unfinished_counts_the_bytes_of_an_incomplete_frame() -> None:
    frames = FrameBuffer(100)
    frames.feed(frame(b"done") + frame(bytes(50))[:20])
    assert frames_of(frames) == [b"done"]
    assert frames.unfinished == 20
    frames.feed(bytes(10))
    assert frames.next_frame() is None
    assert frames.unfinished == 30
    frames.feed(bytes(24) + b"\0\0")
    assert frames_of(frames) == [bytes(50)]
    assert frames.unfinished == 2


def test_a_frame_of_the_limit_passes_and_a_larger_one_does_not() -> None:
    frames = FrameBuffer(10)
    frames.feed(frame(bytes(10)))
    assert frames_of(frames) == [bytes(10)]
    frames.feed(frame(b"\0\0\0\7" + bytes(7)))
    with pytest.raises(FrameTooLargeError, match="11 bytes is larger than the limit of 10") as error:
        frames.next_frame()
    assert (error.value.size, error.value.limit, error.value.xid) == (11, 10, 7)


def test_a_frame_that_is_too_large_is_refused_as_soon_as_its_xid_is_known() -> None:
    frames = FrameBuffer(10)
    head = (2**31 - 1).to_bytes(4) + (-2).to_bytes(4, signed=True)
    frames.feed(head[:7])
    assert frames.next_frame() is None
    frames.feed(head[7:])
    with pytest.raises(FrameTooLargeError) as error:
        frames.next_frame()
    assert (error.value.size, error.value.xid) == (2**31 - 1, -2)


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_a_frame_that_is_accepted_passes_and_the_next_one_like_it_does_not(chunk_size: int) -> None:
    frames = FrameBuffer(10)
    large = b"\0\0\0\7" + bytes(20)
    data = frame(large) + frame(b"small") + frame(large)
    chunks = [data[start : start + chunk_size] for start in range(0, len(data), chunk_size)]
    found: list[bytes] = []

    def feed_until_refused() -> FrameTooLargeError:
        while True:
            try:
                while (next_frame := frames.next_frame()) is not None:
                    buffer, start, end = next_frame
                    found.append(buffer[start:end])
            except FrameTooLargeError as error:
                return error
            frames.feed(chunks.pop(0))

    frames.accept(feed_until_refused())
    assert found == []
    assert feed_until_refused().size == len(large)
    assert found == [large, b"small"]


@pytest.mark.parametrize("size", [-1, -5, -(2**31)])
@pytest.mark.parametrize("more", [0, 100])
def test_a_negative_size_is_a_protocol_error(size: int, more: int) -> None:
    frames = FrameBuffer(10)
    frames.feed(size.to_bytes(4, signed=True) + bytes(more))
    with pytest.raises(ProtocolError, match=f"negative length {size}"):
        frames.next_frame()


def test_a_limit_below_the_size_of_an_xid_is_refused() -> None:
    with pytest.raises(ValueError, match="size_max must be at least 4 bytes, not 3"):
        FrameBuffer(3)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_any_bytes_are_frames_or_a_protocol_error_in_bounded_memory(
    chunks: list[bytes],
) -> None:
    frames = FrameBuffer(64)
    for chunk in chunks:
        frames.feed(chunk)
        try:
            assert all(len(body) <= 64 for body in frames_of(frames))
        except ProtocolError:
            return
        assert frames.unfinished <= 64 + 4 + 40


def test_an_incomplete_frame_is_known_by_its_first_bytes() -> None:
    frames = FrameBuffer(100)
    frames.feed(frame(b"whole") + frame(b"\x00\x00\x00\x07 and the rest")[:7])
    assert len(frames_of(frames)) == 1
    assert frames.incoming is None
    for position, byte in enumerate(frame(b"\x00\x00\x00\x07 and the rest")[7:-1], start=4):
        frames.feed(bytes([byte]))
        assert frames_of(frames) == []
        assert frames.incoming == (7, 17, position)
    frames.feed(b"t")
    assert len(frames_of(frames)) == 1
    assert frames.incoming is None
