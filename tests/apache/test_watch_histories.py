"""Random histories of watches (`tests/client/watch_history.py`), against the dev server and Apache's.

A client starts and ends watches of every kind while another client changes the watched znodes and connections
are cut. A failure names its seed; `ZKRECIPES_WATCH_HISTORIES=100` tries that many.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from random import Random

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

import zkrecipes as zk
from tests.apache.loops import every_loop
from tests.apache.proxy import Proxy
from tests.apache.served import Served
from tests.apache.waiting import until
from tests.client.watch_history import KINDS, Record, Watch
from zkrecipes.enums import ServerVersion

pytestmark = pytest.mark.anyio
anyio_backend = every_loop()

HISTORIES = int(os.environ.get("ZKRECIPES_WATCH_HISTORIES", "1"))
PARTS = 6
WATCHES_MAX = 12
SETTLED_WITHIN = 15.0
QUIET = 0.2


class History:
    """A client that watches through a proxy, another client that changes znodes, and their events."""

    def __init__(self, seed: int, server: Served, top: str, clients: tuple[zk.Client, zk.Client]) -> None:
        self._rng = Random(seed)
        self._server = server
        self._client, self._writer = clients
        self._paths = [top, f"{top}/a", f"{top}/a/b", f"{top}/a/b/c", f"{top}/d"]
        self._record = Record()
        self._watches: list[Watch] = []
        self._connections = self._client.stats().connections
        self._is_emulated = server.version < ServerVersion.V3_6
        self._kinds = [kind for kind in KINDS if kind != "recursive" or not self._is_emulated]

    async def run_part(self, proxy: Proxy, tasks: TaskGroup) -> None:
        rng = self._rng
        for _ in range(rng.randint(10, 40)):
            what = rng.random()
            if what < 0.35 and len(self._watches) < WATCHES_MAX:
                kind, path = rng.choice(self._kinds), rng.choice(self._paths)
                self._watches.append(Watch(self._record, kind, path, stays=rng.random() < 0.3))
                tasks.start_soon(self._watches[-1].run, self._client)
            elif what < 0.5 and self._watches:
                rng.choice(self._watches).leave()
            elif what < 0.9:
                tasks.start_soon(self._change, rng.choice(self._paths[1:]), rng.random() < 0.4)
            else:
                proxy.cut()
            if rng.random() < 0.5:
                await anyio.sleep(rng.choice([0, 0, 0.001, 0.01, 0.05]))
        await self._check()

    async def _change(self, path: str, may_delete: bool) -> None:
        await self._record.change(self._writer, path, may_delete=may_delete)

    async def _check(self) -> None:
        with suppress(TimeoutError):  # the complaints then have more details
            await until(self._is_settled, within=SETTLED_WITHIN)
        await self._client.sync()
        await anyio.sleep(QUIET)
        assert not self._complaints()
        self._connections = self._client.stats().connections
        for watch in self._watches:
            watch.rest()
        self._record.begin()
        if self._server.version >= ServerVersion.V3_5:
            needed = {watch.path for watch in self._watches if not watch.is_spent}
            for path in set(self._paths) - needed:
                await until(partial(self._is_unwatched, path))

    async def _is_settled(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return not (self._record.is_changing or self._complaints())

    def _complaints(self) -> list[str]:
        reconnects = self._client.stats().connections - self._connections
        self._watches = [watch for watch in self._watches if not watch.is_over]
        found = (
            (watch, watch.complaint(reconnects, is_emulated=self._is_emulated)) for watch in self._watches
        )
        return [f"{complaint}: {watch}" for watch, complaint in found if complaint is not None]

    async def _is_unwatched(self, path: str) -> bool:
        return not await self._client.check_watches(path)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_no_watch_event_is_lost_or_invented_and_no_watch_is_left(
    server: Served, fresh_path: str, seed: int
) -> None:
    proxy = Proxy(int(server.connect_string.rpartition(":")[2]))
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(proxy.serve)
        async with (
            zk.connect(f"127.0.0.1:{port}", session_timeout=10) as client,
            zk.connect(server.connect_string, session_timeout=10) as writer,
            anyio.create_task_group() as watching,
        ):
            await writer.create(fresh_path, make_parents=True)
            history = History(seed, server, fresh_path, (client, writer))
            for _ in range(PARTS):
                await history.run_part(proxy, watching)
            watching.cancel_scope.cancel()
        tasks.cancel_scope.cancel()
