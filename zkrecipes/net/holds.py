"""The holds of one client: their proof, their checks, and the scopes that end with them."""

# The problem: the bodies of all holds must be cancelled in time, even while the client waits for a connection
# or receives a long reply; and a client may have thousands of holds.
#
# The trick: all holds of a session are proven until the same moment, so they share one alarm: a cancel scope
# whose deadline is the end of the proof. Only proofs move this deadline. If none arrives, the runtime wakes
# the alarm's task, which cancels the bodies.
#
# The consequences: a new proof costs the same for one hold and for thousands. A hold belongs to one session:
# `begin` and `end` bracket it, and a reply of an earlier connection proves nothing, because connections are
# numbered (`Evidence.connection`). A write that creates a hold's znode may prove it without a check.

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, final

import anyio

from zkrecipes.codec.messages import CheckRequest, ErrorReply
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.errors import NoAuthError, NoNodeError, RuntimeInconsistencyError
from zkrecipes.net.hold_guard import HoldRecord
from zkrecipes.net.pending import Evidence
from zkrecipes.net.session import Session
from zkrecipes.protocol.events import Connected, Replied, Ticket
from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_forecast import ROUND_TRIP_MAX
from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, HoldProof

__all__ = ["Holds"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
_LOSSES: Final = {
    NoNodeError.code: "its znode was deleted",
    NoAuthError.code: "its owner may not read its znode: the ACL must give READ",
}


@final
class Holds:
    """All holds of a client, each of its current session.

    Args:
        tick_time: the ensemble's tick in seconds if the caller knows it, else None.
        send_check: called when a check may be due at once.
        look_at_clock: called before time is trusted; calls `suspended` if the clock stood still for some
            time.
        start: starts a task that ends with the client; called once, with the first hold.
        now: returns the time on `anyio.current_time()`'s clock.

    Attributes:
        waiting: the holds whose tasks wait for a change.
        blocked: describes the loop's block since the newest proof, for the errors of holds that it ends.
    """

    def __init__(
        self,
        tick_time: float | None,
        send_check: Callable[[], None],
        look_at_clock: Callable[[], object] = lambda: None,
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None] = lambda _: None,
        now: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.hurry = send_check
        self.look_at_clock = look_at_clock
        self.now = now
        self.waiting: dict[HoldRecord, None] = {}
        self.blocked: str = ""
        self._start = start
        self._half_tick = None if tick_time is None else tick_time / 2
        self._by_path: dict[str, HoldRecord] = {}
        self._unproven: dict[HoldRecord, None] = {}
        self._session: Session | None = None
        self._tickets: deque[Ticket] = deque()
        self._connection = 0
        self._answered = self._committed = _NEVER
        self._alarm: anyio.CancelScope | None = None
        self._is_warned = False
        self.proof: HoldProof = HoldProof(half_tick=self._half_tick)
        self.checks: HoldChecks = HoldChecks(self.proof)

    # --- for recipes ---------------------------------------------------------------------------------------

    def add(
        self, path: str, session: Session, also: Iterable[str] = (), made: Evidence | None = None
    ) -> HoldRecord:
        """Check the znode at `path`, and those of `also`, from now on; `session` owns them.

        Args:
            path: the hold's znode.
            session: its owner.
            also: more znodes of the same hold.
            made: the evidence of the creation of `path`, which was a write like any check and found the znode
                as surely: if it proves enough, the hold is proven at once.
        """
        self.look_at_clock()
        hold = HoldRecord((path, *also), self)
        if session is not self._session or session.state.is_final:
            hold.lose("its session is over")
        elif len(hold.paths) == 1 and made is not None and self._is_proven_by(made):
            self._by_path[path] = hold
            self.checks.add_found(path, self.now())
            hold.prove()
            self._set_alarm()
            self.hurry()
        else:
            self._unproven[hold] = None
            self._check(hold)
        return hold

    def evidence(self) -> Evidence:
        """Return the proof that a write gives if the connection accepts it now and it succeeds."""
        return Evidence(self._connection, self.proof.write_proves_until)

    def _is_proven_by(self, made: Evidence) -> bool:
        if made.connection != self._connection:
            return False
        self.proof.write_committed(made.proves_until)
        return self.checks.will_last(self.now())

    def move(self, hold: HoldRecord, path: str) -> None:
        """Check `path` instead of the hold's znodes."""
        is_unproven = hold in self._unproven
        self.forget(hold)
        hold.paths = (path,)
        if is_unproven:
            self._unproven[hold] = None
        self._check(hold)

    def forget(self, hold: HoldRecord) -> None:
        """Stop checking the hold's znodes, because it has ended."""
        self._unproven.pop(hold, None)
        for path in hold.paths:
            if self._by_path.get(path) is hold:
                del self._by_path[path]
                self.checks.discard(path)

    def _check(self, hold: HoldRecord) -> None:
        for path in hold.paths:
            self._by_path[path] = hold
            self.checks.add(path)
        self.hurry()

    def __bool__(self) -> bool:
        return bool(self._by_path)

    def __len__(self) -> int:
        return len(set(self._by_path.values()))

    # --- for the session engine ------------------------------------------------------------------

    @property
    def cancel_at(self) -> float:
        """The time at which the bodies of all holds are cancelled unless a proof arrives."""
        return self.proof.valid_until - CANCEL_BEFORE_END * self.proof.timeout

    def begin(self, session: Session) -> None:
        """Start again with a new session: proofs of the last one mean nothing."""
        self._session = session
        self._is_warned = False
        self.proof = HoldProof(half_tick=self._half_tick)
        self.checks = HoldChecks(self.proof)

    def end(self, reason: str) -> None:
        """End the holds of a session that has ended or is about to be closed; no other hold begins in it."""
        # The reply to the creation of a lock's znode may arrive after the request to close the session.
        self._session = None
        for hold in list(self._by_path.values()):
            hold.lose(reason)

    def inherited(self, reason: str) -> None:
        """End the holds in a child of the process that has them, which would not learn of their loss."""
        self._session = None
        for hold in self._by_path.values():
            hold.disown(reason)
        self._by_path.clear()

    def attached(self, connected: Connected) -> None:
        """Note a new connection."""
        self._connection += 1
        self._answered = self._committed = _NEVER
        self.proof.attached(sent_at=connected.sent_at, timeout=connected.timeout)
        self.checks.attached(self.now() - connected.sent_at)
        self._set_alarm()  # a smaller timeout ends holds earlier

    def detached(self) -> None:
        """Note the end of the connection; what was proven stays proven until its time."""
        self._tickets.clear()
        self._connection += 1
        self.proof.detached()
        self.checks.detached()

    def suspended(self, seconds: float) -> None:
        """End every proof earlier by the time during which the loop's clock stood still."""
        self.proof.suspended(seconds)
        self._connection += 1  # earlier evidence was computed before the clock was corrected
        self._set_alarm()

    def was_blocked(self, blocked: str, now: float) -> None:
        """Note that the loop was blocked until `now`; `blocked` describes it.

        A check in flight gets its full time again, because no task could read its answer. The proof does not
        change.
        """
        self.blocked = f": {blocked}"
        self.checks.replied_to_earlier(now)

    def take_due_checks(self, now: float) -> list[Ticket]:
        """Return the checks to send now, in this order; after this call they count as sent."""
        tickets = [
            Ticket(MultiRequest(tuple(CheckRequest(path, -1) for path in paths)))
            for paths in self.checks.take_due(now)
        ]
        self._tickets.extend(tickets)
        return tickets

    def answered(self, sent_at: float, committed_sent_at: float, now: float) -> None:
        """Note the send times of the newest answered request and of the newest write that succeeded."""
        if committed_sent_at > self._committed:
            self._committed = committed_sent_at
            self.proof.answered(sent_at=committed_sent_at, now=now, committed=True)
        if sent_at > self._answered:
            self._answered = sent_at
            self.proof.answered(sent_at=sent_at, now=now, committed=False)
            self.checks.replied_to_earlier(now)

    def receive_reply(self, replied: Replied, now: float) -> bool:
        """Process the reply if it answers a check; return whether it does."""
        if not self._tickets or replied.ticket is not self._tickets[0]:
            return False
        self._tickets.popleft()
        index, code = _first_failure(replied)
        if code == 0:
            self.answered(replied.ticket.sent_at, replied.ticket.sent_at, now)
            self.checks.succeeded(now)
            self._warn_if_slow()
            self._take_proof(now)
            self.blocked = ""
        else:
            path = self.checks.failed(index if code in _LOSSES else None, now)
            if path is not None and path in self._by_path:
                self._by_path[path].is_unreadable = code == NoAuthError.code
                self._by_path[path].lose(_LOSSES[code])
        return True

    def _take_proof(self, now: float) -> None:
        if self._unproven and self.checks.will_last(now):
            for hold in list(self._unproven):
                if all(map(self.checks.is_found, hold.paths)):
                    del self._unproven[hold]
                    hold.prove()
        for hold in list(self.waiting):
            hold.wake_waiters()
        self._set_alarm()

    def _warn_if_slow(self) -> None:
        if self._is_warned or not self.checks.is_link_slow:
            return
        self._is_warned = True
        logger.warning(
            "the server takes %.3f seconds to answer a write, and holds need less than %.3f, a tenth of the "
            "session timeout: they are lost, or never acquired, if it becomes slower (use a longer "
            "session_timeout or a nearer server)",
            self.proof.round_trip,
            ROUND_TRIP_MAX * self.proof.timeout,
        )

    # --- the alarm -----------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Move the one deadline of all bodies to the time that the proof allows."""
        if not self._by_path:
            return
        cancel_at = self.cancel_at
        if cancel_at <= self.now():
            self._end_unless_proven()
        elif self._alarm is None:
            self._alarm = anyio.CancelScope(deadline=cancel_at)
            self._start(self._watch_alarm)
        else:
            self._alarm.deadline = cancel_at

    async def _watch_alarm(self) -> None:
        """Wait for the alarm, again and again, from the first hold until the client ends."""
        while self._alarm is not None:
            with self._alarm:
                await anyio.sleep_forever()
            self._alarm = anyio.CancelScope()
            self._set_alarm()

    def _end_unless_proven(self) -> None:
        """Cancel the bodies of all holds whose time has come. The holds are checked until the bodies end."""
        for hold in list(self._by_path.values()):
            hold.end_reason()


def _first_failure(replied: Replied) -> tuple[int | None, int]:
    """Return the index and code of the check that failed first; (None, 0) if none did."""
    if replied.error is not None:
        return None, getattr(replied.error, "code", RuntimeInconsistencyError.code)
    assert isinstance(replied.reply, MultiReply)
    for index, result in enumerate(replied.reply.results):
        # before the first failure the codes are 0, after it RuntimeInconsistency
        if isinstance(result, ErrorReply) and result.err != 0:
            return index, result.err
    return None, 0
