"""The demo in a terminal: a story that scrolls, and below it who is where at this moment."""

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

from zkrecipes.cli.demo.check import Check
from zkrecipes.cli.demo.events import Event, EventKind
from zkrecipes.cli.demo.recorder import Cause, HandOver, RecordedEvent
from zkrecipes.cli.demo.view import DemoInfo, duration, hand_over_lines

__all__ = ["LiveView"]

_COLOURS = ("cyan", "magenta", "yellow", "blue")
# Drawing costs milliseconds, and the demo's own server shares this process: so not at each event.
_FRAME = 1 / 8
_AFTER = {
    Cause.RELEASE: "gave it back",
    Cause.KILL: "was killed",
    Cause.CUT: "was cut off",
    Cause.LOSS: "lost it",
}
_SENTENCES = {
    EventKind.KILLED: " is killed while it holds the lock; job {job} is half done.",
    EventKind.CUT_OFF: " is cut off while it holds the lock; job {job} is half done.",
    EventKind.CANCELLED: " can no longer prove that it holds the lock; its work on job {job} is cancelled.",
    EventKind.LOST: " gets a LockLostError. It leaves its job to others.",
    EventKind.BACK: " reaches the server again, with a new session, and queues up.",
    EventKind.LEADS: " leads those that are left, with token {token}, and steps down.",
    EventKind.FAILED: " ended unexpectedly: {detail}",
}
_STATES = {
    EventKind.CANCELLED: ("stopped working: it knows that the lock is lost", "red"),
    EventKind.LOST: ("stopped working: it knows that the lock is lost", "red"),
    EventKind.STEPPED_DOWN: ("has stepped down", ""),
    EventKind.FINISHED: ("went home", "dim"),
    EventKind.FAILED: ("ended unexpectedly", "bold red"),
}
_GOOD_NEWS = {EventKind.BACK, EventKind.LEADS}


@final
class LiveView:
    """A `View` for terminals.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._info: DemoInfo
        self._live: Live
        self._states: dict[str, Text] = {}
        self._done: dict[int, str] = {}
        self._begun: set[int] = set()
        self._gone: Event | None = None
        self._news: list[tuple[Text, Text]] = []

    @asynccontextmanager
    async def playing(self, info: DemoInfo) -> AsyncIterator[None]:
        """As `View.playing`."""
        self._info = info
        self._states = {worker: Text("starts", "dim") for worker in info.workers}
        self._introduce(info)
        self._live = Live(self._scene(), console=self._console, auto_refresh=False)
        with self._live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._redraw)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()
            self._draw()

    def tell(self, entry: RecordedEvent) -> None:
        """As `View.tell`."""
        event = entry.event
        self._note(event)
        sentence = self._sentence(entry)
        if sentence is not None:
            self._news.append((Text(f"{event.at - self._info.started_at:.1f} s", "dim"), sentence))

    def conclude(self, checks: Sequence[Check], hand_overs: Sequence[HandOver], seconds: float) -> None:
        """As `View.conclude`."""
        self._console.print()
        for claim in checks:
            self._print(Text("ok", "bold green") if claim.holds else Text("FAILED", "bold red"), claim.text)
            for objection in claim.objections:
                self._print("", Text(objection, "red"))
        self._console.print()
        for each in hand_over_lines(hand_overs):
            self._print("", each)
        if any(each.cause is not Cause.RELEASE for each in hand_overs):
            self._print("", "Where nobody gives the lock back, the server waits for the session to run out.")
        self._console.print()
        if all(claim.holds for claim in checks):
            self._console.print(Text(f"All claims hold. {seconds:.1f} s.", "bold green"))
        else:
            self._console.print(Text(f"A claim does not hold. {seconds:.1f} s.", "bold red"))

    def _print(self, margin: str | Text, text: str | Text) -> None:
        """A line with a margin, which stays free where the line is too long for the terminal."""
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=7, justify="right", no_wrap=True)
        line.add_column()
        line.add_row(margin, text)
        self._console.print(line)

    # --- the story -----------------------------------------------------------------------------------------

    def _introduce(self, info: DemoInfo) -> None:
        self._console.print(
            Text(
                f"{len(info.workers)} workers share {info.jobs} jobs. Each is a process of its own, and only "
                "the one that holds the lock may do a job. With the lock comes a fencing token, a number "
                "greater than the one before. While they hold the lock, one worker will be killed, and one "
                f"cut off from {info.server}. In the end each of those that are left leads for a moment."
            )
        )
        self._console.print()

    def _sentence(self, entry: RecordedEvent) -> Text | None:
        event = entry.event
        if event.kind is EventKind.BEGAN:
            return self._begin_sentence(entry)
        words = _SENTENCES.get(event.kind)
        if words is None:
            return None
        style = "" if event.kind in _GOOD_NEWS else "red"
        words = words.format(job=event.job, token=event.token, detail=event.detail)
        return Text.assemble(self._name(event.worker), (words, style))

    def _begin_sentence(self, entry: RecordedEvent) -> Text | None:
        event, hand_over = entry
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

    # --- the scene -----------------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        job, states, worker = event.job, self._states, event.worker
        match event.kind:
            case EventKind.JOINED | EventKind.BACK:
                states[worker] = Text("waits for the lock")
            case EventKind.BEGAN:
                work = "finds no job left" if job is None else f"does job {job}"
                states[worker] = Text(f"HOLDS THE LOCK with token {event.token}, {work}", "bold green")
                self._gone = None
            case EventKind.DONE | EventKind.IDLE:
                states[worker] = Text("waits for the lock")
                if job is not None:
                    self._done[job] = worker
            case EventKind.KILLED:
                states[worker] = Text("killed", "bold red")
                self._gone = event
            case EventKind.CUT_OFF:
                states[worker] = Text("cut off: works on, and does not know it yet", "bold red")
                self._gone = event
            case EventKind.LEADS:
                states[worker] = Text(f"LEADS with token {event.token}", "bold green")
            case kind if kind in _STATES:
                states[worker] = Text(*_STATES[kind])

    def _scene(self) -> RenderableType:
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
        if self._gone is None:
            return Text("")
        since = time.monotonic() - self._gone.at
        return Text.assemble(
            f"The others wait, for {since:.1f} s now, until the session of ",
            self._name(self._gone.worker),
            f" has run out ({self._info.session_timeout:g} s).",
        )

    async def _redraw(self) -> None:
        while True:
            self._draw()
            await trio.sleep(_FRAME)

    def _draw(self) -> None:
        for margin, sentence in self._news:
            self._print(margin, sentence)
        self._news.clear()
        self._live.update(self._scene(), refresh=True)
