"""Holders with rules that are almost right, to show that the model tells them from the one that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.simulation.ensemble_model import Ensemble, Operation
from tests.simulation.holder_model import Holder, Pending, Plan
from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_proof import VALID_FOR, HoldProof

if TYPE_CHECKING:
    from collections.abc import Callable


class SimpleHolder(Holder):
    """3T/4 after the send of the newest answered check, whatever was answered before it.

    A check every T/8, whether or not its predecessors are answered; another server when one was not for T/4;
    and the hold is valid for 3T/4 after the send of the newest answered check. With pings of the leader every
    T/4 at most that looks right, for what could the leader not have heard of? What the server said after a
    stall.
    """

    check_every = 1 / 8
    leave_after = 1 / 4

    _simple_until = -math.inf
    _checked_at = -math.inf

    def valid_until(self) -> float:
        return self._simple_until

    def _must_leave(self, now: float) -> bool:
        return self._oldest_check_sent_at() <= now - self.leave_after * self.timeout

    def _check_if_due(self, now: float) -> None:
        if self.checks.paths and now >= self._checked_at + self.check_every * self.timeout:
            self._checked_at = now
            self._request(Operation.CHECK)

    def _next_check_deadline(self) -> float:
        if not self.checks.paths:
            return math.inf
        due_at = self._checked_at + self.check_every * self.timeout
        return min(due_at, self._oldest_check_sent_at() + self.leave_after * self.timeout)

    def _check_answered(self, sent_at: float, now: float) -> None:
        self._simple_until = sent_at + 3 / 4 * self.timeout

    def _may_begin(self, now: float) -> bool:
        return now < self._simple_until

    def _oldest_check_sent_at(self) -> float:
        checks = (pending.sent_at for pending in self._pending if pending.operation is Operation.CHECK)
        return next(checks, math.inf)


class OwnTouchHolder(Holder):
    """Takes an answered write for a touch: but a learner's request does not touch at the leader."""

    def _answered(self, pending: Pending) -> None:
        if pending.operation.is_quorum:
            self.proof.write_committed(pending.sent_at + VALID_FOR * self.timeout)
        super()._answered(pending)


class OneWriteHolder(Holder):
    """Takes a write for its own m: but it may have left the server before the answer to the ping did."""

    def _answered(self, pending: Pending) -> None:
        if pending.operation.is_quorum:
            self.proof.answered(sent_at=pending.sent_at, now=self.clock(), committed=True)
            self.proof.write_committed(self.proof.write_proves_until)
        super()._answered(pending)


class UncommittedHolder(Holder):
    """Takes any answer for m, pings too: but the leader's pings may not reach the server that answers."""

    def _answered(self, pending: Pending) -> None:
        self.proof.answered(sent_at=pending.sent_at, now=self.clock(), committed=True)
        super()._answered(pending)


class NoHalfTickHolder(Holder):
    """Takes what was answered just before m for j: but the leader's newest ping may be older."""

    def __init__(self, ensemble: Ensemble, plan: Plan, first: Callable[[], str]) -> None:
        super().__init__(ensemble, plan, first)
        self.proof = HoldProof(half_tick=1e-9)
        self.checks = HoldChecks(self.proof)


class ConnectedHolder(Holder):
    """Takes the answer to its connect request for a proof: but a leader without a quorum gives it, too."""

    def _attached(self) -> None:
        super()._attached()
        self.proof.write_committed(self.proof.write_proves_until)
