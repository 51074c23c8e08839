"""A model of an ensemble of ZooKeeper servers, as far as it affects the life of one session.

It follows the server's sources (3.4 to 3.9 agree on all of this): sessions that end in buckets which round up
(`ExpiryQueue`); touches that a learner keeps and hands over in its answer to the leader's ping
(`LearnerSessionTracker.snapshot`, `Learner.ping`); a learner's request that does *not* touch
(`LeaderZooKeeperServer.submitLearnerRequest`), and a REVALIDATE that does (`Leader.revalidateSession`); a
ping every half tick and the quorum check every tick (`Leader.lead`); the read time-outs of both sides and
`SyncLimitCheck`; elections that need a majority, epochs, the leader's log as the new history; a full timeout
for the session in a new leader (`SessionTrackerImpl`); observers; answers in the order of the requests
(`CommitProcessor`).

The model has one session, the holder's. A server refuses only requests after the session's end.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.network_model import Connection, Machine, Network, Reset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulation.hold_model import Settings


class Operation(enum.Enum):
    """The kinds of requests: PING and READ need only the server, WRITE and CHECK a quorum."""

    PING = enum.auto()
    READ = enum.auto()
    WRITE = enum.auto()
    CHECK = enum.auto()

    @property
    def is_quorum(self) -> bool:
        return self in {Operation.WRITE, Operation.CHECK}


class Role(enum.Enum):
    LOOKING = enum.auto()
    FOLLOWING = enum.auto()
    LEADING = enum.auto()
    DOWN = enum.auto()


class Origin(NamedTuple):
    """The sender of a request, and whether the leader found the session alive."""

    server: str
    connection: Connection
    xid: int
    is_alive: bool = True


class Entry(NamedTuple):
    """A transaction of the log; the one without an origin closes the session."""

    zxid: tuple[int, int]
    origin: Origin | None


CREATION = Entry((0, 0), Origin("", Connection("", ""), 0))
"""The session's creation, which is the first transaction."""

# The messages between a client and its server.


class Connect(NamedTuple):
    pass


class Connected(NamedTuple):
    is_alive: bool


class Request(NamedTuple):
    xid: int
    operation: Operation


class Reply(NamedTuple):
    xid: int
    is_alive: bool


# The messages between a learner and the leader.


class FollowerInfo(NamedTuple):
    accepted_epoch: int
    is_observer: bool


class LeaderInfo(NamedTuple):
    epoch: int


class AckEpoch(NamedTuple):
    current_epoch: int
    zxid: tuple[int, int]


class Sync(NamedTuple):
    log: list[Entry]
    epoch: int
    committed: int


class AckSync(NamedTuple):
    length: int


class UpToDate(NamedTuple):
    pass


class Proposal(NamedTuple):
    entry: Entry


class Commit(NamedTuple):
    length: int
    entry: Entry


class Ack(NamedTuple):
    length: int


class Ping(NamedTuple):
    pass


class Pong(NamedTuple):
    touched: bool


class Forwarded(NamedTuple):
    origin: Origin


class Revalidate(NamedTuple):
    connection: Connection


class Revalidated(NamedTuple):
    connection: Connection
    is_alive: bool


@dataclass(slots=True)
class Answer:
    xid: int
    is_ready: bool = False
    is_alive: bool = True


@dataclass(slots=True)
class ClientState:
    """A server's side of a client's connection; its answers leave in the order of the requests."""

    is_accepted: bool = False
    answers: deque[Answer] = field(default_factory=deque)


@dataclass(slots=True)
class LearnerState:
    """The leader's side of a learner (`LearnerHandler`)."""

    connection: Connection
    is_observer: bool
    heard_at: float
    deadline_tick: int
    is_synced: bool = False
    is_forwarded_to: bool = False
    acked: int = 0
    unacked_since: float | None = None


