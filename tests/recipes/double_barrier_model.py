"""A small model of a correct double barrier, which makes up histories for the tests of their checker.

It does at each step one of the moves that are right at that moment, as numbers choose. It also knows the
wrong moves, with the rules that each of them breaks. It knows everything at once, as no client does: it is
correct by looking, and shows nothing of how a recipe could be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, final

from tests.recipes.double_barrier_checker import Member, Rule
from tests.recipes.double_barrier_stories import Story

__all__ = ["WRONG_MOVES", "Model"]

WRONG_MOVES = {
    "too few": {Rule.PARTIES},
    "not out": {Rule.OUT},
    "overlap": {Rule.OUT, Rule.OVERLAP},
    "enter without a round": {Rule.PARTIES},
    "enter late": {Rule.LATECOMER},
    "enter without a znode": {Rule.GUARD},
    "stranger creates": {Rule.READY},
    "stranger removes": {Rule.READY},
    "remove while inside": {Rule.READY},
    "expire while inside": {Rule.GUARD},
    "delete while inside": {Rule.GUARD},
    "nobody begins": {Rule.PROGRESS},
    "never enter": {Rule.PROGRESS},
    "never leave": {Rule.PROGRESS},
    "never withdraw": {Rule.LATECOMER},
    "never delete": {Rule.PROGRESS},
}
"""The rules that each wrong move breaks."""

_CRASHES_MAX = 2
_USUAL = {"arrive", "create", "begin", "enter", "remove"}


@dataclass(eq=False)
class _Life:
    """A member's process."""

    member: Member
    phase: str = "idle"
    """One of "idle", "waiting", "inside" and "leaving"."""
    has_znode: bool = False
    round: int = 0
    """The round that its znode is a member of; 0 for none."""
    under: int = 0
    """The round whose `ready` was there when its znode was created; 0 for none."""
    has_crashed: bool = False
    has_lost: bool = False
    """Whether its session has ended since it arrived; what it does is done in another one."""
    last_round: int = 0
    """The newest round that a znode of its session was a member of."""

    @property
    def is_out(self) -> bool:
        return not self.has_znode or self.round == 0 or self.phase not in ("waiting", "inside")


class Move(NamedTuple):
    """A step that can be taken.

    Attributes:
        helps: whether it brings those that are here nearer to their end, with everything healthy.
    """

    name: str
    do: Callable[[], object]
    helps: bool = False


