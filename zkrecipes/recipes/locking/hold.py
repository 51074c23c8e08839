"""A block that is cancelled when its hold can no longer be proven.

Two guarantees, and their limits. While the block runs, transactions prove that the session and the hold's own
znode live (`protocol/hold_proof.py`); the block is cancelled before the proof runs out. What cancellation
cannot reach (a thread, a task started elsewhere, code that blocks the loop, a machine that is suspended)
needs `check`, `confirm`, `transaction` or the fencing token.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import CallingTask, Guard, async_block, recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import (
    BrokenBarrierError,
    HoldLostError,
    NoNodeError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.recipes.locking.guarded_transaction import guarded_transaction

__all__ = ["REVOCATION", "Hold", "HoldBlock", "LossType", "confirm_all", "left_elsewhere"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

REVOCATION: Final = b"__REVOKE__"
"""Written into a holder's znode it is the request to release the lock (Curator 5.4: `LockInternals`)."""


_REMEDY: Final = (
    "Enter and leave it in one task: keep `async with` in the task that does the work, or give it a task of "
    "its own (see 'Blocks left in another task' on the documentation's page on asyncio)"
)

LossType = type[HoldLostError] | type[BrokenBarrierError]
"""The errors that can report a loss: each takes a path and the reason."""


@final
class Hold:
    """What is held: proven again and again while the block runs.

    Attributes:
        client: whose session holds it.
        path: the hold's own znode, as the client sees it.
        fencing_token: grows from holder to holder (the zxid of the znode's creation): a resource that keeps
            the largest it has seen can refuse a holder that was overtaken without knowing it. It may go back
            when an ensemble is rebuilt or restored.
    """

    def __init__(
        self,
        client: Client,
        block: HoldBlock,
        path: str,
        token: int,
        lost: type[HoldLostError],
        *,
        also: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.path = path
        self.fencing_token = token
        self._block = block  # not only its guard: a hold that is in use is not forgotten
        self._guard = block.guard
        self._lost = lost
        self._also = also

    @property
    def paths(self) -> tuple[str, ...]:
        """The hold's own znodes: `path`, and the others of several permits."""
        return (self.path, *self._also)

    @property
    def valid_until(self) -> float:
        """Until when the hold is proven, on `anyio.current_time()`'s clock; it moves on while it is held."""
        return self._guard.valid_until

    def remaining(self) -> float:
        """How many seconds the hold is still proven for; 0 when it is lost.

        The block is cancelled an eighth of the session timeout before that, which is its time to clean up.
        """
        return max(0.0, self.valid_until - anyio.current_time())

    def check(self) -> None:
        """Raise if the hold is no longer valid, without waiting: for code that cancellation does not reach.

        While a cancelled block cleans up, the hold is still valid for an eighth of the session timeout.
        A thread calls it through `anyio.from_thread.run_sync`.

        Raises:
            HoldLostError: `LockLostError` for a lock, `LeadershipLostError` for an election. The end of the
                block is the end of the hold, too.
        """
        reason = self._guard.why_lost()
        if reason:
            raise self._lost(self.path, reason=reason)

    async def confirm(self) -> None:
        """Get one proof now: a transaction that is sent after this call and finds the hold's znode.

        Raises:
            HoldLostError: as `check`.
        """
        if not await self._guard.confirm():
            self.check()

    async def wait_revocation(self) -> None:
        """Wait until somebody asks for the lock to be released: `Mutex.revoke`, or Curator's `Revoker`.

        It is a request, and the holder decides. Once it was made, this returns at once until the hold ends.

            async with mutex as hold, anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await hold.wait_revocation()
                tasks.cancel_scope.cancel()

        Raises:
            HoldLostError: as `check`.

        Cancellation: no watch is left behind.
        """
        retries = recipe_api(self.client).retries(pause_after_loss=True)
        while True:
            self.check()
            path = self.path
            try:
                async with self.client.get_and_watch(path) as (node, changed):
                    if node.data == REVOCATION:
                        return
                    while not changed.has_fired:
                        self.check()
                        with anyio.move_on_after(self.remaining()):
                            await changed.wait()
            except NoNodeError as error:
                if path == self.path:  # or the hold has moved to another znode
                    raise self._lost(path, reason="its znode is gone") from error
            except SessionExpiredError as error:
                raise self._lost(path, reason="its session is over") from error
            except ZooKeeperError as error:
                await retries.wait_after(error)

    @async_block("hold.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction, as `Client.transaction`, that applies only if the hold's znode still exists then.

        So a write into ZooKeeper by a holder that was overtaken fails as a whole.

        Raises:
            HoldLostError: the znode is gone, and nothing was applied.
            TransactionError: another operation failed; `index` counts from the caller's first.
            ConnectionLossError: it is unknown whether it was applied.
        """
        self.check()
        async with guarded_transaction(self.client, self.paths, self._loss) as transaction:
            yield transaction

    def _loss(self, _: str) -> HoldLostError:
        return self._lost(self.path, reason="its znode is gone")

    def __repr__(self) -> str:
        state = self._guard.why_lost() or "held"
        return f"<Hold {self.path} token={self.fencing_token} {state}>"


async def confirm_all(holds: Sequence[Hold]) -> None:
    """Get one proof of each hold now; the checks of all are asked for before the first is waited for.

    Raises:
        HoldLostError: for the first that is lost.
    """
    asked = [(hold, hold._guard.ask()) for hold in holds]  # noqa: SLF001 - of this module's class
    for hold, number in asked:
        await hold._guard.wait_confirmed(number)  # noqa: SLF001
    for hold in holds:
        hold.check()  # the first may have been lost while the last was proven


@final
class HoldBlock:
    """Runs a block in a guard's scope, and decides on leaving what the loss of the hold makes of its outcome.

    | the block | the hold | what comes out |
    | --- | --- | --- |
    | ended | valid | nothing |
    | ended, or cancelled by the loss | lost | the loss |
    | raised | valid until then | the block's error, bare |
    | raised | lost | the loss, with the block's error as its cause |
    | cancelled from outside | either | the cancellation, untouched; a loss is logged |

    The same is true of blocks within, of the same task and under the same hold, except that a cancellation by
    the loss continues to the outermost one, and comes out of that as the loss.

    A block that another task leaves could not have been cancelled by a loss. It is left all the same; then
    `left_elsewhere` decides what comes out.

    Whatever can leave the block, or is proof of it (a use, a hold), refers to this object. When none does any
    longer, the block was forgotten.

    Args:
        guard: the hold's proof.
        path: the hold's own znode.
        lost: the error of a loss.
        what: how messages name what is held.
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
        """Begin the block in the calling task, which is `task`.

        There must be no checkpoint between the proof and this.
        """
        self._task = task
        self.guard.scope.__enter__()
        # Its task may end within the block, if the program enters it in one task and leaves it in another.
        # There is nothing to cancel from then on, and everything to keep: the znode, the proof.
        self._unfollow = self._task.call_at_end(self.guard.drop_scope, self.guard.scope)

    def when_forgotten(self, func: Callable[[], object]) -> None:
        """Call `func`, in any thread, when nothing refers to the block any longer and it was never left."""
        self._forgotten = weakref.finalize(self, func)
        self._forgotten.atexit = False

    def exit(self, error: BaseException | None) -> BaseException | None:
        """End the block, which has ended with `error`, and return what is to be raised, or None."""
        reason = self.guard.why_ended()
        self._unfollow()
        if self._forgotten is not None:
            self._forgotten.detach()
        try:
            if not self._task.is_current:
                self._drop_scope()
                return left_elsewhere(self._what, self._new_loss(reason, error), error)
            outcome: BaseException | None
            try:
                traceback = None if error is None else error.__traceback__
                is_ours = self.guard.scope.__exit__(type(error) if error else None, error, traceback)
                outcome = None if is_ours else error
            except BaseException as rest:  # noqa: BLE001
                outcome = rest  # what is left of a group when our own cancellation is taken out of it
        finally:
            self.guard.release()
        return self._outcome(reason, outcome)

    def _drop_scope(self) -> None:
        scope = self.guard.drop_scope()
        if scope is not None:
            self._task.leave_scope(scope)

    def exit_inner(self, error: BaseException | None) -> BaseException | None:
        """End a block within, and return what is to be raised, or None."""
        # A block further out that was left first has released the guard.
        return self._outcome(self.guard.why_ended() or self.guard.why_lost(), error)

    def _outcome(self, reason: str, outcome: BaseException | None) -> BaseException | None:
        if not reason:
            return outcome
        if outcome is not None and not isinstance(outcome, Exception):
            # cancelled from outside, or the program ends; the loss was logged when it happened
            return outcome
        if outcome is None or outcome is not self._loss:  # or it comes from a block within
            self._loss = self._new_loss(reason, outcome)
        return self._loss

    def _new_loss(self, reason: str, cause: BaseException | None) -> ZooKeeperError | None:
        if not reason:
            return None
        loss = self._lost(self.path, reason=reason)
        loss.__cause__ = cause
        return loss


def left_elsewhere(what: str, loss: ZooKeeperError | None, error: BaseException | None) -> BaseException:
    """Return what comes out of a block that another task has left than the one that entered it.

    Args:
        what: what was held.
        loss: the loss of the hold, if it was lost.
        error: the outcome of the block.
    """
    remedy = (
        f"{what} was left by another task than the one that entered it, so a loss could not have cancelled "
        f"the body. It is released now. {_REMEDY}"
    )
    if error is not None and not isinstance(error, Exception):
        logger.warning("%s", remedy)  # a cancellation, or a generator that is closed: it must pass untouched
        return error
    outcome = loss or error
    if outcome is None:
        return RuntimeError(remedy)
    if not any(_REMEDY in text for text in (str(outcome), *getattr(outcome, "__notes__", ()))):
        outcome.add_note(remedy)
    return outcome
