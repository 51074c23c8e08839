"""One hold: whether it is proven, until when, and the scope of its body.

`Guard` is the handle that recipes get. `HoldRecord` is the client's: `net/holds.py` proves and ends it.
"""

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

__all__ = ["Guard", "HoldRecord"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
_NO_PROOF: Final = "the session could not be proven alive in time"


class HoldOwner(Protocol):
    """The client's holds (`net/holds.py`), as far as a `HoldRecord` or its `Guard` calls them."""

    hurry: Callable[[], None]
    look_at_clock: Callable[[], object]
    now: Callable[[], float]
    proof: HoldProof
    checks: HoldChecks
    waiting: dict[HoldRecord, None]
    blocked: str

    @property
    def cancel_at(self) -> float:
        """The time at which the body is cancelled unless a proof arrives."""

    def move(self, hold: HoldRecord, path: str) -> None:
        """Check `path` instead of the hold's znodes."""

    def forget(self, hold: HoldRecord) -> None:
        """Stop checking the hold's znodes, because it has ended."""


@final
class Guard:
    """The proof of one hold: a cancel scope for its body, and how long it is valid.

    `RecipeApi.guard` creates it.
    """

    __slots__ = ("__weakref__", "_record")

    def __init__(self, record: HoldRecord) -> None:
        self._record = record

    @property
    def paths(self) -> tuple[str, ...]:
        """The hold's own znodes, full paths on the server; it is lost as soon as one of them is."""
        return self._record.paths

    @property
    def is_proven(self) -> bool:
        """Whether the hold was proven once; `end_reason` reports what ended it later."""
        return self._record.is_proven

    @property
    def is_unreadable(self) -> bool:
        """Whether the hold was lost because the znode's ACL does not let its owner read it."""
        return self._record.is_unreadable

    @property
    def scope(self) -> anyio.CancelScope:
        """The scope of the body, cancelled when its hold can no longer be proven; not after `drop_scope`."""
        scope = self._record.scope
        assert scope is not None
        return scope

    @property
    def valid_until(self) -> float:
        """The end of the hold's proof on `anyio.current_time()`'s clock; `-inf` when the hold is lost."""
        return self._record.valid_until

    def loss_reason(self) -> str:
        """Return the reason why the hold is not valid now; empty while it is."""
        return self._record.loss_reason()

    def end_reason(self) -> str:
        """Return the reason why the body may not run now; empty while it may.

        A reason stays, even if the hold is proven again. A body that nothing can cancel may run as long as
        the hold is valid.
        """
        return self._record.end_reason()

    async def wait_proven(self) -> bool:
        """Wait until the hold is proven for the first time, or lost; return whether it is proven.

        Cancellation: nothing has changed; the hold is still checked until `release`.
        """
        record = self._record
        while not record.is_proven and not record.is_lost:
            await record.wait_for_change()
        return not record.end_reason()

    async def confirm(self) -> bool:
        """Send a check after this call, wait for it, and return whether it found the hold valid."""
        return await self.wait_confirmed(self.ask())

    def ask(self) -> int:
        """Request a check at once, and return its number for `wait_confirmed`."""
        holds = self._record.holds
        number = max(holds.checks.ask(path) for path in self._record.paths)
        holds.hurry()
        return number

    async def wait_confirmed(self, number: int) -> bool:
        """Wait until a check from this number on finds the hold, or it is lost; return whether it did."""
        record, holds = self._record, self._record.holds
        while not record.loss_reason() and any(
            holds.checks.found_number(path) < number for path in record.paths
        ):
            # nothing else reports the end of the proof once the body was cancelled
            with anyio.CancelScope(deadline=holds.proof.valid_until):
                await record.wait_for_change()
        return not record.is_lost

    def move_to(self, path: str) -> None:
        """Prove the hold by another znode, which exists already, from now on."""
        if not self._record.is_lost:
            self._record.holds.move(self._record, path)

    def release(self) -> None:
        """End the checks of the hold, because its block has ended; it counts as lost from now on."""
        self._record.release()

    def drop_scope(self) -> anyio.CancelScope | None:
        """Stop cancelling the scope, because no task is left to cancel; the proof of the hold continues.

        Only the task that entered the scope can leave it. A callback of the loop may call this method.

        Returns:
            The scope, which the guard will not cancel; None if it was dropped before.
        """
        dropped, self._record.scope = self._record.scope, None
        return dropped


@final
class HoldRecord:
    """The client's record of one hold.

    Args:
        paths: the hold's own znodes, full paths on the server.
        holds: the client's holds.

    Attributes:
        paths: see `Guard.paths`; `Holds.move` changes them.
        holds: the client's holds.
        scope: see `Guard.scope`; None after `Guard.drop_scope`.
        is_proven: see `Guard.is_proven`.
        is_unreadable: see `Guard.is_unreadable`.
    """

    def __init__(self, paths: tuple[str, ...], holds: HoldOwner) -> None:
        self.paths = paths
        self.holds = holds
        self.scope: anyio.CancelScope | None = anyio.CancelScope()
        self.is_proven: bool = False
        self.is_unreadable = False
        self._lost = self._ended = ""
        self._change: anyio.Event | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the hold has been lost or released, without a look at the clock."""
        return bool(self._lost)

    @property
    def valid_until(self) -> float:
        """See `Guard.valid_until`."""
        self.holds.look_at_clock()
        return _NEVER if self._lost or not self.is_proven else self.holds.proof.valid_until

    def loss_reason(self) -> str:
        """Return the reason why the hold is not valid now; empty while it is."""
        self.holds.look_at_clock()
        if not self._lost and self.is_proven and self.holds.now() >= self.holds.proof.valid_until:
            self.lose(_NO_PROOF + self.holds.blocked)
        return self._lost

    def end_reason(self) -> str:
        """Return the reason why the body may not run now, as `Guard.end_reason` does."""
        self.loss_reason()
        if self.scope is not None and self.is_proven and self.holds.now() >= self.holds.cancel_at:
            self.end(_NO_PROOF + self.holds.blocked)
        return self._ended

    def prove(self) -> None:
        """Note the first proof of the hold: its body may begin."""
        self.is_proven = True
        self.wake_waiters()

    def end(self, reason: str) -> None:
        """Cancel the body."""
        if self._ended:
            return
        self._ended = reason
        logger.warning("a hold is lost: %s: %s", self.paths[0], reason, extra={"path": self.paths[0]})
        if self.scope is not None:
            self.scope.cancel()
        self.wake_waiters()

    def lose(self, reason: str) -> None:
        """End the hold because it is lost."""
        if not self._lost:
            self._lost = reason
            self.holds.forget(self)
            self.end(reason)

    def release(self) -> None:
        """End the checks of the hold, as `Guard.release` does."""
        self._lost = self._lost or "its block has ended"
        self.holds.forget(self)
        self.wake_waiters()

    def disown(self, reason: str) -> None:
        """End the hold in this child of the process that has it.

        Nothing is cancelled or logged: the loop is the parent's as well, and the parent has lost nothing.
        """
        self._lost = self._ended = self._lost or reason

    def wake_waiters(self) -> None:
        """Wake the tasks that wait for a change of the hold; they check its state again."""
        self.holds.waiting.pop(self, None)
        change, self._change = self._change, None
        if change is not None:
            change.set()

    async def wait_for_change(self) -> None:
        """Wait until `wake_waiters` is called."""
        if self._change is None:
            self._change = anyio.Event()
        self.holds.waiting[self] = None
        await self._change.wait()
