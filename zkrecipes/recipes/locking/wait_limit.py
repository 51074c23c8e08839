"""How long a caller waits for a lock: `acquire(wait=seconds)`.

The limit covers everything from entering to the first statement of the body, and never the body. A scope of
the caller around the whole block would cancel the body's work.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, final

import anyio
import anyio.lowlevel

from zkrecipes.client.recipe_api import RecipeApi

__all__ = ["WaitLimit", "WaitingFor", "check_wait", "takes_wait"]

P = ParamSpec("P")
T = TypeVar("T")

WaitingFor = Literal["connection", "turn", "proof"]
"""What an acquire waits for, in this order."""


@final
class WaitLimit:
    """The limit of one acquire.

    Args:
        wait: in seconds from `run` on; 0 for one try, None for no limit.

    Attributes:
        waiting_for: what the acquire waits for now; whoever takes the lock keeps it up to date.
    """

    def __init__(self, wait: float | None) -> None:
        self.wait: float | None = check_wait(wait)
        self.waiting_for: WaitingFor = "connection"
        self._began = math.nan

    @property
    def is_one_try(self) -> bool:
        """Whether to give up as soon as a contender is in front."""
        return self.wait == 0

    def waited(self) -> float:
        """How many seconds the acquire has waited up to now."""
        return anyio.current_time() - self._began

    async def run(self, api: RecipeApi, take: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what `take` returns, None for a try without success; None also when the time is over.

        Nothing is awaited between the return of `take` and that of this function.

        Cancellation: it comes out as itself; a scope of the caller is never taken for the limit.
        """
        self._began = anyio.current_time()
        if self.wait is None:
            return await take()
        if not self.is_one_try:
            with anyio.CancelScope(deadline=self._began + self.wait):
                return await take()
        elif api.is_connected or api.is_over:
            with anyio.CancelScope() as scope, api.on_disconnect(scope.cancel):
                return await take()
        else:
            await anyio.lowlevel.checkpoint()
        return None


def check_wait(wait: float | None) -> float | None:
    """Return `wait` if it is None or a number of seconds from 0 on.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative, or not a number in floating point.
    """
    if wait is None:
        return None
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        raise TypeError(f"wait must be a number of seconds or None, not {wait!r}")
    if not wait >= 0:
        raise ValueError(f"wait must be at least 0 seconds, not {wait!r}")
    return wait


def takes_wait(call: Callable[P, T]) -> Callable[P, T]:
    """Make a method that takes `wait=` name it, if a caller gives the limit as kazoo's `acquire` takes it."""

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if len(args) > 1 or not kwargs.keys().isdisjoint(("blocking", "timeout")):
            raise TypeError(
                f"{call.__qualname__} takes keyword arguments only, and the limit of its wait as wait=: "
                "wait=0 is one try (kazoo's blocking=False), wait=3 is 3 seconds at most (kazoo's timeout=3)"
            )
        return call(*args, **kwargs)

    return checked
