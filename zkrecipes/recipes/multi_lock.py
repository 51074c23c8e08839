"""MultiLock: several locks together, all or none."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, Protocol, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import async_block, recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import AcquireTimeoutError, LockLostError, NoAuthError
from zkrecipes.recipes.locking.acquisition import (
    Acquisition,
    AcquisitionHandle,
    EnteredDirectly,
    mark_entered,
)
from zkrecipes.recipes.locking.contenders import Contender
from zkrecipes.recipes.locking.guarded_transaction import guarded_transaction
from zkrecipes.recipes.locking.hold import Hold, confirm_all
from zkrecipes.recipes.locking.single_use import SingleUse
from zkrecipes.recipes.locking.wait_limit import check_wait, takes_wait
from zkrecipes.recipes.mutex import Mutex, queue_key
from zkrecipes.recipes.znodes.clean_up import together

__all__ = ["Acquirable", "MultiAcquisition", "MultiHold", "MultiLock"]

_AT_ONCE: Final = 1e-9
"""A wait, in seconds, that ends at its first checkpoint; 0 would mean one try."""


class Acquirable(Protocol):
    """A lock that a `MultiLock` can acquire: a `Mutex`, a side of a `ReadWriteLock`, or a `Semaphore`."""

    @property
    def path(self) -> str:
        """The path of the lock's directory."""

    def acquire(self, *, wait: float | None = ...) -> Acquisition:
        """Return one acquisition, to be entered with `async with`."""

    async def contenders(self) -> list[Contender]:
        """List the contenders, the holder first."""


