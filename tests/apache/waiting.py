"""Waiting for what servers and threads do: they do not call us, so we look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

_POLL_INTERVAL = 0.01


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Wait until `condition` says True.

    Raises:
        TimeoutError: it has not within so many seconds.
    """
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110 - nobody calls us
            await anyio.sleep(_POLL_INTERVAL)
