"""What replicas say to one another. Named for the packets of ZooKeeper's own (`Leader`, `Learner`, 3.9)."""

from __future__ import annotations

from typing import NamedTuple

from zkrecipes.codec.messages import ConnectRequest
from zkrecipes.testing.simulated.history import Asked, HistoryEntry, Origin

__all__ = [
    "Ack", "AckEpoch", "AckSync", "Commit", "FollowerInfo", "Forwarded", "LeaderInfo", "Ping", "Pong",
    "Proposal", "Revalidate", "Revalidated", "Sync", "Synced", "UpToDate",
]  # fmt: skip


# Joining: a learner that comes to a leader gets the leader's log for its own.


class FollowerInfo(NamedTuple):
    """A learner comes."""

    accepted_epoch: int


class LeaderInfo(NamedTuple):
    """The epoch that begins, or has begun."""

    epoch: int


class AckEpoch(NamedTuple):
    """The learner takes part in that epoch; how far its own log goes."""

    current_epoch: int
    zxid: int


class Sync(NamedTuple):
    """The log."""

    log: tuple[HistoryEntry, ...]
    epoch: int
    committed: int
    """How many of its entries are known to be committed."""


class AckSync(NamedTuple):
    """The learner has the log, so long."""

    length: int


class UpToDate(NamedTuple):
    """The learner may serve."""


# Transactions. Logs are alike, so an entry is known by the length of the log that ends with it.


class Proposal(NamedTuple):
    """An entry that wants a quorum."""

    entry: HistoryEntry


class Ack(NamedTuple):
    """The learner has it in its log."""

    length: int


class Commit(NamedTuple):
    """A quorum has it."""

    length: int


class Forwarded(NamedTuple):
    """A write or a sync of a learner's client."""

    asked: Asked


class Synced(NamedTuple):
    """The answer to a sync: it follows the commits that came before it."""

    asked: Asked


# Sessions.


class Ping(NamedTuple):
    """Every half tick; the answer says who was heard of."""


class Pong(NamedTuple):
    """The sessions that the learner has heard of since its last answer."""

    touched: frozenset[int]


class Revalidate(NamedTuple):
    """A client asks a learner for its session."""

    origin: Origin
    greeting: ConnectRequest


class Revalidated(NamedTuple):
    """Whether that session lives; the leader has touched it."""

    origin: Origin
    greeting: ConnectRequest
    is_alive: bool
