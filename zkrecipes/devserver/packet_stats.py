"""The statistics of one connection and of a whole server, which four-letter words report."""

from __future__ import annotations

from typing import final

__all__ = ["PacketStats", "RequestLatency"]


@final
class RequestLatency:
    """Latencies in milliseconds, from the arrival of a request's bytes to the departure of its reply."""

    __slots__ = ("count", "last_ms", "max_ms", "min_ms", "total_ms")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all latencies."""
        self.count: int = 0
        self.last_ms: int = 0
        self.max_ms: int = 0
        self.min_ms: int = 0
        self.total_ms: int = 0

    def add(self, latency_ms: int, count: int) -> None:
        """Add this many requests with the same latency."""
        self.last_ms = latency_ms
        self.min_ms = latency_ms if self.count == 0 else min(self.min_ms, latency_ms)
        self.max_ms = max(self.max_ms, latency_ms)
        self.count += count
        self.total_ms += latency_ms * count

    @property
    def average_ms(self) -> float:
        """The mean latency; 0 without requests."""
        return self.total_ms / self.count if self.count else 0.0


@final
class PacketStats:
    """The statistics of one connection, or of a whole server.

    Args:
        total: for a connection, the server's statistics, which include the connection's; None for the server.
        peer: the client's end, as `/address:port`.
        established_ms: the start of the connection or the server, in milliseconds since 1970.
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
        """Start counting from 0, as `crst` and `srst` request."""
        self.received: int = 0
        """The number of received requests, including greetings and four-letter words."""
        self.sent: int = 0
        """The number of replies and events queued for sending."""
        self.arrived_ms: int = 0
        """The time at which the bytes of the latest requests arrived."""
        self._timed = 0
        self.last_opcode: int | None = None
        self.last_xid: int = -1
        self.last_zxid: int = 0
        self.last_response_ms: int = 0
        self.latency.reset()

    def count_request(self) -> None:
        """Count a received request."""
        self.received += 1
        if self.total is not None:
            self.total.received += 1

    def count_reply(self, opcode: int, xid: int, zxid: int) -> None:
        """Count a queued reply."""
        self.last_opcode = opcode
        self.last_xid = xid
        self.last_zxid = zxid
        self.count_packet()

    def count_packet(self) -> None:
        """Count a queued packet: a reply or an event."""
        self.sent += 1
        if self.total is not None:
            self.total.sent += 1

    def count_departure(self, time_ms: int) -> None:
        """Record the latency of the requests whose replies leave now."""
        count, self._timed = self.received - self._timed, self.received
        if count > 0:
            self.last_response_ms = time_ms
            for latency in (self.latency, self.total.latency) if self.total is not None else (self.latency,):
                latency.add(max(time_ms - self.arrived_ms, 0), count)
