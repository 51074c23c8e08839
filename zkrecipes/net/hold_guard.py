"""One hold as its recipe sees it: whether it is proven, until when, and the scope of its body."""

# The problem: a body must stop before the ensemble may give its hold to another contender, and no code of the
# body may have to look at the clock for that.
#
# The trick: the body runs in a cancel scope. The scope is cancelled an eighth of a timeout before the end of
# the proof, and the hold stays valid until that end, for the body's clean-up.
#
# The consequences: a hold ends in two steps, `end` (the body is cancelled) and `lose` (the hold is invalid).
# Each keeps its reason, and neither is ever undone, even if a later check finds the znode. On asyncio, the
# task of a body may end without leaving its scope: `drop_scope` then gives up the cancellation only.

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol, final

import anyio

from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_proof import HoldProof

__all__ = ["Guard"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
_NO_PROOF: Final = "no proof that the session lives came in time"


class HoldOwner(Protocol):
    """The client's holds (`net/holds.py`), as far as a guard calls them."""

    hurry: Callable[[], None]
    look_at_clock: Callable[[], object]
    now: Callable[[], float]
    proof: HoldProof
    checks: HoldChecks
    waiting: dict[Guard, None]
    blocked: str

    @property
    def cancel_at(self) -> float:
        """The time at which the body is cancelled unless a proof arrives."""

    def move(self, guard: Guard, path: str) -> None:
        """Check `path` instead of the guard's znodes."""

    def forget(self, guard: Guard) -> None:
        """Check the guard's znodes no longer: the hold has ended."""


@final
class Guard:
    """The proof of one hold: a cancel scope for its body, and how long it is valid.

    Attributes:
        paths: the hold's own znodes, full paths on the server; it is lost as soon as one of them is.
        is_proven: whether it was proven once; `end_reason` reports what ended it later.
        is_unreadable: whether it was lost because the znode's ACL does not let its owner read it.
    """

    def __init__(self, paths: tuple[str, ...], holds: HoldOwner) -> None:
        self.paths = paths
        self._scope: anyio.CancelScope | None = anyio.CancelScope()
        self._holds = holds
        self._lost = self._ended = ""
        self.is_proven: bool = False
        self.is_unreadable = False
        self._change: anyio.Event | None = None

    @property
    def scope(self) -> anyio.CancelScope:
        """The scope of the body, cancelled when its hold can no longer be proven; not after `drop_scope`."""
        assert self._scope is not None
        return self._scope

    @property
    def valid_until(self) -> float:
        """The end of the hold's proof on `anyio.current_time()`'s clock; `-inf` when the hold is lost."""
        self._holds.look_at_clock()
        return _NEVER if self._lost or not self.is_proven else self._holds.proof.valid_until

    def loss_reason(self) -> str:
        """Return the reason why the hold is not valid now; empty while it is."""
        self._holds.look_at_clock()
        if not self._lost and self.is_proven and self._holds.now() >= self._holds.proof.valid_until:
            self.lose(_NO_PROOF + self._holds.blocked)
        return self._lost

    def end_reason(self) -> str:
        """Return the reason why the body may not run now; empty while it may.

        A reason stays, even if the hold is proven again. A body that nothing can cancel may run as long as
        the hold is valid.
        """
        self.loss_reason()
        if self._scope is not None and self.is_proven and self._holds.now() >= self._holds.cancel_at:
            self.end(_NO_PROOF + self._holds.blocked)
        return self._ended

    async def wait_proven(self) -> bool:
        """Wait until the hold is proven for the first time, or lost; return whether it is proven.

        Cancellation: nothing has changed; the hold is still checked until `release`.
        """
        while not self.is_proven and not self._lost:
            await self._wait_for_change()
        return not self.end_reason()

    async def confirm(self) -> bool:
        """Send a check after this call, wait for it, and return whether it found the hold valid."""
        return await self.wait_confirmed(self.ask())

    def ask(self) -> int:
        """Request a check at once, and return its number for `wait_confirmed`."""
        number = max(self._holds.checks.ask(path) for path in self.paths)
        self._holds.hurry()
        return number

    async def wait_confirmed(self, number: int) -> bool:
        """Wait until a check from this number on finds the hold, or it is lost; return whether it did."""
        while not self.loss_reason() and any(
            self._holds.checks.found_number(path) < number for path in self.paths
        ):
            # nothing else reports the end of the proof once the body was cancelled
            with anyio.CancelScope(deadline=self._holds.proof.valid_until):
                await self._wait_for_change()
        return not self._lost

    def move_to(self, path: str) -> None:
        """Prove the hold by another znode, which exists already, from now on."""
        if not self._lost:
            self._holds.move(self, path)

    def release(self) -> None:
        """End the checks of the hold, because its block has ended; it counts as lost from now on."""
        self._lost = self._lost or "its block has ended"
        self._holds.forget(self)
        self.wake_waiters()

    def drop_scope(self) -> anyio.CancelScope | None:
        """Stop cancelling the scope, because no task is left to cancel; the proof of the hold continues.

        Only the task that entered the scope can leave it. A callback of the loop may call this method.

        Returns:
            The scope, which the guard will not cancel; None if it was dropped before.
        """
        dropped, self._scope = self._scope, None
        return dropped

    def lose(self, reason: str) -> None:
        """End the hold because it is lost."""
        if not self._lost:
            self._lost = reason
            self._holds.forget(self)
            self.end(reason)

    def disown(self, reason: str) -> None:
        """End the hold in this child of the process that has it.

        Nothing is cancelled or logged: the loop is the parent's as well, and the parent has lost nothing.
        """
        self._lost = self._ended = self._lost or reason

    def end(self, reason: str) -> None:
        """Cancel the body."""
        if self._ended:
            return
        self._ended = reason
        logger.warning("a hold is lost: %s: %s", self.paths[0], reason, extra={"path": self.paths[0]})
        if self._scope is not None:
            self._scope.cancel()
        self.wake_waiters()

    def prove(self) -> None:
        """Note the first proof of the hold: its body may begin."""
        self.is_proven = True
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Wake the tasks that wait for a change of the hold; they check its state again."""
        self._holds.waiting.pop(self, None)
        change, self._change = self._change, None
        if change is not None:
            change.set()

    async def _wait_for_change(self) -> None:
        if self._change is None:
            self._change = anyio.Event()
        self._holds.waiting[self] = None
        await self._change.wait()
