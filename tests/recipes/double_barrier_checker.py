"""Checks a history of one double barrier against its promises. Pure: no I/O, no clock, no code of the recipe.

The rules come only from the recipe's promises, so a wrong recipe cannot make its checker agree.
`double_barrier_recorder` records histories; a test may also write one by hand.

## A history

A history is a list of events in the order in which they happened. The events have two sources:

- The server provides **transactions** in the order of their zxids. `ZnodeCreated`, `ZnodeDeleted`,
  `ReadyCreated`, `ReadyDeleted` and `SessionEnded` are at the position of their commit. Events of one
  transaction have the same zxid and are adjacent, with `SessionEnded` before the deletes that it causes.
- The program provides **events of the members**: `Arrived`, `BlockBegan`, `BlockEnded`, `Left`, `Crashed`.
  They may state the newest zxid that the member's client had seen at that time; the event is then after that
  transaction. This is a lower bound of what the member knew, because an event of a watch brings no zxid.

In one process in virtual time, every event is appended when it happens. Events of several processes are
merged by a common clock and these zxids (`double_barrier_recorder.merged`).

One call of the recipe is `Arrived` (just before the call), `BlockBegan` (the block's first statement),
`BlockEnded` (the block ended, raised, or was cancelled) and `Left` (after the call, with or without an
error). A member that gives up while it waits has only `Arrived` and `Left`. A member that calls again arrives
again. A process that crashes has `Crashed` and nothing after it; after its restart, the same name has the
next `incarnation`.

`Settled` states that everything is healthy, that nothing has happened for long enough, and that no request is
in flight: a member that still waits would wait forever. The rules of progress are checked only there.

## The words of the rules

A *round* begins with a creation of `ready`. Its members are the existing znodes that are in no earlier round
and not younger than `ready`. A member is *inside* from `BlockBegan` to `BlockEnded` while its znode exists.
It is *out* when its znode is deleted, its block has ended or its call has returned. A crashed member is not
out before its session ends, because no other member can distinguish a crash from silence.

## Members that are not ours

A znode with `member=None`, or with a `Member` that has `is_ours=False`, is Curator's. The rules are stated
for our members: only our blocks and our creations and removals of `ready` are checked. Curator's znodes count
as parties, with two exceptions. In Curator a member that arrives while `ready` exists enters immediately:
such a znode is inside that round and does not count for the next one. And after Curator, which writes no
record, has removed `ready`, no client can distinguish old znodes of Curator's from new ones, so all of them
count. A wrong `ready` of Curator's is not a violation until a member of ours enters by it. The rules of
progress apply to both kinds: no member may be left in a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import final

__all__ = [
    "Arrived",
    "BlockBegan",
    "BlockEnded",
    "Crashed",
    "Event",
    "Left",
    "Member",
    "ReadyCreated",
    "ReadyDeleted",
    "Rule",
    "SessionEnded",
    "Settled",
    "Violation",
    "ZnodeCreated",
    "ZnodeDeleted",
    "check",
]


class Rule(Enum):
    """A promise of the recipe."""

    OVERLAP = "no member is inside a round while any member is inside another round"
    PARTIES = "a round begins with `parties` members that are alive and inside no other round"
    OUT = "each member of a round is out before the next round begins"
    LATECOMER = "a member that arrives while `ready` exists waits for the next round, without a znode"
    READY = "each creation and each removal of `ready` belongs to the round that it begins or ends"
    GUARD = "a block runs only while its member's znode lives"
    PROGRESS = "with everything healthy no member waits forever"


# --- events --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One process of a member, from its start to its end or crash."""

    name: str
    incarnation: int = 1
    """The number of the start under that name, from 1."""
    is_ours: bool = True
    """False for a member that runs Curator's recipe."""

    def __str__(self) -> str:
        return f"{self.name}.{self.incarnation}"


@dataclass(frozen=True)
class ZnodeCreated:
    """A member's znode was created: an ephemeral child of the barrier's znode other than `ready`."""

    zxid: int
    name: str
    session: int
    """Its owner."""
    member: Member | None
    """The member that created it; None if no member of ours has that session."""


@dataclass(frozen=True)
class ZnodeDeleted:
    """A member's znode was deleted."""

    zxid: int
    name: str
    by: int | None
    """The session that deleted it; None if the end of its owner's session did."""


