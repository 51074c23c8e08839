"""A replica that leads: it orders all transactions, and it alone decides which sessions live.

It leads as long as a quorum of learners answers its pings. Until it has missed their answers for `sync_limit`
ticks, it continues to answer its own clients, and a learner that it cannot reach does the same. A write needs
the quorum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import final

from zkrecipes.codec.messages import ConnectRequest, DeleteContainerRequest
from zkrecipes.devserver.requests import reaping
from zkrecipes.devserver.session_tracker import PASSWORD_SIZE
from zkrecipes.enums import OpCode
from zkrecipes.errors import SessionExpiredError, SessionMovedError
from zkrecipes.testing.simulated.history import (
    ClientRequest,
    HistoryEntry,
    NewSession,
    Origin,
    Refusal,
    SessionEnd,
    TransactionBody,
    Write,
)
from zkrecipes.testing.simulated.leader_sessions import LeaderSessions
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

__all__ = ["Leading"]


@final
class _Learner:
    """The leader's knowledge of a learner (`LearnerHandler`)."""

    def __init__(self, channel: Channel, heard_at: float, deadline_tick: int) -> None:
        self.channel = channel
        self.heard_at = heard_at
        self.deadline_tick = deadline_tick
        self.is_synced = False
        self.receives_proposals = False
        self.acked_length = 0
        self.unacked_since: float | None = None


