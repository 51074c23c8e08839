"""Mutex in generated histories: one holder at a time, growing tokens, and every contender gets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import jumping_backend
from tests.recipes.histories import Step, Worker, histories, play
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

PATH = "/locks/job"
STAYS = {"/locks", PATH}
WISHES = st.sampled_from(["shared object", "own object", "if it is free"])


class _Job:
    """All clients use one layout; the tasks of one client share an object or have separate ones."""

    def __init__(self, layout: LockLayoutName) -> None:
        self._layout = layout
        self._shared: dict[int, zk.Mutex] = {}
        self._tokens: list[int] = []

    @asynccontextmanager
    async def enter(self, client: zk.Client, worker: Worker) -> AsyncIterator[zk.Hold]:
        async with self._acquisition(client, worker) as hold:
            assert not self._tokens or hold.fencing_token > self._tokens[-1]
            self._tokens.append(hold.fencing_token)
            yield hold

    def _acquisition(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        own = zk.Mutex(client, PATH, layout=self._layout)
        if worker.wish == "own object":
            return own
        if worker.wish == "shared object":
            return self._shared.setdefault(id(client), own).acquire()
        return _IfFree(own)

    def check(self, inside: Sequence[Worker]) -> None:
        assert len(inside) == 1

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        del number
        contenders = await zk.Mutex(client, PATH, layout=self._layout).contenders()
        tokens = [each.fencing_token for each in contenders]
        assert tokens == sorted(tokens)
        assert len(tokens) >= len(inside)


class _IfFree:
    """An acquisition with one try."""

    def __init__(self, mutex: zk.Mutex) -> None:
        self._acquisition = mutex.acquire(wait=0)

    async def __aenter__(self) -> zk.Hold:
        try:
            return await self._acquisition.__aenter__()
        except zk.AcquireTimeoutError:
            raise ValueError("somebody else has it") from None

    async def __aexit__(self, *error: object) -> None:
        await self._acquisition.__aexit__(*error)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["kazoo", "curator"])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@settings(max_examples=40)
@given(steps=histories(WISHES))
def test_one_holds_it_at_a_time_and_no_contender_waits_for_ever(
    backend: str, layout: LockLayoutName, steps: list[Step]
) -> None:
    name, options = jumping_backend(backend)
    workers = anyio.run(play, steps, lambda there: _Job(layout), STAYS, backend=name, backend_options=options)
    assert all(worker.wish == "if it is free" for worker in workers if worker.ended == "refused")
