"""Many one-shot watches with one owner: which znodes to read again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, final

import anyio

from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending
from zkrecipes.protocol.events import WatchEvent

__all__ = ["ChangedPaths"]

_ANSWERED_MAX: Final = 1000
"""How many requests are kept before those are looked for that are answered, whose answers cost memory."""


@final
class ChangedPaths:
    """Collects which znodes its one-shot watches have fired for, until somebody asks.

    A watch that has fired is gone: whoever takes a path from here reads it again, with a watch.

    Replies and events come in the order in which the server sent them. So where every watch was set and there
    is no news when the last reply has come, what was read is how things were when that was sent, all at once.

    Args:
        seen: from a full path to the path as the caller sees it.
        and_reconnects: whether `wait` also returns, perhaps without a path, on each new connection: a znode
            that was created and deleted meanwhile fires no watch.
    """

    def __init__(self, seen: Callable[[str], str], *, and_reconnects: bool = False) -> None:
        self._seen = seen
        self._and_reconnects = and_reconnects
        self._paths: dict[str, None] = {}
        self._asked: list[Pending[Any]] = []
        self._look_for_answered_at = _ANSWERED_MAX
        self._error: ZooKeeperError | RuntimeError | None = None
        self._news = anyio.Event()
        self.is_left: bool = False
        """Whether the block has been left."""

    @property
    def has_news(self) -> bool:
        """Whether `wait` would return or raise at once."""
        return self._news.is_set()

    @property
    def is_over(self) -> bool:
        """Whether the watches have ended, with their session or their client."""
        return self._error is not None

    async def wait(self) -> list[str]:
        """Wait until something has changed, and take the paths, each once.

        Raises:
            SessionExpiredError: the session ended, and all watches with it.
            ZooKeeperError: the client ended.
            RuntimeError: the block of the watches has been left.

        Cancellation: nothing is taken.
        """
        await self._news.wait()
        if self._error is not None:
            raise copy.copy(self._error)
        self._news = anyio.Event()
        paths, self._paths = self._paths, {}
        return list(paths)

    def asked(self, pending: Pending[Any]) -> None:
        """A request is on its way that sets a watch."""
        if len(self._asked) >= self._look_for_answered_at:
            self._asked = [each for each in self._asked if not each.is_done]
            self._look_for_answered_at = max(_ANSWERED_MAX, 2 * len(self._asked))
        self._asked.append(pending)

    def fired(self, event: WatchEvent) -> None:
        """The session's call: a watch fired."""
        self._paths[self._seen(event.path)] = None
        self._news.set()

    def missed(self) -> None:
        """The session's call: a new connection, on which the server fires what is due."""
        if self._and_reconnects:
            self._news.set()

    def ended(self, error: ZooKeeperError) -> None:
        """The session's call: the watches are over."""
        self._end(error)

    def left(self) -> None:
        """The session's call: the block has been left, and watches that are yet to be set are not wanted."""
        if self.is_left:
            return
        self.is_left = True
        for pending in self._asked:
            pending.drop()
        self._asked.clear()
        self._end(RuntimeError("the block of these watches has been left: no change is reported any longer"))

    def _end(self, error: ZooKeeperError | RuntimeError) -> None:
        self._error = error
        self._news.set()
