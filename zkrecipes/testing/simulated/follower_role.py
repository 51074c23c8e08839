"""A replica that follows a leader: it answers reads itself and forwards all other requests to the leader."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import final

from zkrecipes.codec.messages import ConnectRequest
from zkrecipes.testing.simulated.history import ClientRequest, Origin
from zkrecipes.testing.simulated.messages import (
    Ack,
    AckEpoch,
    AckSync,
    Commit,
    FollowerInfo,
    Forwarded,
    LeaderInfo,
    Ping,
    Pong,
    Proposal,
    Revalidate,
    Revalidated,
    Sync,
    Synced,
    UpToDate,
)
from zkrecipes.testing.simulated.replica import Replica, Role, RoleName
from zkrecipes.testing.simulated.replica_network import Channel, Reset
from zkrecipes.testing.simulated.scheduler import EPSILON

__all__ = ["Following"]


@final
class Following(Role):
    """The role of a replica that has a leader; it serves clients once the leader says that it is up to date.

    Args:
        replica: the replica that follows.
        leader: the leader's number.
    """

    name = RoleName.FOLLOWING

    def __init__(self, replica: Replica, leader: int) -> None:
        super().__init__(replica)
        self.leader = leader
        self._is_serving = False
        self._channel = Channel(replica.number, leader)
        self._heard_at = replica.ensemble.scheduler.now()
        # The sessions that were active since the leader's last ping (`LearnerSessionTracker.snapshot`).
        self._touched: set[int] = set()

    def enter(self) -> None:
        """Join the leader."""
        replica = self.replica
        replica.send(self._channel, FollowerInfo(replica.accepted_epoch))
        replica.call_in_role(self._limit(), self._check_leader_is_heard)

    @property
    def is_serving(self) -> bool:
        """Whether the replica is up to date."""
        return self._is_serving

    def channels(self) -> Iterator[Channel]:
        """Return the channel to the leader."""
        yield self._channel

    # --- clients -------------------------------------------------------------------------------------------

    def touch(self, session_id: int) -> bool:
        """Note the session for the answer to the next ping; only then does the leader learn of it."""
        self._touched.add(session_id)
        return True

    def submit(self, client_request: ClientRequest) -> None:
        """Forward the request to the leader. That does not touch the session (`submitLearnerRequest`)."""
        self.replica.send(self._channel, Forwarded(client_request))

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether the session is alive."""
        self.replica.send(self._channel, Revalidate(origin, greeting))

    # --- the leader ----------------------------------------------------------------------------------------

    def receive(self, channel: Channel, message: object) -> None:
        """Process a message, which is usually the leader's."""
        replica = self.replica
        if channel is not self._channel:
            if not isinstance(message, Reset):
                replica.close(channel)
            return
        self._heard_at = replica.ensemble.scheduler.now()
        match message:
            case Reset():
                replica.start_looking()
            case Ping():
                replica.send(channel, Pong(frozenset(self._touched)))
                self._touched.clear()
            case Proposal(entry):
                replica.log.append(entry)
                replica.send(channel, Ack(len(replica.log)))
            case Commit(length):
                replica.commit_up_to(length)
            case Synced(client_request):
                replica.call_after_commits(partial(replica.answer_sync, client_request))
            case Revalidated(origin, greeting, is_alive):
                replica.complete_revalidation(origin, greeting, is_alive=is_alive)
            case _:
                self._receive_while_joining(message)

    def _receive_while_joining(self, message: object) -> None:
        replica = self.replica
        match message:
            case LeaderInfo(epoch) if epoch < replica.accepted_epoch:
                replica.start_looking()
            case LeaderInfo(epoch):
                replica.accepted_epoch = epoch
                replica.send(self._channel, AckEpoch(replica.current_epoch, replica.last_zxid))
            case Sync(log, epoch, committed_length):
                replica.log = list(log)
                replica.accepted_epoch = replica.current_epoch = epoch
                replica.commit_up_to(committed_length)
                replica.send(self._channel, AckSync(len(log)))
            case UpToDate():
                self._is_serving = True

    def _check_leader_is_heard(self) -> None:
        """Look for a new leader after the read timeout of the learner's socket (`Learner`)."""
        left = self._heard_at + self._limit() - self.replica.ensemble.scheduler.now()
        if left <= EPSILON:
            self.replica.start_looking()
        else:
            self.replica.call_in_role(left, self._check_leader_is_heard)

    def _limit(self) -> float:
        timing = self.replica.ensemble.timing
        return timing.tick * (timing.sync_limit if self._is_serving else timing.init_limit)
