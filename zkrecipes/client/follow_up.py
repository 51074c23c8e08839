"""A read that follows a watch at once: sent in the very pass in which the watch's event has come."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, final

import anyio

from zkrecipes.errors import ZooKeeperError
from zkrecipes.protocol.events import WatchEvent

__all__ = ["Asked", "FollowUp"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Asked(Protocol[T_co]):
    """A read that was submitted: a `Pending`, or a share of one."""

    async def wait(self) -> T_co:
        """Wait for the answer and return it."""

    def drop(self) -> None:
        """Wait no longer: if it was not sent it need not be."""


@final
class FollowUp(Generic[T]):
    """The owner of one one-shot watch, who asks something when it fires and waits for the answer.

    A server answers a session in order, and a write only when it is committed. So what is asked here goes
    ahead of whatever other tasks of the client, woken by the same bytes, are about to write.

    Args:
        ask: submits the read; it is called once.
    """

    def __init__(self, ask: Callable[[], Asked[T]]) -> None:
        self._ask = ask
        self._asked: Asked[T] | None = None
        self._error: ZooKeeperError | RuntimeError | None = None
        self._happened = anyio.Event()
        self.is_left: bool = False
        """Whether the block has been left."""

    async def wait(self) -> T:
        """Wait until the watch has fired, and for the answer.

        Raises:
            SessionExpiredError: the session ended first, and the watch with it.
            ZooKeeperError: the client ended first, or what the server answered.
            RuntimeError: the block of the watch has been left.

        Cancellation: nobody waits for the answer any longer; the watch stays until its block is left.
        """
        await self._happened.wait()
        if self._asked is None:
            assert self._error is not None
            raise copy.copy(self._error)
        return await self._asked.wait()

    def fired(self, event: WatchEvent) -> None:  # noqa: ARG002
        """The session's call: the watch fired."""
        if self._asked is None and not self.is_left:
            self._asked = self._ask()
            self._happened.set()

    def missed(self) -> None:
        """The session's call: a new connection. The server fires what is due when the watch is set again."""

    def ended(self, error: ZooKeeperError) -> None:
        """The session's call: the watch is over."""
        self._end(error)

    def left(self) -> None:
        """The session's call: the block has been left, and what is not asked yet need not be."""
        self.is_left = True
        if self._asked is not None:
            self._asked.drop()
        self._end(RuntimeError("the block of this watch has been left: it reports no change any longer"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        if not self._happened.is_set():
            self._error = error
            self._happened.set()
