"""What watches must be told in any history: a record of the changes, and a checker written from the promises.

From `docs/explanation/guarantees.md`, "Watches":

- A persistent watch is told each change from its beginning on, in order and once. After a reconnect, and in a
  new session, it is told `RESYNC` instead of the changes that it may have missed.
- A one-shot watch fires once, when what was read may have changed, or ends with its session.

The checker sees only what the other client has changed and what the watches were told, never what the client
under test keeps.
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
"""The client under test may change what is below; watches are told of it, and nobody checks that."""

CREATED, DELETED = EventType.CREATED, EventType.DELETED
CHANGED, CHILDREN, RESYNC = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED, EventType.RESYNC


@dataclass(eq=False)
class Change:
    """One change by the other client: begun at a moment of the record, and done later."""

    type: EventType
    path: str
    begun: int
    done: int | None = None

    def __str__(self) -> str:
        return f"{self.type.name}:{self.path}@{self.begun}-{self.done}"


@dataclass
class Record:
    """The changes since all was last at rest, on a clock that counts what happens."""

    changes: list[Change] = field(default_factory=list)
    now: int = 0
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    def begin(self) -> None:
        """Forget the changes, which are all done and told."""
        self.changes.clear()

    @property
    def is_changing(self) -> bool:
        """Whether a change has begun that is not done."""
        return self._turn.locked()

    def moment(self) -> int:
        """The next moment."""
        self.now += 1
        return self.now

    async def change(self, client: zk.Client, path: str, *, may_delete: bool) -> None:
        """Create the znode if there is none, else change or delete it; this client alone does that."""
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
class Told:
    """One event of a watch, and when it was told."""

    type: EventType
    path: str
    at: int


class Watch:
    """One watch of a client, in a task of its own.

    Attributes:
        told: its events since all was last at rest.
        asked: when its block was about to be entered.
        entered: when it was, or None.
        is_over: whether its block has ended, and with it what was promised.
        is_spent: whether a one-shot watch has fired.
    """

    def __init__(self, record: Record, kind: str, path: str, *, stays: bool = False) -> None:
        self.kind = kind
        self.path = path
        self.told: list[Told] = []
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
        """Cancel its task, whatever it waits for."""
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
        self.told.append(Told(event.type, event.path, self._record.moment()))

    def rest(self) -> None:
        """Begin a new part of the history: what has happened until now is settled."""
        self.told.clear()
        self.asked = self.entered = self._record.moment()

    # --- the oracle ----------------------------------------------------------------------------------------

    def complaint(self, reconnects: int, *, is_emulated: bool = False) -> str | None:
        """What is wrong with what it was told, all being at rest; None if nothing is.

        Args:
            reconnects: how many connections the client has had since the last rest, besides the one it had.
            is_emulated: the server has no persistent watches, so that several changes may be told as one.
        """
        if self.entered is None:
            return "it still waits for its first answer"
        if self.kind not in PERSISTENT:
            return self._complaint_of_one_shot()
        if [told.type for told in self.told].count(RESYNC) > reconnects:
            return f"more RESYNC than the {reconnects} reconnects"
        if is_emulated:
            must = [change for change in self._relevant() if change.begun > self.entered]
            return "told nothing of its changes" if must and not self.told else None
        expected = [(change, each) for change in self._relevant() for each in self._events_of(change)]
        return complaint(self.told, expected, self.entered)

    def _complaint_of_one_shot(self) -> str | None:
        assert self.entered is not None
        relevant = self._relevant()
        if self.told:
            may_be = [each for each in relevant if each.done is None or each.done > self.asked]
            return None if may_be else "it fired, and nothing has happened since it was asked for"
        lost = [each for each in relevant if each.begun > self.entered]
        return f"it has not fired at {lost[0]}" if lost and not self.is_spent else None

    def _relevant(self) -> list[Change]:
        return [each for each in self._record.changes if self._events_of(each) and self._is_new(each)]

    def _is_new(self, change: Change) -> bool:
        return change.done is None or change.done > self.asked

    def _events_of(self, change: Change) -> list[tuple[EventType, str]]:
        """What a watch of this kind is told of a change."""
        if change.path == self.path:
            is_told = self.kind != "children" or change.type is not CHANGED
            return [(change.type, self.path)] if is_told else []
        if self.kind == "recursive":
            is_below = change.path.startswith(f"{self.path.rstrip('/')}/")
            return [(change.type, change.path)] if is_below else []
        is_list_changed = parent_of(change.path) == self.path and change.type is not CHANGED
        is_told = is_list_changed and self.kind in {"persistent", "children"}
        return [(CHILDREN, self.path)] if is_told else []

    def __str__(self) -> str:
        told = " ".join(f"{each.type.name}:{each.path}@{each.at}" for each in self.told) or "nothing"
        changes = " ".join(map(str, self._relevant()))
        where = f"{self.kind} watch of {self.path}, asked @{self.asked}, entered @{self.entered}"
        return f"{where}, told {told}; changes {changes or 'none'}"


def complaint(
    told: Sequence[Told], expected: Sequence[tuple[Change, tuple[EventType, str]]], entered: int
) -> str | None:
    """What is wrong with the events of a persistent watch, given all that could have been told; or None.

    Each event must be one of the expected ones, in their order. An expected one may be left out if its change
    had begun before the watch was entered, or before a `RESYNC` that stands in its place.
    """
    # Every way to read it: up to where the expected events are accounted for, and the RESYNC told since then.
    ways: set[tuple[int, int]] = {(0, entered)}
    for each in told:
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
