"""ReadWriteLock in generated histories: a writer is always alone, and every contender gets the lock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import pytest
from hypothesis import given, settings, strategies as st

import zkrecipes as zk
from tests.recipes.fault_sweep import World, jumping_backend
from tests.recipes.histories import Step, Worker, histories, play
from zkrecipes.recipes.locking.lock_layouts import LockLayoutName

PATH = "/locks/table"
STAYS = {"/locks", PATH}
WISHES = st.sampled_from(["read", "read", "write", "downgrade"])


class _Table:
    layout: LockLayoutName = "kazoo"

    def __init__(self, there: World) -> None:
        del there
        self._locks: dict[int, zk.ReadWriteLock] = {}

    def enter(self, client: zk.Client, worker: Worker) -> AbstractAsyncContextManager[zk.Hold]:
        lock = self._locks.setdefault(id(client), zk.ReadWriteLock(client, PATH, layout=self.layout))
        if worker.wish == "read":
            return lock.read()
        return lock.write() if worker.wish == "write" else _Downgraded(lock)

    def check(self, inside: Sequence[Worker]) -> None:
        wishes = [worker.wish for worker in inside]
        assert "write" not in wishes or len(wishes) == 1, wishes

    async def change(self, client: zk.Client, number: int, inside: Sequence[Worker]) -> None:
        del number
        contenders = await zk.ReadWriteLock(client, PATH, layout=self.layout).contenders()
        assert len(contenders) >= len(inside)


class _CuratorsTable(_Table):
    layout = "curator"


class _Downgraded:
    """A read lock that was a write lock first."""

    def __init__(self, lock: zk.ReadWriteLock) -> None:
        self._lock = lock
        self._acquisition = lock.write()

    async def __aenter__(self) -> zk.Hold:
        hold = await self._acquisition.__aenter__()
        try:
            await self._lock.downgrade()
        except BaseException as error:
            await self._acquisition.__aexit__(type(error), error, error.__traceback__)
            raise
        return hold

    async def __aexit__(self, *error: object) -> None:
        await self._acquisition.__aexit__(*error)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("recipe", [_Table, _CuratorsTable])
@settings(max_examples=40)
@given(steps=histories(WISHES))
def test_a_writer_is_alone_and_no_contender_waits_for_ever(
    backend: str, recipe: type[_Table], steps: list[Step]
) -> None:
    name, options = jumping_backend(backend)
    workers = anyio.run(play, steps, recipe, STAYS, backend=name, backend_options=options)
    assert not [worker for worker in workers if worker.ended == "refused"]
