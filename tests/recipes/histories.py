"""Histories that hypothesis generates: several clients, their uses of one recipe, and faults.

`play` runs a history in a world in virtual time. Each use is a worker, which enters, stays until a step lets
it leave, and leaves. A history is a list of steps, so that hypothesis shrinks a failing one and prints how to
run it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from hypothesis import strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import TIMEOUT, World, world
from zkrecipes.devserver import FaultKind

CLIENTS = 3
_PAUSE = 0.1
_FAULT_KINDS = (
    FaultKind.BEFORE_SEND,
    FaultKind.AFTER_SEND,
    FaultKind.AFTER_COMMIT,
    FaultKind.CORRUPT,
    FaultKind.DELAY,
)


@dataclass(eq=False)
class Worker:
    """One use of the recipe.

    Attributes:
        wish: the arguments of the use; each recipe has its own kind.
        ended: "left", "lost", "cancelled" or "refused"; empty before the end.
    """

    client: int
    wish: Any
    leave: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: str = ""


class Recipe(Protocol):
    """The recipe under test, and the rules for its workers."""

    def enter(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        """Return the acquisition for the worker."""

    def check(self, inside: Sequence[Worker]) -> None:
        """Assert that these workers may be inside together; the last one has just entered."""

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        """Run a step that only this recipe has."""


Step = tuple[str, int, Any]


def histories(wishes: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Step]]:
    """Lists of steps.

    Args:
        wishes: the possible wishes of workers.
    """
    client = st.integers(0, CLIENTS - 1)
    any_worker = st.integers(0, 9)
    fault = st.tuples(st.integers(1, 6), st.sampled_from(_FAULT_KINDS))
    step = st.one_of(
        st.tuples(st.just("want"), client, wishes),
        st.tuples(st.just("leave"), any_worker, st.none()),
        st.tuples(st.just("change"), client, st.integers(0, 9)),
        st.tuples(st.just("fault"), client, fault),
        st.tuples(st.just("cancel"), any_worker, st.none()),
        st.tuples(st.just("expire"), client, st.none()),
        st.tuples(st.just("cut"), client, st.none()),
        st.tuples(st.just("heal"), client, st.none()),
        st.tuples(st.just("restart"), client, st.sampled_from([0.0, 1.0, TIMEOUT])),
        st.tuples(st.just("pass time"), client, st.sampled_from([1.0, TIMEOUT / 4, TIMEOUT])),
    )
    return st.lists(step, min_size=5, max_size=25)


async def play(steps: Sequence[Step], make: Callable[[World], Recipe], may_remain: set[str]) -> list[Worker]:
    """Run a history. In the end all faults are healed, every worker has ended, and no znode is left behind.

    Args:
        steps: the history.
        make: the recipe, in its world.
        may_remain: the znodes that may stay.
    """
    async with world() as there, AsyncExitStack() as stack:
        names = [f"client-{number}" for number in range(CLIENTS)]
        clients = [await stack.enter_async_context(there.connect(name)) for name in names]
        async with anyio.create_task_group() as tasks:
            history = _History(there, clients, names, make(there), tasks)
            for step in steps:
                await history.take(step)
                await anyio.sleep(_PAUSE)
            await history.end_well()
        await anyio.sleep(TIMEOUT)
        assert there.znodes() <= may_remain, f"left behind: {there.znodes() - may_remain}"
        return history.workers


class _History:
    def __init__(
        self, there: World, clients: list[zk.Client], names: list[str], recipe: Recipe, tasks: Any
    ) -> None:
        self.workers: list[Worker] = []
        self._there = there
        self._clients = clients
        self._names = names
        self._recipe = recipe
        self._tasks = tasks
        self._inside: list[Worker] = []
        self._cut: set[int] = set()

    async def take(self, step: Step) -> None:  # noqa: C901 - one case for each kind of step
        kind, number, detail = step
        client = self._clients[number % CLIENTS]
        match kind:
            case "want":
                self.workers.append(Worker(number, detail))
                self._tasks.start_soon(self._work, self.workers[-1])
            case "leave":
                for worker in self._inside[number : number + 1]:
                    worker.leave.set()
            case "cancel":
                for worker in self.workers[number : number + 1]:
                    worker.scope.cancel()
            case "fault":
                self._there.server.faults.inject(detail[0], detail[1], session_id=client.session.id)
            case "expire":
                self._expire(number)
            case "cut":
                self._cut.add(number)
                self._there.network.cut(source=self._names[number])
            case "heal":
                self._heal()
            case "restart":
                await self._there.server.restart(downtime=detail)
            case "change" if number not in self._cut:
                await self._recipe.change(client, detail, self._inside)
            case "pass time":
                await anyio.sleep(detail)

    async def end_well(self) -> None:
        """Heal all faults and let each worker leave, so that every worker enters in time."""
        self._heal()
        self._there.server.faults.clear()
        with anyio.move_on_after(len(self.workers) * 2 + 4 * TIMEOUT):
            while not all(worker.ended for worker in self.workers):
                for worker in self.workers:
                    worker.leave.set()
                await anyio.sleep(_PAUSE)
        waiting = [worker for worker in self.workers if not worker.ended]
        assert not waiting, f"these would wait for ever: {waiting}"

    def _heal(self) -> None:
        self._cut.clear()
        self._there.network.heal()

    def _expire(self, number: int) -> None:
        """Expire a session on the server without warning; its workers are no longer inside."""
        if number not in self._cut:
            self._inside = [worker for worker in self._inside if worker.client != number]
            with suppress(KeyError):  # it has expired already, and the client is about to create the next one
                self._there.server.expire(self._clients[number].session.id)

    async def _work(self, worker: Worker) -> None:
        client = self._clients[worker.client]
        with worker.scope:
            try:
                async with self._recipe.enter(client, worker) as hold:
                    try:
                        hold.check()
                        self._inside.append(worker)
                        self._recipe.check(self._inside)
                        await worker.leave.wait()
                        hold.check()
                    finally:
                        if worker in self._inside:
                            self._inside.remove(worker)
                worker.ended = "left"
            except zk.LockLostError:
                worker.ended = "lost"
            except ValueError:
                worker.ended = "refused"
        worker.ended = worker.ended or "cancelled"
