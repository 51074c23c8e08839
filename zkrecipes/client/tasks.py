"""Tasks of a client's own, for what must go on when the caller's task is cancelled.

They run in a task group inside one task of `connect()`, which no cancellation reaches: it ends when the
client has been closed. A caller that needs the server to clean up lets such a task do it and only waits: on
asyncio a second native cancellation breaks any shield, and the clean-up must not break.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, final

import anyio
from anyio.abc import TaskGroup

from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending
from zkrecipes.net.transport.network import bare_errors

__all__ = ["AsyncFunction", "ClientTasks", "Rest"]

logger: logging.Logger = logging.getLogger("zkrecipes.client")

AsyncFunction = Callable[[], Coroutine[Any, Any, None]]
Rest = Callable[[], Callable[[], Awaitable[None]] | None]
"""Returns what is left of a clean-up, or None."""


@final
class ClientTasks:
    """The background work of one client."""

    def __init__(self) -> None:
        self._group: TaskGroup
        self._clean_ups: dict[anyio.Event, None] = {}
        self._errands: dict[Pending[Any], None] = {}
        self._stopping = anyio.Event()
        self._stopped = anyio.Event()

    async def run(self, *engines: AsyncFunction, close: AsyncFunction) -> None:
        """Run what keeps the client going until `stop`; then `close`, and end all that still runs."""
        try:
            with anyio.CancelScope(shield=True), bare_errors():
                async with anyio.create_task_group() as self._group:
                    for engine in engines:
                        self._group.start_soon(engine)
                    await self._stopping.wait()
                    await close()
                    self._group.cancel_scope.cancel()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Close the client and wait until that is done.

        Cancellation, native ones included, ends the wait only.
        """
        self._stopping.set()
        with anyio.CancelScope(shield=True):
            await self._stopped.wait()

    @asynccontextmanager
    async def background(self, func: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run `func` in a task of the client's for as long as the block runs.

        Its errors are logged and never reach the block: no exception group comes around the user's own.
        """
        scope = anyio.CancelScope()
        done = anyio.Event()

        async def run() -> None:
            try:
                with scope:
                    await func()
            except ZooKeeperError as error:
                logger.info("background work of the client ended: %s", error)
            except Exception:
                logger.exception("background work of the client failed")
            finally:
                done.set()

        self._group.start_soon(run)
        try:
            yield
        finally:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await done.wait()

    async def clean_up(self, func: Callable[[], Awaitable[None]], *, wait_at_most: float) -> None:
        """Run `func` in a task of the client's, and wait for it, shielded, for so many seconds at most.

        It goes on when the wait is over or broken; only the end of the client ends it.
        """
        done = self.start_clean_up(func)
        with anyio.move_on_after(wait_at_most, shield=True):
            await done.wait()

    async def clean_up_after(self, errand: Pending[Any], rest: Rest, *, wait_at_most: float) -> None:
        """Wait, as `clean_up`, for an errand that was submitted, and for what is to be done after it.

        The answer comes to the client itself, whatever becomes of the caller, so a clean-up that succeeds at
        the first try needs no task.

        Args:
            errand: the first try.
            rest: called with its answer; returns what is left to be done, or None.
            wait_at_most: in seconds.
        """
        done: anyio.Event | None = None

        def answered() -> None:
            nonlocal done
            del self._errands[errand]
            func = rest()
            done = None if func is None else self.start_clean_up(func)

        self._errands[errand] = None
        errand.call_when_done(answered)
        with anyio.move_on_after(wait_at_most, shield=True):
            await errand.wait_done()
            if done is not None:
                await done.wait()

    def start_clean_up(self, func: Callable[[], Awaitable[object]]) -> anyio.Event:
        """Run `func` in a task of the client's; the event is set when it has ended."""
        done = anyio.Event()
        self._clean_ups[done] = None

        async def run() -> None:
            try:
                await func()
            except ZooKeeperError as error:
                logger.info("a clean-up ended: %s", error)
            except Exception:
                logger.exception("a clean-up failed")
            finally:
                del self._clean_ups[done]
                done.set()

        self._group.start_soon(run)
        return done

    async def wait_clean_ups(self) -> None:
        """Wait until every clean-up has ended."""
        while self._errands or self._clean_ups:
            if self._errands:
                await next(iter(self._errands)).wait_done()
            else:
                await next(iter(self._clean_ups)).wait()
