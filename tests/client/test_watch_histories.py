"""Made-up histories: watches of every kind come and go while another client changes what they watch.

Connections break, replies are held back, the server refuses requests, sessions end, and in some histories the
client holds a lock. From time to time all activity pauses: then no watch may have lost or invented an event
(`watch_history.py`), and the server watches nothing that no watch needs. A failure names its seed;
`ZKRECIPES_WATCH_HISTORIES=1000` tries that many.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

import zkrecipes as zk
from tests.client.watch_history import KINDS, ONE_SHOT, PERSISTENT, Record, Watch
from tests.recipes.fault_sweep import World, virtual_time, world
from zkrecipes.client.watching import PersistentOwner
from zkrecipes.codec.jute import values_of
from zkrecipes.codec.messages import AddWatchRequest
from zkrecipes.devserver import HeldReplies
from zkrecipes.enums import OpCode, ServerVersion
from zkrecipes.protocol import watch_restore
from zkrecipes.protocol.client_side import ClientSide
from zkrecipes.protocol.events import Ticket
from zkrecipes.protocol.watch_registration import WatchRegistrations
from zkrecipes.protocol.watch_restore import set_watches_requests
from zkrecipes.protocol.watch_table import WatchTable

pytestmark = pytest.mark.anyio
anyio_backend = virtual_time()

HISTORIES = int(os.environ.get("ZKRECIPES_WATCH_HISTORIES", "8"))
PARTS = 20
PATHS = ("/", "/a", "/a/b", "/a/b/c", "/d")
WATCHES_MAX = 12
WATCH_OPCODES = (OpCode.ADD_WATCH, OpCode.SET_WATCHES, OpCode.SET_WATCHES2, OpCode.REMOVE_WATCHES)
READS = (OpCode.GET_DATA, OpCode.EXISTS, OpCode.GET_CHILDREN)


class History:
    """A client that watches, another one that changes things, and what happens to them."""

    def __init__(self, seed: int, there: World, client: zk.Client, writer: zk.Client) -> None:
        self.watches: list[Watch] = []
        self._rng = Random(seed)
        self._there = there
        self._client = client
        self._writer = writer
        self._record = Record()
        self._held: list[HeldReplies] = []
        self._refusals = 0
        self._connections = client.stats().connections
        there.before_request = self._refuse
        self._acts: list[tuple[int, Callable[[TaskGroup], None]]] = [
            (10, self._enter),
            (5, self._leave),
            (8, self._change),
            (2, self._cut),
            (2, self._inject_fault),
            (2, self._hold_replies),
            (2, self._release),
            (2, self._begin_to_refuse),
            (2, self._enter_beside_a_refused_one),
            (2, self._be_busy),
            (1, self._expire),
        ]

    async def go_on(self, tasks: TaskGroup) -> None:
        rng = self._rng
        weights = [weight for weight, _ in self._acts]
        for _ in range(rng.randint(1, 12)):
            (act,) = rng.choices([act for _, act in self._acts], weights)
            act(tasks)
            if rng.random() < 0.5:
                await anyio.sleep(rng.choice([0, 0, 0, 0.01, 0.1, 2]))
        await self._come_to_rest()
        self._check()

    def _enter(self, tasks: TaskGroup) -> None:
        self._start(self._rng.choice(KINDS), self._rng.choice(PATHS), tasks)

    def _start(self, kind: str, path: str, tasks: TaskGroup) -> None:
        if len(self.watches) < WATCHES_MAX:
            self.watches.append(Watch(self._record, kind, path, stays=self._rng.random() < 0.3))
            tasks.start_soon(self.watches[-1].run, self._client)

    def _enter_beside_a_refused_one(self, tasks: TaskGroup) -> None:
        """Enter a read that relies on a watch requested directly before it, which the server refuses."""
        self._refusals += 1
        path = self._rng.choice(PATHS)
        for kind in (self._rng.choice(PERSISTENT), self._rng.choice(ONE_SHOT)):
            self._start(kind, path, tasks)

    def _leave(self, _: TaskGroup) -> None:
        if self.watches:
            self._rng.choice(self.watches).leave()

    def _change(self, tasks: TaskGroup) -> None:
        path, may_delete = self._rng.choice(PATHS[1:]), self._rng.random() < 0.4
        tasks.start_soon(lambda: self._record.change(self._writer, path, may_delete=may_delete))

    def _cut(self, _: TaskGroup) -> None:
        self._there.network.reset(source="a")

    def _inject_fault(self, _: TaskGroup) -> None:
        faults = self._there.server.faults
        inject = self._rng.choice([faults.drop_request, faults.lose_reply])
        inject(self._rng.choice([*WATCH_OPCODES, *READS]), session_id=self._client.session.id)

    def _hold_replies(self, _: TaskGroup) -> None:
        self._held.append(self._there.server.faults.hold_replies(session_id=self._client.session.id))

    def _release(self, _: TaskGroup) -> None:
        for held in self._held:
            held.release()

    def _begin_to_refuse(self, _: TaskGroup) -> None:
        self._refusals += self._rng.randint(1, 3)

    def _refuse(self, seen: Any) -> None:
        if self._refusals and seen.opcode in WATCH_OPCODES:
            self._refusals -= 1
            raise zk.ThrottledError(None)

    def _be_busy(self, tasks: TaskGroup) -> None:
        async def read() -> None:
            async with self._client.pipeline() as pipe:
                for _ in range(300):
                    pipe.get("/big")

        tasks.start_soon(read)

    def _expire(self, _: TaskGroup) -> None:
        server = self._there.server
        if self._client.session.id in {session.id for session in server.processor.sessions}:
            server.expire(self._client.session.id)

    async def _come_to_rest(self) -> None:
        self._there.server.faults.clear()
        self._held.clear()
        self._refusals = 0
        await anyio.sleep(8)
        await self._client.sync()
        await anyio.sleep(1)

    def _check(self) -> None:
        connections, self._connections = self._connections, self._client.stats().connections
        self.watches = [watch for watch in self.watches if not watch.is_over]
        for watch in self.watches:
            complaint = watch.complaint(self._connections - connections)
            assert complaint is None, f"{complaint}: {watch}"
            watch.rest()
        self._record.begin()
        on_server = {path for _, path, _ in self._there.server.processor.watches}
        needless = on_server - {watch.path for watch in self.watches if not watch.is_spent}
        assert not needless, f"no watch needs what the server watches: {needless}"


async def hold_a_lock(client: zk.Client) -> None:
    """Have a hold as often as one can be had, which bounds what the client has in flight."""
    while True:
        try:
            async with zk.Mutex(client, "/lock"):
                await anyio.sleep(20)
        except zk.ZooKeeperError:
            await anyio.sleep(1)


async def live_through(seed: int, parts: int) -> None:
    async with (
        world(seed=seed) as there,
        there.connect("a") as client,
        there.connect("b") as writer,
        anyio.create_task_group() as tasks,
    ):
        await writer.create("/big", b"x" * 2000)
        if seed % 3 == 0:
            await client.ensure_path("/lock")
            tasks.start_soon(hold_a_lock, client)
            await anyio.sleep(1)
        history = History(seed, there, client, writer)
        for _ in range(parts):
            await history.go_on(tasks)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_no_watch_is_lost_none_is_invented_and_none_is_left(seed: int) -> None:
    await live_through(seed, PARTS)


# --- the same with one line of the client broken ------------------------------------------------------------


def _forget_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PersistentOwner, "missed", lambda _: None)


def _restore_no_one_shot(monkeypatch: pytest.MonkeyPatch) -> None:
    def requests(watches: WatchTable[Any], zxid: int, version: ServerVersion | None) -> Any:
        for batch in set_watches_requests(watches, zxid, version):
            yield type(batch)(zxid, [], [], [], *values_of(batch)[4:])

    monkeypatch.setattr(watch_restore, "set_watches_requests", requests)


def _restore_with_the_zxid_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def requests(watches: WatchTable[Any], _: int, version: ServerVersion | None) -> Any:
        return set_watches_requests(watches, 2**62, version)

    monkeypatch.setattr(watch_restore, "set_watches_requests", requests)


def _rely_on_what_is_only_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    def send(self: ClientSide, ticket: Ticket, *, urgent: bool = False) -> None:
        if isinstance(ticket.request, AddWatchRequest):
            asked.add(ticket.request.path)
        really_send(self, ticket, urgent=urgent)

    def is_confirmed(self: WatchRegistrations, path: str, *, of_children: bool) -> bool:
        return path in asked or really_confirmed(self, path, of_children=of_children)

    really_send, really_confirmed = ClientSide.send, WatchRegistrations._is_confirmed  # noqa: SLF001
    monkeypatch.setattr(ClientSide, "send", send)
    monkeypatch.setattr(WatchRegistrations, "_is_confirmed", is_confirmed)


def _remove_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchRegistrations, "_is_needed", lambda *_: False)


def _remove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchRegistrations, "left", lambda *_: None)


def _repeat_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def fired(self: PersistentOwner, event: zk.WatchEvent) -> None:
        once(self, event)
        once(self, event)

    once = PersistentOwner.fired
    monkeypatch.setattr(PersistentOwner, "fired", fired)


BROKEN = (
    _forget_resync,
    _restore_no_one_shot,
    _restore_with_the_zxid_of_now,
    _rely_on_what_is_only_asked_for,
    _remove_what_is_needed,
    _remove_nothing,
    _repeat_events,
)


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
@pytest.mark.parametrize("break_it", BROKEN)
async def test_a_client_with_one_line_broken_is_found(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    is_found = False
    for seed in range(60):
        try:
            await live_through(seed, PARTS)
        except* AssertionError:
            is_found = True
        if is_found:
            break
    assert is_found, "no history shows it"
