"""multi: collect operations, then apply all of them or none, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, final

from zkrecipes.client.operations import Operation, Operations
from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import ErrorReply
from zkrecipes.codec.multi import MultiReply, MultiRequest
from zkrecipes.codec.records import ACL, Stat
from zkrecipes.errors import (
    RuntimeInconsistencyError,
    ServerError,
    TransactionError,
    ZooKeeperError,
    error_from_code,
)
from zkrecipes.net.pending import Pending
from zkrecipes.net.wakeup import Parking

__all__ = ["Transaction"]

T = TypeVar("T")


@final
class Transaction:
    """Operations that are applied together, in order, when the block ends without an error.

    Each call returns a `Pending` whose `result()` is there after the block; before that it raises
    `RuntimeError`. Nothing is sent before the end of the block, and nothing at all if it raises.
    """

    def __init__(self, operations: Operations, parking: Parking) -> None:
        self._operations = operations
        self._parking = parking
        self._collected: list[Pending[Any]] = []
        self._is_over = False

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> Pending[str]:
        """Make a znode, as `Client.create` does; the result is its path."""
        return self._collect(
            self._operations.create(
                path,
                data,
                ephemeral=ephemeral,
                sequential=sequential,
                container=container,
                ttl=ttl,
                acl=acl,
            )
        )

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Pending[Stat]:
        """Replace a znode's data, as `Client.set` does; the result is its new stat."""
        return self._collect(self._operations.set(path, data, version=version))

    def delete(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Remove a znode, as `Client.delete` does."""
        return self._collect(self._operations.delete(path, version=version))

    def check(self, path: str, *, version: int | None = None) -> Pending[None]:
        """Fail the whole transaction unless the znode exists and has this version (None: any)."""
        return self._collect(self._operations.check(path, version=version))

    def __len__(self) -> int:
        return len(self._collected)

    def _collect(self, operation: Operation[T]) -> Pending[T]:
        if self._is_over:
            raise RuntimeError("the transaction's block has ended: begin another one")
        pending = Pending(operation.request, operation.convert, self._parking)
        self._collected.append(pending)
        return pending

    def close(self) -> MultiRequest | None:
        """No more operations: the request to send, or None where there is nothing to do."""
        self._is_over = True
        if not self._collected:
            return None
        return MultiRequest(tuple(pending.request for pending in self._collected))

    def take_reply(self, reply: MultiReply, zxid: int) -> None:
        """Give each operation its result, and the zxid that they share.

        Raises:
            TransactionError: it was rolled back; every operation's result raises that too.
        """
        error = _failure(reply.results, self._collected)
        if error is not None:
            self.fail(error)
            raise error
        for pending, result in zip(self._collected, reply.results, strict=True):
            pending.complete(result, None, zxid)

    def fail(self, error: ZooKeeperError) -> None:
        """The transaction was not applied, or nobody knows."""
        for pending in self._collected:
            pending.complete(None, error)


def _failure(results: tuple[Record, ...], collected: list[Pending[Any]]) -> TransactionError | None:
    """The operation that failed: those before it have code 0, those after it RuntimeInconsistency."""
    failed = [
        (index, result.err)
        for index, result in enumerate(results)
        if isinstance(result, ErrorReply) and result.err != 0
    ]
    if not failed:
        return None
    index, code = next((each for each in failed if each[1] != RuntimeInconsistencyError.code), failed[0])
    error = error_from_code(code, getattr(collected[index].request, "path", None))
    if not isinstance(error, ServerError):
        error = RuntimeInconsistencyError(detail=str(error))
    return TransactionError(index, error, len(collected))
