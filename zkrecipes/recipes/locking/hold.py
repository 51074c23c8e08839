"""The hold of a block on a lock, on permits or on a leadership.

Cancellation ends the block when the hold is lost (`hold_block.py`). For code that cancellation cannot reach
(a thread, a task started elsewhere, code that blocks the loop, a machine that is suspended) there are
`check`, `confirm`, `transaction` and the fencing token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import async_block, recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import HoldLostError, NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.recipes.locking.guarded_transaction import guarded_transaction
from zkrecipes.recipes.locking.hold_block import HoldBlock

__all__ = ["REVOCATION", "Hold", "confirm_all"]

REVOCATION: Final = b"__REVOKE__"
"""The data that, once in its znode, asks a holder to release the lock (Curator 5.4: `LockInternals`)."""


@final
class Hold:
    """The hold of a block: the client proves it repeatedly while the block runs.

    Attributes:
        client: the client whose session holds it.
        path: the hold's own znode, as the client sees it.
        fencing_token: the zxid of the znode's creation, which grows from holder to holder. A resource that
            remembers the largest token can refuse a holder that was replaced without noticing it. The token
            may go back when an ensemble is rebuilt or restored.
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
        # The block and not only its guard: while the hold is in use, its block does not count as forgotten.
        self._block = block
        self._guard = block.guard
        self._lost = lost
        self._also = also

    @property
    def paths(self) -> tuple[str, ...]:
        """The hold's own znodes: `path`, and those of the other permits."""
        return (self.path, *self._also)

    @property
    def valid_until(self) -> float:
        """The time until which the hold is proven, by `anyio.current_time()`. Each proof extends it."""
        return self._guard.valid_until

    def remaining(self) -> float:
        """Return for how many more seconds the hold is proven; 0 if it is lost.

        The client cancels the block an eighth of the session timeout earlier, so the block has that time to
        clean up.
        """
        return max(0.0, self.valid_until - anyio.current_time())

    def check(self) -> None:
        """Raise if the hold is not valid; do not wait. Use it in code that cancellation does not reach.

        While a cancelled block cleans up, the hold remains valid for an eighth of the session timeout.
        A thread calls it through `anyio.from_thread.run_sync`.

        Raises:
            HoldLostError: `LockLostError` for a lock, `LeadershipLostError` for an election. The hold also
                ends with its block.
        """
        reason = self._guard.loss_reason()
        if reason:
            raise self._lost(self.path, reason=reason)

    async def confirm(self) -> None:
        """Prove the hold once now, by a transaction that is sent after this call and finds the hold's znode.

        Raises:
            HoldLostError: as `check`.
        """
        if not await self._guard.confirm():
            self.check()

    async def wait_revocation(self) -> None:
        """Wait until another client asks to release the lock, by `Mutex.revoke` or Curator's `Revoker`.

        The holder decides what to do. After the first request, each call returns immediately until the hold
        ends.

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
                if path == self.path:  # otherwise `ReadWriteLock.downgrade` has replaced the znode
                    raise self._lost(path, reason="its znode was deleted") from error
            except SessionExpiredError as error:
                raise self._lost(path, reason="its session is over") from error
            except ZooKeeperError as error:
                await retries.wait_after(error)

    @async_block("hold.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction, as `Client.transaction`, that is applied only if the hold's znode still exists.

        So a write into ZooKeeper fails as a whole if the holder has been replaced without noticing it.

        Raises:
            HoldLostError: the znode does not exist, and nothing was applied.
            TransactionError: another operation failed; `index` counts from the caller's first.
            ConnectionLossError: it is unknown whether the transaction was applied.
        """
        self.check()
        async with guarded_transaction(self.client, self.paths, self._loss) as transaction:
            yield transaction

    def _loss(self, _: str) -> HoldLostError:
        return self._lost(self.path, reason="its znode was deleted")

    def __repr__(self) -> str:
        state = self._guard.loss_reason() or "held"
        return f"<Hold {self.path} token={self.fencing_token} {state}>"


async def confirm_all(holds: Sequence[Hold]) -> None:
    """Prove each hold once now; all checks are submitted before the first is awaited.

    Raises:
        HoldLostError: the first hold that is lost.
    """
    asked = [(hold, hold._guard.ask()) for hold in holds]  # noqa: SLF001 - of this module's class
    for hold, number in asked:
        await hold._guard.wait_confirmed(number)  # noqa: SLF001
    for hold in holds:
        hold.check()  # the first may have been lost while the last was proven
