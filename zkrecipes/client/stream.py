"""A stream of requests: many more than memory could hold, a bounded number of them under way."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Generic, Self, TypeVar, final

import anyio
import anyio.lowlevel

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, check_alone
from zkrecipes.net.pending import Pending, PendingRequest

__all__ = ["AsyncSource", "Replies", "SyncSource", "check_window"]

T = TypeVar("T")


def check_window(window: int) -> int:
    """Return `window` if so many requests can be under way.

    Raises:
        TypeError: it is no int.
        ValueError: it is less than one.
    """
    if isinstance(window, bool) or not isinstance(window, int):
        raise TypeError(f"a window is a number of requests, not {window!r}")
    if window < 1:
        raise ValueError(f"a window has room for one request at least, not {window!r}")
    return window


@final
class Replies(Generic[T]):
    """An async iterator of the replies, in the order of the requests: each is a `Pending` that is done.

    `reply.result()` is the result, or raises the error that is in its place. An error of the iterable that
    the requests come from is in its place too: it is raised after the replies to what came before it.

    One task iterates. It may be cancelled and go on later: no reply is lost.
    """

    def __init__(self, source: _Source[T], calls: Dispatcher) -> None:
        self._source = source
        self._calls = calls
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Pending[T]:
        """The next reply.

        Raises:
            StopAsyncIteration: every request has been answered.
            anyio.BusyResourceError: another task is iterating.
            RuntimeError: the stream's block has ended.
        """
        if self._is_waiting:
            raise anyio.BusyResourceError("iterating over")
        self._is_waiting = True
        try:
            return await self._take()
        finally:
            self._is_waiting = False

    async def _take(self) -> PendingRequest[T]:
        under_way = self._source.under_way
        await self._source.until_there_is_one()
        if not under_way:
            if self._source.error is not None:
                error, self._source.error = self._source.error, None
                raise error
            raise StopAsyncIteration
        reply = under_way[0]
        if not reply.is_done:
            await reply.wait_done()
        self._calls.explain(reply.error, reply.request)
        # Not before: a cancelled wait must not lose it.
        return under_way.popleft()


class _Source(Generic[T]):
    """Where the requests come from, and those of them that are under way, oldest first.

    Attributes:
        under_way: sent, or waiting for a connection, or answered and not yet taken.
        error: what the iterable raised; it is over then.
    """

    def __init__(self, calls: Dispatcher, window: int) -> None:
        self.under_way: deque[PendingRequest[T]] = deque()
        self.error: Exception | None = None
        self._calls = calls
        self._window = check_window(window)
        self._is_over = False
        self._is_closed = False

    async def until_there_is_one(self) -> None:
        """Wait until a request is under way, or there will be none."""
        raise NotImplementedError

    def close(self) -> None:
        """Nobody waits any longer: no more requests, and what was not sent need not be."""
        self._is_closed = self._is_over = True
        for pending in self.under_way:
            pending.drop()
        self.under_way.clear()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("the stream's block has ended")

    def _end(self, error: Exception | None = None) -> None:
        self._is_over = True
        self.error = error


@final
class SyncSource(_Source[T]):
    """Requests from a plain iterable. It is asked whenever half of the window is free.

    So no task is needed, requests leave many at a time, and there is a checkpoint at least as often.
    """

    def __init__(self, requests: Iterable[Operation[T]], calls: Dispatcher, window: int) -> None:
        super().__init__(calls, window)
        self._requests = iter(requests)
        self._asked: Operation[T] | None = None

    async def until_there_is_one(self) -> None:
        """Send as many as there is room for."""
        self._check_open()
        if self._is_over or 2 * len(self.under_way) > self._window:
            return
        await anyio.lowlevel.checkpoint()
        while len(self.under_way) < self._window and self._ask():
            assert self._asked is not None
            self.under_way.append(self._calls.submit(self._asked, survives_cancel=True))
            # Not before: a cancelled wait must not lose it.
            self._asked = None

    def _ask(self) -> bool:
        if self._asked is None:
            try:
                self._asked = check_alone(next(self._requests))
            except StopIteration:
                self._end()
            except Exception as error:  # noqa: BLE001 - raised in its place
                self._end(error)
        return self._asked is not None


@final
class AsyncSource(_Source[T]):
    """Requests from an async iterable, which may take its time: a task of its own reads it (`run`)."""

    def __init__(self, requests: AsyncIterable[Operation[T]], calls: Dispatcher, window: int) -> None:
        super().__init__(calls, window)
        self._requests = requests
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Read the iterable to its end, as far as the window has room."""
        try:
            async for operation in self._requests:
                await self._until(lambda: len(self.under_way) < self._window)
                pending = self._calls.submit(check_alone(operation), survives_cancel=True)
                self.under_way.append(pending)
                self._tell()
            self._end()
        except Exception as error:  # noqa: BLE001 - raised in its place
            self._end(error)
        finally:
            # Begun in this task, so nobody else could close it well.
            if isinstance(self._requests, AsyncGenerator):
                await self._requests.aclose()
        self._tell()

    async def until_there_is_one(self) -> None:
        """Wait until the task has sent one that is not taken, or has come to the end."""
        self._check_open()
        self._tell()  # a reply was taken since, perhaps
        await self._until(lambda: bool(self.under_way) or self._is_over)
        self._check_open()

    def close(self) -> None:
        """The same, also for a task that waits for a request."""
        super().close()
        self._tell()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
