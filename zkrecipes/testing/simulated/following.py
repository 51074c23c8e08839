"""A replica that follows a leader: it answers reads by itself, and leaves the rest to the leader."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import final

from zkrecipes.codec.messages import ConnectRequest
from zkrecipes.testing.simulated.history import Asked, Origin
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
from zkrecipes.testing.simulated.timetable import EPSILON
from zkrecipes.testing.simulated.wires import Channel, Reset

__all__ = ["Following"]


@final
class Following(Role):
    """It has a leader, and serves clients as soon as that says that it is up to date.

    Args:
        replica: whose role it is.
        leader: the leader's number.
    """

    name = RoleName.FOLLOWING

    def __init__(self, replica: Replica, leader: int) -> None:
        super().__init__(replica)
        self.leader = leader
        self._is_serving = False
        self._channel = Channel(replica.number, leader)
        self._heard_at = replica.world.timetable.now()
        # Whom it has heard of since the leader's last ping (`LearnerSessionTracker.snapshot`).
        self._touched: set[int] = set()

    def begin(self) -> None:
        """Join the leader."""
        replica = self.replica
        replica.send(self._channel, FollowerInfo(replica.accepted_epoch))
        replica.in_term(self._limit(), self._check_leader_is_heard)

    @property
    def is_serving(self) -> bool:
        """Whether it is up to date."""
        return self._is_serving

    def channels(self) -> Iterator[Channel]:
        """The one to the leader."""
        yield self._channel

    # --- clients -------------------------------------------------------------------------------------------

    def touch(self, session_id: int) -> bool:
        """The leader will hear of it in the answer to its next ping, and not before."""
        self._touched.add(session_id)
        return True

    def ask(self, asked: Asked) -> None:
        """The leader decides. That it forwards a request is no touch (`submitLearnerRequest`)."""
        self.replica.send(self._channel, Forwarded(asked))

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """The leader knows whether the session lives."""
        self.replica.send(self._channel, Revalidate(origin, greeting))

    # --- the leader ----------------------------------------------------------------------------------------

    def receive(self, channel: Channel, message: object) -> None:
        """A message, mostly the leader's."""
        replica = self.replica
        if channel is not self._channel:
            if not isinstance(message, Reset):
                replica.close(channel)
            return
        self._heard_at = replica.world.timetable.now()
        match message:
            case Reset():
                replica.look()
            case Ping():
                replica.send(channel, Pong(frozenset(self._touched)))
                self._touched.clear()
            case Proposal(entry):
                replica.log.append(entry)
                replica.send(channel, Ack(len(replica.log)))
            case Commit(length):
                replica.committed_up_to(length)
            case Synced(asked):
                replica.later(partial(replica.answer_sync, asked))
            case Revalidated(origin, greeting, is_alive):
                replica.revalidated(origin, greeting, is_alive=is_alive)
            case _:
                self._receive_while_joining(message)

    def _receive_while_joining(self, message: object) -> None:
        replica = self.replica
        match message:
            case LeaderInfo(epoch) if epoch < replica.accepted_epoch:
                replica.look()
            case LeaderInfo(epoch):
                replica.accepted_epoch = epoch
                replica.send(self._channel, AckEpoch(replica.current_epoch, replica.last_zxid))
            case Sync(log, epoch, committed):
                replica.log = list(log)
                replica.accepted_epoch = replica.current_epoch = epoch
                replica.committed_up_to(committed)
                replica.send(self._channel, AckSync(len(log)))
            case UpToDate():
                self._is_serving = True

    def _check_leader_is_heard(self) -> None:
        """The read time-out of the learner's socket (`Learner`)."""
        left = self._heard_at + self._limit() - self.replica.world.timetable.now()
        if left <= EPSILON:
            self.replica.look()
        else:
            self.replica.in_term(left, self._check_leader_is_heard)

    def _limit(self) -> float:
        times = self.replica.world.times
        return times.tick * (times.sync_limit if self._is_serving else times.init_limit)