@dataclass(frozen=True)
class ReadyCreated:
    """`ready` was created."""

    zxid: int
    session: int | None
    """The session that created it; None if unknown."""
    is_ours: bool = True
    """Whether it belongs to a client of ours, which need not be a member."""


@dataclass(frozen=True)
class ReadyDeleted:
    """`ready` was deleted."""

    zxid: int
    session: int | None
    """The session that deleted it; None if unknown."""
    is_ours: bool = True
    """Whether it belongs to a client of ours, which need not be a member."""


@dataclass(frozen=True)
class SessionEnded:
    """A session was closed by its client, or it expired."""

    zxid: int
    session: int
    is_forced: bool = False
    """Whether an administrator or a test ended it, which no client can foresee."""


@dataclass(frozen=True)
class Arrived:
    """A member calls the recipe."""

    member: Member
    zxid: int | None = None
    """The newest transaction that its client has seen; None if unknown."""


@dataclass(frozen=True)
class BlockBegan:
    """A member's block is at its first statement."""

    member: Member
    zxid: int | None = None
    """The newest transaction that its client has seen; None if unknown."""


@dataclass(frozen=True)
class BlockEnded:
    """A member's block was left: it ended, raised, or was cancelled."""

    member: Member
    zxid: int | None = None
    """The newest transaction that its client has seen; None if unknown."""


@dataclass(frozen=True)
class Left:
    """A member's call is over, with or without an error."""

    member: Member
    zxid: int | None = None
    """The newest transaction that its client has seen; None if unknown."""


@dataclass(frozen=True)
class Crashed:
    """A member's process ended without closing its session, which lives on for a while."""

    member: Member


@dataclass(frozen=True)
class Settled:
    """Everything is healthy, and nothing more will happen."""


Event = (
    ZnodeCreated
    | ZnodeDeleted
    | ReadyCreated
    | ReadyDeleted
    | SessionEnded
    | Arrived
    | BlockBegan
    | BlockEnded
    | Left
    | Crashed
    | Settled
)


@dataclass(frozen=True)
class Violation:
    """A promise that a history breaks."""

    rule: Rule
    text: str
    """The member or the round that breaks it, and the way it does."""
    events: tuple[Event, ...]
    """The events that prove it, oldest first."""
    index: int
    """The index of the event that showed it, from 0."""

    def __str__(self) -> str:
        shown = "".join(f"\n    {event}" for event in self.events)
        return f"{self.rule.name} at event {self.index}: {self.text} ({self.rule.value}){shown}"


def check(history: Iterable[Event], parties: int) -> list[Violation]:
    """Return every violation in a history, oldest first; an empty list if all promises are kept.

    Args:
        history: the events, in order.
        parties: how many members a round needs.

    Raises:
        ValueError: the events cannot have happened in this order, so the recording is wrong.
    """
    checker = _Checker(parties)
    for index, event in enumerate(history):
        checker.take(index, event)
    return checker.violations


# --- what is known after each event ----------------------------------------------------------------------


@dataclass(eq=False)
class _Round:
    """A round, which one creation of `ready` began."""

    number: int
    created: ReadyCreated
    members: list[_Znode]
    faults: list[tuple[Rule, str, tuple[Event, ...]]]
    """The rules that its beginning breaks."""
    removed: ReadyDeleted | None = None

    @property
    def admits_ours(self) -> bool:
        """Whether a member of ours may enter: a wrong `ready` of Curator's admits none."""
        return self.created.is_ours or all(rule is Rule.READY for rule, _, _ in self.faults)


