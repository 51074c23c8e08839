"""MultiLock: several locks at once, all or none."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Protocol, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import async_block, recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import AcquireTimeoutError, LockLostError
from zkrecipes.recipes.locking.contenders import Contender
from zkrecipes.recipes.locking.guarded_transaction import guarded_transaction
from zkrecipes.recipes.locking.hold import Hold, confirm_all
from zkrecipes.recipes.locking.single_use import EnteredDirectly, GuardedUse, SingleUse
from zkrecipes.recipes.locking.wait_limit import check_wait, takes_wait
from zkrecipes.recipes.mutex import Mutex
from zkrecipes.recipes.znodes.clean_up import together

__all__ = ["MultiAcquisition", "MultiHold", "MultiLock"]

_AT_ONCE: Final = 1e-9
"""Seconds: a wait that is over at its first checkpoint, and no single try."""


class _Lock(Protocol):
    @property
    def path(self) -> str: ...

    def acquire(self, *, wait: float | None = ...) -> GuardedUse[Hold]: ...

    async def contenders(self) -> list[Contender]: ...


@final
class MultiHold:
    """What is held while the block of a `MultiLock` runs.

    Attributes:
        holds: one of each lock, in the locks' order.
    """

    def __init__(self, holds: Sequence[Hold]) -> None:
        self.holds: tuple[Hold, ...] = tuple(holds)

    @property
    def fencing_tokens(self) -> tuple[int, ...]:
        """The token of each hold, in the locks' order; each grows from holder to holder of its lock."""
        return tuple(hold.fencing_token for hold in self.holds)

    @property
    def valid_until(self) -> float:
        """Until when all of them are proven, on `anyio.current_time()`'s clock."""
        return min(hold.valid_until for hold in self.holds)

    def remaining(self) -> float:
        """How many seconds all of them are still proven for; 0 when one is lost."""
        return min(hold.remaining() for hold in self.holds)

    def check(self) -> None:
        """Raise if one of them is lost, without waiting.

        Raises:
            LockLostError: for the first that is.
        """
        for hold in self.holds:
            hold.check()

    async def confirm(self) -> None:
        """Get one proof of each now: all that one client has are proven together.

        Raises:
            LockLostError: for the first that is lost.
        """
        await confirm_all(self.holds)

    @async_block("hold.transaction()", "tx")
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction, as `Hold.transaction`, that applies only if all of them are still held then.

        Raises:
            ValueError: the locks are not all of one client, or of views of it with one chroot.
            LockLostError: one of the znodes is gone, and nothing was applied.
            TransactionError: another operation failed; `index` counts from the caller's first.
            ConnectionLossError: it is unknown whether it was applied.
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
    """The same for two views of one client that see the same paths."""
    api = recipe_api(client)
    return api.root, api.operations.full("/")


def _loss(path: str) -> LockLostError:
    return LockLostError(path, reason="its znode is gone")


@final
class MultiLock(EnteredDirectly[MultiHold]):
    """Several locks held together: taken in the given order, all or none, and released together.

        async with zk.MultiLock([zk.Mutex(client, "/a"), zk.Mutex(client, "/b")]) as hold:
            hold.fencing_tokens

    Two programs that take some of the same locks must give them in the same order, or they may wait for each
    other for ever. The loss of one lock cancels the block, releases the others and raises `LockLostError`; if
    several are lost at once, it is told of one of them, and all are in the log.

    Building it does no I/O, and tasks may share it.

    Args:
        locks: at least one, of any layouts and clients: each a `Mutex` or a `Semaphore`.

    Raises:
        TypeError: one is no lock that can be acquired.
        ValueError: there is none, or the same one twice: an object, or two mutexes of one client on one path.
    """

    def __init__(self, locks: Sequence[_Lock]) -> None:
        super().__init__()
        self._locks = tuple(locks)
        if not self._locks:
            raise ValueError("a MultiLock needs at least one lock")
        known: set[tuple[object, str]] = set()
        for lock in self._locks:
            if not callable(getattr(lock, "acquire", None)):
                raise TypeError(f"a MultiLock is made of mutexes and semaphores, not of {lock!r}")
            key = _key(lock)
            if key in known:
                raise ValueError(f"a MultiLock has {lock!r} twice: it would wait for itself")
            known.add(key)

    @takes_wait
    def acquire(self, *, wait: float | None = None) -> MultiAcquisition:
        """Enter the result to hold all locks: `async with multi.acquire(wait=3) as hold`.

        Args:
            wait: how many seconds to wait at most for all locks together; the block is not limited. With 0 it
                is one try of each: entering raises unless all are free. None: no limit.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises what entering each lock does; those that were taken already are released first. One
        that is lost while the next is waited for is no error: all are released, and it begins anew. Two
        semaphores on one path are a `RuntimeError`: ask one of them for both permits.

        Leaving raises:
            LockLostError: one was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind, whatever was under way; the removal goes on in the background.
        """
        return MultiAcquisition(self._locks, wait=wait, what=repr(self))

    def _new_use(self) -> MultiAcquisition:
        return self.acquire()

    async def contenders(self) -> list[list[Contender]]:
        """Who has each lock and who waits for it, in the locks' order: one list of each lock."""
        return [await lock.contenders() for lock in self._locks]

    def __repr__(self) -> str:
        return f"<MultiLock {' '.join(lock.path for lock in self._locks)}>"


