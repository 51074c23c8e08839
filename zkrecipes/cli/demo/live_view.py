"""The demo in a terminal: scrolling messages, and below them the current state of each worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import final

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zkrecipes.cli.demo.check_result import CheckResult
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.recorder import Cause, HandOver, RecordedEvent
from zkrecipes.cli.demo.view import DemoInfo, duration, hand_over_lines

__all__ = ["LiveView"]

_COLOURS = ("cyan", "magenta", "yellow", "blue")
# The seconds between two redraws. Drawing costs milliseconds, and the demo's own server shares this process,
# so the view is not drawn at each event.
_FRAME = 1 / 8
_AFTER = {
    Cause.RELEASE: "released it",
    Cause.KILL: "was killed",
    Cause.CUT: "was cut off",
    Cause.LOSS: "lost it",
}
_MESSAGES = {
    EventKind.KILLED: " is killed while it holds the lock; job {job} is half done.",
    EventKind.CUT_OFF: " is cut off while it holds the lock; job {job} is half done.",
    EventKind.CANCELLED: " can no longer prove that it holds the lock; its work on job {job} is cancelled.",
    EventKind.LOST: " gets a LockLostError. Another worker must do its job.",
    EventKind.BACK: " reaches the server again, with a new session, and waits for the lock.",
    EventKind.LEADS: " leads the remaining workers with token {token}, then steps down.",
    EventKind.FAILED: " ended unexpectedly: {detail}",
}
_STATES = {
    EventKind.CANCELLED: ("stopped, because it knows that the lock is lost", "red"),
    EventKind.LOST: ("stopped, because it knows that the lock is lost", "red"),
    EventKind.STEPPED_DOWN: ("has stepped down", ""),
    EventKind.FINISHED: ("finished", "dim"),
    EventKind.FAILED: ("ended unexpectedly", "bold red"),
}
_GOOD_KINDS = {EventKind.BACK, EventKind.LEADS}


@final
class LiveView:
    """A `DemoView` for terminals.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._info: DemoInfo
        self._live: Live
        self._states: dict[str, Text] = {}
        self._done: dict[int, str] = {}
        self._begun: set[int] = set()
        self._lost_holder: Event | None = None
        self._unprinted: list[tuple[Text, Text]] = []

    @asynccontextmanager
    async def showing(self, info: DemoInfo) -> AsyncIterator[None]:
        """See `DemoView.showing`."""
        self._info = info
        self._states = {worker: Text("starts", "dim") for worker in info.workers}
        self._print_introduction(info)
        self._live = Live(self._status_panel(), console=self._console, auto_refresh=False)
        with self._live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._redraw)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()
            self._draw()

    def show_event(self, recorded: RecordedEvent) -> None:
        """See `DemoView.show_event`."""
        event = recorded.event
        self._update_state(event)
        message = self._message_for(recorded)
        if message is not None:
            self._unprinted.append((Text(f"{event.at - self._info.started_at:.1f} s", "dim"), message))

    def show_results(
        self, results: Sequence[CheckResult], hand_overs: Sequence[HandOver], seconds: float
    ) -> None:
        """See `DemoView.show_results`."""
        self._console.print()
        for result in results:
            self._print(
                Text("ok", "bold green") if result.passed else Text("FAILED", "bold red"), result.text
            )
            for failure in result.failures:
                self._print("", Text(failure, "red"))
        self._console.print()
        for each in hand_over_lines(hand_overs):
            self._print("", each)
        if any(each.cause is not Cause.RELEASE for each in hand_overs):
            self._print(
                "", "If a holder does not release the lock, it becomes free when the session expires."
            )
        self._console.print()
        if all(result.passed for result in results):
            self._console.print(Text(f"All checks passed. {seconds:.1f} s.", "bold green"))
        else:
            self._console.print(Text(f"A check failed. {seconds:.1f} s.", "bold red"))

    def _print(self, margin: str | Text, text: str | Text) -> None:
        """Print a line with a margin, which stays empty if the line wraps."""
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=7, justify="right", no_wrap=True)
        line.add_column()
        line.add_row(margin, text)
        self._console.print(line)

    # --- the messages --------------------------------------------------------------------------------------

    def _print_introduction(self, info: DemoInfo) -> None:
        self._console.print(
            Text(
                f"{len(info.workers)} worker processes share {info.jobs} jobs. A worker may do a job only "
                "while it holds the lock. Each hold has a fencing token, a number greater than that of the "
                "previous hold. While they hold the lock, one worker will be killed, and one will be cut off "
                f"from {info.server}. At the end each remaining worker leads for a short time."
            )
        )
        self._console.print()

    def _message_for(self, recorded: RecordedEvent) -> Text | None:
        event = recorded.event
        if event.kind is EventKind.BEGAN:
            return self._begin_message(recorded)
        words = _MESSAGES.get(event.kind)
        if words is None:
            return None
        style = "" if event.kind in _GOOD_KINDS else "red"
        words = words.format(job=event.job, token=event.token, detail=event.detail)
        return Text.assemble(self._name(event.worker), (words, style))

    def _begin_message(self, recorded: RecordedEvent) -> Text | None:
        event, hand_over = recorded
        if event.job is None:
            return None
        after: tuple[str | Text, ...] = ()
        if hand_over is not None:
            giver = self._name(hand_over.giver)
            after = (f" {duration(hand_over.seconds)} after ", giver, f" {_AFTER[hand_over.cause]}")
        again = " again" if event.job in self._begun else ""
        self._begun.add(event.job)
        token = Text(str(event.token), "bold")
        return Text.assemble(
            self._name(event.worker), " has the lock", *after, ", token ", token, f": job {event.job}{again}"
        )

    def _name(self, worker: str) -> Text:
        colours = dict(zip(self._info.workers, _COLOURS * len(self._info.workers), strict=False))
        return Text(worker, colours[worker])

    # --- the state of the workers --------------------------------------------------------------------------

    def _update_state(self, event: Event) -> None:
        job, states, worker = event.job, self._states, event.worker
        match event.kind:
            case EventKind.JOINED | EventKind.BACK:
                states[worker] = Text("waits for the lock")
            case EventKind.BEGAN:
                work = "finds no job left" if job is None else f"does job {job}"
                states[worker] = Text(f"HOLDS THE LOCK with token {event.token}, {work}", "bold green")
                self._lost_holder = None
            case EventKind.DONE | EventKind.IDLE:
                states[worker] = Text("waits for the lock")
                if job is not None:
                    self._done[job] = worker
            case EventKind.KILLED:
                states[worker] = Text("killed", "bold red")
                self._lost_holder = event
            case EventKind.CUT_OFF:
                states[worker] = Text("cut off, and still working", "bold red")
                self._lost_holder = event
            case EventKind.LEADS:
                states[worker] = Text(f"LEADS with token {event.token}", "bold green")
            case kind if kind in _STATES:
                states[worker] = Text(*_STATES[kind])

    def _status_panel(self) -> RenderableType:
        workers = Table.grid(padding=(0, 2, 0, 0))
        workers.add_column(no_wrap=True)
        workers.add_column(no_wrap=True, style="dim")
        workers.add_column()
        for worker, pid in self._info.workers.items():
            workers.add_row(self._name(worker), f"process {pid}", self._states[worker])
        jobs = Text("Jobs:")
        for job in range(1, self._info.jobs + 1):
            by = self._done.get(job)
            jobs.append_text(
                Text(f"  {job} -", "dim") if by is None else Text.assemble(f"  {job} ", self._name(by))
            )
        return Group(Text(""), workers, Text(""), jobs, self._waiting_line())

    def _waiting_line(self) -> Text:
        if self._lost_holder is None:
            return Text("")
        since = time.monotonic() - self._lost_holder.at
        return Text.assemble(
            f"The others have waited {since:.1f} s for the session of ",
            self._name(self._lost_holder.worker),
            f" to expire (timeout {self._info.session_timeout:g} s).",
        )

    async def _redraw(self) -> None:
        while True:
            self._draw()
            await trio.sleep(_FRAME)

    def _draw(self) -> None:
        for margin, message in self._unprinted:
            self._print(margin, message)
        self._unprinted.clear()
        self._live.update(self._status_panel(), refresh=True)
