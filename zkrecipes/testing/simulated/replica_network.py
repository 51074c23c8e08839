"""The network between replicas: messages arrive in order and after a delay, as with TCP.

A blocked message is not lost: it arrives after the block ends.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol, final

from zkrecipes.testing.simulated.scheduler import EPSILON, Scheduler

__all__ = ["Channel", "Receiver", "ReplicaNetwork", "Reset"]


class Reset(NamedTuple):
    """The notice that the other end has closed the channel, or does not know it."""


@final
class Channel:
    """A connection between two replicas, named by their numbers; each end closes separately."""

    __slots__ = ("ends", "open_ends")

    def __init__(self, one: int, other: int) -> None:
        self.ends: tuple[int, int] = (one, other)
        self.open_ends: set[int] = {one, other}

    def peer_of(self, end: int) -> int:
        """Return the replica number of the other end."""
        one, other = self.ends
        return other if end == one else one


class Receiver(Protocol):
    """A replica, as the network sees it."""

    def deliver(self, channel: Channel, message: object) -> None:
        """Process a message that has arrived."""


class _Delivery(NamedTuple):
    due: float
    channel: Channel
    message: object


@final
class ReplicaNetwork:
    """The connections between all replicas of one ensemble.

    Args:
        scheduler: delivers the messages when they are due.
        latency: the time that a message takes, in seconds.
    """

    def __init__(self, scheduler: Scheduler, latency: float) -> None:
        self.receivers: dict[int, Receiver] = {}
        self._scheduler = scheduler
        self._latency = latency
        self._blocked: set[tuple[int, int]] = set()
        self._queues: dict[tuple[int, int], deque[_Delivery]] = {}

    def is_linked(self, one: int, other: int) -> bool:
        """Whether messages pass in both directions."""
        return not {(one, other), (other, one)} & self._blocked

    def block(self, source: int, target: int) -> None:
        """Hold back all messages from `source` to `target`; none is lost."""
        self._blocked.add((source, target))

    def unblock(self, source: int, target: int) -> None:
        """Deliver the messages that were held back, and later ones."""
        if (source, target) in self._blocked:
            self._blocked.remove((source, target))
            self._scheduler.call_after(self._latency, lambda: self._deliver(source, target))

    def unblock_all(self) -> None:
        """End every block."""
        for source, target in sorted(self._blocked):
            self.unblock(source, target)

    def send(self, source: int, channel: Channel | None, message: object) -> None:
        """Send a message to the other end, unless this end is closed."""
        if channel is not None and source in channel.open_ends:
            self._put(source, channel, message)

    def close(self, channel: Channel, by: int) -> None:
        """Close one end and send a `Reset` to the other."""
        self.send(by, channel, Reset())
        channel.open_ends.discard(by)

    def _put(self, source: int, channel: Channel, message: object) -> None:
        target = channel.peer_of(source)
        queue = self._queues.setdefault((source, target), deque())
        queue.append(_Delivery(self._scheduler.now() + self._latency, channel, message))
        if (source, target) not in self._blocked:
            self._scheduler.call_after(self._latency, lambda: self._deliver(source, target))

    def _deliver(self, source: int, target: int) -> None:
        queue = self._queues.get((source, target), deque())
        now = self._scheduler.now() + EPSILON
        while queue and (source, target) not in self._blocked and queue[0].due <= now:
            _, channel, message = queue.popleft()
            if target in channel.open_ends:
                self.receivers[target].deliver(channel, message)
            elif not isinstance(message, Reset):
                self._put(target, channel, Reset())
