"""A stream on asyncio, as its transport sees it: the calls in both directions."""

from __future__ import annotations

import asyncio

import pytest

from zkrecipes.net.transport.address import Address
from zkrecipes.net.transport.asyncio_stream import AsyncioStream

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reads = True
        self.is_aborted = False
        self.is_slow_for: AsyncioStream | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        if self.is_slow_for is not None:
            self.is_slow_for.pause_writing()

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def _stream() -> tuple[AsyncioStream, Wire]:
    stream, wire = AsyncioStream(asyncio.get_running_loop(), Address("peer", 1)), Wire()
    stream.connection_made(wire)
    return stream, wire


def _say(stream: AsyncioStream, data: bytes) -> None:
    stream.get_buffer(-1)[: len(data)] = data
    stream.buffer_updated(len(data))


async def test_chunks_come_out_as_they_were_read_although_all_are_read_into_one_buffer() -> None:
    stream, _ = _stream()
    other, _ = _stream()
    _say(stream, b"first")
    _say(other, b"to somebody else")
    _say(stream, b"2nd")
    assert [await stream.receive(), await stream.receive()] == [b"first", b"2nd"]
    assert await other.receive() == b"to somebody else"


async def test_the_transport_stops_reading_if_its_data_are_not_taken() -> None:
    stream, wire = _stream()
    for number in range(3):
        _say(stream, b"%d" % number)
        assert wire.reads
    _say(stream, b"3")
    assert not wire.reads
    assert await stream.receive() == b"0"
    assert wire.reads


async def test_the_end_follows_the_data_read_before_it() -> None:
    stream, _ = _stream()
    _say(stream, b"last words")
    assert stream.eof_received() is True
    assert [await stream.receive(), await stream.receive(), await stream.receive()] == [
        b"last words",
        b"",
        b"",
    ]
    await stream.send(b"our direction is open")


async def test_an_error_follows_the_data_read_before_it_and_ends_sends() -> None:
    stream, _ = _stream()
    _say(stream, b"last words")
    stream.connection_lost(ConnectionResetError("gone"))
    assert await stream.receive() == b"last words"
    with pytest.raises(ConnectionResetError, match="gone"):
        await stream.receive()
    with pytest.raises(ConnectionResetError, match="gone"):
        await stream.send(b"x")


async def test_a_send_waits_until_all_is_taken_and_so_does_the_next_one_where_it_was_cancelled() -> None:
    stream, wire = _stream()
    wire.is_slow_for = stream
    first = asyncio.create_task(stream.send(b"1"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(stream.send(b"2"))
    await asyncio.sleep(0)
    assert wire.written == [b"1"]
    stream.resume_writing()
    await asyncio.sleep(0)
    assert wire.written == [b"1", b"2"]
    assert not second.done()
    stream.resume_writing()
    await second


async def test_a_send_that_waits_fails_at_the_end() -> None:
    stream, wire = _stream()
    wire.is_slow_for = stream
    sending = asyncio.create_task(stream.send(b"1"))
    await asyncio.sleep(0)
    stream.connection_lost(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError, match="gone"):
        await sending


async def test_a_transport_that_closes_without_a_word_is_a_reset() -> None:
    stream, wire = _stream()
    wire.is_aborted = True
    with pytest.raises(ConnectionResetError):
        await stream.send(b"x")


async def test_closing_differs_from_a_loss() -> None:
    stream, wire = _stream()
    receiving = asyncio.create_task(stream.receive())
    await stream.aclose()
    assert wire.is_aborted
    stream.connection_lost(None)
    with pytest.raises(ConnectionAbortedError, match="closed here"):
        await receiving
