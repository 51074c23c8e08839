"""One replica: its log, its copy of the state, its clients, and its current role.

It follows the real server's rules that decide what clients see when servers fail: elections that need a
majority, the log of the newest epoch as the new history, commits by a quorum, time limits of learners and
leaders, and the touching of sessions. An election is reduced to its outcome.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from random import Random
from typing import NamedTuple, final

from zkrecipes.codec.messages import ConnectRequest, SyncReply, SyncRequest
from zkrecipes.devserver.four_letter.answers import VERSION
from zkrecipes.devserver.processor import Processor, Reply
from zkrecipes.devserver.server_clock import ServerTime
from zkrecipes.testing.simulated.history import (
    ClientRequest,
    HistoryEntry,
    NewSession,
    Origin,
    ReplicatedState,
    SessionEnd,
)
from zkrecipes.testing.simulated.replica_connection import ReplicaConnection
from zkrecipes.testing.simulated.replica_network import Channel, ReplicaNetwork, Reset
from zkrecipes.testing.simulated.scheduler import EPSILON, Scheduler

__all__ = ["Down", "EnsembleState", "Replica", "Role", "RoleName", "Timing"]


class RoleName(Enum):
    """The state of a replica."""

    LOOKING = "looking"
    """The replica has no leader and serves no clients."""
    FOLLOWING = "following"
    LEADING = "leading"
    DOWN = "down"
    """The replica has crashed."""


class Timing(NamedTuple):
    """The configuration, in seconds and in ticks."""

    tick: float
    sync_limit: int
    init_limit: int


@final
class EnsembleState:
    """The parts that the replicas of one ensemble share, and the committed history, which no replica reads.

    Args:
        size: the number of replicas.
        timing: the configuration.
        latency: the time that a message between two replicas takes, in seconds.
        random: the source of all random choices.
        started_at: the first time that the calendar shows, in seconds since 1970.
        first_session_id: the id of the first session.
    """

    def __init__(
        self,
        *,
        size: int,
        timing: Timing,
        latency: float,
        random: Random,
        started_at: float,
        first_session_id: int,
    ) -> None:
        self.timing = timing
        self.random = random
        self.first_session_id = first_session_id
        self.scheduler: Scheduler = Scheduler()
        self.replica_network: ReplicaNetwork = ReplicaNetwork(self.scheduler, latency)
        self.replicas: dict[int, Replica] = {}
        self.preferred_leader = 0
        """The replica that wins an election among equal logs; 0 for the one with the highest number."""
        self.history: list[HistoryEntry] = []
        self.ended_at: dict[int, float] = {}
        """The time at which the end of each ended session was committed."""
        self._commit_listeners: list[Callable[[HistoryEntry], None]] = []
        self._size = size
        self._started_at = started_at
        self._began_at = 0.0

    def start(self) -> None:
        """Start the calendar. Call it once the event loop runs."""
        self._began_at = self.scheduler.now()

    def is_majority(self, count: int) -> bool:
        """Whether this many replicas are a quorum."""
        return count > self._size // 2

    def calendar(self) -> int:
        """Return the milliseconds since 1970."""
        return int((self._started_at + self.scheduler.now() - self._began_at) * 1000)

    def record_commit(self, index: int, entry: HistoryEntry) -> None:
        """Add an entry that a quorum has to the history, and check that no committed entry changes."""
        if index < len(self.history):
            assert self.history[index] is entry, "two leaders committed different histories"
            return
        assert index == len(self.history), "a leader left out a committed entry"
        self.history.append(entry)
        if isinstance(entry.body, SessionEnd):
            self.ended_at.setdefault(entry.body.session_id, self.scheduler.now())
        for on_commit in self._commit_listeners:
            on_commit(entry)

    def follow_commits(self, on_commit: Callable[[HistoryEntry], None]) -> None:
        """Call `on_commit` for each entry of the history, now and when a quorum has a new one."""
        for entry in self.history:
            on_commit(entry)
        self._commit_listeners.append(on_commit)


class Role:
    """A replica's reactions to clients and messages. This role serves no clients, so it gets no requests."""

    name = RoleName.LOOKING

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def enter(self) -> None:
        """Start the role. The replica calls it after taking the role."""

    @property
    def is_serving(self) -> bool:
        """Whether clients are served."""
        return False

    def receive(self, channel: Channel, message: object) -> None:
        """Process a message from another replica."""
        if not isinstance(message, Reset):
            self.replica.close(channel)

    def touch(self, session_id: int) -> bool:
        """Touch a client's session; return False if it has ended and the request must be ignored."""
        raise NotImplementedError

    def submit(self, client_request: ClientRequest) -> None:
        """Pass a client's request to the leader."""
        raise NotImplementedError

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether a client's session is alive."""
        raise NotImplementedError

    def channels(self) -> Iterator[Channel]:
        """Return the role's channels to other replicas, which are closed when the role ends."""
        return iter(())


