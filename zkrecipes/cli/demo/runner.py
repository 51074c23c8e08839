"""The run of the demo: a server if it needs one, the workers, their failures, and the checks at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, final

import trio

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.checks import run_checks
from zkrecipes.cli.demo.events import ANSWERED_KINDS, Event, EventKind, Instruction
from zkrecipes.cli.demo.recorder import Recorder
from zkrecipes.cli.demo.view import DemoInfo, DemoView
from zkrecipes.cli.demo.worker_process import WorkerProcess
from zkrecipes.cli.demo.znodes import DemoZnodes
from zkrecipes.cli.errors import CommandError
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.devserver.server import DevServer
from zkrecipes.errors import NoNodeError
from zkrecipes.net.transport.network import bare_errors
from zkrecipes.recipes.election import Election

__all__ = ["StopHandle", "run_demo"]

WORKERS: Final = ("Ann", "Bob", "Cleo", "Dan")
JOBS: Final = 8
JOB_TIME: Final = 0.25
"""The seconds that one job takes, so that a viewer can follow."""
KILL_AT_JOB: Final = 3
CUT_AT_JOB: Final = 5

# A kill and a cut each cost a session timeout and up to a tick. The minimum timeout of a server is two ticks,
# which is 4 s by default; the demo's own server has short ticks.
SESSION_TIMEOUT: Final = 3.0
TICK_TIME: Final = 0.5

# Eleven seconds are usual; the rest is for busy machines. Longer sessions need more, because two of them
# expire, and each expiry can take the server half a session more.
_RUN_LIMIT: Final = 30.0
_CLEAN_UP_LIMIT: Final = 2.0
_ANSWER_LIMIT: Final = 3.0


@final
@dataclass
class StopHandle:
    """The scope to cancel to end the demo early. A demo that already runs then cleans up."""

    scope: trio.CancelScope


async def run_demo(
    hosts: str | None, view: DemoView, stop_handle: StopHandle, *, connect_timeout: float
) -> list[CheckResult]:
    """Run the demo once.

    Args:
        hosts: a connect string; None starts a server in this process.
        view: shows the demo.
        stop_handle: gets a narrower scope once the demo runs.
        connect_timeout: the longest wait for a session, in seconds.

    Returns:
        The results of the checks, which the view has shown already; empty if the demo was stopped early.

    Raises:
        ConnectTimeoutError: there was no session in time.
        CommandError: the chroot does not exist.
        ZooKeeperError: the server refused a request, or the client lost it permanently.

    In every case, no worker process is left, and the znodes are deleted if the server answers within 2 s.
    """
    started_at = time.monotonic()
    async with (
        _server(hosts) as (where, server),
        connect(where, session_timeout=SESSION_TIMEOUT, connect_timeout=connect_timeout) as client,
        _demo_path(client) as root,
    ):
        with trio.CancelScope() as stop_handle.scope:
            return await _DemoRun(client, root, view, where).run(server, started_at)
        return []


@asynccontextmanager
async def _server(hosts: str | None) -> AsyncIterator[tuple[str, str]]:
    """Run a server if needed; yield the connect string and a description of the server."""
    if hosts is not None:
        yield hosts, hosts
        return
    # The server starts at zxid 0, so that fencing tokens are small numbers and easy to compare.
    async with DevServer(tick_time=TICK_TIME, start_zxid=0) as server:
        yield server.connect_string, f"the demo's own dev server ({server.connect_string})"


@asynccontextmanager
async def _demo_path(client: Client) -> AsyncIterator[str]:
    """Yield the path of the demo's znodes, and delete it with its subtree at the end."""
    root = f"/zkrecipes-demo-{token_hex(4)}"
    try:
        yield root
    finally:
        with trio.move_on_after(_CLEAN_UP_LIMIT, shield=True), suppress(NoNodeError):
            await client.delete(root, recursive=True)


