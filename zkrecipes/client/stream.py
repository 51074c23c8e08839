"""A stream of requests: more requests than fit into memory, with a bounded number of them in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from typing import Generic, Self, TypeVar, final

import anyio
import anyio.lowlevel

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation, check_alone
from zkrecipes.net.pending import Pending, PendingRequest

__all__ = ["Replies", "SyncSource", "check_window", "open_stream"]

T = TypeVar("T")


def check_window(window: int) -> int:
    """Return `window` if it is a possible number of requests in flight.

    Raises:
        TypeError: `window` is not an int.
        ValueError: `window` is less than 1.
    """
    if isinstance(window, bool) or not isinstance(window, int):
        raise TypeError(f"window must be an int, a number of requests, not {window!r}")
    if window < 1:
        raise ValueError(f"window must be at least 1, not {window!r}")
    return window


@final
class Replies(Generic[T]):
    """An async iterator of the replies, in the order of the requests: each is a `Pending` that is done.

    `reply.result()` returns the result or raises the error of this request. If the iterable of requests
    raises an error, the iteration raises it after the replies to the requests before it.

    One task iterates. A cancelled task may continue later: no reply is lost.
    """

    def __init__(self, source: _Source[T], calls: Dispatcher) -> None:
        self._source = source
        self._calls = calls
        self._is_waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Pending[T]:
        """Wait for the next reply.

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
        in_flight = self._source.in_flight
        await self._source.wait_until_nonempty()
        if not in_flight:
            if self._source.error is not None:
                error, self._source.error = self._source.error, None
                raise error
            raise StopAsyncIteration
        reply = in_flight[0]
        if not reply.is_done:
            await reply.wait_done()
        self._calls.explain(reply.error, reply.request)
        # Not earlier: a cancelled wait must not lose it.
        return in_flight.popleft()


@asynccontextmanager
async def open_stream(
    requests: Iterable[Operation[T]] | AsyncIterable[Operation[T]], calls: Dispatcher, *, window: int
) -> AsyncIterator[Replies[T]]:
    """Send the requests while the block iterates over the replies; leaving it drops those not sent.

    Raises:
        ValueError: the window is less than one.
    """
    if isinstance(requests, AsyncIterable):
        source = _AsyncSource(requests, calls, window)
        with closing(source):
            async with calls.background(source.run):
                yield Replies(source, calls)
    else:
        with closing(SyncSource(requests, calls, window)) as plain:
            yield Replies(plain, calls)


class _Source(Generic[T]):
    """The iterable of requests, and those of its requests that are in flight, oldest first.

    Attributes:
        in_flight: requests that were sent or wait for a connection, and replies that were not taken yet.
        error: the error that the iterable raised; the iterable is over then.
    """

    def __init__(self, calls: Dispatcher, window: int) -> None:
        self.in_flight: deque[PendingRequest[T]] = deque()
        self.error: Exception | None = None
        self._calls = calls
        self._window = check_window(window)
        self._is_over = False
        self._is_closed = False

    async def wait_until_nonempty(self) -> None:
        """Wait until a request is in flight, or until the iterable is over."""
        raise NotImplementedError

    def close(self) -> None:
        """Take no more requests from the iterable, and drop those that were not sent."""
        self._is_closed = self._is_over = True
        for pending in self.in_flight:
            pending.drop()
        self.in_flight.clear()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("the stream's block has ended: iterate over the stream inside the block")

    def _end(self, error: Exception | None = None) -> None:
        self._is_over = True
        self.error = error


@final
class SyncSource(_Source[T]):
    """Requests from a plain iterable. The source reads it whenever half of the window is free.

    So it needs no task, many requests leave in one send, and there is at least one checkpoint each time.
    """

    def __init__(self, requests: Iterable[Operation[T]], calls: Dispatcher, window: int) -> None:
        super().__init__(calls, window)
        self._requests = iter(requests)
        self._next: Operation[T] | None = None

    async def wait_until_nonempty(self) -> None:
        """Submit requests until the window is full."""
        self._check_open()
        if self._is_over or 2 * len(self.in_flight) > self._window:
            return
        await anyio.lowlevel.checkpoint()
        while len(self.in_flight) < self._window and self._read():
            assert self._next is not None
            self.in_flight.append(self._calls.submit(self._next, survives_cancel=True))
            # Not earlier: an error of the submission must not lose it.
            self._next = None

    def _read(self) -> bool:
        if self._next is None:
            try:
                self._next = check_alone(next(self._requests))
            except StopIteration:
                self._end()
            except Exception as error:  # noqa: BLE001 - raised after the replies before it
                self._end(error)
        return self._next is not None


@final
class _AsyncSource(_Source[T]):
    """Requests from an async iterable, which may be slow: a separate task reads it (`run`)."""

    def __init__(self, requests: AsyncIterable[Operation[T]], calls: Dispatcher, window: int) -> None:
        super().__init__(calls, window)
        self._requests = requests
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Read the iterable to its end, waiting while the window is full."""
        try:
            async for operation in self._requests:
                await self._wait_until(lambda: len(self.in_flight) < self._window)
                pending = self._calls.submit(check_alone(operation), survives_cancel=True)
                self.in_flight.append(pending)
                self._notify()
            self._end()
        except Exception as error:  # noqa: BLE001 - raised after the replies before it
            self._end(error)
        finally:
            # This task started the generator, so no other task could close it properly.
            if isinstance(self._requests, AsyncGenerator):
                await self._requests.aclose()
        self._notify()

    async def wait_until_nonempty(self) -> None:
        """Wait until the task has submitted a request whose reply was not taken, or has ended."""
        self._check_open()
        self._notify()  # a reply may have been taken since
        await self._wait_until(lambda: bool(self.in_flight) or self._is_over)
        self._check_open()

    def close(self) -> None:
        """Close the source, and wake a task that waits for a request."""
        super().close()
        self._notify()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
