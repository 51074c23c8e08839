"""The limit that a semaphore object has agreed on with the other contenders."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from zkrecipes.recipes.locking.permits import PermitPool, PoolState

__all__ = ["LimitState", "check_count"]


@final
class LimitState:
    """The limit of one semaphore object, and whether the other contenders have the same.

    Args:
        pool: the directory of the permits, which may hold the limit.
        limit: the limit that the user gave; None to take the stored limit.
        describe: returns the name of the semaphore object for messages.

    Attributes:
        limit: how many permits there are; None if it is not known yet.
        has_agreed: whether the limit is that of all contenders. In a layout that stores no limit, limits
            cannot be compared, and `limit` counts as agreed.
    """

    def __init__(self, pool: PermitPool, limit: int | None, describe: Callable[[], str]) -> None:
        if limit is None and not pool.layout.has_limit:
            raise ValueError("limit must be an int in Curator's layout, which stores no limit, not None")
        self.limit = None if limit is None else check_count("limit", limit)
        self.has_agreed: bool = not pool.layout.has_limit
        self._pool = pool
        self._describe = describe

    async def agree(self) -> None:
        """Compare the limit with that of the other contenders. Call it before each entry.

        Raises:
            ValueError: the limits differ; or no limit is stored, and the user gave none.
        """
        if self.has_agreed:
            return
        limit = await self._pool.agree_on_limit(self.limit)
        if limit is None:
            raise ValueError(f"no limit is stored at {self._pool.directory} yet: pass one, such as limit=3")
        if self.limit is None:
            self.limit = limit
        if limit != self.limit:
            raise ValueError(
                f"the semaphore at {self._pool.directory} has a limit of {limit}, not {self.limit}: "
                f"pass limit={limit}, or change the limit with set_limit"
            )
        self.has_agreed = True

    async def change(self, limit: int) -> None:
        """Write another limit for all contenders."""
        await self._pool.set_limit(limit)
        self.limit, self.has_agreed = limit, True

    def check(self, permits: int) -> None:
        """Check that the limit is at least this number of permits.

        Raises:
            ValueError: the semaphore has fewer permits.
        """
        if self.limit is not None and permits > self.limit:
            raise ValueError(
                f"permits must be at most {self.limit}, the limit of {self._describe()}, not {permits}"
            )

    def is_free(self, state: PoolState, permits: int) -> bool:
        """Whether this many permits are free in `state`, by the limit at that time.

        Raises:
            ValueError: the semaphore has fewer permits.
        """
        if state.limit is not None:
            self.limit = state.limit
        self.check(permits)
        return self.limit is not None and state.taken + permits <= self.limit


def check_count(name: str, count: int) -> int:
    """Return `count` if it is an int of at least 1.

    Raises:
        TypeError: `count` is not an int.
        ValueError: `count` is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be an int, not {count!r}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count
