"""A read that a watch triggers: sent in the same scheduler pass in which the watch's event arrived.

`TriggeredRead` is the handle that recipes get. `TriggeredReadOwner` implements it, and the engine calls it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, final

import anyio

from zkrecipes.client.dispatch import Dispatcher
from zkrecipes.client.operations import Operation
from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.events import WatchEvent

__all__ = ["SubmittedRead", "TriggeredRead", "TriggeredReadOwner"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_read = TypeVar("T_read")


class SubmittedRead(Protocol[T_co]):
    """A read that was submitted: a `Pending`, or a share of one."""

    async def wait(self) -> T_co:
        """Wait for the answer and return it."""

    def drop(self) -> None:
        """Drop the read if it was not sent."""


@final
class TriggeredRead(Generic[T]):
    """A read that is submitted when a one-shot watch fires. `RecipeApi.read_when_changed` creates it.

    A server answers a session in order, and a write only when it is committed. So this read must be sent
    before the writes of other tasks of the client that the same bytes have woken.
    """

    __slots__ = ("__weakref__", "_calls", "_owner")

    def __init__(self, owner: TriggeredReadOwner[T], calls: Dispatcher) -> None:
        self._owner = owner
        self._calls = calls

    def submit(self, read: Operation[T_read]) -> Pending[T_read]:
        """Send the read that sets the watch now, and await it later, as `RecipeApi.submit` does.

        Args:
            read: an operation made with `watch=True`, which sets a watch.
        """
        return self._calls.submit(read, watcher=self._owner)

    async def wait(self) -> T:
        """Wait until the watch has fired, and for the answer to the read that it triggers.

        Raises:
            SessionExpiredError: the session ended first, and the watch with it.
            ZooKeeperError: the client ended first, or the server refused the read.
            RuntimeError: the block of the watch has been left.

        Cancellation: the wait ends; the watch stays until its block is left.
        """
        return await self._owner.wait()


@final
class TriggeredReadOwner(Generic[T]):
    """The owner of the watch of a `TriggeredRead`.

    Args:
        submit: submits the triggered read; it is called once.
    """

    def __init__(self, submit: Callable[[], SubmittedRead[T]]) -> None:
        self._submit = submit
        self._read: SubmittedRead[T] | None = None
        self._error: ZooKeeperError | RuntimeError | None = None
        self._happened = anyio.Event()
        self.is_left: bool = False
        """Whether the block has been left."""

    async def wait(self) -> T:
        """Wait for the answer, as `TriggeredRead.wait` does."""
        await self._happened.wait()
        if self._read is None:
            assert self._error is not None
            raise copy.copy(self._error)
        return await self._read.wait()

    def fired(self, event: WatchEvent) -> None:  # noqa: ARG002
        """Submit the read: the watch fired."""
        if self._read is None and not self.is_left:
            self._read = self._submit()
            self._happened.set()

    def missed(self) -> None:
        """Ignore a new connection: the server fires the watch if it is due when it is set again."""

    def ended(self, error: ZooKeeperError) -> None:
        """Note that the watch is over."""
        self._end(error)

    def left(self) -> None:
        """Note that the block has been left, and drop the read if it was not sent."""
        self.is_left = True
        if self._read is not None:
            self._read.drop()
        self._end(RuntimeError("the block of this watch has been left: it reports no more changes"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        if not self._happened.is_set():
            self._error = error
            self._happened.set()