@dataclass(eq=False)
class _Call:
    """One call of the recipe."""

    member: Member
    arrived: Arrived
    znodes: list[_Znode] = field(default_factory=list)
    entered_by: _Znode | None = None
    """The znode with which its block began."""
    began: BlockBegan | None = None
    ended: BlockEnded | None = None
    left: Left | None = None
    crashed: Crashed | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will never be inside again."""
        return self.ended is not None or self.left is not None

    @property
    def is_running(self) -> bool:
        """Whether its block may be running."""
        return self.began is not None and not self.is_over

    @property
    def is_waited_for(self) -> bool:
        """Whether its caller still waits for something."""
        return self.left is None and self.crashed is None


@dataclass(eq=False)
class _Znode:
    created: ZnodeCreated
    call: _Call | None
    late_for: _Round | None
    """The round whose `ready` existed when the znode was created."""
    round: _Round | None = None
    """The round in which its member is."""
    deleted: ZnodeDeleted | None = None
    is_excused: bool = False
    """Whether it was deleted in a way that its client could not foresee."""

    @property
    def is_ours(self) -> bool:
        return self.created.member is not None and self.created.member.is_ours

    @property
    def is_alive(self) -> bool:
        return self.deleted is None

    @property
    def is_out(self) -> bool:
        return not self.is_alive or (self.call is not None and self.call.is_over)

    @property
    def is_inside(self) -> bool:
        call = self.call
        return self.is_alive and call is not None and call.is_running and call.entered_by is self

    def trace(self) -> tuple[Event, ...]:
        """Return the events of its member so far."""
        call = self.call
        if call is None:
            return (self.created,)
        rest = (call.began, call.ended, call.left, call.crashed)
        return (call.arrived, self.created, *(event for event in rest if event is not None))

    def __str__(self) -> str:
        return f"{self.created.name} of {self.created.member or 'another library'}"


@final
class _Checker:
    def __init__(self, parties: int) -> None:
        self.violations: list[Violation] = []
        self._parties = parties
        self._index = 0
        self._event: Event = Settled()
        self._zxid = 0
        self._seen = 0
        self._alive: dict[str, _Znode] = {}
        self._our_sessions: set[int] = set()
        self._rounds: list[_Round] = []
        self._ready: _Round | None = None
        self._calls: dict[Member, _Call] = {}
        self._ended_by: dict[int, SessionEnded] = {}

    def take(self, index: int, event: Event) -> None:  # noqa: C901 - one case for each kind of event
        """Process the next event."""
        self._index, self._event = index, event
        self._check_order(event)
        match event:
            case ZnodeCreated():
                self._znode_created(event)
            case ZnodeDeleted():
                self._znode_deleted(event)
            case ReadyCreated():
                self._ready_created(event)
            case ReadyDeleted():
                self._ready_deleted(event)
            case SessionEnded():
                self._ended_by[event.session] = event
            case Arrived():
                self._arrived(event)
            case BlockBegan():
                self._block_began(event)
            case BlockEnded():
                call = self._call_of(event.member)
                self._require(call.is_running, "its block does not run")
                call.ended = event
            case Left():
                call = self._call_of(event.member)
                self._require(not call.is_running, "its block still runs")
                call.left = event
            case Crashed():
                self._crashed(event)
            case Settled():
                self._settled()

    # --- transactions --------------------------------------------------------------------------------------

    def _znode_created(self, event: ZnodeCreated) -> None:
        self._require(event.name not in self._alive, "a znode of that name exists")
        call = None if event.member is None else self._calls.get(event.member)
        znode = _Znode(event, call, self._ready)
        self._alive[event.name] = znode
        if znode.is_ours:
            self._our_sessions.add(event.session)
        if call is not None:
            call.znodes.append(znode)

    def _znode_deleted(self, event: ZnodeDeleted) -> None:
        self._require(event.name in self._alive, "no znode of that name exists")
        znode = self._alive[event.name]
        was_inside = znode.is_inside
        session = znode.created.session
        znode.deleted = event
        del self._alive[event.name]
        if event.by is None:
            end = self._ended_by.get(session)
            self._require(end is not None, "the session of that znode has not ended")
            znode.is_excused = end is not None and end.is_forced
        else:
            # An administrator may delete a znode; a member must not delete another member's.
            znode.is_excused = event.by not in self._our_sessions
        has_crashed = znode.call is not None and znode.call.crashed is not None
        if was_inside and znode.is_ours and not has_crashed and not znode.is_excused:
            self._report(Rule.GUARD, f"{znode} was deleted while its block runs", *znode.trace())

    def _ready_created(self, event: ReadyCreated) -> None:
        self._require(self._ready is None, "`ready` exists")
        members = [znode for znode in self._alive.values() if znode.round is None and not _has_entered(znode)]
        created = _Round(len(self._rounds) + 1, event, members, self._faults_of(event, members))
        for znode in members:
            znode.round = created
        self._rounds.append(created)
        self._ready = created
        if event.is_ours:
            for rule, text, events in created.faults:
                self._report(rule, text, *events)

    def _faults_of(
        self, event: ReadyCreated, members: list[_Znode]
    ) -> list[tuple[Rule, str, tuple[Event, ...]]]:
        """Return the rules that a round breaks if it begins with these members."""
        number = len(self._rounds) + 1
        faults: list[tuple[Rule, str, tuple[Event, ...]]] = []
        old = [znode for znode in self._alive.values() if znode not in members]
        count = len(members) + (sum(not znode.is_ours for znode in old) if self._is_unstamped() else 0)
        if count < self._parties:
            text = f"round {number} begins with {count} of {self._parties} members"
            faults.append((Rule.PARTIES, text, tuple(znode.created for znode in self._alive.values())))
        for znode in old:
            if znode.is_ours and znode.round is not None and not znode.is_out:
                text = f"round {number} begins, and {znode} is not out of round {znode.round.number}"
                faults.append((Rule.OUT, text, znode.trace()))
        sessions = {znode.created.session for znode in members}
        if event.session is not None and event.session not in sessions:
            text = f"`ready` of round {number} was created by a client without a member in that round"
            faults.append((Rule.READY, text, tuple(znode.created for znode in members)))
        return faults

    def _is_unstamped(self) -> bool:
        """Whether the last `ready` was removed by a client that is not ours."""
        removed = self._rounds[-1].removed if self._rounds else None
        return removed is not None and not removed.is_ours

    def _ready_deleted(self, event: ReadyDeleted) -> None:
        ended = self._ready
        if ended is None:
            raise self._error("`ready` does not exist")
        self._ready, ended.removed = None, event
        if not event.is_ours or event.session is None:
            return
        own = [znode for znode in ended.members if znode.created.session == event.session]
        others = [znode for znode in ended.members if znode not in own and not znode.is_out]
        if not own and others:
            text = f"`ready` of round {ended.number} was removed by a client without a member in that round"
            self._report(Rule.READY, text, ended.created, *others[0].trace())
        elif own and all(znode.is_inside for znode in own):
            self._report(Rule.READY, f"{own[0]} removed `ready` while inside", ended.created, *own[0].trace())

    # --- the program ---------------------------------------------------------------------------------------

    def _arrived(self, event: Arrived) -> None:
        before = self._calls.get(event.member)
        is_free = before is None or (before.left is not None and before.crashed is None)
        self._require(is_free, "its last call is not over")
        self._calls[event.member] = _Call(event.member, event)

    def _crashed(self, event: Crashed) -> None:
        call = self._calls.get(event.member)
        if call is not None:
            call.crashed = event

    def _block_began(self, event: BlockBegan) -> None:
        call = self._call_of(event.member)
        self._require(call.began is None and call.left is None, "its block has begun before")
        call.began = event
        if not call.znodes:
            if event.member.is_ours:
                self._report(Rule.GUARD, f"{event.member} enters without a znode", call.arrived)
            return
        znode = call.entered_by = call.znodes[-1]
        if not event.member.is_ours:
            return
        if znode.deleted is not None and not znode.is_excused:
            self._report(
                Rule.GUARD, f"{znode} had been deleted when its block began", *znode.trace(), znode.deleted
            )
        if znode.round is None:
            self._entered_no_round(znode)
        else:
            self._entered(znode, znode.round)

    def _entered_no_round(self, znode: _Znode) -> None:
        if znode.late_for is None:
            self._report(Rule.PARTIES, f"{znode} enters, and no round has begun with it", *znode.trace())
        else:
            text = f"{znode} is younger than `ready` of round {znode.late_for.number}, and enters"
            self._report(Rule.LATECOMER, text, znode.late_for.created, *znode.trace())
            # It is a member of that round from now on, and the next round must wait for it.
            znode.round = znode.late_for
            znode.late_for.members.append(znode)

    def _entered(self, znode: _Znode, entered: _Round) -> None:
        removed = entered.removed
        own = [each for each in entered.members if each.created.session == znode.created.session]
        if removed is not None and own == [znode] and removed.session == znode.created.session:
            self._report(Rule.READY, f"{znode} removed `ready` and enters then", entered.created, removed)
        if not entered.created.is_ours:
            for rule, text, events in entered.faults:
                if rule is not Rule.READY:
                    self._report(rule, f"{znode} enters by Curator's `ready`: {text}", *events)
        for other in self._alive.values():
            if other.is_inside and other.is_ours and other.round not in (None, entered):
                text = f"{znode} is inside round {entered.number}, {other} inside another"
                self._report(Rule.OVERLAP, text, *other.trace())

    # --- progress ------------------------------------------------------------------------------------------

    def _settled(self) -> None:
        for znode in self._alive.values():
            self._check_may_stay(znode)
        waiting = [call for call in self._calls.values() if call.is_waited_for]
        for call in waiting:
            if call.ended is not None:
                self._check_leaving(call)
            elif call.began is None and _entitled(call) is not None:
                text = f"{call.member} does not enter, and its round has begun"
                self._report(Rule.PROGRESS, text, call.arrived)
        early = [each for each in waiting if each.began is None and _entitled(each) is None]
        if len(early) >= self._parties and not list(self._not_out()):
            text = f"{len(early)} members wait, the barrier is empty, and no round begins"
            self._report(Rule.PROGRESS, text, *(call.arrived for call in early))

    def _check_may_stay(self, znode: _Znode) -> None:
        call = znode.call
        if call is None or not znode.is_ours or call.crashed is not None:
            return
        if call.left is not None:
            self._report(Rule.PROGRESS, f"{znode} stays, and its caller has left", *znode.trace())
        elif znode.late_for is not None and znode.late_for is self._ready:
            text = f"{znode} is younger than `ready` of round {znode.late_for.number}, and stays"
            self._report(Rule.LATECOMER, text, znode.late_for.created, *znode.trace())

    def _check_leaving(self, call: _Call) -> None:
        """Check that a member whose block has ended waits only for the other members."""
        znode = call.entered_by
        of_round = [] if znode is None or znode.round is None else znode.round.members
        others = [each for each in self._not_out() if each in of_round or not each.is_ours]
        if not call.member.is_ours:
            others = [each for each in self._alive.values() if each.is_inside or each in others]
        if not [each for each in others if each.call is not call]:
            trace = call.arrived, call.began, call.ended
            text = f"{call.member} does not leave, and every other member of its round is out"
            self._report(Rule.PROGRESS, text, *(event for event in trace if event is not None))

    def _not_out(self) -> Iterator[_Znode]:
        """Iterate over the znodes to wait for before a member leaves or the next round begins."""
        for znode in self._alive.values():
            began = znode.round
            refuses = znode.is_ours and not znode.is_inside and began is not None and not began.admits_ours
            if (began is not None or _has_entered(znode)) and not znode.is_out and not refuses:
                yield znode

    # --- helpers -------------------------------------------------------------------------------------------

    def _call_of(self, member: Member) -> _Call:
        call = self._calls.get(member)
        if call is None or not call.is_waited_for:
            raise self._error("its member has not arrived, has left, or has crashed")
        return call

    def _check_order(self, event: Event) -> None:
        if isinstance(event, Crashed | Settled) or event.zxid is None:
            return
        if isinstance(event, Arrived | BlockBegan | BlockEnded | Left):
            self._seen = max(self._seen, event.zxid)
            return
        self._require(event.zxid >= self._zxid, "its zxid is below that of the transaction before it")
        self._require(event.zxid > self._seen, "a member has seen it before")
        self._zxid = event.zxid

    def _report(self, rule: Rule, text: str, *events: Event) -> None:
        shown = tuple(dict.fromkeys((*events, self._event)))
        self.violations.append(Violation(rule, text, shown, self._index))

    def _require(self, is_right: bool, text: str) -> None:
        if not is_right:
            raise self._error(text)

    def _error(self, text: str) -> ValueError:
        return ValueError(f"event {self._index} cannot have happened here: {text}: {self._event}")


def _has_entered(znode: _Znode) -> bool:
    """Whether its member is inside a round for which it was late, which Curator permits."""
    return znode.late_for is not None and not znode.is_ours


def _entitled(call: _Call) -> _Znode | None:
    """Return the existing znode with which a member may enter a round that began correctly, or None."""
    for znode in call.znodes:
        if znode.is_alive and znode.round is not None and znode.round.admits_ours:
            return znode
    return None
