"""A block that is cancelled when its hold can no longer be proven, and the outcome of that block.

While the block runs, transactions prove that the session and the hold's own znode live
(`protocol/hold_proof.py`); the guard's cancel scope cancels the block before the proof runs out. On leaving,
`HoldBlock` combines the block's outcome with the loss of the hold.

The trap: a block that ends with no checkpoint after the loss is not cancelled, and its scope caught nothing.
So the guard's own record of the loss decides, and not the scope.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Final, final

from zkrecipes.client.recipe_api import CallingTask, Guard
from zkrecipes.errors import BrokenBarrierError, HoldLostError, ZooKeeperError

__all__ = ["HoldBlock", "LossType"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_REMEDY: Final = (
    "Enter and leave it in one task: keep `async with` in the task that does the work, or give it its "
    "own task (see 'Blocks left in another task' on the documentation's page on asyncio)"
)

LossType = type[HoldLostError] | type[BrokenBarrierError]
"""The errors that can report a loss: each takes a path and the reason."""


@final
class HoldBlock:
    """A block that runs in a guard's cancel scope.

    | the block | the hold | the outcome |
    | --- | --- | --- |
    | ended | valid | none |
    | ended, or cancelled by the loss | lost | the loss |
    | raised | valid until then | the block's error, bare |
    | raised | lost | the loss, with the block's error as its cause |
    | cancelled from outside | either | the cancellation, unchanged; a loss is logged |

    The same is true of inner blocks of the same task under the same hold, except that a cancellation by the
    loss continues to the outermost block, which raises the loss.

    If another task leaves the block, a loss could not have cancelled the block's work. The hold is released
    nevertheless, and the outcome names the remedy.

    Each object that can leave the block or check its hold (a use, a hold) refers to this object. Once no
    object refers to it, the block is forgotten.

    Args:
        guard: the hold's proof.
        path: the hold's own znode.
        lost: the error for the loss.
        what: the name of the recipe object in messages.
    """

    def __init__(self, guard: Guard, path: str, lost: LossType, what: str) -> None:
        self.path = path
        self.guard = guard
        self._lost = lost
        self._what = what
        self._loss: ZooKeeperError | None = None
        self._task: CallingTask
        self._unfollow: Callable[[], object]
        self._forgotten: weakref.finalize[..., HoldBlock] | None = None

    def enter(self, task: CallingTask) -> None:
        """Begin the block in `task`, the calling task.

        No checkpoint is allowed between the proof and this call.
        """
        self._task = task
        self.guard.scope.__enter__()
        # The task may end within the block, if the program leaves the block in another task. After that there
        # is no work to cancel, but the znode and the proof must stay.
        self._unfollow = self._task.call_at_end(self.guard.drop_scope, self.guard.scope)

    def when_forgotten(self, func: Callable[[], object]) -> None:
        """Call `func`, in any thread, once no object refers to the block, unless it was left before."""
        self._forgotten = weakref.finalize(self, func)
        self._forgotten.atexit = False

    def exit(self, error: BaseException | None) -> BaseException | None:
        """Leave the block, which ended with `error` (None: without); return the outcome to raise, or None."""
        reason = self.guard.end_reason()
        self._unfollow()
        if self._forgotten is not None:
            self._forgotten.detach()
        try:
            if not self._task.is_current:
                self._drop_scope()
                return _outcome_elsewhere(self._what, self._new_loss(reason, error), error)
            outcome: BaseException | None
            try:
                traceback = None if error is None else error.__traceback__
                is_ours = self.guard.scope.__exit__(type(error) if error else None, error, traceback)
                outcome = None if is_ours else error
            except BaseException as rest:  # noqa: BLE001
                outcome = rest  # the rest of an exception group without the scope's own cancellation
        finally:
            self.guard.release()
        return self._outcome(reason, outcome)

    def _drop_scope(self) -> None:
        scope = self.guard.drop_scope()
        if scope is not None:
            self._task.leave_scope(scope)

    def exit_inner(self, error: BaseException | None) -> BaseException | None:
        """Leave an inner block; return the outcome to raise, or None."""
        # If an outer block was left first, it has released the guard.
        return self._outcome(self.guard.end_reason() or self.guard.loss_reason(), error)

    def _outcome(self, reason: str, outcome: BaseException | None) -> BaseException | None:
        if not reason:
            return outcome
        if outcome is not None and not isinstance(outcome, Exception):
            # cancelled from outside, or the program ends; the loss was logged when it happened
            return outcome
        if outcome is None or outcome is not self._loss:  # otherwise an inner block has raised it
            self._loss = self._new_loss(reason, outcome)
        return self._loss

    def _new_loss(self, reason: str, cause: BaseException | None) -> ZooKeeperError | None:
        if not reason:
            return None
        loss = self._lost(self.path, reason=reason)
        loss.__cause__ = cause
        return loss


def _outcome_elsewhere(what: str, loss: ZooKeeperError | None, error: BaseException | None) -> BaseException:
    """Return the outcome of a block that was left in another task than the one that entered it.

    Args:
        what: the name of the recipe object in messages.
        loss: the loss of the hold, if it was lost.
        error: the error of the block, if it raised.
    """
    remedy = (
        f"{what} was left by another task than the one that entered it, so a loss could not have cancelled "
        f"the body. It is released now. {_REMEDY}"
    )
    if error is not None and not isinstance(error, Exception):
        logger.warning("%s", remedy)  # a cancellation, or the closing of a generator, must pass unchanged
        return error
    outcome = loss or error
    if outcome is None:
        return RuntimeError(remedy)
    if not any(_REMEDY in text for text in (str(outcome), *getattr(outcome, "__notes__", ()))):
        outcome.add_note(remedy)
    return outcome
