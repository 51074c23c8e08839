"""MultiLock: several locks at once, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, final

from zkrecipes.recipes.acquisition import Acquisition, task_id
from zkrecipes.recipes.hold import Hold

__all__ = ["MultiHold", "MultiLock"]


class _Lock(Protocol):
    def acquire(self, *, blocking: bool = ...) -> Acquisition[Hold]: ...


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
        """Get one proof of each now.

        Raises:
            LockLostError: for the first that is lost.
        """
        for hold in self.holds:
            await hold.confirm()


@final
class MultiLock:
    """Several locks held together: taken in the given order, all or none, and released in reverse.

        async with zk.MultiLock([zk.Mutex(client, "/a"), zk.Mutex(client, "/b")]) as hold:
            hold.fencing_tokens

    Two programs that take the same locks must give them in the same order, or they may wait for each other.
    The loss of one lock cancels the block, releases the others and raises `LockLostError`.

    Args:
        locks: two or more, of any layouts and clients.

    Raises:
        ValueError: there is none, or the same object twice.
    """

    def __init__(self, locks: Sequence[_Lock]) -> None:
        self._locks = tuple(locks)
        if not self._locks:
            raise ValueError("a MultiLock needs at least one lock")
        if len(set(map(id, self._locks))) < len(self._locks):
            raise ValueError("a MultiLock has the same lock twice: it would wait for itself")
        self._stacks: dict[int, AsyncExitStack] = {}

    def acquire(self, *, blocking: bool = True) -> MultiAcquisition:
        """Enter the result to hold all locks: `async with multi.acquire(blocking=False) as hold`.

        Args:
            blocking: wait for each in turn. With False entering raises `anyio.WouldBlock` unless all are
                free.
        """
        return MultiAcquisition(self._locks, blocking)

    async def __aenter__(self) -> MultiHold:
        acquisition = self.acquire()
        hold = await acquisition.__aenter__()
        self._stacks[task_id()] = acquisition.stack
        return hold

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._stacks.pop(task_id()).__aexit__(error_type, error, traceback)


@final
class MultiAcquisition:
    """One acquisition of several locks, to be entered once with `async with`."""

    def __init__(self, locks: Sequence[_Lock], blocking: bool) -> None:
        self.stack = AsyncExitStack()
        self._locks = locks
        self._blocking = blocking

    async def __aenter__(self) -> MultiHold:
        # Entering the next lock stands in the block of those before it, so their loss cancels it.
        try:
            return MultiHold(
                [
                    await self.stack.enter_async_context(lock.acquire(blocking=self._blocking))
                    for lock in self._locks
                ]
            )
        except BaseException as error:
            if await self.stack.__aexit__(type(error), error, error.__traceback__):
                raise AssertionError("a lock swallows no exception") from error
            raise

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self.stack.__aexit__(error_type, error, traceback)