@final
class _DemoRun:
    def __init__(self, client: Client, root: str, view: DemoView, hosts: str) -> None:
        self._client = client
        self._root = root
        self._znodes = DemoZnodes(client, root)
        self._view = view
        self._connect_string = hosts
        self._recorder = Recorder()
        self._is_killed = False
        self._cut: str | None = None
        self._next_began = trio.Event()

    async def run(self, server: str, started_at: float) -> list[CheckResult]:
        with _answered_in_time():
            if await self._client.exists("/") is None:
                raise CommandError(f"{self._connect_string}: the chroot does not exist", ExitCode.REFUSED)
            await self._znodes.set_up(JOBS)
        timeout = self._client.session.timeout
        async with _processes(self._connect_string, self._root) as workers:
            pids = {worker.name: worker.pid for worker in workers}
            info = DemoInfo(pids, JOBS, server, self._root, timeout, started_at)
            async with self._view.showing(info):
                with trio.move_on_after(_RUN_LIMIT + 5 * (timeout - SESSION_TIMEOUT)):
                    await self._serve_workers(workers)
        with _answered_in_time():
            marks, ledger = await self._znodes.marks(), await self._znodes.ledger()
        results = run_checks(self._recorder.events, marks, ledger, workers=WORKERS)
        self._view.show_results(results, self._recorder.hand_overs, time.monotonic() - started_at)
        return results

    async def _serve_workers(self, workers: list[WorkerProcess]) -> None:
        with bare_errors():
            async with trio.open_nursery() as observers:
                observers.start_soon(self._observe_leaders)
                async with trio.open_nursery() as nursery:
                    for worker in workers:
                        nursery.start_soon(self._serve_worker, worker)
                observers.cancel_scope.cancel()

    async def _observe_leaders(self) -> None:
        async with Election(self._client, self._znodes.election_path).changes() as leaders:
            async for leader in leaders:
                if leader is not None:
                    now, token = time.monotonic(), leader.fencing_token
                    self._record(Event(EventKind.OBSERVED, leader.identifier, now, token))

    async def _serve_worker(self, worker: WorkerProcess) -> None:
        """Record and answer the events of one worker, until its process ends."""
        while (event := await worker.next_event()) is not None:
            recorded = self._recorder.record(event, time.monotonic())
            self._note_hand_over(event)
            if self._should_kill(event):
                await worker.kill()
                # The event is recorded now, because only now has the process certainly ended.
                self._record(Event(EventKind.KILLED, worker.name, time.monotonic(), event.token, event.job))
                return
            if event.kind in ANSWERED_KINDS and not self._should_hold_answer(event):
                await worker.answer(self._instruction(event))
            self._view.show_event(recorded)
            if self._should_hold_answer(event):
                await self._next_began.wait()
                await worker.answer(Instruction.CONTINUE)
        why = await worker.why_failed()
        if why:
            self._record(Event(EventKind.FAILED, worker.name, time.monotonic(), detail=why))

    def _record(self, event: Event) -> None:
        self._view.show_event(self._recorder.record(event, time.monotonic()))

    # --- the failures --------------------------------------------------------------------------------------

    def _note_hand_over(self, event: Event) -> None:
        if event.kind is EventKind.CUT_OFF:
            self._cut = event.worker
        elif event.kind is EventKind.BEGAN and self._cut is not None and event.worker != self._cut:
            self._next_began.set()

    def _should_kill(self, event: Event) -> bool:
        is_time = event.kind is EventKind.HALFWAY and event.job == KILL_AT_JOB and not self._is_killed
        self._is_killed |= is_time
        return is_time

    def _should_hold_answer(self, event: Event) -> bool:
        """Whether the worker must stay cut off until another worker has got its lock by expiry."""
        return event.kind is EventKind.LOST and event.worker == self._cut

    def _instruction(self, event: Event) -> Instruction:
        is_time = event.kind is EventKind.HALFWAY and event.job == CUT_AT_JOB and self._cut is None
        return Instruction.CUT if is_time else Instruction.CONTINUE


@contextmanager
def _answered_in_time() -> Iterator[None]:
    """Limit the time of requests, because they wait while there is no server."""
    try:
        with trio.fail_after(_ANSWER_LIMIT):
            yield
    except trio.TooSlowError as error:
        raise CommandError(f"no server answered within {_ANSWER_LIMIT:g} s", ExitCode.NO_SERVER) from error


@asynccontextmanager
async def _processes(hosts: str, root: str) -> AsyncIterator[list[WorkerProcess]]:
    """Run the workers' processes, and kill those that still run at the end."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                WorkerProcess(name, [hosts, root, name, str(SESSION_TIMEOUT), str(JOB_TIME)])
            )
            for name in WORKERS
        ]
