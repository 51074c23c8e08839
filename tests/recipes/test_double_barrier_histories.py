"""Histories of a double barrier: several members, and all that may happen to them, chosen by hypothesis.

Whatever happens, nobody comes in before enough were there, nobody is out before those who were inside with
it, who wants to be told of a loss is told, and in the end everybody is through and nothing is left. All is in
virtual time and in an order that depends on nothing but the history, so a failure replays from its seed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

import anyio
import pytest
from anyio.abc import TaskGroup
from hypothesis import HealthCheck, Phase, event, given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.hurting import TIMEOUT, World, jumping_backend, world
from zkrecipes.devserver.faults import Hurt
from zkrecipes.recipes import passage
from zkrecipes.recipes.meeting_place import READY, is_member

PATH = "/steps"
CLIENTS = 4
PARTIES = 3


@dataclass
class Visit:
    """One time that somebody enters and leaves."""

    barrier: zk.DoubleBarrier
    is_told: bool
    may_leave: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    is_bad: bool = False
    is_inside: bool = False
    ended: str = ""
    name: str | None = None
    company: list[Visit] = field(default_factory=list)
    """Who was inside when it came in."""


@dataclass
class Visitor:
    """A client, and its visits."""

    number: int
    client: zk.Client
    visits: list[Visit] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)

    @property
    def visit(self) -> Visit | None:
        """The present one."""
        return self.visits[-1] if self.visits and not self.visits[-1].ended else None

    @property
    def source(self) -> str:
        return f"client-{self.number}"


class BlockError(Exception):
    """A block's own error."""


class Watchman:
    """Stands at the server, and knows who may come in.

    Attributes:
        present: the names of the members that are there, each with its session.
        entitled: the names of those that were there when enough were, or that came while one of these was.
        first: of these the ones that were there when enough were.
        arrivals: all names, in order.
    """

    def __init__(self, there: World, visitors: list[Visitor]) -> None:
        self.present: dict[str, int] = {}
        self.entitled: set[str] = set()
        self.first: set[str] = set()
        self.arrivals: list[str] = []
        self._there = there
        self._visitors = visitors
        self._names: dict[int, set[str]] = {}
        self._is_open = False

    def stand(self) -> None:
        """Look at each request from now on, before and after it is applied."""
        processor = self._there.server.processor
        process = processor.process

        def watched(peer: Any, opcode: int, request: Any, moment: Any) -> Any:
            session_id = 0 if peer.session is None else peer.session.id
            self.look(session_id)
            try:
                return process(peer, opcode, request, moment)
            finally:
                self.look(session_id)

        processor.process = watched  # type: ignore[method-assign]

    def look(self, session_id: int = 0) -> None:
        """See what has changed, and who did it."""
        for visitor in self._visitors:
            visitor.sessions.add(visitor.client.session.id)
        tree = self._there.server.processor.tree
        names = [path.rpartition("/")[2] for path in self._there.znodes()]
        self.present = {name: tree.get(f"{PATH}/{name}").owner for name in names if is_member(name)}
        self.arrivals += sorted(self.present.keys() - set(self.arrivals))
        for name, owner in self.present.items():
            self._names.setdefault(owner, set()).add(name)
        was_open, self._is_open = self._is_open, READY in names
        if self._is_open and not was_open:
            enough = len(self.present) >= PARTIES
            assert enough or self._was_let_in(session_id), f"opened for {len(self.present)}"
            self.entitled |= self.present.keys()
            self.first |= self.present.keys()
        elif self._is_open and not self.entitled.isdisjoint(self.present):
            self.entitled |= self.present.keys()

    def name_of(self, visitor: Visitor) -> str | None:
        """The member that a visitor is; None when its session has just expired."""
        self.look()
        session_id = visitor.client.session.id
        return next((name for name, owner in self.present.items() if owner == session_id), None)

    def waits_for(self, name: str | None, other: str | None) -> bool:
        """Whether a member must not be out before another one that was inside when it came in.

        A latecomer need not wait for who came after it: that one may not have been let in.
        """
        if name is None or other is None:
            return False  # of a session that has just expired
        return name in self.first or self.arrivals.index(other) < self.arrivals.index(name)

    def _was_let_in(self, session_id: int) -> bool:
        """Who is inside, or was until a moment ago, may let in others that are there."""
        sessions = next(
            (each.sessions for each in self._visitors if session_id in each.sessions), {session_id}
        )
        return any(not self.entitled.isdisjoint(self._names.get(each, ())) for each in sessions)


