"""MultiLock: several locks at once, all or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Protocol, final

from zkrecipes.client.recipe_api import recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import LockLostError
from zkrecipes.recipes.contenders import Contender
from zkrecipes.recipes.entered_by_task import EnteredByTask
from zkrecipes.recipes.entered_once import EnteredOnce
from zkrecipes.recipes.guarded_transaction import guarded_transaction
from zkrecipes.recipes.hold import Hold
from zkrecipes.recipes.mutex import Mutex

__all__ = ["MultiAcquisition", "MultiHold", "MultiLock"]


class _Lock(Protocol):
    path: str

    def acquire(self, *, blocking: bool = ...) -> AbstractAsyncContextManager[Hold, None]: ...

    async def contenders(self) -> list[Contender]: ...


@final
class MultiHold:
    """What is held while the block of a `MultiLock` runs.

    Attributes:
        holds: one of each lock, in the locks' order.
    """

    def __init__(self, holds: Sequence[Hold]) -> None:
        self.holds = tuple(holds)

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
        """Get one proof of each now, one after another.

        Raises:
            LockLostError: for the first that is lost.
        """
        for hold in self.holds:
            await hold.confirm()
        self.check()  # the first may have been lost while the last was proven

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction, as `Hold.transaction`, that applies only if all of them are still held then.

        Raises:
            ValueError: the locks are not all of one and the same client, which a transaction needs.
            LockLostError: one of the znodes is gone, and nothing was applied.
            TransactionError: another operation failed; `index` counts from the caller's first.
            ConnectionLossError: it is unknown whether it was applied.
        """
        self.check()
        client = self.holds[0].client
        if any(hold.client is not client for hold in self.holds):
            raise ValueError(f"no transaction reaches the locks of several clients: {self!r}")
        paths = [path for hold in self.holds for path in hold.paths]
        async with guarded_transaction(client, paths, _loss) as transaction:
            yield transaction

    def __repr__(self) -> str:
        return f"<MultiHold {' '.join(map(repr, self.holds))}>"


def _loss(path: str) -> LockLostError:
    return LockLostError(path, reason="its znode is gone")


@final
class MultiLock:
    """Several locks held together: taken in the given order, all or none, and released in reverse.

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
        self._locks = tuple(locks)
        if not self._locks:
            raise ValueError("a MultiLock needs at least one lock")
        for number, lock in enumerate(self._locks):
            if not callable(getattr(lock, "acquire", None)):
                raise TypeError(f"a MultiLock is made of mutexes and semaphores, not of {lock!r}")
            if any(lock is other or _are_one(lock, other) for other in self._locks[:number]):
                raise ValueError(f"a MultiLock has {lock!r} twice: it would wait for itself")
        self._entered: EnteredByTask[MultiAcquisition] = EnteredByTask()

    def acquire(self, *, blocking: bool = True) -> MultiAcquisition:
        """Enter the result to hold all locks: `async with multi.acquire(blocking=False) as hold`.

        Args:
            blocking: wait for each in turn. With False entering raises `anyio.WouldBlock` unless all are
                free.

        Entering raises what entering each lock does; those that were taken already are released first. One
        that is lost while the next is waited for is no error: all are released, and it begins anew.

        Leaving raises:
            LockLostError: one was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind, whatever was under way; the removal goes on in the background.
        """
        return MultiAcquisition(self._locks, blocking=blocking, what=repr(self))

    async def __aenter__(self) -> MultiHold:
        acquisition = self.acquire()
        hold = await acquisition.__aenter__()
        self._entered.push(acquisition)
        return hold

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entered.pop(self).__aexit__(error_type, error, traceback)

    async def contenders(self) -> list[list[Contender]]:
        """Who has each lock and who waits for it, in the locks' order: one list of each lock."""
        return [await lock.contenders() for lock in self._locks]

    def __repr__(self) -> str:
        return f"<MultiLock {' '.join(lock.path for lock in self._locks)}>"


def _are_one(lock: _Lock, other: _Lock) -> bool:
    """Whether two objects are contenders in one queue, of one client or of views of it."""
    if not (isinstance(lock, Mutex) and isinstance(other, Mutex)):
        return False
    ours, theirs = recipe_api(lock.client), recipe_api(other.client)
    is_one_client = ours.session is theirs.session
    return is_one_client and ours.operations.full(lock.path) == theirs.operations.full(other.path)


@final
class MultiAcquisition(EnteredOnce):
    """One acquisition of several locks, to be entered once with `async with`: a `MultiHold`."""

    def __init__(self, locks: Sequence[_Lock], *, blocking: bool, what: str) -> None:
        super().__init__(what)
        self._locks = locks
        self._blocking = blocking
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> MultiHold:
        self.enter_once()
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
        try:
            await self._entered.__aexit__(error_type, error, traceback)
        except LockLostError as loss:
            # If several were lost, the inner loss is the outer one's cause; what the block raised counts.
            while isinstance(loss.__cause__, LockLostError) and loss.__cause__ is not error:
                loss.__cause__ = loss.__cause__.__cause__
            raise

    async def _take_all(self) -> list[Hold] | None:
        """One lock after another; None if one was lost while another was waited for.

        Each is waited for within the blocks of those before it, so that the loss of one ends the waiting. The
        caller's block has not begun then, nobody has relied on anything, and it may begin anew.
        """
        holds: list[Hold] = []
        refusal: LockLostError | None = None
        try:
            async with AsyncExitStack() as taken:
                for lock in self._locks:
                    try:
                        holds.append(await taken.enter_async_context(lock.acquire(blocking=self._blocking)))
                    except LockLostError as error:
                        refusal = error  # of a reentrant lock that its task has lost further out
                        raise
                self._entered = taken.pop_all()
        except LockLostError:
            if refusal is not None:
                raise
            return None
        return holds
