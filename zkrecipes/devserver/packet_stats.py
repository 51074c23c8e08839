"""What has passed over a connection, and over all of them: the figures that four-letter words tell."""

from __future__ import annotations

from typing import final

__all__ = ["PacketStats", "RequestLatency"]


@final
class RequestLatency:
    """How long requests took in milliseconds, from the arrival of their bytes to the reply's departure."""

    __slots__ = ("count", "last_ms", "max_ms", "min_ms", "total_ms")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As if there had been none."""
        self.count: int = 0
        self.last_ms: int = 0
        self.max_ms: int = 0
        self.min_ms: int = 0
        self.total_ms: int = 0

    def add(self, latency_ms: int, count: int) -> None:
        """So many requests took so long."""
        self.last_ms = latency_ms
        self.min_ms = latency_ms if self.count == 0 else min(self.min_ms, latency_ms)
        self.max_ms = max(self.max_ms, latency_ms)
        self.count += count
        self.total_ms += latency_ms * count

    @property
    def average_ms(self) -> float:
        """The mean; 0 where there was no request."""
        return self.total_ms / self.count if self.count else 0.0


@final
class PacketStats:
    """The figures of one connection, or of a whole server.

    Args:
        total: the server's own figures, to which a connection's are added; None for the server's.
        peer: the other end, as `/address:port`.
        established_ms: since when, in milliseconds since 1970.
    """

    __slots__ = (
        "_timed",
        "arrived_ms",
        "established_ms",
        "last_opcode",
        "last_response_ms",
        "last_xid",
        "last_zxid",
        "latency",
        "peer",
        "received",
        "sent",
        "total",
    )

    def __init__(self, total: PacketStats | None = None, *, peer: str = "", established_ms: int = 0) -> None:
        self.total: PacketStats | None = total
        self.peer: str = peer
        self.established_ms: int = established_ms
        self.latency: RequestLatency = RequestLatency()
        self.reset()

    def reset(self) -> None:
        """Begin to count anew, as `crst` and `srst` ask."""
        self.received: int = 0
        """How many requests (greetings and words too) came."""
        self.sent: int = 0
        """How many replies and events were queued for the way out."""
        self.arrived_ms: int = 0
        """When the bytes of the last requests came."""
        self._timed = 0
        self.last_opcode: int | None = None
        self.last_xid: int = -1
        self.last_zxid: int = 0
        self.last_response_ms: int = 0
        self.latency.reset()

    def came(self) -> None:
        """A request came."""
        self.received += 1
        if self.total is not None:
            self.total.received += 1

    def answered(self, opcode: int, xid: int, zxid: int) -> None:
        """A request was answered."""
        self.last_opcode = opcode
        self.last_xid = xid
        self.last_zxid = zxid
        self.told()

    def told(self) -> None:
        """Something was queued for the way out: a reply or an event."""
        self.sent += 1
        if self.total is not None:
            self.total.sent += 1

    def departs(self, time_ms: int) -> None:
        """What was queued leaves now."""
        count, self._timed = self.received - self._timed, self.received
        if count > 0:
            self.last_response_ms = time_ms
            for latency in (self.latency, self.total.latency) if self.total is not None else (self.latency,):
                latency.add(max(time_ms - self.arrived_ms, 0), count)
