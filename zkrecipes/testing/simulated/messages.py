"""The messages between replicas, named after ZooKeeper's packets (`Leader`, `Learner`, 3.9)."""

from __future__ import annotations

from typing import NamedTuple

from zkrecipes.codec.messages import ConnectRequest
from zkrecipes.testing.simulated.history import ClientRequest, HistoryEntry, Origin

__all__ = [
    "Ack", "AckEpoch", "AckSync", "Commit", "FollowerInfo", "Forwarded", "LeaderInfo", "Ping", "Pong",
    "Proposal", "Revalidate", "Revalidated", "Sync", "Synced", "UpToDate",
]  # fmt: skip


# Joining: a learner that connects to a leader replaces its own log by the leader's.


class FollowerInfo(NamedTuple):
    """A learner's first message to its leader."""

    accepted_epoch: int


class LeaderInfo(NamedTuple):
    """The epoch that the leader starts, or has started."""

    epoch: int


class AckEpoch(NamedTuple):
    """The learner's acceptance of that epoch, with the state of its log."""

    current_epoch: int
    zxid: int


class Sync(NamedTuple):
    """The leader's whole log."""

    log: tuple[HistoryEntry, ...]
    epoch: int
    committed_length: int
    """The number of entries that the leader knows to be committed."""


class AckSync(NamedTuple):
    """The learner's confirmation that it has the log, up to this length."""

    length: int


class UpToDate(NamedTuple):
    """The leader's permission to serve clients."""


# Transactions. All logs have the same entries, so the length of a log identifies its last entry.


class Proposal(NamedTuple):
    """A log entry that needs a quorum."""

    entry: HistoryEntry


class Ack(NamedTuple):
    """The learner's confirmation that its log has this length."""

    length: int


class Commit(NamedTuple):
    """The leader's notice that a quorum has the log up to this length."""

    length: int


class Forwarded(NamedTuple):
    """A write or a sync from a learner's client."""

    client_request: ClientRequest


class Synced(NamedTuple):
    """The answer to a sync; it follows the commits that preceded the sync."""

    client_request: ClientRequest


# Sessions.


class Ping(NamedTuple):
    """The leader's ping, sent every half tick; the answer names the sessions that were active."""


class Pong(NamedTuple):
    """The sessions that were active at the learner since its last answer."""

    touched: frozenset[int]


class Revalidate(NamedTuple):
    """A learner's question whether the session that a client asks for is alive."""

    origin: Origin
    greeting: ConnectRequest


class Revalidated(NamedTuple):
    """The leader's answer whether that session is alive; if so, the leader has touched it."""

    origin: Origin
    greeting: ConnectRequest
    is_alive: bool
