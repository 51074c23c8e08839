"""A small model of a correct double barrier, which generates histories for the tests of their checker.

At each step it makes one of the moves that are correct then; a number chooses which one. It also has the
wrong moves, with the rules that each of them breaks. It knows the state of all members at once, which no
client does, so it is correct without being an implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

from tests.recipes.double_barrier_checker import Member, Rule
from tests.recipes.double_barrier_history import History

__all__ = ["WRONG_MOVES", "Model"]

WRONG_MOVES = {
    "too few": {Rule.PARTIES},
    "not out": {Rule.OUT},
    "overlap": {Rule.OUT, Rule.OVERLAP},
    "enter without a round": {Rule.PARTIES},
    "enter late": {Rule.LATECOMER},
    "enter without a znode": {Rule.GUARD},
    "outsider creates": {Rule.READY},
    "outsider removes": {Rule.READY},
    "remove while inside": {Rule.READY},
    "expire while inside": {Rule.GUARD},
    "delete while inside": {Rule.GUARD},
    "no round begins": {Rule.PROGRESS},
    "never enter": {Rule.PROGRESS},
    "never leave": {Rule.PROGRESS},
    "never start over": {Rule.LATECOMER},
    "never delete": {Rule.PROGRESS},
}
"""The rules that each wrong move breaks."""

_CRASHES_MAX = 2
_USUAL = {"arrive", "create", "begin", "enter", "remove"}


@dataclass(eq=False)
class _Process:
    """A member's process."""

    member: Member
    phase: str = "idle"
    """One of "idle", "waiting", "inside" and "leaving"."""
    has_znode: bool = False
    round: int = 0
    """The round in which its znode is; 0 for none."""
    late_for: int = 0
    """The round whose `ready` existed when its znode was created; 0 for none."""
    has_crashed: bool = False
    has_lost: bool = False
    """Whether its session has ended since it arrived; it continues in another session."""
    last_round: int = 0
    """The newest round in which a znode of its session was."""

    @property
    def is_out(self) -> bool:
        return not self.has_znode or self.round == 0 or self.phase not in ("waiting", "inside")


class Move(NamedTuple):
    """A move that is possible now.

    Attributes:
        helps: whether it makes progress when everything is healthy.
    """

    name: str
    do: Callable[[], object]
    helps: bool = False


