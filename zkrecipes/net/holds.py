"""The holds of one client: their proof, their checks, and the scopes that end with them.

A hold's scope has a deadline, and that deadline is the end of what is proven: when no proof comes the runtime
itself cancels the body, whatever else the client is busy with. Proofs move the deadline; nothing else does.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final, final

import anyio

from zkrecipes.codec.messages import CheckRequest, ErrorReply
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.errors import NoAuthError, NoNodeError, RuntimeInconsistencyError
from zkrecipes.net.pending import Evidence
from zkrecipes.net.session import Session
from zkrecipes.protocol.events import Connected, Replied, Ticket
from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, CHECK_EVERY, HoldProof

__all__ = ["Guard", "Holds"]

logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
# In session timeouts: the first check goes out after one interval, and two more bring the proof up to date.
_HEADROOM: Final = 4 * CHECK_EVERY
_BLAMED: Final = {
    NoNodeError.code: "its znode is gone",
    NoAuthError.code: "its znode may not be read by its owner: the ACL must give READ",
}


@final
class _NoScope:
    """Stands in for the scope of a body that nothing can cancel; only its deadline counts."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def cancel(self) -> None:
        """Do nothing."""


@final
class Guard:
    """The proof of one hold: a cancel scope for its body, and how long it is valid.

    Attributes:
        paths: the hold's own znodes, full paths on the server; it is lost with the first of them.
        is_proven: whether it was proven once; what ended it later is told by `why_lost`.
        is_unreadable: it was lost because the znode's ACL does not let its owner read it.
    """

    def __init__(self, paths: tuple[str, ...], holds: Holds) -> None:
        self.paths = paths
        self._scope: anyio.CancelScope | _NoScope = anyio.CancelScope()
        self._holds = holds
        self._lost = ""
        self.is_proven = False
        self.is_unreadable = False
        self._news = anyio.Event()

    @property
    def scope(self) -> anyio.CancelScope:
        """The scope of the body, cancelled when the hold can no longer be proven; none after `drop_scope`."""
        assert not isinstance(self._scope, _NoScope)
        return self._scope

    @property
    def valid_until(self) -> float:
        """Until when the hold is proven, on `anyio.current_time()`'s clock; `-inf` when it is lost."""
        self._holds.look_at_clock()
        return _NEVER if self._lost or not self.is_proven else self._holds.proof.valid_until

    def why_lost(self) -> str:
        """Why the hold is no longer valid, at this very moment; empty while it is."""
        self._holds.look_at_clock()
        if not self._lost and self.is_proven and anyio.current_time() >= self._scope.deadline:
            self.lose(f"no proof that the session lives came in time{self._holds.blocked}")
        return self._lost

    async def wait_proven(self) -> bool:
        """Wait until the hold is proven for the first time, or lost; whether it is proven.

        Cancellation: nothing has changed; the hold is still checked until `release`.
        """
        while not self.is_proven and not self._lost:
            await self._news.wait()
        return not self.why_lost()

    async def confirm(self) -> bool:
        """One proof now: a check that is sent after this call. Whether it found the hold valid."""
        number = self._holds.checks.demand()
        self._holds.hurry()
        while not self.why_lost() and self._holds.checks.succeeded_number < number:
            with anyio.CancelScope(deadline=self._scope.deadline):
                await self._news.wait()
        return not self._lost

    def move_to(self, path: str) -> None:
        """Another znode stands for the hold from now on; it has been made already."""
        if not self._lost:
            self._holds.move(self, path)

    def release(self) -> None:
        """The body has ended: check the hold no longer. Whoever still asks is told that it is over."""
        self._lost = self._lost or "its block has ended"
        self._holds.forget(self)
        self.tell()

    def drop_scope(self) -> None:
        """Prove the hold without cancelling anything from now on: no task is left to cancel.

        Another task than the one that entered the scope cannot leave it, and it must not fire there later.
        It works in a callback of the loop, too.
        """
        if not isinstance(self._scope, _NoScope):
            # The scope knows its task, whose result may be what holds: it must not stay alive by that.
            entered, self._scope = self._scope, _NoScope(self._scope.deadline)
            entered.deadline = math.inf

    def lose(self, reason: str) -> None:
        """The hold is over without its owner's doing."""
        if self._lost:
            return
        self._lost = reason
        logger.warning("a hold is lost: %s: %s", self.paths[0], reason, extra={"path": self.paths[0]})
        self._holds.forget(self)
        self._scope.cancel()
        self.tell()

    def prove_until(self, cancel_at: float) -> None:
        """The hold is proven: its body may run until then."""
        if self.why_lost():
            return
        self.is_proven = True
        self._scope.deadline = cancel_at
        self.tell()

    def tell(self) -> None:
        """Something has changed: whoever waits looks again."""
        news, self._news = self._news, anyio.Event()
        news.set()