@final
class Leading(Role):
    """The role of an elected leader; it has started once a quorum has its log.

    Args:
        replica: the replica that leads.
    """

    name = RoleName.LEADING

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.has_started: bool = False
        self.sessions: LeaderSessions = LeaderSessions(replica.ensemble.timing.tick)
        self._epoch: int | None = None
        self._accepted_epochs: dict[int, int] = {}
        self._learners: dict[int, _Learner] = {}
        self._committed = 0
        self._proposal_count = 0
        self._tick = 0
        self._skips_tick = True
        # Each sync that waits for the commit of earlier proposals: the length of the log at its arrival, and
        # the request.
        self._syncs: deque[tuple[int, ClientRequest]] = deque()
        self._next_session_id = 0
        self._expiry_check_at: float | None = None

    def enter(self) -> None:
        """Wait for learners to connect."""
        replica, timing = self.replica, self.replica.ensemble.timing
        self._accepted_epochs = {replica.number: replica.accepted_epoch}
        replica.call_in_role(timing.tick * timing.init_limit, self._give_up_unless_started)
        if replica.ensemble.is_majority(1):
            self._begin_epoch()
            self._start_serving()

    def _give_up_unless_started(self) -> None:
        if not self.has_started:
            self.replica.start_looking()

    @property
    def is_serving(self) -> bool:
        """Whether the leader has started."""
        return self.has_started

    def channels(self) -> Iterator[Channel]:
        """Return the channels to the learners."""
        return iter([learner.channel for learner in self._learners.values()])

    # --- clients -------------------------------------------------------------------------------------------

    def touch(self, session_id: int) -> bool:
        """Touch the session of one of the leader's own clients immediately."""
        return self.sessions.touch(session_id, self._now())

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Touch the session if it is alive, and report whether it is (`Leader.revalidateSession`)."""
        is_alive = self._attach(greeting, self.replica.number)
        self.replica.complete_revalidation(origin, greeting, is_alive=is_alive)

    def _attach(self, greeting: ConnectRequest, replica: int) -> bool:
        session_id = greeting.session_id
        if not self.has_started or session_id not in self.sessions:
            return False
        timeout = self.replica.processor.sessions.negotiated(greeting.timeout_ms / 1000)
        self.sessions.add(session_id, timeout, self._now())
        self._schedule_expiry()
        self.sessions.owners[session_id] = replica
        return True

    def submit(self, client_request: ClientRequest) -> None:
        """Order a request among the transactions; a sync only waits for the transactions before it."""
        if client_request.opcode == OpCode.SYNC:
            self._sync(client_request)
        else:
            self._propose(self._transaction_body(client_request), client_request)

    def _transaction_body(self, client_request: ClientRequest) -> TransactionBody:
        """Turn a request into a transaction (`PrepRequestProcessor`)."""
        session_id, request = client_request.session_id, client_request.request
        if isinstance(request, ConnectRequest):
            return self._new_session(request, client_request.replica)
        if session_id not in self.sessions:
            return Refusal(SessionExpiredError.code)
        if self.sessions.owners.get(session_id, client_request.replica) != client_request.replica:
            return Refusal(SessionMovedError.code)
        if client_request.opcode == OpCode.CLOSE_SESSION:
            self.sessions.end(session_id)
            return SessionEnd(session_id)
        return Write(session_id, client_request.ids, client_request.opcode, request)

    def _new_session(self, greeting: ConnectRequest, replica: int) -> NewSession:
        session_id = self._next_session_id
        self._next_session_id += 1
        timeout = self.replica.processor.sessions.negotiated(greeting.timeout_ms / 1000)
        self.sessions.add(session_id, timeout, self._now())
        self._schedule_expiry()
        self.sessions.owners[session_id] = replica
        return NewSession(session_id, timeout, self.replica.ensemble.random.randbytes(PASSWORD_SIZE))

    def _sync(self, client_request: ClientRequest) -> None:
        """Answer a sync once earlier proposals are committed.

        If no proposal is open, the sync needs no quorum (`Leader.processSync`).
        """
        self._syncs.append((len(self.replica.log), client_request))
        self._answer_syncs()

    def _answer_syncs(self) -> None:
        while self._syncs and self._syncs[0][0] <= self._committed:
            _, client_request = self._syncs.popleft()
            replica = self.replica
            if client_request.replica == replica.number:
                replica.call_after_commits(partial(replica.answer_sync, client_request))
            elif client_request.replica in self._learners:
                replica.send(self._learners[client_request.replica].channel, Synced(client_request))

    # --- learners ------------------------------------------------------------------------------------------

    def receive(self, channel: Channel, message: object) -> None:
        """Process a message from a learner."""
        source = channel.peer_of(self.replica.number)
        learner = self._learners.get(source)
        is_known = learner is not None and learner.channel is channel
        if isinstance(message, FollowerInfo):
            self._accept_learner(channel, source, message)
        elif isinstance(message, Reset):
            if is_known:
                del self._learners[source]
        elif learner is not None and is_known:
            learner.heard_at = self._now()
            learner.deadline_tick = self._tick + self.replica.ensemble.timing.sync_limit
            self._receive_from(source, learner, message)
        else:
            self.replica.close(channel)

    def _receive_from(self, source: int, learner: _Learner, message: object) -> None:
        match message:
            case Pong(touched):
                for session_id in touched:
                    self.sessions.touch(session_id, self._now())
            case Forwarded(client_request):
                if self.has_started:
                    self.submit(client_request)
            case Ack(length):
                learner.acked_length = max(learner.acked_length, length)
                learner.unacked_since = None if learner.acked_length >= len(self.replica.log) else self._now()
                self._commit_acknowledged()
            case Revalidate(origin, greeting):
                is_alive = self._attach(greeting, source)
                self.replica.send(learner.channel, Revalidated(origin, greeting, is_alive))
            case _:
                self._receive_from_joining(source, learner, message)

    def _accept_learner(self, channel: Channel, number: int, info: FollowerInfo) -> None:
        self._drop_learner(number)
        timing = self.replica.ensemble.timing
        deadline = self._tick + timing.init_limit + timing.sync_limit
        self._learners[number] = _Learner(channel, self._now(), deadline)
        self._accepted_epochs[number] = info.accepted_epoch
        if self._epoch is not None:
            self.replica.send(channel, LeaderInfo(self._epoch))
        elif self.replica.ensemble.is_majority(len(self._accepted_epochs)):
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._epoch = self.replica.accepted_epoch = max(self._accepted_epochs.values()) + 1
        for learner in self._learners.values():
            self.replica.send(learner.channel, LeaderInfo(self._epoch))

    def _receive_from_joining(self, number: int, learner: _Learner, message: object) -> None:
        replica = self.replica
        match message:
            case AckEpoch(epoch, zxid):
                is_ahead = (epoch, zxid) > (replica.current_epoch, replica.last_zxid)
                if is_ahead and not self.has_started:
                    replica.start_looking()
                elif self._epoch is None:
                    self._drop_learner(number)
                else:
                    learner.receives_proposals = True
                    replica.send(learner.channel, Sync(tuple(replica.log), self._epoch, self._committed))
            case AckSync(length):
                learner.is_synced = True
                learner.acked_length = max(learner.acked_length, length)
                if self.has_started:
                    replica.send(learner.channel, UpToDate())
                    self._commit_acknowledged()
                elif replica.ensemble.is_majority(1 + self._synced_count()):
                    self._start_serving()

    def _synced_count(self) -> int:
        return sum(learner.is_synced for learner in self._learners.values())

    def _drop_learner(self, number: int) -> None:
        learner = self._learners.pop(number, None)
        if learner is not None:
            self.replica.close(learner.channel)

    # --- leading -------------------------------------------------------------------------------------------

    def _start_serving(self) -> None:
        """Commit the log, which a quorum has by now, and give every session a full timeout."""
        replica = self.replica
        assert self._epoch is not None
        replica.current_epoch = self._epoch
        self.has_started = True
        self._next_session_id = replica.ensemble.first_session_id
        for entry in replica.log:
            if isinstance(entry.body, NewSession):
                self._next_session_id = entry.body.session_id + 1
                self.sessions.add(entry.body.session_id, entry.body.timeout, self._now())
            elif isinstance(entry.body, SessionEnd):
                self.sessions.end(entry.body.session_id)
        self._commit(len(replica.log))
        for learner in self._learners.values():
            if learner.is_synced:
                replica.send(learner.channel, UpToDate())
        self._schedule_expiry()
        replica.call_in_role(replica.ensemble.timing.tick / 2, self._run_half_tick)
        replica.call_in_role(reaping.CHECK_INTERVAL, self._reap)

    def _run_half_tick(self) -> None:
        """Check the quorum every tick and ping the learners every half tick (`Leader.lead`)."""
        replica = self.replica
        if not self._skips_tick:
            self._tick += 1
            in_time_count = sum(
                learner.is_synced and self._tick <= learner.deadline_tick
                for learner in self._learners.values()
            )
            if not replica.ensemble.is_majority(1 + in_time_count):
                replica.start_looking()
                return
        self._skips_tick = not self._skips_tick
        for number, learner in list(self._learners.items()):
            if self._is_overdue(learner):
                self._drop_learner(number)
            elif learner.is_synced:
                replica.send(learner.channel, Ping())
        replica.call_in_role(replica.ensemble.timing.tick / 2, self._run_half_tick)

    def _is_overdue(self, learner: _Learner) -> bool:
        """Whether a learner exceeded the socket's read timeout or the limit of `SyncLimitCheck`."""
        timing, now = self.replica.ensemble.timing, self._now() + EPSILON
        sync_limit = timing.tick * timing.sync_limit
        limit = sync_limit if learner.is_synced else timing.tick * timing.init_limit
        if now - learner.heard_at >= limit:
            return True
        return learner.unacked_since is not None and now - learner.unacked_since >= sync_limit

    def _reap(self) -> None:
        """Delete the containers that are due (`ContainerManager`)."""
        replica = self.replica
        for path in reaping.due_paths(replica.processor.tree, replica.ensemble.calendar()):
            self._propose(Write(0, (), OpCode.DELETE_CONTAINER, DeleteContainerRequest(path)), None)
        replica.call_in_role(reaping.CHECK_INTERVAL, self._reap)

    def _propose(self, body: TransactionBody, client_request: ClientRequest | None) -> None:
        replica = self.replica
        assert self._epoch is not None
        self._proposal_count += 1
        entry = HistoryEntry(
            (self._epoch << 32) + self._proposal_count, replica.ensemble.calendar(), body, client_request
        )
        replica.log.append(entry)
        for learner in self._learners.values():
            if learner.receives_proposals:
                if learner.unacked_since is None:
                    learner.unacked_since = self._now()
                replica.send(learner.channel, Proposal(entry))
        self._commit_acknowledged()

    def _commit_acknowledged(self) -> None:
        if not self.has_started:
            return
        acked_length = [learner.acked_length for learner in self._learners.values()]
        acked_length.append(len(self.replica.log))
        acked_length.sort(reverse=True)
        for count, length in enumerate(acked_length, start=1):
            if self.replica.ensemble.is_majority(count):
                self._commit(length)
                return

    def _commit(self, length: int) -> None:
        if length <= self._committed:
            return
        replica = self.replica
        for index in range(self._committed, length):
            replica.ensemble.record_commit(index, replica.log[index])
        self._committed = length
        for learner in self._learners.values():
            if learner.receives_proposals:
                replica.send(learner.channel, Commit(length))
        replica.commit_up_to(length)
        self._answer_syncs()

    # --- sessions ------------------------------------------------------------------------------------------

    def end_session(self, session_id: int) -> bool:
        """End a session as if its time were up; return False if it had ended already."""
        if not self.sessions.end(session_id):
            return False
        self._propose(SessionEnd(session_id), None)
        return True

    def _schedule_expiry(self) -> None:
        """Schedule a check for when the next session may expire, unless an earlier check is scheduled."""
        end = self.sessions.next_end()
        if end is not None and (self._expiry_check_at is None or end < self._expiry_check_at):
            self._expiry_check_at = end
            self.replica.call_in_role(end - self._now(), partial(self._expire, end))

    def _expire(self, at: float) -> None:
        if self._expiry_check_at != at:
            return
        self._expiry_check_at = None
        for session_id in self.sessions.expired(self._now() + EPSILON):
            self.end_session(session_id)
        self._schedule_expiry()

    def _now(self) -> float:
        return self.replica.ensemble.scheduler.now()