class Ensemble:
    """The servers, with the committed history and the end of the session, which no server knows."""

    def __init__(self, settings: Settings, network: Network) -> None:
        self.settings, self.network = settings, network
        # An election settles at once, or after `finalizeWait` of `FastLeaderElection`.
        self.election_wait = network.rng.choice((0.005, 0.2))
        self.closed_at: float | None = None
        self.touched_at = 0.0
        self.history: list[Entry] = []
        names = [str(number) for number in range(1, settings.voters + 1)]
        self.voters = [Server(self, name) for name in names]
        observers = [f"o{number}" for number in range(1, settings.observers + 1)]
        self.observers = [Server(self, name, is_observer=True) for name in observers]

    @property
    def servers(self) -> list[Server]:
        return self.voters + self.observers

    def server(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    def leader(self) -> Server | None:
        leading = [server for server in self.voters if server.is_active_leader]
        return max(leading, key=lambda server: server.accepted_epoch, default=None)

    def is_majority(self, count: int) -> bool:
        return count > self.settings.voters // 2

    def committed(self, leader: Server, index: int, entry: Entry) -> None:
        if entry.origin is None and self.closed_at is None:
            self.closed_at = self.network.now
            self.network.note("THE SESSION'S END is committed by", leader.name)
        if index < len(self.history):
            assert self.history[index] == entry, "the model broke Zab"
        else:
            assert index == len(self.history), "the model broke Zab"
            self.history.append(entry)


class Server(Machine):
    """One server: follower, leader or observer."""

    def __init__(self, ensemble: Ensemble, name: str, *, is_observer: bool = False) -> None:
        super().__init__(ensemble.network, name)
        self.ensemble, self.settings = ensemble, ensemble.settings
        self.is_observer = is_observer
        self.log = [CREATION]
        self.accepted_epoch = self.current_epoch = 0
        self.role = Role.LOOKING
        self.term = 0  # counts changes of role; timers of an earlier role are void
        self.looking_since = self.network.now
        self._forget_role()
        self._in_term(self.network.rng.uniform(0, 0.05), self._look)

    def _forget_role(self) -> None:
        self.committed = 0  # the number of entries of the log that are known to be committed
        self.is_serving = False
        self.clients: dict[Connection, ClientState] = {}
        # The attributes of a learner:
        self.leader: str | None = None
        self.leader_connection: Connection | None = None
        self.heard_at = self.clock()
        self.touched = False
        # The attributes of a leader:
        self.learners: dict[str, LearnerState] = {}
        self.epoch: int | None = None
        self.accepted_epochs: dict[str, int] = {}
        self.has_started = False
        self.tick_number = 0
        self.skips_tick = True
        self.proposal_count = 0
        self.persisted = len(self.log)
        self.expires_at: float | None = None
        self.is_closing = False
        self.owner: str | None = None

    # Roles.

    @property
    def is_active_leader(self) -> bool:
        return self.role is Role.LEADING and self.has_started

    def _become(self, role: Role) -> None:
        self.term += 1
        for connection in (*self.clients, *(learner.connection for learner in self.learners.values())):
            self.close(connection)
        if self.leader_connection is not None:
            self.close(self.leader_connection)
        self._forget_role()
        self.role = role
        if role is Role.LOOKING:
            self.looking_since = self.network.now
            self._in_term(self.network.rng.uniform(0.001, 0.06), self._look)

    def crash(self, *, silently: bool = False) -> None:
        """Crash without closing connections, like a machine that loses its power."""
        self.network.note(self.name, "crashes")
        if silently:
            learners = [learner.connection for learner in self.learners.values()]
            upward = [self.leader_connection] if self.leader_connection is not None else []
            for connection in (*self.clients, *learners, *upward):
                connection.is_open[self.name] = False
        self._become(Role.DOWN)
        self.is_up = False

    def restart(self) -> None:
        if not self.is_up:
            self.network.note(self.name, "restarts")
            self.is_up = True
            self._become(Role.LOOKING)

    def _in_term(self, delay: float, action: Callable[[], None]) -> None:
        """Schedule a call for the current role."""
        term = self.term

        def unless_changed() -> None:
            if self.term == term:
                action()

        self.after(delay, unless_changed)

    def _look(self) -> None:
        """Hold an election: `FastLeaderElection`, reduced to its outcome."""
        leaders = [
            server
            for server in self.ensemble.voters
            if server.is_active_leader
            and not server.is_paused
            and self.network.is_linked(self.name, server.name)
        ]
        if leaders:
            self.follow(max(leaders, key=lambda server: server.accepted_epoch).name)
        elif self.is_observer or not self._elect():
            self._in_term(self.network.rng.uniform(0.01, 0.08), self._look)

    def _elect(self) -> bool:
        """Let the reachable servers elect one; return whether this server has a role in it."""
        reachable = [
            server
            for server in self.ensemble.voters
            if server.role is Role.LOOKING
            and not server.is_paused
            and (server is self or self.network.is_linked(self.name, server.name))
        ]
        if not self.ensemble.is_majority(len(reachable)):
            return False
        candidate = max(
            reachable, key=lambda server: (server.current_epoch, server.log[-1].zxid, server.name)
        )
        followers = [
            server
            for server in reachable
            if server is not candidate and self.network.is_linked(candidate.name, server.name)
        ]
        has_settled = all(
            self.network.now - server.looking_since >= self.ensemble.election_wait
            for server in (candidate, *followers)
        )
        if not has_settled or not self.ensemble.is_majority(1 + len(followers)):
            return False
        candidate.lead()
        for server in followers:
            server.follow(candidate.name)
        return self is candidate or self in followers

    # Clients.

    def receive(self, connection: Connection, source: str, message: object) -> None:
        if not self.is_up:
            return
        if connection is self.leader_connection:
            self._receive_from_leader(message)
        elif isinstance(message, Connect | Request) or connection in self.clients:
            self._receive_from_client(connection, message)
        else:
            self._receive_from_learner(connection, source, message)

    def _receive_from_client(self, connection: Connection, message: object) -> None:
        match message:
            case Reset():
                self.clients.pop(connection, None)
                connection.is_open[self.name] = False
            case _ if not self.is_serving:
                self.close(connection)
            case Connect():
                self.clients[connection] = ClientState()
                if self.role is Role.LEADING:
                    is_alive = self._touch_session()
                    if is_alive:
                        self.owner = self.name
                    self._accept(connection, is_alive=is_alive)
                else:
                    self.send(self.leader_connection, Revalidate(connection))
            case Request(xid, operation):
                client = self.clients.get(connection)
                if client is not None and client.is_accepted and self._touch_for_request():
                    client.answers.append(Answer(xid))
                    self._process(Origin(self.name, connection, xid), operation)

    def _accept(self, connection: Connection, *, is_alive: bool) -> None:
        if connection in self.clients:
            self.clients[connection].is_accepted = is_alive
            self.send(connection, Connected(is_alive))

    def _touch_for_request(self) -> bool:
        """Touch the session, here or in the learner's table (`ZooKeeperServer.submitRequestNow`)."""
        if self.role is Role.LEADING:
            return self._touch_session()
        self.touched = True
        return True

    def _process(self, origin: Origin, operation: Operation) -> None:
        if not operation.is_quorum:
            self._answer(origin)
        elif self.role is Role.LEADING:
            self._prepare(origin)
        else:
            self.send(self.leader_connection, Forwarded(origin))

    def _answer(self, origin: Origin) -> None:
        client = self.clients.get(origin.connection)
        if client is None:
            return
        for answer in client.answers:
            if answer.xid == origin.xid:
                answer.is_ready, answer.is_alive = True, origin.is_alive
        while client.answers and client.answers[0].is_ready:
            answer = client.answers.popleft()
            self.send(origin.connection, Reply(answer.xid, answer.is_alive))

    def _apply(self, entry: Entry) -> None:
        if entry.origin is None:
            for connection in self.clients:
                self.close(connection)
            self.clients.clear()
        elif entry.origin.server == self.name:
            self._answer(entry.origin)

    # The methods of a learner.

    def follow(self, leader: str) -> None:
        self._become(Role.FOLLOWING)
        self.leader = leader
        self.leader_connection = Connection(self.name, leader)
        self.send(self.leader_connection, FollowerInfo(self.accepted_epoch, self.is_observer))
        self._in_term(self.settings.tick * self.settings.init_limit, self._check_leader_is_heard)

    def _check_leader_is_heard(self) -> None:
        """Leave the leader after the read timeout of the learner's socket."""
        limit = self.settings.tick * (
            self.settings.sync_limit if self.is_serving else self.settings.init_limit
        )
        idle = self.clock() - self.heard_at
        if idle >= limit - 1e-5:
            self.network.note(self.name, "hears no leader any more")
            self._become(Role.LOOKING)
        else:
            self._in_term(limit - idle, self._check_leader_is_heard)

    def _receive_from_leader(self, message: object) -> None:
        self.heard_at = self.clock()
        match message:
            case Reset():
                assert self.leader_connection is not None
                self.leader_connection.is_open[self.name] = False
                self._become(Role.LOOKING)
            case Ping():
                self.send(self.leader_connection, Pong(self.touched))
                self.touched = False
            case Proposal(entry):
                self.log.append(entry)
                length = len(self.log)
                self._in_term(
                    self.network.rng.uniform(0, self.settings.fsync_max),
                    lambda: self.send(self.leader_connection, Ack(length)),
                )
            case Commit(length, entry):
                if self.is_observer:
                    self.log.append(entry)
                self.committed = length
                self._apply(entry)
            case Revalidated(connection, is_alive):
                self._accept(connection, is_alive=is_alive)
            case _:
                self._receive_while_joining(message)

    def _receive_while_joining(self, message: object) -> None:
        match message:
            case LeaderInfo(epoch) if epoch < self.accepted_epoch:
                self._become(Role.LOOKING)
            case LeaderInfo(epoch):
                self.accepted_epoch = epoch
                self.send(self.leader_connection, AckEpoch(self.current_epoch, self.log[-1].zxid))
            case Sync(log, epoch, committed):
                self.log = list(log)
                self.accepted_epoch = self.current_epoch = epoch
                self.committed = committed
                self.send(self.leader_connection, AckSync(len(self.log)))
            case UpToDate():
                self.is_serving = True

    # The methods of a leader for its learners.

    def lead(self) -> None:
        self._become(Role.LEADING)
        self.network.note(self.name, "is elected")
        self.accepted_epochs = {self.name: self.accepted_epoch}
        self._in_term(self.settings.tick * self.settings.init_limit, self._give_up_unless_started)

    def _give_up_unless_started(self) -> None:
        if not self.has_started:
            self._become(Role.LOOKING)

    def _receive_from_learner(self, connection: Connection, source: str, message: object) -> None:
        if isinstance(message, FollowerInfo) and self.role is Role.LEADING:
            self._add_learner(connection, source, message)
            return
        learner = self.learners.get(source)
        is_known = learner is not None and learner.connection is connection
        if isinstance(message, Reset):
            connection.is_open[self.name] = False
            if is_known:
                del self.learners[source]
        elif learner is not None and is_known:
            learner.heard_at = self.clock()
            learner.deadline_tick = self.tick_number + self.settings.sync_limit
            self._receive_from_known(source, learner, message)
        else:
            self.close(connection)

    def _receive_from_known(self, source: str, learner: LearnerState, message: object) -> None:
        match message:
            case Pong(touched):
                if touched:
                    self._touch_session()
            case Forwarded(origin):
                if self.has_started:
                    self._prepare(origin)
            case Ack(length):
                learner.acked = max(learner.acked, length)
                learner.unacked_since = None if learner.acked >= len(self.log) else self.clock()
                self._commit_what_a_quorum_has()
            case Revalidate(client):
                is_alive = self.has_started and self._touch_session()
                if is_alive:
                    self.owner = source
                self.send(learner.connection, Revalidated(client, is_alive))
            case _:
                self._receive_from_joining(source, learner, message)

    def _add_learner(self, connection: Connection, name: str, info: FollowerInfo) -> None:
        self._drop_learner(name)
        settings = self.settings
        deadline_tick = self.tick_number + settings.init_limit + settings.sync_limit
        self.learners[name] = LearnerState(connection, info.is_observer, self.clock(), deadline_tick)
        if not info.is_observer:
            self.accepted_epochs[name] = info.accepted_epoch
        if self.epoch is not None:
            self.send(connection, LeaderInfo(self.epoch))
        elif self.ensemble.is_majority(len(self.accepted_epochs)):
            self.epoch = self.accepted_epoch = max(self.accepted_epochs.values()) + 1
            for learner in self.learners.values():
                self.send(learner.connection, LeaderInfo(self.epoch))

    def _receive_from_joining(self, name: str, learner: LearnerState, message: object) -> None:
        match message:
            case AckEpoch(epoch, zxid):
                if self.epoch is None:
                    self._drop_learner(name)
                    return
                is_ahead = (epoch, zxid) > (self.current_epoch, self.log[-1].zxid)
                if is_ahead and not learner.is_observer and not self.has_started:
                    self._become(Role.LOOKING)
                else:
                    learner.is_forwarded_to = True
                    committed = self.committed if self.has_started else 0
                    self.send(learner.connection, Sync(list(self.log), self.epoch, committed))
            case AckSync(length):
                learner.is_synced = True
                learner.acked = max(learner.acked, length)
                if self.has_started:
                    self.send(learner.connection, UpToDate())
                    self._commit_what_a_quorum_has()
                elif self.ensemble.is_majority(1 + len(self._synced_voters())):
                    self._start_leading()

    def _synced_voters(self) -> Sequence[LearnerState]:
        return [
            learner for learner in self.learners.values() if learner.is_synced and not learner.is_observer
        ]

    def _drop_learner(self, name: str) -> None:
        learner = self.learners.pop(name, None)
        if learner is not None:
            self.close(learner.connection)

    # The methods of a leader for its term.

    def _start_leading(self) -> None:
        assert self.epoch is not None
        self.current_epoch = self.epoch
        self.has_started = self.is_serving = True
        self.committed = len(self.log)
        for index, entry in enumerate(self.log):
            self.ensemble.committed(self, index, entry)
        self.is_closing = any(entry.origin is None for entry in self.log)
        self.network.note(self.name, "leads epoch", self.epoch)
        self._touch_session()
        for learner in self.learners.values():
            if learner.is_synced:
                self.send(learner.connection, UpToDate())
        self._in_term(self.settings.tick / 2, self._half_tick)

    def _half_tick(self) -> None:
        """Check the quorum every tick, and ping the learners every half tick (`Leader.lead`)."""
        if not self.skips_tick:
            self.tick_number += 1
            in_time = [one for one in self._synced_voters() if self.tick_number <= one.deadline_tick]
            if not self.ensemble.is_majority(1 + len(in_time)):
                self.network.note(self.name, "steps down")
                self._become(Role.LOOKING)
                return
        self.skips_tick = not self.skips_tick
        for name, learner in list(self.learners.items()):
            if self._is_overdue(learner):
                self._drop_learner(name)
            elif learner.is_synced:
                self.send(learner.connection, Ping())
        self._in_term(self.settings.tick / 2, self._half_tick)

    def _is_overdue(self, learner: LearnerState) -> bool:
        """Whether a learner exceeded the socket's read timeout or the limit of `SyncLimitCheck`."""
        settings, now = self.settings, self.clock()
        sync_limit = settings.tick * settings.sync_limit
        limit = sync_limit if learner.is_synced else settings.tick * settings.init_limit
        if now - learner.heard_at >= limit:
            return True
        return learner.unacked_since is not None and now - learner.unacked_since >= sync_limit

    def _prepare(self, origin: Origin) -> None:
        """Refuse requests after the session's end or from a server that it left (`PrepRequestProcessor`)."""
        has_moved = self.owner is not None and self.owner != origin.server
        self._propose(origin._replace(is_alive=not self.is_closing and not has_moved))

    def _propose(self, origin: Origin | None) -> None:
        assert self.epoch is not None
        self.proposal_count += 1
        entry = Entry((self.epoch, self.proposal_count), origin)
        self.log.append(entry)
        length = len(self.log)
        for learner in self.learners.values():
            if learner.is_forwarded_to and not learner.is_observer:
                if learner.unacked_since is None:
                    learner.unacked_since = self.clock()
                self.send(learner.connection, Proposal(entry))

        def persisted() -> None:
            self.persisted = max(self.persisted, length)
            self._commit_what_a_quorum_has()

        self._in_term(self.network.rng.uniform(0, self.settings.fsync_max), persisted)

    def _commit_what_a_quorum_has(self) -> None:
        if not self.has_started:
            return
        acked = [learner.acked for learner in self.learners.values() if not learner.is_observer]
        acked += [self.persisted] + [0] * self.settings.voters
        upto = sorted(acked, reverse=True)[self.settings.voters // 2]
        while self.committed < upto:
            entry = self.log[self.committed]
            self.ensemble.committed(self, self.committed, entry)
            self.committed += 1
            for learner in self.learners.values():
                if learner.is_forwarded_to:
                    self.send(learner.connection, Commit(self.committed, entry))
            self._apply(entry)

    # The methods of a leader for the session (`SessionTrackerImpl`).

    def _touch_session(self) -> bool:
        if self.is_closing:
            return False
        settings = self.settings
        expires_at = self.clock() + settings.timeout
        if settings.rounds_up:
            expires_at = (expires_at // settings.tick + 1) * settings.tick
        self.ensemble.touched_at = self.network.now
        if expires_at != self.expires_at:
            self.expires_at = expires_at
            self._in_term(expires_at - self.clock(), lambda: self._expire_session(expires_at))
        return True

    def _expire_session(self, at: float) -> None:
        if self.expires_at != at or self.is_closing:
            return
        if self.clock() < at - 1e-9:
            self._in_term(at - self.clock(), lambda: self._expire_session(at))
            return
        self.is_closing = True
        self.network.note(self.name, "expires the session")
        self._propose(None)
