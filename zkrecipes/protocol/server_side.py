"""One connection from the server's end: bytes in, events out; replies in, bytes out. No I/O, no clock.

The dev server runs one `ServerSide` for each stream. It handles the greeting, frames, headers and records;
the dev server's processor handles the meaning of requests. No input raises an error: garbage becomes a
`Broken` event, after which the connection can only be closed (`NIOServerCnxn.java`, 3.9).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from struct import Struct
from typing import Any, NamedTuple, final

from zkrecipes.codec.framing import FrameBuffer
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import REQUESTS, ConnectReply, ConnectRequest, Request, WatchEventMessage
from zkrecipes.codec.multi import MultiReply
from zkrecipes.enums import SpecialXid
from zkrecipes.errors import ProtocolError

__all__ = ["FRAME_SIZE_MAX", "Broken", "Event", "FourLetterWord", "Greeted", "Requested", "ServerSide"]

FRAME_SIZE_MAX = 0xFFFFF
"""The largest frame, in bytes: the default of `jute.maxbuffer` (`BinaryInputArchive.java`)."""

# A greeting has 44 or 45 bytes, with a password of ZooKeeper's length. A real server accepts one as large as
# any request; but an unknown peer must not be able to make a server keep a megabyte.
_GREETING_SIZE_MAX = 4096

# A word replaces the first length of a connection (`FourLetterCommands.java`). Read as a length, each would
# be above 0x61000000, so no greeting is mistaken for a word.
_WORDS = frozenset(
    "conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk sthk wchc wchp wchs".split()
)

_REQUEST_HEADER = Struct("!ii")
_REPLY_HEAD = Struct("!iiqi")  # length, xid, zxid, err
_REPLY_HEADER_SIZE = 16
_LENGTH = Struct("!i")
_WORD_SIZE = 4


class FourLetterWord(NamedTuple):
    """A four-letter word instead of a greeting: answer it with text, then close the connection."""

    word: str


class Greeted(NamedTuple):
    """The client's greeting; answer it with `ServerSide.accept`."""

    request: ConnectRequest


class Requested(NamedTuple):
    """A request."""

    xid: int
    opcode: int
    request: Request[Any] | None
    """None if the opcode is unknown, or if the body is malformed (a server then answers -5 and continues)."""


class Broken(NamedTuple):
    """The peer broke the protocol: no event follows, and the connection must be closed."""

    why: str


Event = FourLetterWord | Greeted | Requested | Broken


class _State(Enum):
    STARTING = "starting"
    """Too few bytes have arrived to distinguish a greeting from a four-letter word."""
    GREETING = "greeting"
    """The greeting is arriving."""
    GREETED = "greeted"
    """Requests arrive, in frames."""
    BROKEN = "broken"
    """No more bytes are read."""


@final
class ServerSide:
    """The server's end of one connection.

    Args:
        frame_size_max: the largest request, in bytes; a larger one breaks the connection.
    """

    def __init__(self, *, frame_size_max: int = FRAME_SIZE_MAX) -> None:
        self._frames = FrameBuffer(min(frame_size_max, _GREETING_SIZE_MAX))
        self._frame_size_max = frame_size_max
        self._state = _State.STARTING
        self._start = b""
        self._read_only_asked = False
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self.queued: int = 0
        """The number of bytes that wait for `data_to_send`."""

    def receive_data(self, data: bytes) -> None:
        """Process received bytes. After calling this, take events with `next_event` until it returns None."""
        if self._state is _State.BROKEN:
            return
        if self._state is _State.STARTING:
            self._start += data
            if len(self._start) < _WORD_SIZE:
                return
            word = self._start[:_WORD_SIZE].decode("latin-1")
            if word in _WORDS:
                self._events.append(FourLetterWord(word))
                self._state = _State.BROKEN
                return
            self._state = _State.GREETING
            data, self._start = self._start, b""
        self._frames.feed(data)
        self._read_frames()

    def next_event(self) -> Event | None:
        """Remove and return the peer's oldest message; return None until more bytes are fed."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Return the bytes for the wire, once."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        self.queued = 0
        return data

    def accept(self, reply: ConnectReply) -> None:
        """Answer the greeting. The answer has a read-only byte only if the greeting has one."""
        read_only = bool(reply.read_only) if self._read_only_asked else None
        body = ConnectReply(
            protocol_version=reply.protocol_version,
            timeout_ms=reply.timeout_ms,
            session_id=reply.session_id,
            password=reply.password,
            read_only=read_only,
        ).encode()
        self._queue(_LENGTH.pack(len(body)) + body)

    def reply(self, xid: int, zxid: int, err: int = 0, record: Record | None = None) -> None:
        """Answer a request; the reply has a body only if `err` is 0."""
        body = record.encode() if err == 0 and record is not None else b""
        self._queue(_REPLY_HEAD.pack(len(body) + _REPLY_HEADER_SIZE, xid, zxid, err) + body)

    def reply_multi(self, xid: int, zxid: int, opcodes: Iterable[int], reply: MultiReply) -> None:
        """Answer a multi. The header's code is 0 even if the multi failed (`FinalRequestProcessor.java`)."""
        body = reply.encode_results(opcodes)
        self._queue(_REPLY_HEAD.pack(len(body) + _REPLY_HEADER_SIZE, xid, zxid, 0) + body)

    def notify(self, zxid: int, event: WatchEventMessage) -> None:
        """Send a watch event; `zxid` is that of the change (-1 before 3.9)."""
        self.reply(SpecialXid.NOTIFICATION, zxid, 0, event)

    def send_text(self, text: str) -> None:
        """Answer a four-letter word."""
        self._queue(text.encode())

    def _queue(self, data: bytes) -> None:
        self._out.append(data)
        self.queued += len(data)

    def _read_frames(self) -> None:
        frames, events = self._frames, self._events
        try:
            while (frame := frames.next_frame()) is not None:
                if self._state is _State.GREETED:
                    events.append(_read_request(*frame))
                else:
                    self._read_greeting(*frame)
        except ProtocolError as error:
            self._state = _State.BROKEN
            events.append(Broken(str(error)))

    def _read_greeting(self, buffer: bytes, start: int, end: int) -> None:
        request, _ = ConnectRequest.read(buffer, start, end)
        self._state = _State.GREETED
        self._frames.size_max = self._frame_size_max
        self._read_only_asked = request.read_only is not None
        self._events.append(Greeted(request))


def _read_request(buffer: bytes, start: int, end: int) -> Requested:
    if end - start < _REQUEST_HEADER.size:
        raise ProtocolError(f"a request of {end - start} bytes has no header")
    xid, opcode = _REQUEST_HEADER.unpack_from(buffer, start)
    request_class = REQUESTS.get(opcode)
    if request_class is None:
        return Requested(xid, opcode, None)
    try:
        request, _ = request_class.read(buffer, start + _REQUEST_HEADER.size, end)
    except ProtocolError:
        return Requested(xid, opcode, None)
    return Requested(xid, opcode, request)