@final
class Model:
    """A barrier and its members.

    Args:
        parties: how many members a round needs.
        names: the names of the members.
    """

    def __init__(self, parties: int, names: str) -> None:
        self.history = History()
        self._parties = parties
        self._processes = [_Process(Member(name)) for name in names]
        self._ready = 0
        self._rounds = 0

    def step(self, number: int) -> None:
        """Make the move of this number, modulo their count; faults are rarer than usual moves."""
        moves = list(self._right())
        moves += [move for move in moves if move.name in _USUAL] * 3
        moves[number % len(moves)].do()

    def settle(self, *, stay: bool) -> None:
        """Make only healthy moves until no move is left.

        Args:
            stay: whether the members that are inside stay there.
        """
        while moves := [move for move in self._right() if move.helps and not (stay and move.name == "end")]:
            moves[0].do()
        self.history.settle()

    def wrong(self, name: str) -> bool:
        """Make this wrong move if it is possible now; return whether it was made."""
        for move in self._wrong():
            if move.name == name:
                move.do()
                return True
        return False

    # --- correct moves -------------------------------------------------------------------------------------

    def _right(self) -> Iterator[Move]:
        for process in list(self._processes):
            if process.has_crashed:
                if process.has_znode:
                    yield Move("expire", partial(self._expire, process), helps=True)
                continue
            if process.phase == "idle":
                yield Move("arrive", partial(self._arrive, process))
            elif process.phase == "waiting":
                yield from self._waiting(process)
            elif process.phase == "inside":
                yield from self._inside(process)
            else:
                yield from self._leaving(process)
            if process.member.incarnation <= _CRASHES_MAX and process.phase != "idle":
                yield Move("crash", partial(self._crash, process))

    def _waiting(self, process: _Process) -> Iterator[Move]:
        if not process.has_znode:
            yield Move("create", partial(self._create, process), helps=not self._ready)
            yield Move("give up", partial(self._leave, process))
            if self._ready and not any(each.has_znode for each in self._of_round(self._ready)):
                yield Move("remove leftover", partial(self._remove, process), helps=True)
            return
        yield Move("give up", partial(_each, partial(self._delete, process), partial(self._leave, process)))
        yield Move("lose", partial(self._expire, process))
        if process.round:
            yield Move("enter", partial(self._enter, process), helps=True)
        elif self._ready and process.late_for == self._ready:
            yield Move("start over", partial(self._delete, process), helps=True)
        elif self._may_begin() and self._all_out():
            yield Move("begin", partial(self._begin, process), helps=True)

    def _inside(self, process: _Process) -> Iterator[Move]:
        yield Move("end", partial(self._end, process), helps=True)
        if process.has_znode:
            yield Move("lose", partial(_each, partial(self._end, process), partial(self._expire, process)))
            yield Move("force end", partial(self._expire, process, is_forced=True))

    def _leaving(self, process: _Process) -> Iterator[Move]:
        if process.has_znode:
            yield Move("delete", partial(self._delete, process), helps=True)
        others_out = all(each.is_out for each in self._of_round(process.round) if each is not process)
        if self._ready and self._ready == process.round and not process.has_lost:
            yield Move("remove", partial(self._remove, process), helps=others_out)
        elif others_out and not process.has_znode:
            yield Move("leave", partial(self._leave, process), helps=True)

    # --- wrong moves ---------------------------------------------------------------------------------------

    def _wrong(self) -> Iterator[Move]:
        for process in self._processes:
            if process.has_crashed:
                continue
            if process.phase == "waiting":
                yield from self._wrong_while_waiting(process)
            elif process.phase == "inside" and process.has_znode:
                if self._ready == process.round:
                    yield Move("remove while inside", partial(self._remove, process))
                yield Move("expire while inside", partial(self._expire, process))
                yield Move("delete while inside", partial(self._delete, process))
            elif process.phase == "leaving" and process.has_znode:
                yield Move("never delete", partial(_each, partial(self._leave, process), self.history.settle))
            elif process.phase == "leaving" and all(each.is_out for each in self._of_round(process.round)):
                yield Move("never leave", self.history.settle)

    def _wrong_while_waiting(self, process: _Process) -> Iterator[Move]:
        if not process.has_znode:
            yield Move("enter without a znode", partial(self.history.begin, process.member))
            is_outsider = process.last_round != self._ready
            if is_outsider and not all(each.is_out for each in self._of_round(self._ready)):
                yield Move("outsider removes", partial(self._remove, process))
            if self._may_begin() and self._all_out():
                yield Move("outsider creates", partial(self._begin, process))
        elif process.round:
            yield Move("never enter", self.history.settle)
        else:
            yield from self._wrong_while_queued(process)

    def _wrong_while_queued(self, process: _Process) -> Iterator[Move]:
        if process.late_for:
            yield Move("enter late", partial(self.history.begin, process.member))
        else:
            yield Move("enter without a round", partial(self.history.begin, process.member))
        if self._ready:
            if process.late_for == self._ready:
                yield Move("never start over", self.history.settle)
        elif not self._may_begin():
            yield Move("too few", partial(self._begin, process))
        elif self._all_out():
            if (
                sum(each.phase == "waiting" and not each.has_crashed for each in self._processes)
                >= self._parties
            ):
                yield Move("no round begins", self.history.settle)
        else:
            yield Move("not out", partial(self._begin, process))
            if any(each.phase == "inside" and not each.is_out for each in self._processes):
                yield Move(
                    "overlap", partial(_each, partial(self._begin, process), partial(self._enter, process))
                )

    # --- queries -------------------------------------------------------------------------------------------

    def _of_round(self, number: int) -> Sequence[_Process]:
        return [process for process in self._processes if process.round == number]

    def _queued(self) -> Sequence[_Process]:
        return [process for process in self._processes if process.has_znode and not process.round]

    def _may_begin(self) -> bool:
        return not self._ready and len(self._queued()) >= self._parties

    def _all_out(self) -> bool:
        return all(process.is_out for process in self._processes)

    # --- effects -------------------------------------------------------------------------------------------

    def _arrive(self, process: _Process) -> None:
        process.phase, process.has_lost = "waiting", False
        self.history.arrive(process.member)

    def _create(self, process: _Process) -> None:
        process.has_znode, process.round, process.late_for = True, 0, self._ready
        self.history.create(process.member)

    def _begin(self, process: _Process) -> None:
        self._rounds += 1
        self._ready = self._rounds
        for each in self._queued():
            each.round = each.last_round = self._ready
        self.history.ready(process.member)

    def _enter(self, process: _Process) -> None:
        process.phase = "inside"
        self.history.begin(process.member)

    def _end(self, process: _Process) -> None:
        process.phase = "leaving"
        self.history.end(process.member)

    def _delete(self, process: _Process) -> None:
        process.has_znode = False
        self.history.delete(process.member)

    def _remove(self, process: _Process) -> None:
        self._ready = 0
        self.history.remove_ready(process.member)

    def _leave(self, process: _Process) -> None:
        process.phase, process.round = "idle", 0
        self.history.leave(process.member)

    def _expire(self, process: _Process, *, is_forced: bool = False) -> None:
        process.has_znode, process.has_lost, process.last_round = False, True, 0
        self.history.expire(process.member, is_forced=is_forced)

    def _crash(self, process: _Process) -> None:
        process.has_crashed = True
        self.history.crash(process.member)
        self._processes.append(_Process(Member(process.member.name, process.member.incarnation + 1)))


def _each(*actions: Callable[[], object]) -> None:
    for act in actions:
        act()
