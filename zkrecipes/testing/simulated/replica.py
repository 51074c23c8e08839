"""One replica: its log, its copy of the state, its clients, and the role that it has at the moment.

It keeps the rules of the real server that decide what clients see when servers fail: elections that need a
majority, the log of the newest epoch as the new history, commits by a quorum, time limits of learners and
leaders, and who touches a session. An election is reduced to its outcome.
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
from zkrecipes.testing.simulated.attachment import Attachment
from zkrecipes.testing.simulated.history import (
    Asked,
    CommittedHistory,
    HistoryEntry,
    NewSession,
    Origin,
    SessionEnd,
)
from zkrecipes.testing.simulated.timetable import EPSILON, Timetable
from zkrecipes.testing.simulated.wires import Channel, Reset, Wires

__all__ = ["Down", "Replica", "Role", "RoleName", "Times", "World"]


class RoleName(Enum):
    """What a replica is doing."""

    LOOKING = "looking"
    """It has no leader, and serves nobody."""
    FOLLOWING = "following"
    LEADING = "leading"
    DOWN = "down"
    """It has crashed."""


class Times(NamedTuple):
    """The configuration, in seconds and in ticks."""

    tick: float
    sync_limit: int
    init_limit: int


@final
class World:
    """What the replicas of one ensemble share, and what only an onlooker knows: the one history.

    Args:
        size: how many replicas there are.
        times: the configuration.
        latency: how long a message between two replicas takes, in seconds.
        random: for all that is up to chance.
        started_at: what the calendar shows at first, in seconds since 1970.
        first_session_id: the id of the first session.
    """

    def __init__(
        self,
        *,
        size: int,
        times: Times,
        latency: float,
        random: Random,
        started_at: float,
        first_session_id: int,
    ) -> None:
        self.times = times
        self.random = random
        self.first_session_id = first_session_id
        self.timetable: Timetable = Timetable()
        self.wires: Wires = Wires(self.timetable, latency)
        self.replicas: dict[int, Replica] = {}
        self.preferred_leader = 0
        """Who wins an election among those with the same log; 0: who has the highest number."""
        self.history: list[HistoryEntry] = []
        self.ended_at: dict[int, float] = {}
        """When the end of each session that has ended was committed."""
        self._size = size
        self._started_at = started_at
        self._began_at = 0.0

    def begin(self) -> None:
        """The loop runs: from now on the calendar goes."""
        self._began_at = self.timetable.now()

    def is_majority(self, count: int) -> bool:
        """Whether so many replicas are a quorum."""
        return count > self._size // 2

    def calendar(self) -> int:
        """Milliseconds since 1970."""
        return int((self._started_at + self.timetable.now() - self._began_at) * 1000)

    def committed(self, index: int, entry: HistoryEntry) -> None:
        """A leader knows that a quorum has this entry. What was committed once never changes."""
        if index < len(self.history):
            assert self.history[index] is entry, "two leaders have committed different histories"
            return
        assert index == len(self.history), "a leader has left out what it committed"
        self.history.append(entry)
        if isinstance(entry.act, SessionEnd):
            self.ended_at.setdefault(entry.act.session_id, self.timetable.now())


class Role:
    """What a replica does with what happens to it. This one serves nobody, so that no client asks it."""

    name = RoleName.LOOKING

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def begin(self) -> None:
        """The replica has taken this role."""

    @property
    def is_serving(self) -> bool:
        """Whether clients are served."""
        return False

    def receive(self, channel: Channel, message: object) -> None:
        """A message of another replica."""
        if not isinstance(message, Reset):
            self.replica.close(channel)

    def touch(self, session_id: int) -> bool:
        """A client was heard of; False where its session has ended, and the request is to be ignored."""
        raise NotImplementedError

    def ask(self, asked: Asked) -> None:
        """A client asks what the leader has to decide."""
        raise NotImplementedError

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """A client comes with a session."""
        raise NotImplementedError

    def channels(self) -> Iterator[Channel]:
        """Its channels to other replicas, which are closed with it."""
        return iter(())


@final
class Down(Role):
    """It has crashed, or was not started: nobody answers."""

    name = RoleName.DOWN


@final
class Replica:
    """One server of a `SimulatedEnsemble`.

    Args:
        world: its surroundings.
        number: its own, from 1.
        store: its copy of the state.
        looking: the role in which it looks for a leader.
    """

    def __init__(
        self, world: World, number: int, store: CommittedHistory, looking: Callable[[Replica], Role]
    ) -> None:
        self.world = world
        self.number = number
        self.store = store
        self.log: list[HistoryEntry] = []
        self.accepted_epoch = 0
        self.current_epoch = 0
        self.lag: float = 0.0
        """How long a commit waits before it is applied here, in seconds."""
        self.attachments: dict[Attachment, None] = {}  # in order
        self._applied = 0
        # What arrived when: the length of the log that is committed, or a sync to be answered.
        self._inbox: deque[tuple[float, int | Callable[[], None]]] = deque()
        self._looks_at: float | None = None
        self._greetings: list[tuple[Origin, ConnectRequest]] = []
        self._missed: list[Callable[[], None]] | None = None
        self._term = 0
        self._looking = looking
        self.role: Role = Down(self)

    # --- faults --------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether it stands still, as a stopped process does."""
        return self._missed is not None

    def pause(self) -> None:
        """Stand still: what arrives, and what would be due, waits."""
        if self._missed is None:
            self._missed = []

    def resume(self) -> None:
        """Go on, with all that was missed at once."""
        missed, self._missed = self._missed or [], None
        for call in missed:
            self._do(call)

    def crash(self) -> None:
        """End the process. Its log survives."""
        self._missed = None
        self.take(Down(self))

    def look(self) -> None:
        """Be without a leader, and look for one."""
        self.take(self._looking(self))

    def set_lag(self, seconds: float) -> None:
        """Let commits be applied so much later, those that wait already too."""
        self.lag = seconds
        self._work()

    # --- roles ---------------------------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        """Whether it has a leader, or is one."""
        return self.role.is_serving

    @property
    def processor(self) -> Processor:
        """Its copy of the state."""
        return self.store.processor

    def take(self, role: Role) -> None:
        """Change the role: clients and other replicas are disconnected."""
        for attachment in list(self.attachments):
            attachment.close("its replica has lost its leader")
        for channel in list(self.role.channels()):
            self.world.wires.close(channel, self.number)
        self._term += 1
        self._inbox.clear()
        self._looks_at = None
        self._greetings.clear()
        self.role = role
        role.begin()

    def in_term(self, delay: float, call: Callable[[], None]) -> None:
        """Call it so much later, unless the role has changed by then."""
        term = self._term

        def unless_changed() -> None:
            if self._term == term:
                call()

        self.world.timetable.after(delay, partial(self._do, unless_changed))

    def send(self, channel: Channel | None, message: object) -> None:
        """Send it to the other end of a channel."""
        self.world.wires.send(self.number, channel, message)

    def close(self, channel: Channel) -> None:
        """Close this end of a channel."""
        self.world.wires.close(channel, self.number)

    def deliver(self, channel: Channel, message: object) -> None:
        """A message has arrived; see `Receiver`."""
        self._do(lambda: self.role.receive(channel, message))

    def _do(self, call: Callable[[], None]) -> None:
        if self._missed is not None:
            self._missed.append(call)
        else:
            call()

    # --- the history ---------------------------------------------------------------------------------------

    @property
    def last_zxid(self) -> int:
        """Of the newest entry of the log, committed or not."""
        return self.log[-1].zxid if self.log else 0

    def committed_up_to(self, length: int) -> None:
        """So much of the log is known to be committed: apply it, as late as this replica is."""
        self._later(length)

    def later(self, call: Callable[[], None]) -> None:
        """Call it when all that was committed before has been applied."""
        self._later(call)

    def _later(self, item: int | Callable[[], None]) -> None:
        self._inbox.append((self.world.timetable.now(), item))
        self._work()

    def _work(self) -> None:
        now = self.world.timetable.now() + EPSILON
        while self._inbox and self._inbox[0][0] + self.lag <= now:
            _, item = self._inbox.popleft()
            if isinstance(item, int):
                while self._applied < item:
                    self._apply(self.log[self._applied])
            else:
                item()
        if self._inbox and self.lag != math.inf:
            self._work_at(self._inbox[0][0] + self.lag)

    def _work_at(self, due: float) -> None:
        """Look again then, unless that is arranged: one look for all that waits."""
        if due == self._looks_at:
            return
        self._looks_at = due

        def look() -> None:
            if self._looks_at == due:
                self._looks_at = None
                self._work()

        self.in_term(due - self.world.timetable.now(), look)

    def _apply(self, entry: HistoryEntry) -> None:
        self._applied += 1
        act = entry.act
        asked = entry.asked if entry.asked is not None and entry.asked.replica == self.number else None
        if asked is not None and isinstance(act, SessionEnd):
            # Before it is applied, which ends the connection.
            asked.origin.answer(asked.number, Reply(entry.zxid, close=True))
        reply = self.store.apply(entry)
        if isinstance(act, NewSession):
            if asked is not None:
                asked.origin.attach(act)
            self._greet_those_that_waited()
        elif asked is not None:
            asked.origin.answer(asked.number, reply)

    def answer_sync(self, asked: Asked) -> None:
        """All that was committed before a sync has been applied."""
        assert isinstance(asked.request, SyncRequest)
        asked.origin.answer(asked.number, Reply(self.processor.zxid, 0, SyncReply(asked.request.path)))

    # --- clients -------------------------------------------------------------------------------------------

    def moment(self) -> ServerTime:
        """The present."""
        return ServerTime(self.world.timetable.now(), self.world.calendar())

    def touch(self, session_id: int) -> bool:
        """A client was heard of; False where its session has ended."""
        return self.role.touch(session_id)

    def ask(self, asked: Asked) -> None:
        """Let the leader decide."""
        self.role.ask(asked)

    def revalidate(self, origin: Origin, greeting: ConnectRequest) -> None:
        """Ask the leader whether a session lives."""
        self.role.revalidate(origin, greeting)

    def revalidated(self, origin: Origin, greeting: ConnectRequest, *, is_alive: bool) -> None:
        """The leader's answer. It waits where this replica is so late that it does not know the session."""
        if is_alive and self.processor.sessions.find(greeting.session_id) is None:
            self._greetings.append((origin, greeting))
        else:
            origin.attach_again(greeting, is_alive=is_alive)

    def _greet_those_that_waited(self) -> None:
        waiting, self._greetings = self._greetings, []
        for origin, greeting in waiting:
            self.revalidated(origin, greeting, is_alive=True)

    def answer_word(self, word: str) -> str:
        """The answer to a four-letter word: as much as clients and scripts look for."""
        if word == "ruok":
            return "imok"
        if not self.is_serving:
            return "This ZooKeeper instance is not currently serving requests\n"
        if word == "isro":
            return "rw"
        mode = "leader" if self.role.name is RoleName.LEADING else "follower"
        version = f"Zookeeper version: {VERSION}\n"
        return f"{version}Zxid: 0x{self.processor.zxid:x}\nMode: {mode}\n" if word == "srvr" else version
