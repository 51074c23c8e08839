"""Requests that wait for a connection, in the order in which they are to be sent."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final, final

from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import Pending

__all__ = ["Backlog"]

_DROPPED_MAX: Final = 1000
"""How many may wait before those are looked for that nobody waits for any longer."""


@final
class Backlog:
    """What the client was asked while there was no connection, or what the last one has left unanswered."""

    def __init__(self) -> None:
        self._requests: list[Pending[Any]] = []
        self._look_for_dropped_at = _DROPPED_MAX

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, pending: Pending[Any]) -> None:
        """One more. Outages may last, and callers come and go: those that went must not add up."""
        if len(self._requests) >= self._look_for_dropped_at:
            self._requests = [each for each in self._requests if not each.is_dropped]
            self._look_for_dropped_at = max(_DROPPED_MAX, 2 * len(self._requests))
        self._requests.append(pending)

    def put_first(self, earlier: Sequence[Pending[Any]]) -> None:
        """These were asked before all that wait already."""
        self._requests[:0] = earlier

    def take(self) -> list[Pending[Any]]:
        """There is a connection: all that are still wanted; nobody waits here any longer."""
        requests, self._requests = self._requests, []
        return [each for each in requests if not each.is_dropped]

    def fail(self, error: ZooKeeperError) -> None:
        """None of them will be sent."""
        requests, self._requests = self._requests, []
        _fail(requests, error)

    def fail_writes(self, error: ZooKeeperError) -> None:
        """No write of them will be sent; reads wait on, for a read means the same in any session."""
        writes = [each for each in self._requests if each.request.is_write]
        self._requests = [each for each in self._requests if not each.request.is_write]
        _fail(writes, error)


def _fail(requests: Sequence[Pending[Any]], error: ZooKeeperError) -> None:
    for pending in requests:
        # a copy for each, as each is raised in a task of its own and collects its own traceback
        pending.complete(None, copy.copy(error))
