"""The incomplete reply at the end of the received bytes. Sans-I/O.

Two questions depend on it: how long the oldest request may wait while its reply keeps arriving, and whether
the frame is a reply at all. If a frame's length is wrong, everything that follows is taken for the rest of
the frame, and as bytes keep arriving, silence would never end the wait.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, final

from zkrecipes.codec.framing import FrameBuffer
from zkrecipes.enums import SpecialXid
from zkrecipes.errors import ProtocolError
from zkrecipes.protocol.events import PartialReply, Ticket

__all__ = ["PING_REPLY_SIZE", "IncomingReply"]

_FRAME_HEAD: Final = Struct("!iiqi")
_REPLY_HEADER_SIZE: Final = 16
PING_REPLY_SIZE: Final = _FRAME_HEAD.size
"""The bytes of the reply to a ping: the length and the reply header."""


@final
class IncomingReply:
    """A record of when the incomplete frame began to arrive, and of the pings inside it.

    Args:
        frames: the buffer that receives the connection's bytes.
        now: the current time in seconds.
    """

    __slots__ = ("_frames", "_pings", "_since", "_xid")

    def __init__(self, frames: FrameBuffer, now: float) -> None:
        self._frames = frames
        self._xid: int | None = None
        self._since = now
        self._pings = 0

    def note(self, now: float) -> None:
        """Note which frame is incomplete. Call it after taking all complete frames."""
        incoming = self._frames.incoming
        xid = None if incoming is None else incoming[0]
        if xid != self._xid:
            self._xid, self._since = xid, now
            self._pings = 0

    def describe(self, oldest: Ticket | None) -> PartialReply | None:
        """Return the incomplete reply to the oldest request in flight, or None."""
        incoming = self._frames.incoming
        if incoming is None or oldest is None or incoming[0] != oldest.xid:
            return None
        _, size, received = incoming
        return PartialReply(oldest, size, received, self._since)

    def look_for_ping(self, data: bytes) -> None:
        """Count the replies to pings inside the incomplete frame.

        Args:
            data: `PING_REPLY_SIZE` bytes that arrived as one chunk.

        Raises:
            ProtocolError: the frame contains two of them. (One could be the data of a znode.)
        """
        size, xid, _, code = _FRAME_HEAD.unpack(data)
        if (size, xid, code) == (_REPLY_HEADER_SIZE, SpecialXid.PING, 0):
            self._pings += 1
            if self._pings > 1:
                raise ProtocolError("pings were answered in the middle of a reply: its length was wrong")