@final
class MultiHold:
    """The holds of all locks of a `MultiLock`, while its block runs.

    Attributes:
        holds: the hold of each lock, in the locks' order.
    """

    def __init__(self, holds: Sequence[Hold]) -> None:
        self.holds: tuple[Hold, ...] = tuple(holds)

    @property
    def fencing_tokens(self) -> tuple[int, ...]:
        """The fencing token of each hold, in the locks' order."""
        return tuple(hold.fencing_token for hold in self.holds)

    @property
    def valid_until(self) -> float:
        """The time until which all holds are proven, on `anyio.current_time()`'s clock."""
        return min(hold.valid_until for hold in self.holds)

    def remaining(self) -> float:
        """Return for how many more seconds all holds are proven; 0 if one is lost."""
        return min(hold.remaining() for hold in self.holds)

    def check(self) -> None:
        """Raise if one of the holds is lost, without waiting.

        Raises:
            LockLostError: the first hold that is lost.
        """
        for hold in self.holds:
            hold.check()

    async def confirm(self) -> None:
        """Prove each hold once now; the holds of one client are proven together.

        Raises:
            LockLostError: the first hold that is lost.
        """
        await confirm_all(self.holds)

    @async_block("hold.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction, as `Hold.transaction`, that is applied only if all holds still exist then.

        Raises:
            ValueError: the locks belong to several clients, or to views of one client with different chroots.
            LockLostError: one of the holds' znodes does not exist, and nothing was applied.
            TransactionError: another operation failed; `index` counts from the caller's first.
            ConnectionLossError: it is unknown whether the transaction was applied.
        """
        self.check()
        client = self.holds[0].client
        if len({_view(hold.client) for hold in self.holds}) > 1:
            raise ValueError(
                f"a transaction needs locks of one client and one chroot, not of several: {self!r}"
            )
        paths = [path for hold in self.holds for path in hold.paths]
        async with guarded_transaction(client, paths, _loss) as transaction:
            yield transaction

    def __repr__(self) -> str:
        return f"<MultiHold {' '.join(map(repr, self.holds))}>"


def _view(client: Client) -> tuple[object, str]:
    """Return a key that is equal for two views of one client that see the same paths."""
    api = recipe_api(client)
    return api.root, api.full_path("/")


def _loss(path: str) -> LockLostError:
    return LockLostError(path, reason="its znode was deleted")


@final
class MultiLock(EnteredDirectly[MultiHold]):
    """Several locks held together: taken in the given order, all or none, and released together.

        async with zk.MultiLock([zk.Mutex(client, "/a"), zk.Mutex(client, "/b")]) as hold:
            hold.fencing_tokens

    Programs that take some of the same locks must list them in the same order; otherwise they may deadlock.
    The loss of one lock cancels the block, releases the others and raises `LockLostError`; if several are
    lost at once, the error names one of them, and the log names all.

    Creating the object does no I/O, and tasks may share it.

    Args:
        locks: at least one `Mutex` or `Semaphore`, of any layouts and clients.

    Raises:
        TypeError: one of `locks` is not a mutex or a semaphore.
        ValueError: there are no locks; or one object, or one path of one client's mutexes, is given twice.
    """

    def __init__(self, locks: Sequence[Acquirable]) -> None:
        super().__init__()
        self._locks = tuple(locks)
        if not self._locks:
            raise ValueError("locks must contain at least one lock, not 0")
        known: set[tuple[object, str]] = set()
        for lock in self._locks:
            if not callable(getattr(lock, "acquire", None)):
                raise TypeError(f"each lock must be a Mutex or a Semaphore, not {lock!r}")
            key = _key(lock)
            if key in known:
                raise ValueError(f"locks must not contain {lock!r} twice: it would wait for itself")
            known.add(key)

    @takes_wait
    def acquire(self, *, wait: float | None = None) -> MultiAcquisition:
        """Enter the result to hold all locks: `async with multi.acquire(wait=3) as hold`.

        Args:
            wait: the maximal wait in seconds for all locks together; the block is not limited. With 0 it is
                one try of each: entering raises unless all are free. None: no limit.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises the errors of entering each lock, after releasing those that it has taken. If a lock
        is lost during the wait for the next one, all are released and taken again, without an error. Two
        semaphores on one path are a `RuntimeError`: ask one of them for both permits.

        Leaving raises:
            LockLostError: a lock was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind at any point; the removal continues in the background.
        """
        return MultiAcquisition(self._new_use(wait))

    def _new_use(self, wait: float | None = None) -> _MultiUse:
        return _MultiUse(self._locks, wait=wait, what=repr(self))

    async def contenders(self) -> list[list[Contender]]:
        """Return the contenders of each lock, in the locks' order: one list for each lock."""
        return [await lock.contenders() for lock in self._locks]

    def __repr__(self) -> str:
        return f"<MultiLock {' '.join(lock.path for lock in self._locks)}>"


def _key(lock: Acquirable) -> tuple[object, str]:
    """Return a key that is equal for two locks in one queue, of one client or of views of it."""
    return queue_key(lock) if isinstance(lock, Mutex) else (lock, "")


@final
class MultiAcquisition(AcquisitionHandle[MultiHold]):
    """One acquisition of several locks: enter it with `async with`, once. Entering gives a `MultiHold`."""


@final
class _MultiUse(SingleUse[MultiHold]):
    """One use of several locks: a use of each, entered in order and left in the reverse order."""

    def __init__(self, locks: Sequence[Acquirable], *, wait: float | None, what: str) -> None:
        self._wait = check_wait(wait)
        super().__init__(what)
        self._locks = locks
        self._uses: list[SingleUse[Hold]] = []
        self._started_at = math.nan

    async def _enter(self) -> MultiHold:
        self._started_at = anyio.current_time()
        while True:
            holds = await self._take_all()
            if holds is not None:
                return MultiHold(holds)

    async def _take_all(self) -> list[Hold] | None:
        """Take one lock after another; return None if one was lost during the wait for the next.

        Each lock is awaited within the blocks of those before it, so that the loss of one ends the wait. The
        caller's block has not begun then, so no code has relied on the lost lock, and all can be taken again.
        """
        holds: list[Hold] = []
        try:
            for lock in self._locks:
                use = mark_entered(lock.acquire(wait=self._remaining()))
                holds.append(await use.enter())
                self._uses.append(use)
        except BaseException as error:
            outcome = await self.leave(error)
            # The loss may also be that of a reentrant lock that this task holds in an outer block.
            is_outer_loss = isinstance(error, LockLostError)
            if isinstance(outcome, LockLostError) and not is_outer_loss:
                return None
            if isinstance(outcome, AcquireTimeoutError):
                raise self._timeout_error(outcome) from outcome
            if outcome is error:
                raise
            assert outcome is not None  # only a loss replaces an error
            raise outcome from outcome.__cause__
        return holds

    def _remaining(self) -> float | None:
        """Return the remaining limit for the next lock; 0, which means one try, only if the limit is 0."""
        if not self._wait:
            return self._wait
        return max(self._started_at + self._wait - anyio.current_time(), _AT_ONCE)

    def _timeout_error(self, error: AcquireTimeoutError) -> AcquireTimeoutError:
        assert self._wait is not None
        return AcquireTimeoutError(
            f"{self.what}, at {error.lock},",
            path=error.path,
            wait=self._wait,
            waited=anyio.current_time() - self._started_at,
            waiting_for=error.waiting_for,
            holder=error.holder,
            holder_path=error.holder_path,
        )

    def end_block(self, error: BaseException | None) -> BaseException | None:
        outcome = error
        for use in reversed(self._uses):
            inner, outcome = outcome, use.end_block(outcome)
            # If several locks were lost, the cause is the block's error and not the inner loss.
            if isinstance(inner, LockLostError) and inner is not error and outcome is not inner:
                assert outcome is not None
                outcome.__cause__ = inner.__cause__
        return outcome

    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        uses, self._uses = self._uses[::-1], []
        return await together(*(partial(use.release, outcome) for use in uses))
