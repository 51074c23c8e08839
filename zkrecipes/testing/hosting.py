"""A context manager that lives in a task of its own, for fixtures.

Test runners set a fixture up in one task and tear it down in another (pytest-asyncio), or run everything in
one task (anyio's plugin). Cancel scopes and task groups, and so `connect()` and `DevServer`, must be entered
and left in the same task, and must not lie around the test's. With `hosted` neither can go wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar, final

import anyio
import trio

__all__ = ["hosted"]

T = TypeVar("T")


@asynccontextmanager
async def hosted(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter `manager` in a task of its own, which leaves it when this block ends, in whatever task that is.

    An error that ends the manager early does not interrupt the block: it is raised when the block ends. An
    error of the block is not seen by the manager.

    Args:
        manager: what is entered and left.

    Raises:
        BaseException: what entering or leaving `manager` raised.

    **Cancellation**: while entering, the manager is cancelled and left; leaving waits for the manager, which
    has to bound the time of its own end.
    """
    host = _Host(manager)
    host.start()
    try:
        await host.entered.wait()
        if host.error is None:
            yield host.value
    finally:
        host.release()
        with anyio.CancelScope(shield=True):
            await host.over.wait()
    if host.error is not None:
        raise host.error


@final
class _Host(Generic[T]):
    """The task and what is known of it."""

    value: T

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self.entered = anyio.Event()
        """It was entered, or that failed."""
        self.over = anyio.Event()
        self.error: BaseException | None = None
        self._manager = manager
        self._left = anyio.Event()
        self._entering = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run it beside the task that calls this, under no cancel scope of that task's."""
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.spawn_system_task(self._run, name="zkrecipes fixture")
        else:
            # asyncio keeps only a weak reference
            self._task = asyncio.get_running_loop().create_task(self._run(), name="zkrecipes fixture")

    def release(self) -> None:
        """Let it leave; give up entering if that is still under way."""
        self._left.set()
        if not self.entered.is_set():
            self._entering.cancel()

    async def _run(self) -> None:
        try:
            with self._entering:
                async with self._manager as self.value:
                    self.entered.set()
                    await self._left.wait()
        except anyio.get_cancelled_exc_class():
            raise  # the loop ends before the fixture
        except BaseException as error:  # noqa: BLE001 - raised again where the block ends
            self.error = error
        finally:
            self.entered.set()
            self.over.set()