class History:
    """What happens, step by step."""

    def __init__(self, there: World, tasks: TaskGroup, visitors: list[Visitor]) -> None:
        self._there = there
        self._tasks = tasks
        self._visitors = visitors
        self._watchman = Watchman(there, visitors)
        self._watchman.stand()
        self._first_sessions = [visitor.client.session for visitor in visitors]
        self._is_harmless = True

    # --- steps ---------------------------------------------------------------------------------------------

    def enter(self, who: Visitor, detail: int) -> None:
        if who.visit is None:
            is_told = detail % 2 == 1
            barrier = zk.DoubleBarrier(
                who.client, PATH, parties=PARTIES, on_member_lost="raise" if is_told else "go_on"
            )
            who.visits.append(Visit(barrier, is_told))
            self._tasks.start_soon(self._go, who, who.visits[-1])

    def leave(self, who: Visitor, detail: int) -> None:
        if who.visit is not None:
            who.visit.may_leave.set()

    def fail(self, who: Visitor, detail: int) -> None:
        if who.visit is not None and not who.visit.may_leave.is_set():
            self._is_harmless = False
            who.visit.is_bad = True
            who.visit.may_leave.set()

    def cancel(self, who: Visitor, detail: int) -> None:
        if who.visit is not None:
            self._is_harmless &= not who.visit.is_inside
            who.visit.scope.cancel()

    def expire(self, who: Visitor, detail: int) -> None:
        with suppress(KeyError):  # it has no session, or the server knows it no longer
            self._there.server.expire(who.client.session.id)

    def hurt(self, who: Visitor, detail: int) -> None:
        how = list(Hurt)[detail % 4]
        if who.client.state is zk.SessionState.CONNECTED:
            self._there.server.faults.hurt(1 + detail // 4, how, session_id=who.client.session.id)

    def cut(self, who: Visitor, detail: int) -> None:
        self._there.network.cut(source=who.source)
        self._there.network.reset(source=who.source)

    def heal(self, who: Visitor, detail: int) -> None:
        self._there.network.heal(source=who.source)

    async def end(self) -> None:
        """Let everybody go; with whoever still waits to come in the others come once more."""
        self._there.server.faults.clear()
        self._there.network.heal()
        with anyio.fail_after(20 * TIMEOUT):
            while any(visitor.visit is not None for visitor in self._visitors):
                for visitor in self._visitors:
                    self.enter(visitor, 0)
                    self.leave(visitor, 0)
                await anyio.sleep(2)
        await anyio.sleep(TIMEOUT)
        assert self._there.znodes() <= {PATH}

    # --- a visit -------------------------------------------------------------------------------------------

    async def _go(self, who: Visitor, visit: Visit) -> None:
        ended = "cancelled"
        with visit.scope:
            try:
                async with visit.barrier:
                    self._came_in(who, visit)
                    await visit.may_leave.wait()
                    if visit.is_bad:
                        raise BlockError
                    visit.is_inside = False
                ended = "well"
            except zk.BrokenBarrierError:
                ended = "told"
            except BlockError:
                ended = "failed"
        self._went_out(visit, ended)

    def _came_in(self, who: Visitor, visit: Visit) -> None:
        visit.name = self._watchman.name_of(who)
        assert visit.name is None or visit.name in self._watchman.entitled, f"{who.source} is in alone"
        visit.is_inside = True
        visit.company = [
            other.visit
            for other in self._visitors
            if other is not who
            and other.visit is not None
            and other.visit.is_inside
            and self._watchman.waits_for(visit.name, other.visit.name)
        ]

    def _went_out(self, visit: Visit, ended: str) -> None:
        self._watchman.look()
        present = self._watchman.present
        if ended == "well":
            assert visit.name not in present, "left behind"
            still = [other.name for other in visit.company if other.name in present]
            assert not still, f"out while {still} are inside"
            lost = [
                other.name for other in visit.company if other.is_bad or other.ended == "cancelled inside"
            ]
            assert not (lost and visit.is_told), f"not told of {lost}"
        if ended == "told":
            sessions = [visitor.client.session for visitor in self._visitors]
            is_harmless = self._is_harmless and sessions == self._first_sessions
            assert not is_harmless, "told of a loss, and nobody was lost"
        visit.ended = f"{ended} inside" if ended == "cancelled" and visit.is_inside else ended
        visit.is_inside = False


class Step(NamedTuple):
    what: Callable[[History, Visitor, int], None]
    who: int
    detail: int
    then_wait: float

    def __repr__(self) -> str:
        return f"{self.what.__name__}({self.who}, {self.detail}) +{self.then_wait:g}"


steps = st.builds(
    Step,
    st.sampled_from(
        [
            *(History.enter, History.enter, History.enter, History.leave, History.leave),
            *(History.fail, History.cancel, History.expire, History.hurt, History.hurt),
            *(History.cut, History.heal),
        ]
    ),
    st.integers(0, CLIENTS - 1),
    st.integers(0, 31),
    st.sampled_from([0.0, 0.0, 0.001, 1.0, TIMEOUT / 2, TIMEOUT * 1.5]),
)


@contextmanager
def names_from_a_seed() -> Iterator[None]:
    """Names decide who watches whom, so a history would not replay with others."""
    random = Random(0)
    with patch.object(passage, "uuid4", lambda: UUID(int=random.getrandbits(128), version=4)):
        yield


@asynccontextmanager
async def clients(there: World, number: int) -> AsyncIterator[list[Visitor]]:
    async with anyio.create_task_group() as tasks:
        found: list[Visitor] = []
        over = anyio.Event()

        async def connect(number: int) -> None:
            async with there.connect(f"client-{number}") as client:
                found.append(Visitor(number, client))
                is_there.set()
                await over.wait()

        for each in range(number):
            is_there = anyio.Event()
            tasks.start_soon(connect, each)
            await is_there.wait()
        yield found
        over.set()


async def play(history: list[Step]) -> None:
    async with world() as there, clients(there, CLIENTS) as visitors, anyio.create_task_group() as tasks:
        playing = History(there, tasks, visitors)
        for step in history:
            step.what(playing, visitors[step.who], step.detail)
            if step.then_wait:
                await anyio.sleep(step.then_wait)
        await playing.end()
        for visitor in visitors:
            for visit in visitor.visits:
                event(visit.ended)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[phase for phase in Phase if phase is not Phase.explain],  # which takes minutes
)
@given(st.lists(steps, min_size=8, max_size=40))
def test_histories(backend: str, history: list[Step]) -> None:
    name, options = jumping_backend(backend)
    with names_from_a_seed():
        anyio.run(play, history, backend=name, backend_options=options)
