"""On what terms the tasks that share a semaphore object enter: its limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from zkrecipes.recipes.locking.permits import PermitPool, PoolState

__all__ = ["LimitState", "check_count"]


@final
class LimitState:
    """What one semaphore object knows of its limit.

    Args:
        pool: where the permits lie, and perhaps the limit.
        limit: what the object was given; None for the limit that is stored already.
        describe: how messages name the object.

    Attributes:
        limit: how many permits there are, as far as is known; None if it is not.
        has_agreed: whether all contenders have this limit; where nothing holds it nobody knows better.
    """

    def __init__(self, pool: PermitPool, limit: int | None, describe: Callable[[], str]) -> None:
        if limit is None and not pool.layout.has_limit:
            raise ValueError("limit must be a number in Curator's layout, which stores none: not None")
        self.limit = None if limit is None else check_count("a semaphore's limit", limit)
        self.has_agreed: bool = not pool.layout.has_limit
        self._pool = pool
        self._describe = describe

    async def agree(self) -> None:
        """Before the first entry: the limit is the one that all others have.

        Raises:
            ValueError: it is not; or none is stored, and this object was given none.
        """
        if self.has_agreed:
            return
        limit = await self._pool.agree(self.limit)
        if limit is None:
            raise ValueError(f"no limit is stored at {self._pool.directory} yet: give one, as limit=3")
        if self.limit is None:
            self.limit = limit
        if limit != self.limit:
            raise ValueError(
                f"the semaphore at {self._pool.directory} has a limit of {limit}, not {self.limit}: "
                f"use that one, or change it with set_limit"
            )
        self.has_agreed = True

    async def change(self, limit: int) -> None:
        """Write another limit for everybody."""
        await self._pool.set_limit(limit)
        self.limit, self.has_agreed = limit, True

    def check(self, permits: int) -> None:
        """Return if so many can be had at all.

        Raises:
            ValueError: there are fewer.
        """
        if self.limit is not None and permits > self.limit:
            raise ValueError(f"{permits} permits are more than there are of {self._describe()}")

    def admit(self, room: PoolState, permits: int) -> bool:
        """Whether so many can be had now, by the limit of that moment.

        Raises:
            ValueError: they can never be had.
        """
        if room.limit is not None:
            self.limit = room.limit
        self.check(permits)
        return self.limit is not None and room.out + permits <= self.limit


def check_count(what: str, count: int) -> int:
    """Return `count` if it is a number from 1 on.

    Raises:
        TypeError: it is not an int.
        ValueError: it is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{what} is an int, not {count!r}")
    if count < 1:
        raise ValueError(f"{what} is at least 1, not {count}")
    return count