@final
class Holds:
    """All holds of a client, each of its present session.

    Args:
        tick_time: the ensemble's tick in seconds where the caller knows it, else None.
        send_check: called when a check may be due at once.
        look_at_clock: called before time is trusted; calls `suspended` where it has not counted some.
    """

    def __init__(
        self,
        tick_time: float | None,
        send_check: Callable[[], None],
        look_at_clock: Callable[[], object] = lambda: None,
    ) -> None:
        self.hurry = send_check
        self.look_at_clock = look_at_clock
        self._half_tick = None if tick_time is None else tick_time / 2
        self._guards: dict[str, Guard] = {}
        self._session: Session | None = None
        self._ticket: Ticket | None = None
        self._connection = 0
        self._answered = self._committed = _NEVER
        self.blocked = ""
        """How long the loop was blocked since the newest proof, for the errors of the holds lost by it."""
        self.proof = HoldProof(half_tick=self._half_tick)
        self.checks = HoldChecks(self.proof)

    # --- for recipes ---------------------------------------------------------------------------------------

    def guard(
        self, path: str, session: Session, also: Iterable[str] = (), made: Evidence | None = None
    ) -> Guard:
        """Check the znode at `path`, and those of `also`, from now on; `session` owns them.

        Args:
            path: the hold's znode.
            session: whose it is.
            also: more znodes of the same hold.
            made: what the creation of `path` proves, which was a write like any check, and found the znode
                as surely: where it proves enough there is nothing to wait for.
        """
        self.look_at_clock()
        guard = Guard((path, *also), self)
        if session is not self._session or session.state.is_final:
            guard.lose("its session is over")
        elif len(guard.paths) == 1 and made is not None and self._is_proven_by(made):
            self._guards[path] = guard
            self.checks.add_found(path, anyio.current_time())
            self._move_deadlines()
            self.hurry()
        else:
            self._check(guard)
        return guard

    def evidence(self) -> Evidence:
        """What a write that is handed to the connection now will prove once it has succeeded."""
        return Evidence(self._connection, self.proof.write_proves_until)

    def _is_proven_by(self, made: Evidence) -> bool:
        if made.connection != self._connection:
            return False
        self.proof.write_committed(made.proves_until)
        cancel_at = self.proof.valid_until - CANCEL_BEFORE_END * self.proof.timeout
        # A body that would be cancelled before the heartbeat of checks can prove more has nothing of it.
        return anyio.current_time() < cancel_at - _HEADROOM * self.proof.timeout

    def move(self, guard: Guard, path: str) -> None:
        """Check `path` in place of the guard's znodes."""
        self.forget(guard)
        guard.paths = (path,)
        self._check(guard)

    def forget(self, guard: Guard) -> None:
        """The hold is over."""
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

    # --- for the keeper ------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """A new session: what was proven of the last one means nothing."""
        self._session = session
        self.proof = HoldProof(half_tick=self._half_tick)
        self.checks = HoldChecks(self.proof)

    def end(self, reason: str) -> None:
        """The session is over, and with it every hold."""
        for guard in list(self._guards.values()):
            guard.lose(reason)

    def attached(self, connected: Connected) -> None:
        """A connection is up."""
        self._connection += 1
        self._answered = self._committed = _NEVER
        self.proof.attached(sent_at=connected.sent_at, timeout=connected.timeout)
        self.checks.attached()
        self._move_deadlines()  # a smaller timeout ends holds earlier

    def detached(self) -> None:
        """The connection is gone; what was proven stays proven until its time."""
        self._ticket = None
        self._connection += 1
        self.proof.detached()
        self.checks.detached()

    def suspended(self, seconds: float) -> None:
        """So much time has passed that the loop's clock has not counted: every proof ends the sooner."""
        self.proof.suspended(seconds)
        self._connection += 1  # what was noted before, as evidence, is of another time
        self._move_deadlines()

    def was_blocked(self, blocked: str, now: float) -> None:
        """Note that the loop was blocked until `now`; `blocked` says for how long.

        A check on its way has its time again, as nobody could read its answer. What is proven stays as it is.
        """
        self.blocked = f": {blocked}"
        self.checks.replied_to_earlier(now)

    def due_check(self, now: float) -> Ticket | None:
        """The check to send now, or None."""
        paths = self.checks.due(now)
        if paths is None:
            return None
        self.checks.sent(paths, now)
        self._ticket = Ticket(MultiRequest(tuple(CheckRequest(path, -1) for path in paths)))
        return self._ticket

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
        """Whether the reply was to our check; then it has had its effect."""
        if replied.ticket is not self._ticket:
            return False
        self._ticket = None
        index, code = _first_failure(replied)
        if code == 0:
            self.answered(replied.ticket.sent_at, replied.ticket.sent_at, now)
            self.checks.succeeded(now)
            self._move_deadlines()
            self.blocked = ""
        else:
            path = self.checks.failed(index if code in _BLAMED else None)
            if path is not None and path in self._guards:
                self._guards[path].is_unreadable = code == NoAuthError.code
                self._guards[path].lose(_BLAMED[code])
        return True

    def _move_deadlines(self) -> None:
        cancel_at = self.proof.valid_until - CANCEL_BEFORE_END * self.proof.timeout
        now = anyio.current_time()
        for guard in dict.fromkeys(self._guards.values()):
            if guard.is_proven or all(self.checks.is_proven(path, now) for path in guard.paths):
                guard.prove_until(cancel_at)
            guard.tell()


def _first_failure(replied: Replied) -> tuple[int | None, int]:
    """Which check failed first, and with which code; (None, 0) where none did."""
    if replied.error is not None:
        return None, getattr(replied.error, "code", RuntimeInconsistencyError.code)
    assert isinstance(replied.reply, MultiReply)
    for index, result in enumerate(replied.reply.results):
        # before the first failure the codes are 0, after it RuntimeInconsistency
        if isinstance(result, ErrorReply) and result.err != 0:
            return index, result.err
    return None, 0