def _key(lock: _Lock) -> tuple[object, str]:
    """The same for two objects that are contenders in one queue, of one client or of views of it."""
    if not isinstance(lock, Mutex):
        return lock, ""
    api = recipe_api(lock.client)
    return api.root, api.operations.full(lock.path)


@final
class MultiAcquisition(SingleUse[MultiHold]):
    """One acquisition of several locks, to be entered once with `async with`: a `MultiHold`."""

    def __init__(self, locks: Sequence[_Lock], *, wait: float | None, what: str) -> None:
        self._wait = check_wait(wait)
        super().__init__(what)
        self._locks = locks
        self._uses: list[GuardedUse[Hold]] = []
        self._began = math.nan

    async def __aenter__(self) -> MultiHold:
        self.enter_once()
        self._began = anyio.current_time()
        while True:
            holds = await self._take_all()
            if holds is not None:
                return MultiHold(holds)

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = await self._leave_all(error)
        if outcome is not None and outcome is not error:
            raise outcome

    async def _take_all(self) -> list[Hold] | None:
        """One lock after another; None if one was lost while another was waited for.

        Each is waited for within the blocks of those before it, so that the loss of one ends the waiting. The
        caller's block has not begun then, nobody has relied on anything, and it may begin anew.
        """
        holds: list[Hold] = []
        try:
            for lock in self._locks:
                use = lock.acquire(wait=self._rest())
                holds.append(await use.__aenter__())
                self._uses.append(use)
        except BaseException as error:
            outcome = await self._leave_all(error)
            # A refusal is of a reentrant lock that its task has lost further out.
            is_refusal = isinstance(error, LockLostError)
            if isinstance(outcome, LockLostError) and not is_refusal:
                return None
            if isinstance(outcome, AcquireTimeoutError):
                raise self._time_is_over(outcome) from outcome
            if outcome is error:
                raise
            assert outcome is not None  # only a loss replaces an error
            raise outcome from outcome.__cause__
        return holds

    def _rest(self) -> float | None:
        """What is left of the limit for the next lock: never 0 unless the limit is, which means one try."""
        if not self._wait:
            return self._wait
        return max(self._began + self._wait - anyio.current_time(), _AT_ONCE)

    def _time_is_over(self, error: AcquireTimeoutError) -> AcquireTimeoutError:
        assert self._wait is not None
        return AcquireTimeoutError(
            f"{self.what}, at {error.lock},",
            path=error.path,
            wait=self._wait,
            waited=anyio.current_time() - self._began,
            waiting_for=error.waiting_for,
            holder=error.holder,
            holder_path=error.holder_path,
        )

    async def _leave_all(self, error: BaseException | None) -> BaseException | None:
        """Leave what was entered, in one round trip, and return what is to be raised, or None."""
        uses, self._uses = self._uses[::-1], []
        outcome = error
        for use in uses:
            inner, outcome = outcome, use._end_block(outcome)  # noqa: SLF001 - halves of `__aexit__`
            # If several were lost, the inner loss is the outer one's cause; what the block raised counts.
            if isinstance(inner, LockLostError) and inner is not error and outcome is not inner:
                assert outcome is not None
                outcome.__cause__ = inner.__cause__
        refusal = await together(*(partial(use._leave, outcome) for use in uses))  # noqa: SLF001
        return refusal if outcome is None else outcome
