"""The events that watches must yield in any history: a record of the changes, and a checker of the promises.

From `docs/explanation/guarantees.md`, "Watches":

- A persistent watch yields each change from its start on, in order and once. After a reconnect, and in a
  new session, it yields `RESYNC` instead of the changes that it may have missed.
- A one-shot watch fires once, when the result of its read may have changed, or ends with its session.

The checker sees only the changes of the other client and the events of the watches, never the state of the
client under test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

import zkrecipes as zk
from zkrecipes import EventType
from zkrecipes.paths import parent_of

PERSISTENT: Final = ("persistent", "recursive")
ONE_SHOT: Final = ("data", "exists", "children")
KINDS: Final = (*PERSISTENT, *ONE_SHOT)

NOT_RECORDED: Final = "/lock"
"""The client under test may change the znodes below. Watches report these changes; no check covers them."""

CREATED, DELETED = EventType.CREATED, EventType.DELETED
CHANGED, CHILDREN, RESYNC = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED, EventType.RESYNC


@dataclass(eq=False)
class Change:
    """One change by the other client, with the times of its start and its end in the record."""

    type: EventType
    path: str
    begun: int
    done: int | None = None

    def __str__(self) -> str:
        return f"{self.type.name}:{self.path}@{self.begun}-{self.done}"


@dataclass
class Record:
    """The changes since the last rest, on a clock that counts events."""

    changes: list[Change] = field(default_factory=list)
    now: int = 0
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    def begin(self) -> None:
        """Forget the changes: all of them are done and reported."""
        self.changes.clear()

    @property
    def is_changing(self) -> bool:
        """Whether a change is in progress."""
        return self._turn.locked()

    def moment(self) -> int:
        """Advance the clock and return its time."""
        self.now += 1
        return self.now

    async def change(self, client: zk.Client, path: str, *, may_delete: bool) -> None:
        """Create the znode if it does not exist, otherwise change or delete it; only this client does so."""
        async with self._turn:
            await self._change(client, path, may_delete=may_delete)

    async def _change(self, client: zk.Client, path: str, *, may_delete: bool) -> None:
        if await client.exists(path) is None:
            await self._make(CREATED, path, lambda: client.create(path))
        elif may_delete:
            await self._make(DELETED, path, lambda: client.delete(path))
        else:
            await self._make(CHANGED, path, lambda: client.set(path, b"x"))

    async def _make(self, kind: EventType, path: str, act: Callable[[], Awaitable[object]]) -> None:
        change = Change(kind, path, self.moment())
        self.changes.append(change)
        try:
            await act()
        except (zk.NoNodeError, zk.NotEmptyError):
            self.changes.remove(change)
        change.done = self.moment()


@dataclass(frozen=True)
class ReceivedEvent:
    """One event of a watch, with the time of its arrival."""

    type: EventType
    path: str
    at: int


class Watch:
    """One watch of a client, in a separate task.

    Attributes:
        received: the events that it received since the last pause.
        asked: the time just before its block was entered.
        entered: the time just after, or None.
        is_over: whether its block has ended, and the promises with it.
        is_spent: whether a one-shot watch has fired.
    """

    def __init__(self, record: Record, kind: str, path: str, *, stays: bool = False) -> None:
        self.kind = kind
        self.path = path
        self.received: list[ReceivedEvent] = []
        self.asked = record.moment()
        self.entered: int | None = None
        self.is_over = self.is_spent = False
        self._scope: anyio.CancelScope | None = None
        self._record = record
        self._stays = stays

    async def run(self, client: zk.Client) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self.kind in PERSISTENT:
                    await self._watch(client)
                else:
                    await self._watch_once(client)
        except (zk.NoNodeError, zk.SessionExpiredError, zk.ThrottledError):
            pass  # nothing to watch, the end of the session, or a server that refuses
        finally:
            self.is_over = True

    def leave(self) -> None:
        """Cancel its task."""
        if self._scope is not None:
            self._scope.cancel()

    async def _watch(self, client: zk.Client) -> None:
        async with client.watch(self.path, recursive=self.kind == "recursive") as events:
            self.entered = self._record.moment()
            async for event in events:
                if not event.path.startswith(NOT_RECORDED):
                    self._tell(event)

    async def _watch_once(self, client: zk.Client) -> None:
        forms: dict[str, Any] = {
            "data": client.get_and_watch,
            "exists": client.exists_and_watch,
            "children": client.get_children_and_watch,
        }
        async with forms[self.kind](self.path) as (_, changed):
            self.entered = self._record.moment()
            self._tell(await changed.wait())
            self.is_spent = True
            if self._stays:
                await anyio.sleep_forever()

    def _tell(self, event: zk.WatchEvent) -> None:
        self.received.append(ReceivedEvent(event.type, event.path, self._record.moment()))

    def rest(self) -> None:
        """Start a new part of the history: the previous part is settled."""
        self.received.clear()
        self.asked = self.entered = self._record.moment()

    # --- the oracle ----------------------------------------------------------------------------------------

    def complaint(self, reconnects: int, *, is_emulated: bool = False) -> str | None:
        """Return the first violation in its events, at rest, or None.

        Args:
            reconnects: the number of new connections of the client since the last rest.
            is_emulated: whether one event may stand for several changes, as on a server before 3.6.
        """
        if self.entered is None:
            return "it still waits for its first answer"
        if self.kind not in PERSISTENT:
            return self._complaint_of_one_shot()
        if [received.type for received in self.received].count(RESYNC) > reconnects:
            return f"more RESYNC than the {reconnects} reconnects"
        if is_emulated:
            must = [change for change in self._relevant() if change.begun > self.entered]
            return "received nothing of its changes" if must and not self.received else None
        expected = [(change, each) for change in self._relevant() for each in self._events_of(change)]
        return complaint(self.received, expected, self.entered)

    def _complaint_of_one_shot(self) -> str | None:
        assert self.entered is not None
        relevant = self._relevant()
        if self.received:
            may_be = [each for each in relevant if each.done is None or each.done > self.asked]
            return None if may_be else "it fired, and nothing has happened since it was asked for"
        lost = [each for each in relevant if each.begun > self.entered]
        return f"it has not fired at {lost[0]}" if lost and not self.is_spent else None

    def _relevant(self) -> list[Change]:
        return [each for each in self._record.changes if self._events_of(each) and self._is_new(each)]

    def _is_new(self, change: Change) -> bool:
        return change.done is None or change.done > self.asked

    def _events_of(self, change: Change) -> list[tuple[EventType, str]]:
        """Return the events that a watch of this kind yields for a change."""
        if change.path == self.path:
            is_reported = self.kind != "children" or change.type is not CHANGED
            return [(change.type, self.path)] if is_reported else []
        if self.kind == "recursive":
            is_below = change.path.startswith(f"{self.path.rstrip('/')}/")
            return [(change.type, change.path)] if is_below else []
        is_list_changed = parent_of(change.path) == self.path and change.type is not CHANGED
        is_reported = is_list_changed and self.kind in {"persistent", "children"}
        return [(CHILDREN, self.path)] if is_reported else []

    def __str__(self) -> str:
        received = " ".join(f"{each.type.name}:{each.path}@{each.at}" for each in self.received) or "nothing"
        changes = " ".join(map(str, self._relevant()))
        where = f"{self.kind} watch of {self.path}, asked @{self.asked}, entered @{self.entered}"
        return f"{where}, received {received}; changes {changes or 'none'}"


def complaint(
    received: Sequence[ReceivedEvent], expected: Sequence[tuple[Change, tuple[EventType, str]]], entered: int
) -> str | None:
    """Return the first violation in the events of a persistent watch, given all possible events, or None.

    Each event must be one of the expected ones, in their order. An expected event may be absent if its change
    started before the watch was entered, or before a `RESYNC` that replaces it.
    """
    # Every interpretation: the number of expected events that are accounted for, and the last RESYNC since.
    ways: set[tuple[int, int]] = {(0, entered)}
    for each in received:
        if each.type is RESYNC:
            ways = {(position, each.at) for position, _ in ways}
            continue
        following: set[tuple[int, int]] = set()
        for position, covered in ways:
            for index in range(position, len(expected)):
                change, event = expected[index]
                if event == (each.type, each.path) and change.begun < each.at:
                    following.add((index + 1, entered))
                if change.begun > covered:
                    break
        if not following:
            return f"{each.type.name} of {each.path} @{each.at} was invented, or something before it is lost"
        ways = following
    if any(all(change.begun <= covered for change, _ in expected[position:]) for position, covered in ways):
        return None
    return "the last changes are lost"
