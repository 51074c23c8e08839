"""The holds of one client: their proof, their checks, and the scopes that end with them.

All holds of a session are proven until the same moment, so one alarm serves for them: a scope of the client's
own whose deadline is the end of what is proven. Proofs move this deadline, and nothing else does; if no proof
comes, the runtime wakes the alarm's task, whatever else the client is busy with, and that cancels the bodies.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, final

import anyio

from zkrecipes.codec.messages import CheckRequest, ErrorReply
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.errors import NoAuthError, NoNodeError, RuntimeInconsistencyError
from zkrecipes.net.hold_guard import Guard
from zkrecipes.net.pending import Evidence
from zkrecipes.net.session import Session
from zkrecipes.protocol.events import Connected, Replied, Ticket
from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_forecast import ROUND_TRIP_MAX
from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, HoldProof

__all__ = ["Holds"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
_BLAMED: Final = {
    NoNodeError.code: "its znode is gone",
    NoAuthError.code: "its znode may not be read by its owner: the ACL must give READ",
}


@final
class Holds:
    """All holds of a client, each of its present session.

    Args:
        tick_time: the ensemble's tick in seconds if the caller knows it, else None.
        send_check: called when a check may be due at once.
        look_at_clock: called before time is trusted; calls `suspended` if it has not counted some.
        start: starts a task of the client's, which ends with it; called once, with the first hold.
        now: the time on `anyio.current_time()`'s clock.

    Attributes:
        waiting: the guards whose tasks wait for news.
        blocked: how long the loop was blocked since the newest proof, for the errors of the holds lost by it.
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
        self.waiting: dict[Guard, None] = {}
        self.blocked: str = ""
        self._start = start
        self._half_tick = None if tick_time is None else tick_time / 2
        self._guards: dict[str, Guard] = {}
        self._unproven: dict[Guard, None] = {}
        self._session: Session | None = None
        self._tickets: deque[Ticket] = deque()
        self._connection = 0
        self._answered = self._committed = _NEVER
        self._alarm: anyio.CancelScope | None = None
        self._is_warned = False
        self.proof: HoldProof = HoldProof(half_tick=self._half_tick)
        self.checks: HoldChecks = HoldChecks(self.proof)

    # --- for recipes ---------------------------------------------------------------------------------------

    def guard(
        self, path: str, session: Session, also: Iterable[str] = (), made: Evidence | None = None
    ) -> Guard:
        """Check the znode at `path`, and those of `also`, from now on; `session` owns them.

        Args:
            path: the hold's znode.
            session: its owner.
            also: more znodes of the same hold.
            made: what the creation of `path` proves, which was a write like any check, and found the znode
                as surely: if it proves enough there is nothing to wait for.
        """
        self.look_at_clock()
        guard = Guard((path, *also), self)
        if session is not self._session or session.state.is_final:
            guard.lose("its session is over")
        elif len(guard.paths) == 1 and made is not None and self._is_proven_by(made):
            self._guards[path] = guard
            self.checks.add_found(path, self.now())
            guard.prove()
            self._set_alarm()
            self.hurry()
        else:
            self._unproven[guard] = None
            self._check(guard)
        return guard

    def evidence(self) -> Evidence:
        """What a write that is handed to the connection now will prove once it has succeeded."""
        return Evidence(self._connection, self.proof.write_proves_until)

    def _is_proven_by(self, made: Evidence) -> bool:
        if made.connection != self._connection:
            return False
        self.proof.write_committed(made.proves_until)
        return self.checks.will_last(self.now())

    def move(self, guard: Guard, path: str) -> None:
        """Check `path` in place of the guard's znodes."""
        is_unproven = guard in self._unproven
        self.forget(guard)
        guard.paths = (path,)
        if is_unproven:
            self._unproven[guard] = None
        self._check(guard)

    def forget(self, guard: Guard) -> None:
        """The hold is over."""
        self._unproven.pop(guard, None)
        for path in guard.paths:
            if self._guards.get(path) is guard:
                del self._guards[path]
                self.checks.discard(path)

    def _check(self, guard: Guard) -> None:
        for path in guard.paths:
            self._guards[path] = guard
            self.checks.add(path)
        self.hurry()

    def __bool__(self) -> bool:
        return bool(self._guards)

    def __len__(self) -> int:
        return len(set(self._guards.values()))

    # --- for the session engine ------------------------------------------------------------------

    @property
    def cancel_at(self) -> float:
        """When the bodies of all holds are cancelled, unless a proof comes."""
        return self.proof.valid_until - CANCEL_BEFORE_END * self.proof.timeout

    def begin(self, session: Session) -> None:
        """A new session: what was proven of the last one means nothing."""
        self._session = session
        self._is_warned = False
        self.proof = HoldProof(half_tick=self._half_tick)
        self.checks = HoldChecks(self.proof)

    def end(self, reason: str) -> None:
        """The session is over, or about to be closed: its holds end, and no other one begins in it."""
        # The creation of a lock's znode may be answered after the server was asked to close the session.
        self._session = None
        for guard in list(self._guards.values()):
            guard.lose(reason)

    def inherited(self, reason: str) -> None:
        """This is a child of the process that has the holds, and would not hear of their end."""
        self._session = None
        for guard in self._guards.values():
            guard.disown(reason)
        self._guards.clear()

    def attached(self, connected: Connected) -> None:
        """A connection is up."""
        self._connection += 1
        self._answered = self._committed = _NEVER
        self.proof.attached(sent_at=connected.sent_at, timeout=connected.timeout)
        self.checks.attached(self.now() - connected.sent_at)
        self._set_alarm()  # a smaller timeout ends holds earlier

    def detached(self) -> None:
        """The connection is gone; what was proven stays proven until its time."""
        self._tickets.clear()
        self._connection += 1
        self.proof.detached()
        self.checks.detached()

    def suspended(self, seconds: float) -> None:
        """So much time has passed that the loop's clock has not counted: every proof ends the sooner."""
        self.proof.suspended(seconds)
        self._connection += 1  # what was noted before, as evidence, is of another time
        self._set_alarm()

    def was_blocked(self, blocked: str, now: float) -> None:
        """Note that the loop was blocked until `now`; `blocked` says for how long.

        A check on its way has its time again, as nobody could read its answer. What is proven stays as it is.
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
        """Replies have come: to the newest answered request, and to the newest write that succeeded."""
        if committed_sent_at > self._committed:
            self._committed = committed_sent_at
            self.proof.answered(sent_at=committed_sent_at, now=now, committed=True)
        if sent_at > self._answered:
            self._answered = sent_at
            self.proof.answered(sent_at=sent_at, now=now, committed=False)
            self.checks.replied_to_earlier(now)

    def take_reply(self, replied: Replied, now: float) -> bool:
        """Whether the reply was to a check of ours; then it has had its effect."""
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
            path = self.checks.failed(index if code in _BLAMED else None, now)
            if path is not None and path in self._guards:
                self._guards[path].is_unreadable = code == NoAuthError.code
                self._guards[path].lose(_BLAMED[code])
        return True

    def _take_proof(self, now: float) -> None:
        if self._unproven and self.checks.will_last(now):
            for guard in list(self._unproven):
                if all(map(self.checks.is_found, guard.paths)):
                    del self._unproven[guard]
                    guard.prove()
        for guard in list(self.waiting):
            guard.tell()
        self._set_alarm()

    def _warn_if_slow(self) -> None:
        if self._is_warned or not self.checks.is_link_slow:
            return
        self._is_warned = True
        logger.warning(
            "the server takes %.3f seconds to answer a write, and holds need less than %.3f, a tenth of the "
            "session timeout: they are lost, or are never acquired, if it gets slower (use a longer "
            "session_timeout, or a nearer server)",
            self.proof.round_trip,
            ROUND_TRIP_MAX * self.proof.timeout,
        )

    # --- the alarm -----------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Move the one deadline of all bodies to where the proof says."""
        if not self._guards:
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
        """Wait for the alarm, again and again: from the first hold on, and until the client ends."""
        while self._alarm is not None:
            with self._alarm:
                await anyio.sleep_forever()
            self._alarm = anyio.CancelScope()
            self._set_alarm()

    def _end_unless_proven(self) -> None:
        """Cancel the bodies of all holds whose time has come. The holds are checked until these have left."""
        for guard in list(self._guards.values()):
            guard.why_ended()


def _first_failure(replied: Replied) -> tuple[int | None, int]:
    """Which check failed first, and with which code; (None, 0) if none did."""
    if replied.error is not None:
        return None, getattr(replied.error, "code", RuntimeInconsistencyError.code)
    assert isinstance(replied.reply, MultiReply)
    for index, result in enumerate(replied.reply.results):
        # before the first failure the codes are 0, after it RuntimeInconsistency
        if isinstance(result, ErrorReply) and result.err != 0:
            return index, result.err
    return None, 0
