"""On what terms the tasks that share a semaphore object enter: its limit, and what they have already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import final

from zkrecipes.recipes.permits import Pool, Room

__all__ = ["Terms", "check_count"]


@final
class Terms:
    """What one semaphore object knows of its limit, and which of its tasks has how many permits.

    Args:
        pool: where the permits lie, and perhaps the limit.
        limit: what the object was given.
        describe: how messages name the object.

    Attributes:
        limit: how many permits there are, as far as is known.
        has_agreed: whether all contenders have this limit; where nothing holds it nobody knows better.
        taken: how many permits each task has.
    """

    def __init__(self, pool: Pool, limit: int, describe: Callable[[], str]) -> None:
        self.limit = check_count("a semaphore's limit", limit)
        self.has_agreed = not pool.layout.has_limit
        self.taken: Counter[int] = Counter()
        self._pool = pool
        self._describe = describe

    async def agree(self) -> None:
        """Before the first entry: the limit is the one that all others have.

        Raises:
            ValueError: it is not.
        """
        if self.has_agreed:
            return
        limit = await self._pool.agree(self.limit)
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
        if permits > self.limit:
            raise ValueError(f"{permits} permits are more than there are of {self._describe()}")

    def admit(self, room: Room, permits: int) -> bool:
        """Whether so many can be had now, by the limit of that moment.

        Raises:
            ValueError: they can never be had.
        """
        if room.limit is not None:
            self.limit = room.limit
        self.check(permits)
        return room.out + permits <= self.limit

    def check_wait(self, task: int, permits: int) -> None:
        """Return if it makes sense that the task waits for so many.

        Raises:
            RuntimeError: only when it gives some back itself are there enough.
        """
        own = self.taken[task]
        if own + permits > self.limit:
            raise RuntimeError(
                f"this task has {own} permits of {self._describe()} already: it would wait for itself"
            )


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
