"""Machines, their clocks and the links between them, as discrete events.

Links are TCP as seen from outside: first in, first out, with a delay that varies; a blocked link holds back
what it cannot deliver and delivers it after the heal. Each direction is blocked separately. A machine's clock
drifts, its timers fire a little late, and it can be paused; afterwards it processes the messages
that arrived in any order that threads may choose, but in order per link.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Connection:
    """A TCP connection between two machines; each end closes separately."""

    __slots__ = ("ends", "is_open")

    def __init__(self, one: str, other: str) -> None:
        self.ends = (one, other)
        self.is_open = {one: True, other: True}

    def peer_of(self, end: str) -> str:
        one, other = self.ends
        return other if end == one else one


class Reset(NamedTuple):
    """The peer has closed the connection, or does not know it."""


class Delivery(NamedTuple):
    due_at: float
    connection: Connection
    message: object


@dataclass(slots=True)
class Link:
    """One direction between two machines, for all their connections."""

    blocked: int = 0
    queue: deque[Delivery] = field(default_factory=deque)
    last_due_at: float = 0.0


class Faults(Protocol):
    """The parameters of the network's faults."""

    @property
    def delay_min(self) -> float: ...
    @property
    def delay_max(self) -> float: ...
    @property
    def recovery_max(self) -> float: ...
    @property
    def timer_late_max(self) -> float: ...
    @property
    def drift_max(self) -> float: ...
    @property
    def tick(self) -> float: ...


class Network:
    """The global time, the scheduled events, and the links."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.faults, self.rng = faults, rng
        self.now = 0.0
        self.machines: dict[str, Machine] = {}
        self.trace: list[str] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._links: dict[tuple[str, str], Link] = {}

    def note(self, *what: object) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:10.4f}  " + " ".join(map(str, what)))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (self.now + max(delay, 0.0), self._sequence, action))

    def run_until(self, moment: float) -> None:
        while self._events and self._events[0][0] <= moment:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = max(self.now, moment)

    # Messages.

    def link(self, source: str, target: str) -> Link:
        return self._links.setdefault((source, target), Link())

    def is_linked(self, one: str, other: str) -> bool:
        return not self.link(one, other).blocked and not self.link(other, one).blocked

    def send(self, source: str, connection: Connection | None, message: object) -> None:
        if connection is None or not connection.is_open[source]:
            return
        delay = self.rng.uniform(self.faults.delay_min, self.faults.delay_max)
        self._put(source, connection, message, delay)

    def close(self, connection: Connection, by: str) -> None:
        self.send(by, connection, Reset())
        connection.is_open[by] = False

    def _put(self, source: str, connection: Connection, message: object, delay: float) -> None:
        target = connection.peer_of(source)
        link = self.link(source, target)
        link.last_due_at = max(self.now + delay, link.last_due_at + 1e-7)
        link.queue.append(Delivery(link.last_due_at, connection, message))
        if not link.blocked:
            self.after(link.last_due_at - self.now, lambda: self._deliver(source, target))

    def _deliver(self, source: str, target: str) -> None:
        link = self.link(source, target)
        machine = self.machines[target]
        while link.queue and not link.blocked and link.queue[0].due_at <= self.now + 1e-12:
            _, connection, message = link.queue.popleft()
            if connection.is_open[target]:
                machine.deliver(source, connection, message)
            elif not isinstance(message, Reset) and machine.is_up:
                self._put(target, connection, Reset(), self.faults.delay_min)

    # Faults.

    def block(self, source: str, target: str) -> None:
        self.link(source, target).blocked += 1
        self.note(f"blocked {source} -> {target}")

    def unblock(self, source: str, target: str) -> None:
        link = self.link(source, target)
        if not link.blocked:
            return
        link.blocked -= 1
        if link.blocked:
            return
        self.note(f"healed {source} -> {target}")
        due_at = self.now + self.rng.uniform(self.faults.delay_min, self.faults.recovery_max)
        held_back, link.queue = link.queue, deque()
        for delivery in held_back:
            due_at = max(delivery.due_at, due_at) + 1e-7
            link.queue.append(delivery._replace(due_at=due_at))
            self.after(due_at - self.now, lambda: self._deliver(source, target))
        link.last_due_at = max(link.last_due_at, due_at)

    def cut(self, one: str, other: str) -> None:
        self.block(one, other)
        self.block(other, one)

    def heal(self, one: str, other: str) -> None:
        self.unblock(one, other)
        self.unblock(other, one)

    def isolate(self, name: str, *, except_from: tuple[str, ...] = ()) -> None:
        for other in self.machines:
            if other != name and other not in except_from:
                self.cut(name, other)


class Machine:
    """One process on a separate machine, with its clock, timers and pauses."""

    def __init__(self, network: Network, name: str) -> None:
        faults, rng = network.faults, network.rng
        self.network, self.name = network, name
        self.is_up = True
        self._rate = 1.0 + rng.uniform(-faults.drift_max, faults.drift_max)
        self._phase = rng.uniform(0, 10 * faults.tick)
        self._is_paused = False
        self._missed: list[tuple[str | None, Callable[[], None]]] = []
        network.machines[name] = self

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    def clock(self) -> float:
        return self._phase + self.network.now * self._rate

    def in_network_time(self, clock: float) -> float:
        return (clock - self._phase) / self._rate

    def after(self, delay: float, action: Callable[[], None], *, exactly: bool = False) -> None:
        """Make a call this much later on this machine's clock, or a little later than that."""
        late = 0.0 if exactly else self.network.rng.uniform(0, self.network.faults.timer_late_max)
        self.network.after(max(delay, 0.0) / self._rate + late, lambda: self._do(None, action))

    def deliver(self, source: str, connection: Connection, message: object) -> None:
        self._do(source, lambda: self.receive(connection, source, message))

    def receive(self, connection: Connection, source: str, message: object) -> None:
        raise NotImplementedError

    def send(self, connection: Connection | None, message: object) -> None:
        self.network.send(self.name, connection, message)

    def close(self, connection: Connection) -> None:
        self.network.close(connection, self.name)

    def pause(self, duration: float) -> None:
        if not self._is_paused:
            self.network.note(self.name, f"pauses for {duration:.3f}")
            self._is_paused = True
            self.network.after(duration, self._resume)

    def _do(self, source: str | None, action: Callable[[], None]) -> None:
        if self._is_paused:
            self._missed.append((source, action))
        else:
            action()

    def _resume(self) -> None:
        """Process the missed messages like many threads: in any order, but in order per link."""
        self._is_paused = False
        rng = self.network.rng
        lanes: dict[object, deque[tuple[str | None, Callable[[], None]]]] = {}
        for index, (source, action) in enumerate(self._missed):
            lanes.setdefault(index if source is None else source, deque()).append((source, action))
        self._missed = []
        while lanes:
            lane = rng.choice(list(lanes))
            source, action = lanes[lane].popleft()
            if not lanes[lane]:
                del lanes[lane]
            if source is None:
                self.network.after(rng.uniform(0, 0.0005), partial(self._do, None, action))
            else:
                self._do(source, action)
