"""Whole frames out of a stream of bytes, with a limit.

A frame is a 4-byte big-endian length and so many bytes (`BinaryInputArchive`, `ClientCnxnSocketNIO`). Frames
are handed out as positions in the buffer they arrived in: a chunk that holds a hundred replies is not copied.
"""

from __future__ import annotations

from struct import Struct
from typing import final

from zkrecipes.errors import ProtocolError

__all__ = ["FrameBuffer", "FrameTooLargeError"]

_LENGTH = Struct("!i")
_HEAD = Struct("!ii")
# Behind the length stands the xid: enough to tell which request a reply that is too large belongs to.
_XID_SIZE = 4
_HEAD_SIZE = _LENGTH.size + _XID_SIZE


class FrameTooLargeError(ProtocolError):
    """A frame announced more bytes than the limit.

    Attributes:
        size: the announced size in bytes.
        limit: what is allowed.
        xid: the first four bytes of the frame, as a number.
    """

    def __init__(self, size: int, limit: int, xid: int) -> None:
        self.size = size
        self.limit = limit
        self.xid = xid
        super().__init__(f"a frame of {size} bytes is larger than the limit of {limit}")


@final
class FrameBuffer:
    """Bytes that wait for the rest of their frame.

    Memory is bounded by the limit and the largest chunk fed. A frame that spans many chunks is joined once,
    when its last byte is there.

    Args:
        size_max: the largest size in bytes that a frame may announce.

    Raises:
        ValueError: `size_max` is too small for any message.
    """

    def __init__(self, size_max: int) -> None:
        if size_max < _XID_SIZE:
            raise ValueError(f"a limit of {size_max} bytes lets no frame through")
        self.size_max = size_max
        self._buffer = b""
        self._position = 0
        self._later: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Append what was received. After calling this, take frames with `next_frame` until it gives None."""
        if self._missing > len(data):
            self._later.append(data)
            self._missing -= len(data)
            return
        self._missing = 0
        rest = self._buffer[self._position :]
        self._buffer = b"".join((rest, *self._later, data)) if rest or self._later else data
        self._later.clear()
        self._position = 0

    def next_frame(self) -> tuple[bytes, int, int] | None:
        """The next whole frame as (buffer, start, end), or None until more bytes are fed.

        Raises:
            FrameTooLargeError: the frame announces more than `size_max` bytes.
            ProtocolError: it announces a negative size.
        """
        if self._missing:
            return None
        buffer, position = self._buffer, self._position
        available = len(buffer) - position
        if available < 4:
            return None
        (size,) = _LENGTH.unpack_from(buffer, position)
        if available < size + 4:
            self._check(size, available)
            if available >= _HEAD_SIZE:
                self._missing = size + 4 - available
            return None
        if size < 0 or size > self.size_max:
            self._check(size, available)
        start = position + 4
        self._position = start + size
        return buffer, start, start + size

    @property
    def incoming(self) -> tuple[int, int, int] | None:
        """The frame whose end has not come, as (xid, size, bytes that have come); None if there is none.

        Its length and its xid must have come.
        """
        if not self._missing:
            return None
        size, xid = _HEAD.unpack_from(self._buffer, self._position)
        return xid, size, size - self._missing

    @property
    def unfinished(self) -> int:
        """How many bytes of a frame that has not ended are held."""
        return len(self._buffer) - self._position + sum(map(len, self._later))

    def _check(self, size: int, available: int) -> None:
        if size < 0:
            raise ProtocolError(f"a frame has the negative length {size}")
        if size > self.size_max and available >= _HEAD_SIZE:
            (xid,) = _LENGTH.unpack_from(self._buffer, self._position + 4)
            raise FrameTooLargeError(size, self.size_max, xid)
