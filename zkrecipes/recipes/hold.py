"""A block that is cancelled when its hold can no longer be proven.

Two guarantees, and their limits. While the block runs, transactions prove that the session and the hold's own
znode live (`protocol/hold_proof.py`); the block is cancelled before the proof runs out. What cancellation
cannot reach (a thread, a task started elsewhere, code that blocks the loop, a machine that is suspended)
needs `check`, `confirm`, `transaction` or the fencing token.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Guard
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import HoldLostError, NoNodeError, SessionExpiredError
from zkrecipes.recipes.guarded_transaction import guarded_transaction

__all__ = ["REVOCATION", "Hold", "HoldBlock"]

logger = logging.getLogger("zkrecipes.recipes")

REVOCATION: Final = b"__REVOKE__"
"""Written into a holder's znode it is the request to release the lock (Curator 5.4: `LockInternals`)."""


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
        guard: Guard,
        path: str,
        token: int,
        lost: type[HoldLostError],
        *,
        also: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.path = path
        self.fencing_token = token
        self._guard = guard
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
        """How many seconds the hold is still proven for; 0 when it is lost."""
        return max(0.0, self.valid_until - anyio.current_time())

    def check(self) -> None:
        """Raise if the hold is lost, without waiting: for code that cancellation does not reach.

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

    @asynccontextmanager
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


@final
class HoldBlock:
    """Runs a block in a guard's scope, and says on leaving what the loss of the hold makes of its outcome.

    | the block | the hold | what comes out |
    | --- | --- | --- |
    | ended | valid | nothing |
    | ended, or cancelled by the loss | lost | the loss |
    | raised | valid until then | the block's error, bare |
    | raised | lost | the loss, with the block's error as its cause |
    | cancelled from outside | either | the cancellation, untouched; a loss is logged |

    The same holds of blocks within, of the same task and under the same hold, but that a cancellation by the
    loss goes on to the outermost one, and comes out of that as the loss.
    """

    def __init__(self, guard: Guard, path: str, lost: type[HoldLostError]) -> None:
        self.path = path
        self._guard = guard
        self._lost = lost
        self._loss: HoldLostError | None = None

    def enter(self) -> None:
        """The block begins. There must be no checkpoint between the proof and this."""
        self._guard.scope.__enter__()

    def exit(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> BaseException | None:
        """The block has ended; what is to be raised, or None. The guard is released."""
        reason = self._guard.why_lost()
        outcome: BaseException | None
        try:
            is_ours = self._guard.scope.__exit__(error_type, error, traceback)
            outcome = None if is_ours else error
        except BaseException as rest:  # noqa: BLE001
            outcome = rest  # what is left of a group when our own cancellation is taken out of it
        finally:
            self._guard.release()
        return self._outcome(reason, outcome)

    def exit_inner(self, error: BaseException | None) -> BaseException | None:
        """A block within has ended; what is to be raised, or None."""
        return self._outcome(self._guard.why_lost(), error)

    def _outcome(self, reason: str, outcome: BaseException | None) -> BaseException | None:
        if not reason:
            return outcome
        if outcome is not None and not isinstance(outcome, Exception):
            # cancelled from outside, or the program ends; the loss was logged when it happened
            return outcome
        if outcome is None or outcome is not self._loss:  # or it comes from a block within
            self._loss = self._lost(self.path, reason=reason)
            self._loss.__cause__ = outcome
        return self._loss
