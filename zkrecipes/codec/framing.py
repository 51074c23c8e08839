"""Splits a stream of bytes into whole frames, with a limit on their size.

A frame is a 4-byte big-endian length and that many bytes (`BinaryInputArchive`, `ClientCnxnSocketNIO`).
Frames are returned as positions in the buffer in which they arrived: a chunk of a hundred replies is not
copied.
"""

from __future__ import annotations

from struct import Struct
from typing import final

from zkrecipes.errors import ProtocolError

__all__ = ["FrameBuffer", "FrameTooLargeError"]

_LENGTH = Struct("!i")
_HEAD = Struct("!ii")
# The xid follows the length; it identifies the request whose reply is too large.
_XID_SIZE = 4
_HEAD_SIZE = _LENGTH.size + _XID_SIZE


class FrameTooLargeError(ProtocolError):
    """A frame announced more bytes than the limit.

    Attributes:
        size: the announced size in bytes.
        limit: the largest size allowed.
        xid: the first four bytes of the frame, as a number.
    """

    def __init__(self, size: int, limit: int, xid: int) -> None:
        self.size = size
        self.limit = limit
        self.xid = xid
        super().__init__(f"a frame of {size} bytes is larger than the limit of {limit}")


@final
class FrameBuffer:
    """A buffer of bytes whose frame is not complete.

    Memory is bounded by the limit and the largest chunk fed. A frame that spans many chunks is joined once,
    when its last byte has arrived.

    Args:
        size_max: the largest size in bytes that a frame may announce.

    Raises:
        ValueError: `size_max` is too small for any message.
    """

    def __init__(self, size_max: int) -> None:
        if size_max < _XID_SIZE:
            raise ValueError(f"size_max must be at least {_XID_SIZE} bytes, not {size_max}")
        self.size_max = size_max
        self._buffer = b""
        self._position = 0
        self._later: list[bytes] = []
        self._missing = 0
        self._accepted = 0

    def feed(self, data: bytes) -> None:
        """Append received bytes. After calling this, take frames with `next_frame` until it returns None."""
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
        """Return the next whole frame as (buffer, start, end), or None until more bytes are fed.

        Raises:
            FrameTooLargeError: the frame announces more than `size_max` bytes.
            ProtocolError: the frame announces a negative size.
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
            self._accepted = 0
        start = position + 4
        self._position = start + size
        return buffer, start, start + size

    def accept(self, error: FrameTooLargeError) -> None:
        """Accept the one frame that `next_frame` has refused with this error; call `next_frame` again."""
        self._accepted = error.size

    @property
    def incoming(self) -> tuple[int, int, int] | None:
        """The incomplete frame, as (xid, size, bytes received), or None.

        It is also None until the frame's length and xid have arrived.
        """
        if not self._missing:
            return None
        size, xid = _HEAD.unpack_from(self._buffer, self._position)
        return xid, size, size - self._missing

    @property
    def unfinished(self) -> int:
        """The number of buffered bytes that belong to an incomplete frame."""
        return len(self._buffer) - self._position + sum(map(len, self._later))

    def _check(self, size: int, available: int) -> None:
        if size < 0:
            raise ProtocolError(f"a frame has the negative length {size}")
        if size > self.size_max and size != self._accepted and available >= _HEAD_SIZE:
            (xid,) = _LENGTH.unpack_from(self._buffer, self._position + 4)
            raise FrameTooLargeError(size, self.size_max, xid)
