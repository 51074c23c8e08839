"""The blocks of the client's watches: entering sets a watch, leaving removes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import anyio
import anyio.lowlevel

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, Operations
from zkrecipes.client.watch_emulation import keep_watching
from zkrecipes.client.watching import OneShotOwner, OneShotWatch, PersistentOwner, WatchEvents
from zkrecipes.codec.records import Stat
from zkrecipes.errors import UnimplementedError
from zkrecipes.net.watch_requests import WatchOwner

__all__ = ["open_one_shot_watch", "open_persistent_watch"]

T = TypeVar("T")


@asynccontextmanager
async def open_one_shot_watch(calls: Dispatcher, read: Operation[T]) -> AsyncIterator[tuple[T, OneShotWatch]]:
    """Send a read that sets a watch; leaving the block removes the watch."""
    owner = OneShotOwner(calls.view.seen)
    async with _watch(calls, read, owner) as result:
        yield result, OneShotWatch(owner)


@asynccontextmanager
async def open_persistent_watch(
    calls: Dispatcher, operations: Operations, path: str, *, recursive: bool
) -> AsyncIterator[WatchEvents]:
    """Set a persistent watch, or emulate one on a server before 3.6; leaving the block removes it.

    Raises:
        UnimplementedError: `recursive` on a server before 3.6.
    """
    request = operations.add_watch(path, recursive=recursive)
    owner = PersistentOwner(path, calls.view.seen)
    async with AsyncExitStack() as watching:
        try:
            await watching.enter_async_context(_watch(calls, request, owner))
        except UnimplementedError:
            if recursive:
                raise
            owner = PersistentOwner(path, calls.view.seen)  # the first one has ended with its request
            watching.callback(owner.left)
            await watching.enter_async_context(_emulate(calls, operations, path, owner))
        yield WatchEvents(owner)


@asynccontextmanager
async def _watch(calls: Dispatcher, operation: Operation[T], owner: WatchOwner) -> AsyncIterator[T]:
    try:
        yield await calls.run(operation, watcher=owner)
    finally:
        calls.engine.unwatch(owner)
        # One task may leave thousands of watches in a row: other tasks must run in between.
        await anyio.lowlevel.cancel_shielded_checkpoint()


@asynccontextmanager
async def _emulate(
    calls: Dispatcher, operations: Operations, path: str, owner: PersistentOwner
) -> AsyncIterator[None]:
    async def read(watch: OneShotOwner) -> Stat | None:
        stat = await calls.run(operations.exists(path, watch=True), watcher=watch)
        if stat is None:
            return None
        _, after = await calls.run(operations.get_children_with_stat(path, watch=True), watcher=watch)
        return after

    is_set = anyio.Event()

    async def keep() -> None:
        await keep_watching(read, calls.engine, calls.view.full(path), owner, is_set.set)

    async with calls.background(keep):
        await is_set.wait()
        owner.check()
        yield
