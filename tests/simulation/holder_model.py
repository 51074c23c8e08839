"""The client whose hold must never outlive its session.

A small loop runs our own `HoldProof` and `HoldChecks`. It acts like the client around them: it pings when
nothing was sent for a third of the timeout, and takes another server when nothing arrived for two thirds,
when a check stays unanswered or when a connect takes too long. Before the hold it may idle, read and write;
any answer may serve the proof.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tests.simulation.ensemble_model import Connect, Connected, Ensemble, Operation, Reply, Request
from tests.simulation.network_model import Connection, Machine, Reset
from zkrecipes.protocol.hold_checks import PART_SIZE_MAX, HoldChecks
from zkrecipes.protocol.hold_proof import (
    CHECK_EVERY,
    CHECK_UNANSWERED_AFTER,
    CONNECT_ATTEMPT_WITH_HOLDS,
    HoldProof,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "C"
PATH = "/lock/mine"
OTHERS = ("/other/1", "/other/2", "/other/3")


@dataclass(frozen=True, slots=True)
class Plan:
    """The holder's plan for its session; times are in session timeouts."""

    lock_after: float | None = 0.0
    """The time from the first connection until it wants the lock; None if the fault schedule decides."""
    has_waited: bool = False
    """Whether it created its node long before and gets its turn now; otherwise it starts with the create."""
    reads_every: float | None = None
    """The mean time between reads; None if it does not read."""
    writes_every: float | None = None
    has_others: bool = False
    """Whether it has other holds, too many for one check, and sometimes asks for a proof of one hold."""


class Pending(NamedTuple):
    xid: int
    operation: Operation
    sent_at: float
    proves_until: float
    takes_lock: bool


