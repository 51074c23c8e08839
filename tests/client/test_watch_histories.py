"""Made-up histories: watches of every kind come and go while connections break and sessions end.

From time to time all comes to rest. Then the server watches nothing that nobody needs, and one change is told
to each whom it concerns, once and as nothing else. A failure names its seed; `HISTORIES` can be raised.
"""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

import zkrecipes as zk
from tests.recipes.hurting import World, virtual_time, world
from zkrecipes import EventType
from zkrecipes.paths import parent_of

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

HISTORIES = 20
STEPS = 40
PATHS = ("/a", "/a/b", "/a/b/c", "/d")
KINDS = ("persistent", "recursive", "data", "exists", "children")
WATCHES_MAX = 12

Told = list[tuple[EventType, str]]


class Watch:
    """One watch, in a task of its own.

    Attributes:
        told: its events since it was last looked at.
        is_spent: a one-shot watch that has fired; some stay in their block then.
        is_over: its block has ended.
    """

    def __init__(self, kind: str, path: str, *, stays: bool) -> None:
        self.kind = kind
        self.path = path
        self.told: Told = []
        self.is_spent = self.is_over = False
        self.scope = anyio.CancelScope()
        self._stays = stays

    async def run(self, client: zk.Client) -> None:
        try:
            with self.scope:
                if self.kind in {"persistent", "recursive"}:
                    await self._watch(client)
                else:
                    await self._watch_once(client)
        except (zk.NoNodeError, zk.SessionExpiredError):
            pass  # as these watches do
        finally:
            self.is_over = True

    async def _watch(self, client: zk.Client) -> None:
        async with client.watch(self.path, recursive=self.kind == "recursive") as events:
            async for event in events:
                self.told.append((event.type, event.path))

    async def _watch_once(self, client: zk.Client) -> None:
        forms: dict[str, Any] = {
            "data": client.get_and_watch,
            "exists": client.exists_and_watch,
            "children": client.get_children_and_watch,
        }
        async with forms[self.kind](self.path) as (_, changed):
            event = await changed.wait()
            self.is_spent = True
            self.told.append((event.type, event.path))
            if self._stays:
                await anyio.sleep_forever()

    def concerned(self, change: EventType, path: str) -> Told:
        """What it must be told of a change."""
        if self.is_spent:
            return []
        if path == self.path:
            is_told = self.kind != "children" or change is EventType.DELETED
            return [(change, path)] if is_told else []
        if self.kind == "recursive":
            return [(change, path)] if path.startswith(f"{self.path}/") else []
        is_list_changed = parent_of(path) == self.path and change is not EventType.DATA_CHANGED
        is_told = is_list_changed and self.kind in {"persistent", "children"}
        return [(EventType.CHILDREN_CHANGED, self.path)] if is_told else []


class History:
    """A client that watches, another one that changes things, and what happens to them."""

    def __init__(self, seed: int, there: World, client: zk.Client, writer: zk.Client) -> None:
        self.watches: list[Watch] = []
        self._rng = Random(seed)
        self._there = there
        self._client = client
        self._writer = writer

    async def go_on(self, tasks: TaskGroup) -> None:
        for _ in range(self._rng.randint(0, 4)):
            self._happen(tasks)
            if self._rng.random() < 0.4:
                await anyio.sleep(self._rng.choice([0, 0, 0, 0.01, 0.1, 2]))
        await anyio.sleep(8)
        await self._client.sync()
        await anyio.sleep(1)
        self.watches = [watch for watch in self.watches if not watch.is_over]
        self._check_that_nothing_is_left()
        await self._change_one()

    def _happen(self, tasks: TaskGroup) -> None:
        rng, server = self._rng, self._there.server
        what = rng.random()
        if what < 0.5 and len(self.watches) < WATCHES_MAX:
            self.watches.append(Watch(rng.choice(KINDS), rng.choice(PATHS), stays=rng.random() < 0.3))
            tasks.start_soon(self.watches[-1].run, self._client)
        elif what < 0.85 and self.watches:
            rng.choice(self.watches).scope.cancel()
        elif what < 0.91:
            self._there.network.reset(source="a")
        elif what < 0.97:
            server.drop_connections()
        elif self._client.session.id in {session.id for session in server.processor.sessions}:
            server.expire(self._client.session.id)

    def _check_that_nothing_is_left(self) -> None:
        on_server = {path for _, path, _ in self._there.server.processor.watches}
        assert on_server <= {watch.path for watch in self.watches if not watch.is_spent}

    async def _change_one(self) -> None:
        path = self._rng.choice(PATHS)
        for watch in self.watches:
            watch.told.clear()
        try:
            change = await self._change(path)
        except (zk.NoNodeError, zk.NotEmptyError):
            return
        must_be_told = [watch.concerned(change, path) for watch in self.watches]
        await anyio.sleep(1)
        for watch, told in zip(self.watches, must_be_told, strict=True):
            assert watch.told == told, f"{watch.kind} watch of {watch.path}, after {change.name} of {path}"

    async def _change(self, path: str) -> EventType:
        if await self._writer.exists(path) is None:
            await self._writer.create(path)
            return EventType.CREATED
        if self._rng.random() < 0.5:
            await self._writer.set(path, b"x")
            return EventType.DATA_CHANGED
        await self._writer.delete(path)
        return EventType.DELETED


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_each_change_is_told_to_whom_it_concerns_and_no_watch_is_left(seed: int) -> None:
    async with (
        world(seed=seed) as there,
        there.connect("a") as client,
        there.connect("b") as writer,
        anyio.create_task_group() as tasks,
    ):
        history = History(seed, there, client, writer)
        for _ in range(STEPS):
            await history.go_on(tasks)
        tasks.cancel_scope.cancel()
