"""An async context manager in a separate task, for fixtures.

Test runners set a fixture up in one task and tear it down in another (pytest-asyncio), or run everything in
one task (anyio's plugin). Cancel scopes and task groups, and so `connect()` and `DevServer`, must be entered
and left in the same task, and must not enclose the test's own scopes. `hosted` ensures both.
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
    """Enter `manager` in a separate task, and let that task leave it when this block ends in any task.

    An error that ends the manager early does not interrupt the block; it is raised when the block ends. The
    manager does not see an error of the block.

    Args:
        manager: the context manager to enter and leave.

    Raises:
        BaseException: entering or leaving `manager` raised it.

    **Cancellation**: a cancel while entering cancels and leaves the manager. Leaving waits for the manager,
    which must exit within a bounded time.
    """
    manager_task = _ManagerTask(manager)
    manager_task.start()
    try:
        await manager_task.entered.wait()
        if manager_task.error is None:
            yield manager_task.value
    finally:
        manager_task.release()
        with anyio.CancelScope(shield=True):
            await manager_task.ended.wait()
    if manager_task.error is not None:
        raise manager_task.error


@final
class _ManagerTask(Generic[T]):
    """The task that enters and leaves one context manager, and its outcome."""

    value: T

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self.entered = anyio.Event()
        """Set once the manager has been entered or entering has failed."""
        self.ended = anyio.Event()
        self.error: BaseException | None = None
        self._manager = manager
        self._released = anyio.Event()
        self._entering = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task outside all cancel scopes of the calling task."""
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.spawn_system_task(self._run, name="zkrecipes fixture")
        else:
            # Keep a reference, because asyncio keeps only a weak one.
            self._task = asyncio.get_running_loop().create_task(self._run(), name="zkrecipes fixture")

    def release(self) -> None:
        """Let the task leave the manager, or cancel it if it is still entering."""
        self._released.set()
        if not self.entered.is_set():
            self._entering.cancel()

    async def _run(self) -> None:
        try:
            with self._entering:
                async with self._manager as self.value:
                    self.entered.set()
                    await self._released.wait()
        except anyio.get_cancelled_exc_class():
            raise  # the loop ends before the fixture does
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self.error = error
        finally:
            self.entered.set()
            self.ended.set()
