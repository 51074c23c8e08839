"""Semaphore in generated histories: never more permits than the limit, and every contender gets some."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import ReceivedRequest, World, jumping_backend
from tests.recipes.histories import Step, Worker, histories, play
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

PATH = "/limits/api"
STAYS = {"/limits", PATH, f"{PATH}-__lock__", f"{PATH}/locks", f"{PATH}/leases"}
LIMIT = 3
WISHES = st.integers(1, LIMIT)


class _Api:
    layout: LockLayoutName = "kazoo"
    permits = PATH

    def __init__(self, there: World) -> None:
        self._there = there
        self._limit_max = LIMIT
        self._out = 0
        self._semaphores: dict[int, zk.Semaphore] = {}
        self._violations: list[str] = []
        there.before_request = self._look

    def enter(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        semaphore = self._semaphores.get(id(client))
        if semaphore is None:
            semaphore = zk.Semaphore(client, PATH, limit=LIMIT, layout=self.layout)
            self._semaphores[id(client)] = semaphore
        return semaphore.acquire(permits=worker.wish)

    def check(self, inside: Sequence[Worker]) -> None:
        assert not self._violations, self._violations
        assert sum(worker.wish for worker in inside) <= self._limit_max

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        del inside
        if (
            self.layout == "kazoo"
            and number in (LIMIT, LIMIT + 1, LIMIT + 2)
            and id(client) in self._semaphores
        ):
            self._limit_max = max(self._limit_max, number)
            await self._semaphores[id(client)].set_limit(number)

    def _look(self, _: ReceivedRequest) -> None:
        """Check before each request that the previous one has let no contender in beyond its limit."""
        tree = self._there.server.processor.tree
        node = tree.find(self.permits)
        out = 0 if node is None else len(node.children or ())
        if out > self._out:
            data = None if node is None or self.layout != "kazoo" else node.data
            limit = int(data) if data else LIMIT
            if out > limit:
                self._violations.append(f"{out} permits are out of {limit}")
        self._out = out


class _CuratorsApi(_Api):
    layout = "curator"
    permits = f"{PATH}/leases"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("recipe", [_Api, _CuratorsApi])
@settings(max_examples=25)
@given(steps=histories(WISHES))
def test_never_more_than_the_limit_and_no_contender_waits_for_ever(
    backend: str, recipe: type[_Api], steps: list[Step]
) -> None:
    name, options = jumping_backend(backend)
    anyio.run(play, steps, recipe, STAYS, backend=name, backend_options=options)
