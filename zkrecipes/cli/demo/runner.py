"""Runs the demo: a server if it needs one, the workers, what happens to them, and the check at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, final

import trio

from zkrecipes.cli.demo.check import Check
from zkrecipes.cli.demo.checks import check
from zkrecipes.cli.demo.events import ASKING, Event, EventKind, Order
from zkrecipes.cli.demo.recorder import Recorder
from zkrecipes.cli.demo.view import DemoInfo, DemoView
from zkrecipes.cli.demo.worker_process import WorkerProcess
from zkrecipes.cli.demo.znodes import DemoZnodes, remove_tree
from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.devserver.server import DevServer
from zkrecipes.net.transport.network import bare_errors
from zkrecipes.recipes.election import Election

__all__ = ["StopHandle", "play"]

WORKERS: Final = ("Ann", "Bob", "Cleo", "Dan")
JOBS: Final = 8
JOB_TIME: Final = 0.25
"""Seconds that one job takes, so that a newcomer can follow."""
KILL_AT_JOB: Final = 3
CUT_AT_JOB: Final = 5

# A kill and a cut each cost a session timeout and up to a tick. Servers have a minimum of two ticks, which is
# 4 s by default; the demo's own server has short ticks.
SESSION_TIMEOUT: Final = 3.0
TICK_TIME: Final = 0.5

# Eleven seconds are usual; that a machine is busy is no reason to fail. Longer sessions make it longer: two
# of them run out, and half a session may pass until the server notices.
_PLAY_AT_MOST: Final = 30.0
_CLEAN_UP_AT_MOST: Final = 2.0
_ANSWER_AT_MOST: Final = 3.0


@final
@dataclass
class StopHandle:
    """What to cancel to end the play early; once it began, not so much that nothing could be cleaned up."""

    scope: trio.CancelScope


async def play(
    hosts: str | None, view: DemoView, stop_handle: StopHandle, *, connect_timeout: float
) -> list[Check]:
    """Run the demo once.

    Args:
        hosts: a connect string; None starts a server in this process.
        view: who shows it.
        stop_handle: its scope is replaced when the play begins.
        connect_timeout: how long to look for a server, in seconds.

    Returns:
        The claims, checked; the view has shown them already. None if the curtain fell early.

    Raises:
        ConnectTimeoutError: there was no session in time.
        CommandError: the chroot does not exist.
        ZooKeeperError: the server refused something, or was lost for good.

    However it ends, no process is left, and nothing on the server if that can be reached within 2 s.
    """
    started_at = time.monotonic()
    async with (
        _server(hosts) as (where, server),
        connect(where, session_timeout=SESSION_TIMEOUT, connect_timeout=connect_timeout) as client,
        _root(client) as root,
    ):
        with trio.CancelScope() as stop_handle.scope:
            return await _Stage(client, root, view, where).run(server, started_at)
        return []


@asynccontextmanager
async def _server(hosts: str | None) -> AsyncIterator[tuple[str, str]]:
    """The connect string, and which server it is in words."""
    if hosts is not None:
        yield hosts, hosts
        return
    # From zxid 0, so that the fencing tokens are numbers that one can compare at a glance.
    async with DevServer(tick_time=TICK_TIME, start_zxid=0) as server:
        yield server.connect_string, f"the dev server, which this process runs ({server.connect_string})"


@asynccontextmanager
async def _root(client: Client) -> AsyncIterator[str]:
    """The path under which everything is made, and removed at the end."""
    root = f"/zkrecipes-demo-{token_hex(4)}"
    try:
        yield root
    finally:
        with trio.move_on_after(_CLEAN_UP_AT_MOST, shield=True):
            await remove_tree(client, root)


@final
class _Stage:
    def __init__(self, client: Client, root: str, view: DemoView, hosts: str) -> None:
        self._client = client
        self._root = root
        self._znodes = DemoZnodes(client, root)
        self._view = view
        self._hosts = hosts
        self._recorder = Recorder()
        self._is_killed = False
        self._cut: str | None = None
        self._next_began = trio.Event()

    async def run(self, server: str, started_at: float) -> list[Check]:
        with _answered_in_time():
            if await self._client.exists("/") is None:
                raise CommandError(f"{self._hosts}: the chroot does not exist", ExitCode.REFUSED)
            await self._znodes.set_up(JOBS)
        timeout = self._client.session.timeout
        async with _processes(self._hosts, self._root) as workers:
            pids = {worker.name: worker.pid for worker in workers}
            info = DemoInfo(pids, JOBS, server, self._root, timeout, started_at)
            async with self._view.playing(info):
                with trio.move_on_after(_PLAY_AT_MOST + 5 * (timeout - SESSION_TIMEOUT)):
                    await self._attend_all(workers)
        with _answered_in_time():
            marks, ledger = await self._znodes.marks(), await self._znodes.ledger()
        claims = check(self._recorder.events, marks, ledger, workers=WORKERS)
        self._view.conclude(claims, self._recorder.hand_overs, time.monotonic() - started_at)
        return claims

    async def _attend_all(self, workers: list[WorkerProcess]) -> None:
        with bare_errors():
            async with trio.open_nursery() as audience:
                audience.start_soon(self._observe_leaders)
                async with trio.open_nursery() as nursery:
                    for worker in workers:
                        nursery.start_soon(self._attend, worker)
                audience.cancel_scope.cancel()

    async def _observe_leaders(self) -> None:
        async with Election(self._client, self._znodes.election_path).changes() as leaders:
            async for leader in leaders:
                if leader is not None:
                    now, token = time.monotonic(), leader.fencing_token
                    self._record(Event(EventKind.OBSERVED, leader.identifier, now, token))

    async def _attend(self, worker: WorkerProcess) -> None:
        """Record and answer what one worker reports, until its process ends."""
        while (event := await worker.next_event()) is not None:
            entry = self._recorder.record(event, time.monotonic())
            self._take_note(event)
            if self._must_die(event):
                await worker.kill()
                # recorded when it is certain that it does nothing more
                self._record(Event(EventKind.KILLED, worker.name, time.monotonic(), event.token, event.job))
                return
            if event.kind in ASKING and not self._must_wait(event):
                await worker.answer(self._order(event))
            self._view.tell(entry)
            if self._must_wait(event):
                await self._next_began.wait()
                await worker.answer(Order.GO)
        why = await worker.why_failed()
        if why:
            self._record(Event(EventKind.FAILED, worker.name, time.monotonic(), detail=why))

    def _record(self, event: Event) -> None:
        self._view.tell(self._recorder.record(event, time.monotonic()))

    # --- what happens to the workers -----------------------------------------------------------------------

    def _take_note(self, event: Event) -> None:
        if event.kind is EventKind.CUT_OFF:
            self._cut = event.worker
        elif event.kind is EventKind.BEGAN and self._cut is not None and event.worker != self._cut:
            self._next_began.set()

    def _must_die(self, event: Event) -> bool:
        is_time = event.kind is EventKind.HALFWAY and event.job == KILL_AT_JOB and not self._is_killed
        self._is_killed |= is_time
        return is_time

    def _must_wait(self, event: Event) -> bool:
        """The one that is cut off stays so until the server, by itself, has given its lock to another."""
        return event.kind is EventKind.LOST and event.worker == self._cut

    def _order(self, event: Event) -> Order:
        is_time = event.kind is EventKind.HALFWAY and event.job == CUT_AT_JOB and self._cut is None
        return Order.CUT if is_time else Order.GO


@contextmanager
def _answered_in_time() -> Iterator[None]:
    """A request waits while there is no server, and the demo shall end by itself."""
    try:
        with trio.fail_after(_ANSWER_AT_MOST):
            yield
    except trio.TooSlowError as error:
        raise CommandError("the servers do not answer any more", ExitCode.NO_SERVER) from error


@asynccontextmanager
async def _processes(hosts: str, root: str) -> AsyncIterator[list[WorkerProcess]]:
    """The workers' processes; those that still run at the end are killed."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                WorkerProcess(name, [hosts, root, name, str(SESSION_TIMEOUT), str(JOB_TIME)])
            )
            for name in WORKERS
        ]
