"""A transaction that is applied only if the znodes of its holds exist at that moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from zkrecipes.client.client import Client
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import HoldLostError, NoNodeError, TransactionError, ZooKeeperError

__all__ = ["guarded_transaction"]

Loss = Callable[[str], HoldLostError]


@asynccontextmanager
async def guarded_transaction(client: Client, paths: Sequence[str], loss: Loss) -> AsyncIterator[Transaction]:
    """Collect operations, as `Client.transaction`, behind a check of each of `paths`.

    Args:
        client: which sees all of them.
        paths: the znodes of the holds.
        loss: makes the error for one of them that is missing.

    Raises:
        HoldLostError: one is missing, and nothing was applied.
        TransactionError: another operation failed; `index` counts from the caller's first.
        ConnectionLossError: it is unknown whether it was applied.
    """
    transaction: Transaction | None = None
    has_block_ended = False
    try:
        async with client.transaction() as transaction:
            for path in paths:
                transaction.check(path)
            yield transaction
            has_block_ended = True
    except TransactionError as error:
        if transaction is None or not has_block_ended:
            raise  # another transaction's, from within the block
        outcome = _outcome_of(error, paths, loss)
        transaction.fail(outcome)
        raise outcome from error


def _outcome_of(error: TransactionError, paths: Sequence[str], loss: Loss) -> ZooKeeperError:
    """What the caller is told, who does not know of the checks before the first operation."""
    checks = len(paths)
    if error.index >= checks:
        return TransactionError(error.index - checks, error.error, error.operations - checks)
    if isinstance(error.error, NoNodeError):
        return loss(paths[error.index])
    return error.error
