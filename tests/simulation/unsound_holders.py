"""Holders with rules that are almost right, to show that the model finds their faults."""

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
    """A holder whose hold is valid for 3T/4 after the send of the newest answered check.

    It ignores the answers before that check. It sends a check every T/8, whether or not the previous ones are
    answered, and takes another server when a check was not answered for T/4. If the leader pings at least
    every T/4, this looks right. But the leader may not have received the server's messages after a stall.
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
    """A holder that treats an answered write as a touch.

    In fact a learner's request touches nothing at the leader.
    """

    def _answered(self, pending: Pending) -> None:
        if pending.operation.is_quorum:
            self.proof.write_committed(pending.sent_at + VALID_FOR * self.timeout)
        super()._answered(pending)


class OneWriteHolder(Holder):
    """A holder that treats a write as its own m.

    In fact the write may have left the server before the answer to the ping.
    """

    def _answered(self, pending: Pending) -> None:
        if pending.operation.is_quorum:
            self.proof.answered(sent_at=pending.sent_at, now=self.clock(), committed=True)
            self.proof.write_committed(self.proof.write_proves_until)
        super()._answered(pending)


class UncommittedHolder(Holder):
    """A holder that treats any answer as m, including pings.

    In fact the leader's pings may not reach that server.
    """

    def _answered(self, pending: Pending) -> None:
        self.proof.answered(sent_at=pending.sent_at, now=self.clock(), committed=True)
        super()._answered(pending)


class NoHalfTickHolder(Holder):
    """A holder that treats the request answered just before m as j.

    In fact the leader's newest ping may be older.
    """

    def __init__(self, ensemble: Ensemble, plan: Plan, first: Callable[[], str]) -> None:
        super().__init__(ensemble, plan, first)
        self.proof = HoldProof(half_tick=1e-9)
        self.checks = HoldChecks(self.proof)


class ConnectedHolder(Holder):
    """A holder that treats the answer to its connect request as a proof.

    In fact a leader without a quorum also gives it.
    """

    def _attached(self) -> None:
        super()._attached()
        self.proof.write_committed(self.proof.write_proves_until)
