"""Tasks of a client, for work that must continue after the caller's task is cancelled.

They run in a task group inside one task of `connect()`, which no cancellation reaches: it ends when the
client is closed. A clean-up on the server runs in such a task, and the caller only waits for it. On asyncio,
a second native cancellation breaks any shield, and must not break the clean-up.
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
"""A function that returns the rest of a clean-up as a function, or None if the clean-up is done."""


@final
class ClientTasks:
    """The background work of one client."""

    def __init__(self) -> None:
        self._group: TaskGroup
        self._clean_ups: dict[anyio.Event, None] = {}
        self._requests: dict[Pending[Any], None] = {}
        self._stopping = anyio.Event()
        self._stopped = anyio.Event()

    async def run(self, *engines: AsyncFunction, close: AsyncFunction) -> None:
        """Run the client's engines until `stop`, then call `close`, and cancel the remaining tasks."""
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
        """Close the client, and wait until it is closed.

        Cancellation, including a native one, ends only the wait.
        """
        self._stopping.set()
        with anyio.CancelScope(shield=True):
            await self._stopped.wait()

    @asynccontextmanager
    async def background(self, func: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run `func` in a task of the client until the block ends.

        Its errors are logged and never reach the block, so no exception group wraps the user's exceptions.
        """
        scope = anyio.CancelScope()
        done = anyio.Event()

        async def run() -> None:
            try:
                with scope:
                    await func()
            except ZooKeeperError as error:
                logger.info("a background task of the client ended: %s", error)
            except Exception:
                logger.exception("a background task of the client failed")
            finally:
                done.set()

        self._group.start_soon(run)
        try:
            yield
        finally:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await done.wait()

    async def clean_up(self, func: Callable[[], Awaitable[None]], *, wait_max: float) -> None:
        """Run `func` in a task of the client, and wait for it, shielded, for at most `wait_max` seconds.

        The task continues after the wait; only the end of the client ends it.
        """
        done = self.start_clean_up(func)
        with anyio.move_on_after(wait_max, shield=True):
            await done.wait()

    async def clean_up_after(self, request: Pending[Any], rest: Rest, *, wait_max: float) -> None:
        """Wait, as `clean_up` does, for a request that was submitted, and for the rest of the clean-up.

        The client receives the answer even if the caller is cancelled, so a clean-up whose first request
        succeeds needs no task.

        Args:
            request: the first request of the clean-up.
            rest: called after the answer; returns the rest of the clean-up, or None.
            wait_max: in seconds.
        """
        done: anyio.Event | None = None

        def answered() -> None:
            nonlocal done
            del self._requests[request]
            func = rest()
            done = None if func is None else self.start_clean_up(func)

        self._requests[request] = None
        request.call_when_done(answered)
        with anyio.move_on_after(wait_max, shield=True):
            await request.wait_done()
            if done is not None:
                await done.wait()

    def start_clean_up(self, func: Callable[[], Awaitable[object]]) -> anyio.Event:
        """Run `func` in a task of the client, and return an event that is set when it has ended."""
        done = anyio.Event()
        self._clean_ups[done] = None

        async def run() -> None:
            try:
                await func()
            except ZooKeeperError as error:
                logger.info("a clean-up did not finish: %s", error)
            except Exception:
                logger.exception("a clean-up failed")
            finally:
                del self._clean_ups[done]
                done.set()

        self._group.start_soon(run)
        return done

    async def wait_clean_ups(self) -> None:
        """Wait until every clean-up has ended."""
        while self._requests or self._clean_ups:
            if self._requests:
                await next(iter(self._requests)).wait_done()
            else:
                await next(iter(self._clean_ups)).wait()
