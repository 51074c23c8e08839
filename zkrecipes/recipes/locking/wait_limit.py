"""The limit of the wait for a lock: `acquire(wait=seconds)`.

The limit covers everything from entering to the first statement of the body, and never the body. A caller's
cancel scope around the whole block would also cancel the work of the body.
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
"""The stages of an acquire, in this order."""


@final
class WaitLimit:
    """The limit of one acquire.

    Args:
        wait: the limit in seconds, from the call of `run`; 0 for one try, None for no limit.

    Attributes:
        wait: the same.
        waiting_for: what the acquire waits for now. The `take` of `run` keeps it up to date.
    """

    def __init__(self, wait: float | None) -> None:
        self.wait: float | None = check_wait(wait)
        self.waiting_for: WaitingFor = "connection"
        self._started_at = math.nan

    @property
    def is_one_try(self) -> bool:
        """Whether to give up as soon as another contender is in front."""
        return self.wait == 0

    def waited(self) -> float:
        """Return how many seconds the acquire has waited so far."""
        return anyio.current_time() - self._started_at

    async def run(self, api: RecipeApi, take: Callable[[], Awaitable[T | None]]) -> T | None:
        """Run `take` within the limit.

        There is no checkpoint between the return of `take` and the return of this function.

        Returns:
            The result of `take`, which is None if a single try had no success; None if the time is over.

        Cancellation: the caller's cancellation passes through, and is never mistaken for the limit.
        """
        self._started_at = anyio.current_time()
        if self.wait is None:
            return await take()
        if not self.is_one_try:
            with anyio.CancelScope(deadline=self._started_at + self.wait):
                return await take()
        elif api.is_connected or api.is_over:
            with anyio.CancelScope() as scope, api.on_disconnect(scope.cancel):
                return await take()
        else:
            await anyio.lowlevel.checkpoint()
        return None


def check_wait(wait: float | None) -> float | None:
    """Return `wait` if it is None or a number of seconds that is at least 0.

    Raises:
        TypeError: `wait` is not a number.
        ValueError: `wait` is negative or NaN.
    """
    if wait is None:
        return None
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        raise TypeError(f"wait must be a number of seconds or None, not {wait!r}")
    if not wait >= 0:
        raise ValueError(f"wait must be at least 0 seconds, not {wait!r}")
    return wait


def takes_wait(call: Callable[P, T]) -> Callable[P, T]:
    """Make a method explain `wait=` to callers that pass the limit as kazoo's `acquire` takes it."""

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if len(args) > 1 or not kwargs.keys().isdisjoint(("blocking", "timeout")):
            raise TypeError(
                f"{call.__qualname__} takes keyword arguments only; pass the limit of the wait as wait=: "
                "wait=0 is one try (kazoo's blocking=False), wait=3 is 3 seconds at most (kazoo's timeout=3)"
            )
        return call(*args, **kwargs)

    return checked
