"""A replica that leads: it orders all transactions, and alone decides which sessions live.

It leads as long as a quorum of learners answers its pings; until it has missed them for `sync_limit` ticks it
goes on answering its own clients, and so does a learner that it cannot reach. A write needs the quorum.
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
    Act,
    Asked,
    HistoryEntry,
    NewSession,
    Origin,
    Refusal,
    SessionEnd,
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
from zkrecipes.testing.simulated.timetable import EPSILON
from zkrecipes.testing.simulated.wires import Channel, Reset

__all__ = ["Leading"]


@final
class _Learner:
    """What the leader knows of a learner (`LearnerHandler`)."""

    def __init__(self, channel: Channel, heard_at: float, deadline_tick: int) -> None:
        self.channel = channel
        self.heard_at = heard_at
        self.deadline_tick = deadline_tick
        self.is_synced = False
        self.is_forwarded_to = False
        self.acked = 0
        self.unacked_since: float | None = None


@final
class Leading(Role):
    """It leads, or wants to: it has started once a quorum has its log.

    Args:
        replica: whose role it is.
    """

    name = RoleName.LEADING

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.has_started: bool = False
        self.sessions: LeaderSessions = LeaderSessions(replica.world.times.tick)
        self._epoch: int | None = None
        self._accepted_epochs: dict[int, int] = {}
        self._learners: dict[int, _Learner] = {}
        self._committed = 0
        self._count = 0
        self._tick = 0
        self._skips_tick = True
        # Syncs that wait for what was proposed before them to be committed.
        self._syncs: deque[tuple[int, Asked]] = deque()
        self._next_session_id = 0
        self._looks_at: float | None = None

    def begin(self) -> None:
        """Wait for learners."""
        replica, times = self.replica, self.replica.world.times
        self._accepted_epochs = {replica.number: replica.accepted_epoch}
        replica.in_term(times.tick * times.init_limit, self._give_up_unless_started)
        if replica.world.is_majority(1):
            self._begin_epoch()
            self._start()

    def _give_up_unless_started(self) -> None:
        if not self.has_started:
            self.replica.look()

    @property
    def is_serving(self) -> bool:
        """Whether it has started."""
        return self.has_started

    def channels(self) -> Iterator[Channel]:
        """Those of its learners."""
        return iter([learner.channel for learner in self._learners.values()])

    # --- clients -------------------------------------------------------------------------------------------

    def touch(self, session_id: int) -> bool:
        """A client of its own touches its session at once."""
        return self.sessions.touch(session_id, self._now())

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Whether the session lives, which is thereby touched (`Leader.revalidateSession`)."""
        is_alive = self._attach(greeting, self.replica.number)
        self.replica.revalidated(origin, greeting, is_alive=is_alive)

    def _attach(self, greeting: ConnectRequest, replica: int) -> bool:
        session_id = greeting.session_id
        if not self.has_started or session_id not in self.sessions:
            return False
        timeout = self.replica.processor.sessions.negotiated(greeting.timeout_ms / 1000)
        self.sessions.add(session_id, timeout, self._now())
        self._arrange_expiry()
        self.sessions.owners[session_id] = replica
        return True

    def ask(self, asked: Asked) -> None:
        """Order it among the transactions; a sync waits for those before it and is none itself."""
        if asked.opcode == OpCode.SYNC:
            self._sync(asked)
        else:
            self._propose(self._act(asked), asked)

    def _act(self, asked: Asked) -> Act:
        """What the request is as a transaction (`PrepRequestProcessor`)."""
        session_id, request = asked.session_id, asked.request
        if isinstance(request, ConnectRequest):
            return self._new_session(request, asked.replica)
        if session_id not in self.sessions:
            return Refusal(SessionExpiredError.code)
        if self.sessions.owners.get(session_id, asked.replica) != asked.replica:
            return Refusal(SessionMovedError.code)
        if asked.opcode == OpCode.CLOSE_SESSION:
            self.sessions.end(session_id)
            return SessionEnd(session_id)
        return Write(session_id, asked.ids, asked.opcode, request)

    def _new_session(self, greeting: ConnectRequest, replica: int) -> NewSession:
        session_id = self._next_session_id
        self._next_session_id += 1
        timeout = self.replica.processor.sessions.negotiated(greeting.timeout_ms / 1000)
        self.sessions.add(session_id, timeout, self._now())
        self._arrange_expiry()
        self.sessions.owners[session_id] = replica
        return NewSession(session_id, timeout, self.replica.world.random.randbytes(PASSWORD_SIZE))

    def _sync(self, asked: Asked) -> None:
        """It is answered without a quorum when there is nothing to wait for (`Leader.processSync`)."""
        self._syncs.append((len(self.replica.log), asked))
        self._answer_syncs()

    def _answer_syncs(self) -> None:
        while self._syncs and self._syncs[0][0] <= self._committed:
            _, asked = self._syncs.popleft()
            replica = self.replica
            if asked.replica == replica.number:
                replica.later(partial(replica.answer_sync, asked))
            elif asked.replica in self._learners:
                replica.send(self._learners[asked.replica].channel, Synced(asked))

    # --- learners ------------------------------------------------------------------------------------------

    def receive(self, channel: Channel, message: object) -> None:
        """A message of a learner."""
        source = channel.peer_of(self.replica.number)
        learner = self._learners.get(source)
        is_known = learner is not None and learner.channel is channel
        if isinstance(message, FollowerInfo):
            self._add_learner(channel, source, message)
        elif isinstance(message, Reset):
            if is_known:
                del self._learners[source]
        elif learner is not None and is_known:
            learner.heard_at = self._now()
            learner.deadline_tick = self._tick + self.replica.world.times.sync_limit
            self._receive_from(source, learner, message)
        else:
            self.replica.close(channel)

    def _receive_from(self, source: int, learner: _Learner, message: object) -> None:
        match message:
            case Pong(touched):
                for session_id in touched:
                    self.sessions.touch(session_id, self._now())
            case Forwarded(asked):
                if self.has_started:
                    self.ask(asked)
            case Ack(length):
                learner.acked = max(learner.acked, length)
                learner.unacked_since = None if learner.acked >= len(self.replica.log) else self._now()
                self._commit_what_a_quorum_has()
            case Revalidate(origin, greeting):
                is_alive = self._attach(greeting, source)
                self.replica.send(learner.channel, Revalidated(origin, greeting, is_alive))
            case _:
                self._receive_from_joining(source, learner, message)

    def _add_learner(self, channel: Channel, number: int, info: FollowerInfo) -> None:
        self._drop_learner(number)
        times = self.replica.world.times
        deadline = self._tick + times.init_limit + times.sync_limit
        self._learners[number] = _Learner(channel, self._now(), deadline)
        self._accepted_epochs[number] = info.accepted_epoch
        if self._epoch is not None:
            self.replica.send(channel, LeaderInfo(self._epoch))
        elif self.replica.world.is_majority(len(self._accepted_epochs)):
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
                    replica.look()
                elif self._epoch is None:
                    self._drop_learner(number)
                else:
                    learner.is_forwarded_to = True
                    replica.send(learner.channel, Sync(tuple(replica.log), self._epoch, self._committed))
            case AckSync(length):
                learner.is_synced = True
                learner.acked = max(learner.acked, length)
                if self.has_started:
                    replica.send(learner.channel, UpToDate())
                    self._commit_what_a_quorum_has()
                elif replica.world.is_majority(1 + self._synced_count()):
                    self._start()

    def _synced_count(self) -> int:
        return sum(learner.is_synced for learner in self._learners.values())

    def _drop_learner(self, number: int) -> None:
        learner = self._learners.pop(number, None)
        if learner is not None:
            self.replica.close(learner.channel)

    # --- leading -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """A quorum has its log, which thereby is committed, and every session starts with a whole timeout."""
        replica = self.replica
        assert self._epoch is not None
        replica.current_epoch = self._epoch
        self.has_started = True
        self._next_session_id = replica.world.first_session_id
        for entry in replica.log:
            if isinstance(entry.act, NewSession):
                self._next_session_id = entry.act.session_id + 1
                self.sessions.add(entry.act.session_id, entry.act.timeout, self._now())
            elif isinstance(entry.act, SessionEnd):
                self.sessions.end(entry.act.session_id)
        self._commit(len(replica.log))
        for learner in self._learners.values():
            if learner.is_synced:
                replica.send(learner.channel, UpToDate())
        self._arrange_expiry()
        replica.in_term(replica.world.times.tick / 2, self._half_tick)
        replica.in_term(reaping.CHECK_INTERVAL, self._reap)

    def _half_tick(self) -> None:
        """The quorum is checked every tick, the learners are pinged every half (`Leader.lead`)."""
        replica = self.replica
        if not self._skips_tick:
            self._tick += 1
            in_time = sum(
                learner.is_synced and self._tick <= learner.deadline_tick
                for learner in self._learners.values()
            )
            if not replica.world.is_majority(1 + in_time):
                replica.look()
                return
        self._skips_tick = not self._skips_tick
        for number, learner in list(self._learners.items()):
            if self._is_overdue(learner):
                self._drop_learner(number)
            elif learner.is_synced:
                replica.send(learner.channel, Ping())
        replica.in_term(replica.world.times.tick / 2, self._half_tick)

    def _is_overdue(self, learner: _Learner) -> bool:
        """The read time-out of the leader's socket, and `SyncLimitCheck`."""
        times, now = self.replica.world.times, self._now() + EPSILON
        sync_limit = times.tick * times.sync_limit
        limit = sync_limit if learner.is_synced else times.tick * times.init_limit
        if now - learner.heard_at >= limit:
            return True
        return learner.unacked_since is not None and now - learner.unacked_since >= sync_limit

    def _reap(self) -> None:
        """Delete the containers that are due (`ContainerManager`)."""
        replica = self.replica
        for path in reaping.due(replica.processor.tree, replica.world.calendar()):
            self._propose(Write(0, (), OpCode.DELETE_CONTAINER, DeleteContainerRequest(path)), None)
        replica.in_term(reaping.CHECK_INTERVAL, self._reap)

    def _propose(self, act: Act, asked: Asked | None) -> None:
        replica = self.replica
        assert self._epoch is not None
        self._count += 1
        entry = HistoryEntry((self._epoch << 32) + self._count, replica.world.calendar(), act, asked)
        replica.log.append(entry)
        for learner in self._learners.values():
            if learner.is_forwarded_to:
                if learner.unacked_since is None:
                    learner.unacked_since = self._now()
                replica.send(learner.channel, Proposal(entry))
        self._commit_what_a_quorum_has()

    def _commit_what_a_quorum_has(self) -> None:
        if not self.has_started:
            return
        acked = [learner.acked for learner in self._learners.values()]
        acked.append(len(self.replica.log))
        acked.sort(reverse=True)
        for count, length in enumerate(acked, start=1):
            if self.replica.world.is_majority(count):
                self._commit(length)
                return

    def _commit(self, length: int) -> None:
        if length <= self._committed:
            return
        replica = self.replica
        for index in range(self._committed, length):
            replica.world.committed(index, replica.log[index])
        self._committed = length
        for learner in self._learners.values():
            if learner.is_forwarded_to:
                replica.send(learner.channel, Commit(length))
        replica.committed_up_to(length)
        self._answer_syncs()

    # --- sessions ------------------------------------------------------------------------------------------

    def end_session(self, session_id: int) -> bool:
        """End a session as if its time were up; False where it has ended."""
        if not self.sessions.end(session_id):
            return False
        self._propose(SessionEnd(session_id), None)
        return True

    def _arrange_expiry(self) -> None:
        """Look again when the next session may end, unless a look before that is arranged."""
        end = self.sessions.next_end()
        if end is not None and (self._looks_at is None or end < self._looks_at):
            self._looks_at = end
            self.replica.in_term(end - self._now(), partial(self._expire, end))

    def _expire(self, at: float) -> None:
        if self._looks_at != at:
            return
        self._looks_at = None
        for session_id in self.sessions.expired(self._now() + EPSILON):
            self.end_session(session_id)
        self._arrange_expiry()

    def _now(self) -> float:
        return self.replica.world.timetable.now()