@final
class Model:
    """A barrier and its members.

    Args:
        parties: how many members a round needs.
        names: of the members that there are.
    """

    def __init__(self, parties: int, names: str) -> None:
        self.story = Story()
        self._parties = parties
        self._lives = [_Life(Member(name)) for name in names]
        self._ready = 0
        self._rounds = 0

    def step(self, number: int) -> None:
        """Make the move of this number, counted around; accidents are rarer than what is usual."""
        moves = list(self._right())
        moves += [move for move in moves if move.name in _USUAL] * 3
        moves[number % len(moves)].do()

    def settle(self, *, stay: bool) -> None:
        """Let all be healthy until nothing happens any more.

        Args:
            stay: whether those that are inside stay there.
        """
        while moves := [move for move in self._right() if move.helps and not (stay and move.name == "end")]:
            moves[0].do()
        self.story.settle()

    def wrong(self, name: str) -> bool:
        """Make this wrong move if it can be made now; whether it was made."""
        for move in self._wrong():
            if move.name == name:
                move.do()
                return True
        return False

    # --- what is right -------------------------------------------------------------------------------------

    def _right(self) -> Iterator[Move]:
        for life in list(self._lives):
            if life.has_crashed:
                if life.has_znode:
                    yield Move("expire", partial(self._expire, life), helps=True)
                continue
            if life.phase == "idle":
                yield Move("arrive", partial(self._arrive, life))
            elif life.phase == "waiting":
                yield from self._waiting(life)
            elif life.phase == "inside":
                yield from self._inside(life)
            else:
                yield from self._leaving(life)
            if life.member.incarnation <= _CRASHES_MAX and life.phase != "idle":
                yield Move("crash", partial(self._crash, life))

    def _waiting(self, life: _Life) -> Iterator[Move]:
        if not life.has_znode:
            yield Move("create", partial(self._create, life), helps=not self._ready)
            yield Move("give up", partial(self._leave, life))
            if self._ready and not any(each.has_znode for each in self._of_round(self._ready)):
                yield Move("remove leftover", partial(self._remove, life), helps=True)
            return
        yield Move("give up", partial(_each, partial(self._delete, life), partial(self._leave, life)))
        yield Move("lose", partial(self._expire, life))
        if life.round:
            yield Move("enter", partial(self._enter, life), helps=True)
        elif self._ready and life.under == self._ready:
            yield Move("withdraw", partial(self._delete, life), helps=True)
        elif self._may_begin() and self._all_out():
            yield Move("begin", partial(self._begin, life), helps=True)

    def _inside(self, life: _Life) -> Iterator[Move]:
        yield Move("end", partial(self._end, life), helps=True)
        if life.has_znode:
            yield Move("lose", partial(_each, partial(self._end, life), partial(self._expire, life)))
            yield Move("decree", partial(self._expire, life, by_decree=True))

    def _leaving(self, life: _Life) -> Iterator[Move]:
        if life.has_znode:
            yield Move("delete", partial(self._delete, life), helps=True)
        others_out = all(each.is_out for each in self._of_round(life.round) if each is not life)
        if self._ready and self._ready == life.round and not life.has_lost:
            yield Move("remove", partial(self._remove, life), helps=others_out)
        elif others_out and not life.has_znode:
            yield Move("leave", partial(self._leave, life), helps=True)

    # --- what is wrong -------------------------------------------------------------------------------------

    def _wrong(self) -> Iterator[Move]:
        for life in self._lives:
            if life.has_crashed:
                continue
            if life.phase == "waiting":
                yield from self._wrong_while_waiting(life)
            elif life.phase == "inside" and life.has_znode:
                if self._ready == life.round:
                    yield Move("remove while inside", partial(self._remove, life))
                yield Move("expire while inside", partial(self._expire, life))
                yield Move("delete while inside", partial(self._delete, life))
            elif life.phase == "leaving" and life.has_znode:
                yield Move("never delete", partial(_each, partial(self._leave, life), self.story.settle))
            elif life.phase == "leaving" and all(each.is_out for each in self._of_round(life.round)):
                yield Move("never leave", self.story.settle)

    def _wrong_while_waiting(self, life: _Life) -> Iterator[Move]:
        if not life.has_znode:
            yield Move("enter without a znode", partial(self.story.begin, life.member))
            is_stranger = life.last_round != self._ready
            if is_stranger and not all(each.is_out for each in self._of_round(self._ready)):
                yield Move("stranger removes", partial(self._remove, life))
            if self._may_begin() and self._all_out():
                yield Move("stranger creates", partial(self._begin, life))
        elif life.round:
            yield Move("never enter", self.story.settle)
        else:
            yield from self._wrong_while_queued(life)

    def _wrong_while_queued(self, life: _Life) -> Iterator[Move]:
        if life.under:
            yield Move("enter late", partial(self.story.begin, life.member))
        else:
            yield Move("enter without a round", partial(self.story.begin, life.member))
        if self._ready:
            if life.under == self._ready:
                yield Move("never withdraw", self.story.settle)
        elif not self._may_begin():
            yield Move("too few", partial(self._begin, life))
        elif self._all_out():
            if sum(each.phase == "waiting" and not each.has_crashed for each in self._lives) >= self._parties:
                yield Move("nobody begins", self.story.settle)
        else:
            yield Move("not out", partial(self._begin, life))
            if any(each.phase == "inside" and not each.is_out for each in self._lives):
                yield Move("overlap", partial(_each, partial(self._begin, life), partial(self._enter, life)))

    # --- what can be asked ---------------------------------------------------------------------------------

    def _of_round(self, number: int) -> Sequence[_Life]:
        return [life for life in self._lives if life.round == number]

    def _queued(self) -> Sequence[_Life]:
        return [life for life in self._lives if life.has_znode and not life.round]

    def _may_begin(self) -> bool:
        return not self._ready and len(self._queued()) >= self._parties

    def _all_out(self) -> bool:
        return all(life.is_out for life in self._lives)

    # --- what can be done ----------------------------------------------------------------------------------

    def _arrive(self, life: _Life) -> None:
        life.phase, life.has_lost = "waiting", False
        self.story.arrive(life.member)

    def _create(self, life: _Life) -> None:
        life.has_znode, life.round, life.under = True, 0, self._ready
        self.story.create(life.member)

    def _begin(self, life: _Life) -> None:
        self._rounds += 1
        self._ready = self._rounds
        for each in self._queued():
            each.round = each.last_round = self._ready
        self.story.ready(life.member)

    def _enter(self, life: _Life) -> None:
        life.phase = "inside"
        self.story.begin(life.member)

    def _end(self, life: _Life) -> None:
        life.phase = "leaving"
        self.story.end(life.member)

    def _delete(self, life: _Life) -> None:
        life.has_znode = False
        self.story.delete(life.member)

    def _remove(self, life: _Life) -> None:
        self._ready = 0
        self.story.remove_ready(life.member)

    def _leave(self, life: _Life) -> None:
        life.phase, life.round = "idle", 0
        self.story.leave(life.member)

    def _expire(self, life: _Life, *, by_decree: bool = False) -> None:
        life.has_znode, life.has_lost, life.last_round = False, True, 0
        self.story.expire(life.member, by_decree=by_decree)

    def _crash(self, life: _Life) -> None:
        life.has_crashed = True
        self.story.crash(life.member)
        self._lives.append(_Life(Member(life.member.name, life.member.incarnation + 1)))


def _each(*actions: Callable[[], object]) -> None:
    for act in actions:
        act()
