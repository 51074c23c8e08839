"""Waiting for servers and threads by polling, because they do not notify us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

_POLL_INTERVAL = 0.01


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Wait until `condition` returns True.

    Raises:
        TimeoutError: it did not within this many seconds.
    """
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110 - nothing notifies us
            await anyio.sleep(_POLL_INTERVAL)
