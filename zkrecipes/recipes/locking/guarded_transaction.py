"""A transaction that is applied only while the znodes of its holds exist."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import HoldLostError, NoNodeError, TransactionError, ZooKeeperError

__all__ = ["guarded_transaction"]

MakeLoss = Callable[[str], HoldLostError]


@asynccontextmanager
async def guarded_transaction(
    client: Client, paths: Sequence[str], make_loss: MakeLoss
) -> AsyncIterator[Transaction]:
    """Collect operations, as `Client.transaction`, after a check of each of `paths`.

    Args:
        client: a client whose chroot contains all of `paths`.
        paths: the znodes of the holds.
        make_loss: makes the error for a znode that does not exist.

    Raises:
        HoldLostError: a znode does not exist, and nothing was applied.
        TransactionError: another operation failed; `index` counts from the caller's first.
        ConnectionLossError: it is unknown whether the transaction was applied.
    """
    async with recipe_api(client).transaction(
        lambda error: _outcome_of(error, paths, make_loss)
    ) as transaction:
        for path in paths:
            transaction.check(path)
        yield transaction


def _outcome_of(error: TransactionError, paths: Sequence[str], make_loss: MakeLoss) -> ZooKeeperError:
    """Return the error for the caller, whose operations do not include the checks."""
    checks = len(paths)
    if error.index >= checks:
        return TransactionError(error.index - checks, error.error, error.operations - checks)
    if isinstance(error.error, NoNodeError):
        return make_loss(paths[error.index])
    return error.error