@final
class Down(Role):
    """The role of a replica that has crashed or was not started."""

    name = RoleName.DOWN


@final
class Replica:
    """One server of a `SimulatedEnsemble`.

    Args:
        ensemble: the parts that all replicas share.
        number: the replica's number, from 1.
        state: its copy of the state.
        looking: creates the role in which it looks for a leader.
    """

    def __init__(
        self, ensemble: EnsembleState, number: int, state: ReplicatedState, looking: Callable[[Replica], Role]
    ) -> None:
        self.ensemble = ensemble
        self.number = number
        self.state = state
        self.log: list[HistoryEntry] = []
        self.accepted_epoch = 0
        self.current_epoch = 0
        self.lag: float = 0.0
        """The delay before a commit is applied here, in seconds."""
        self.connections: dict[ReplicaConnection, None] = {}  # in order
        self._applied = 0
        # Arrival times, each with the committed length of the log or a call that answers a sync.
        self._inbox: deque[tuple[float, int | Callable[[], None]]] = deque()
        self._inbox_due_at: float | None = None
        self._waiting_greetings: list[tuple[Origin, ConnectRequest]] = []
        self._deferred: list[Callable[[], None]] | None = None
        self._term = 0
        self._looking = looking
        self.role: Role = Down(self)

    # --- faults --------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether the replica is paused, like a stopped process."""
        return self._deferred is not None

    def pause(self) -> None:
        """Pause: defer all messages that arrive and all calls that become due."""
        if self._deferred is None:
            self._deferred = []

    def resume(self) -> None:
        """Continue, starting with all deferred messages and calls."""
        calls, self._deferred = self._deferred or [], None
        for call in calls:
            self._run_or_defer(call)

    def crash(self) -> None:
        """End the process; the log survives."""
        self._deferred = None
        self.change_role(Down(self))

    def start_looking(self) -> None:
        """Leave the leader, if any, and look for a new one."""
        self.change_role(self._looking(self))

    def set_lag(self, seconds: float) -> None:
        """Apply commits this many seconds late, including those that already wait."""
        self.lag = seconds
        self._process_inbox()

    # --- roles ---------------------------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        """Whether the replica has a leader or leads."""
        return self.role.is_serving

    @property
    def processor(self) -> Processor:
        """The replica's copy of the state."""
        return self.state.processor

    def change_role(self, role: Role) -> None:
        """Change the role, and disconnect clients and other replicas."""
        for connection in list(self.connections):
            connection.close("its replica has lost its leader")
        for channel in list(self.role.channels()):
            self.ensemble.replica_network.close(channel, self.number)
        self._term += 1
        self._inbox.clear()
        self._inbox_due_at = None
        self._waiting_greetings.clear()
        self.role = role
        role.enter()

    def call_in_role(self, delay: float, call: Callable[[], None]) -> None:
        """Make a call after `delay` seconds, unless the role has changed by then."""
        term = self._term

        def unless_changed() -> None:
            if self._term == term:
                call()

        self.ensemble.scheduler.call_after(delay, partial(self._run_or_defer, unless_changed))

    def send(self, channel: Channel | None, message: object) -> None:
        """Send a message to the other end of a channel."""
        self.ensemble.replica_network.send(self.number, channel, message)

    def close(self, channel: Channel) -> None:
        """Close this end of a channel."""
        self.ensemble.replica_network.close(channel, self.number)

    def deliver(self, channel: Channel, message: object) -> None:
        """Process a message that has arrived; see `Receiver`."""
        self._run_or_defer(lambda: self.role.receive(channel, message))

    def _run_or_defer(self, call: Callable[[], None]) -> None:
        if self._deferred is not None:
            self._deferred.append(call)
        else:
            call()

    # --- the history ---------------------------------------------------------------------------------------

    @property
    def last_zxid(self) -> int:
        """The zxid of the newest entry of the log, committed or not."""
        return self.log[-1].zxid if self.log else 0

    def commit_up_to(self, length: int) -> None:
        """Apply the committed part of the log, which has this length, after this replica's lag."""
        self._enqueue(length)

    def call_after_commits(self, call: Callable[[], None]) -> None:
        """Make a call once everything committed so far has been applied."""
        self._enqueue(call)

    def _enqueue(self, item: int | Callable[[], None]) -> None:
        self._inbox.append((self.ensemble.scheduler.now(), item))
        self._process_inbox()

    def _process_inbox(self) -> None:
        now = self.ensemble.scheduler.now() + EPSILON
        while self._inbox and self._inbox[0][0] + self.lag <= now:
            _, item = self._inbox.popleft()
            if isinstance(item, int):
                while self._applied < item:
                    self._apply(self.log[self._applied])
            else:
                item()
        if self._inbox and self.lag != math.inf:
            self._process_inbox_at(self._inbox[0][0] + self.lag)

    def _process_inbox_at(self, due: float) -> None:
        """Process the inbox at `due`, unless that is scheduled already: all waiting items share one timer."""
        if due == self._inbox_due_at:
            return
        self._inbox_due_at = due

        def process() -> None:
            if self._inbox_due_at == due:
                self._inbox_due_at = None
                self._process_inbox()

        self.call_in_role(due - self.ensemble.scheduler.now(), process)

    def _apply(self, entry: HistoryEntry) -> None:
        self._applied += 1
        body = entry.body
        request = entry.client_request
        if request is not None and request.replica != self.number:
            request = None  # its client is connected to another replica
        if request is not None and isinstance(body, SessionEnd):
            # Answer before the entry is applied, because the entry ends the connection.
            request.origin.answer(request.number, Reply(entry.zxid, close=True))
        reply = self.state.apply(entry)
        if isinstance(body, NewSession):
            if request is not None:
                request.origin.complete_new_session(body)
            self._retry_waiting_greetings()
        elif request is not None:
            request.origin.answer(request.number, reply)

    def answer_sync(self, client_request: ClientRequest) -> None:
        """Answer a sync, once everything committed before it has been applied."""
        assert isinstance(client_request.request, SyncRequest)
        client_request.origin.answer(
            client_request.number, Reply(self.processor.zxid, 0, SyncReply(client_request.request.path))
        )

    # --- clients -------------------------------------------------------------------------------------------

    def moment(self) -> ServerTime:
        """Return the current time."""
        return ServerTime(self.ensemble.scheduler.now(), self.ensemble.calendar())

    def touch(self, session_id: int) -> bool:
        """Touch a client's session; return False if it has ended."""
        return self.role.touch(session_id)

    def submit(self, client_request: ClientRequest) -> None:
        """Pass a client's request to the leader."""
        self.role.submit(client_request)

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether a session is alive."""
        self.role.revalidate(origin, greeting)

    def complete_revalidation(self, origin: Origin, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """Pass the leader's answer on, once this replica has applied the creation of the session."""
        if is_alive and self.processor.sessions.find(greeting.session_id) is None:
            self._waiting_greetings.append((origin, greeting))
        else:
            origin.complete_revalidation(greeting, is_alive=is_alive)

    def _retry_waiting_greetings(self) -> None:
        pending, self._waiting_greetings = self._waiting_greetings, []
        for origin, greeting in pending:
            self.complete_revalidation(origin, greeting, is_alive=True)

    def answer_four_letter_word(self, word: str) -> str:
        """Return the answer to a four-letter word, with the lines that clients and scripts look for."""
        if word == "ruok":
            return "imok"
        if not self.is_serving:
            return "This ZooKeeper instance is not currently serving requests\n"
        if word == "isro":
            return "rw"
        mode = "leader" if self.role.name is RoleName.LEADING else "follower"
        version = f"Zookeeper version: {VERSION}\n"
        return f"{version}Zxid: 0x{self.processor.zxid:x}\nMode: {mode}\n" if word == "srvr" else version