class Holder(Machine):
    """The holder. The model checks `ended_at`: the holder believed to hold until then, if it `has_held`."""

    # These numbers are in session timeouts. An adversary knows them.
    check_every: ClassVar = CHECK_EVERY
    leave_after: ClassVar = CHECK_UNANSWERED_AFTER

    def __init__(self, ensemble: Ensemble, plan: Plan, first: Callable[[], str]) -> None:
        super().__init__(ensemble.network, NAME)
        self.ensemble, self.plan = ensemble, plan
        self.timeout = ensemble.settings.timeout
        self.proof = HoldProof(half_tick=ensemble.settings.half_tick_known)
        self.checks = HoldChecks(
            self.proof, part_size_max=len(OTHERS[0]) if plan.has_others else PART_SIZE_MAX
        )
        self.has_held = self.is_over = False
        self.server: str | None = None
        self.on_answer: Callable[[float, Operation], None] | None = None
        """The adversary's function, called with the send time of each answered request."""
        self.on_request: Callable[[Operation], None] | None = None
        """The adversary's function, called when a request is sent."""
        self._first = first
        self._hosts: list[str] = []
        self._connection: Connection | None = None
        self._is_connected = False
        self._attempt = 0  # counts connections; timers of an earlier connection are void
        self._connect_sent_at = 0.0
        self._xid = 0
        self._pending: deque[Pending] = deque()
        self._sent_at = self._heard_at = 0.0
        self._wants_lock = self._was_attached = False
        self._wake_at = math.inf

    def valid_until(self) -> float:
        """Return the time until which it believes to hold, on its own clock."""
        return self.proof.valid_until

    @property
    def ended_at(self) -> float:
        return self.in_network_time(self.valid_until())

    @property
    def is_attached(self) -> bool:
        return self._is_connected

    # Connections.

    def connect(self) -> None:
        if self.is_over:
            return
        self._leave()
        self.server = self._next_host()
        self._connection = Connection(self.name, self.server)
        self._connect_sent_at = self.clock()
        self.send(self._connection, Connect())
        patience = CONNECT_ATTEMPT_WITH_HOLDS if self.checks.paths else 1 / 3
        self._on_this_attempt(patience * self.timeout, self._give_up_unless_connected)

    def _next_host(self) -> str:
        if self.server is None:
            return self._first()
        if not self._hosts:
            self._hosts = [server.name for server in self.ensemble.servers]
            self.network.rng.shuffle(self._hosts)
            if self._hosts[0] == self.server:
                self._hosts.append(self._hosts.pop(0))
        return self._hosts.pop(0)

    def _leave(self) -> None:
        self._attempt += 1
        if self._connection is not None:
            self.close(self._connection)
        self._connection, self._is_connected = None, False
        self._pending.clear()
        self._wake_at = math.inf
        self.proof.detached()
        self.checks.detached()

    def _on_this_attempt(self, delay: float, action: Callable[[], None]) -> None:
        attempt = self._attempt

        def unless_changed() -> None:
            if self._attempt == attempt and not self.is_over:
                action()

        self.after(delay, unless_changed)

    def _give_up_unless_connected(self) -> None:
        if not self._is_connected:
            self.connect()

    def receive(self, connection: Connection, source: str, message: object) -> None:
        if connection is not self._connection or self.is_over:
            return
        self._heard_at = self.clock()
        match message:
            case Reset():
                connection.is_open[self.name] = False
                self._connection = None
                self._leave()
                self._on_this_attempt(self.network.rng.uniform(0.005, 0.05), self.connect)
            case Connected(False):
                self.finish("the session has ended")
            case Connected():
                self._attached()
            case Reply(xid, is_alive):
                pending = self._pending.popleft()
                assert pending.xid == xid
                if self.has_held and self.clock() >= self.valid_until():
                    self.finish("too late an answer")
                elif not is_alive:
                    self.finish("the session has ended or moved")
                else:
                    self._answered(pending)

    def _attached(self) -> None:
        self.network.note("the holder is attached to", self.server)
        self._is_connected = True
        self._sent_at = self._connect_sent_at
        self._hosts = []
        self.proof.attached(sent_at=self._connect_sent_at, timeout=self.timeout)
        self.checks.attached(self.clock() - self._connect_sent_at)
        if not self._was_attached and self.plan.has_others:
            for path in OTHERS:
                self.checks.add(path)
        if not self._was_attached and self.plan.lock_after is not None:
            self.after(self.plan.lock_after * self.timeout, self.take_lock)
        self._was_attached = True
        if self._wants_lock:
            self.take_lock()
        self._idle_with(Operation.READ, self.plan.reads_every)
        self._idle_with(Operation.WRITE, self.plan.writes_every)
        if self.plan.has_others:
            self._confirm_at_times()
        self._wake()

    # Requests.

    def _idle_with(self, operation: Operation, every: float | None) -> None:
        if every is None:
            return

        def send_one() -> None:
            self._request(operation)
            self._idle_with(operation, every)

        self._on_this_attempt(self.network.rng.expovariate(1 / (every * self.timeout)), send_one)

    def _confirm_at_times(self) -> None:
        def confirm() -> None:
            self.checks.ask(OTHERS[1])
            self._wake()
            self._confirm_at_times()

        self._on_this_attempt(self.network.rng.expovariate(4 / self.timeout), confirm)

    def take_lock(self) -> None:
        """Request the lock unless it is held or requested; after a connection loss, request it again."""
        self._wants_lock = True
        if self.is_over or not self._is_connected or PATH in self.checks.paths:
            return
        if self.plan.has_waited:
            self._add_hold()
        elif not any(pending.takes_lock for pending in self._pending):
            self._request(Operation.WRITE, takes_lock=True)

    def _add_hold(self) -> None:
        self.checks.add(PATH)
        self._wake()

    def _request(self, operation: Operation, *, takes_lock: bool = False) -> None:
        self._xid += 1
        self._sent_at = self.clock()
        proves_until = self.proof.write_proves_until
        self._pending.append(Pending(self._xid, operation, self._sent_at, proves_until, takes_lock))
        self.send(self._connection, Request(self._xid, operation))
        if self.on_request is not None:
            self.on_request(operation)

    def _answered(self, pending: Pending) -> None:
        now = self.clock()
        committed = pending.operation.is_quorum
        self.proof.answered(sent_at=pending.sent_at, now=now, committed=committed)
        if pending.operation is Operation.CHECK:
            self._check_answered(pending.sent_at, now)
        else:
            self.checks.replied_to_earlier(now)
            if committed:
                self.proof.write_committed(pending.proves_until)
        if pending.takes_lock:
            self._add_hold()
        self._watch_the_proof(now)
        if self.on_answer is not None:
            self.on_answer(self.in_network_time(pending.sent_at), pending.operation)
        self._wake()

    # Time.

    def _wake(self) -> None:
        """Make the calls that are due, and wake again at the next deadline."""
        if not self._is_connected or self.is_over:
            return
        now = self.clock()
        if self._must_leave(now) or now >= self._heard_at + 2 / 3 * self.timeout:
            self.network.note("the holder leaves", self.server)
            self.connect()
            return
        self._check_if_due(now)
        if now >= self._sent_at + self.timeout / 3:
            self._request(Operation.PING)
        self._sleep()

    def _sleep(self) -> None:
        wake_at = min(
            self._next_check_deadline(),
            self._sent_at + self.timeout / 3,
            self._heard_at + 2 / 3 * self.timeout,
        )
        if wake_at < self._wake_at or self._wake_at <= self.clock():
            self._wake_at = wake_at

            def wake() -> None:
                if self._wake_at == wake_at:
                    self._wake_at = math.inf
                    self._wake()

            self._on_this_attempt(wake_at - self.clock(), wake)

    # The rule under test.

    def _must_leave(self, now: float) -> bool:
        return self.checks.is_overdue(now)

    def _check_if_due(self, now: float) -> None:
        for _ in self.checks.take_due(now):
            self._request(Operation.CHECK)

    def _next_check_deadline(self) -> float:
        return self.checks.next_deadline()

    def _check_answered(self, sent_at: float, now: float) -> None:
        self.checks.succeeded(now)

    def _may_begin(self, now: float) -> bool:
        return self.checks.is_proven(PATH, now)

    # The end.

    def _watch_the_proof(self, now: float) -> None:
        until = self.valid_until()
        if not self.has_held and self._may_begin(now):
            self.has_held = True
            self.network.note("HELD")
        if self.has_held:
            self.network.note(f"the hold is proven until {self.in_network_time(until):.4f}")
            self.after(until - now, self._end_unless_proven, exactly=True)

    def _end_unless_proven(self) -> None:
        if not self.is_over and self.clock() >= self.valid_until() - 1e-9:
            self.finish("no proof")

    def finish(self, why: str) -> None:
        self.network.note("the holder is done:", why)
        self._leave()
        self.is_over = True
