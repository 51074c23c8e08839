"""Requests that wait for a connection, in the order in which they are to be sent."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final, final

from zkrecipes.errors import ZooKeeperError
from zkrecipes.net.pending import PendingRequest

__all__ = ["Backlog"]

_DROPPED_MAX: Final = 1000
"""The number of waiting requests at which dropped ones are removed."""


@final
class Backlog:
    """Requests submitted while there is no connection, and those that the last one left unanswered."""

    def __init__(self) -> None:
        self._requests: list[PendingRequest[Any]] = []
        self._remove_dropped_at = _DROPPED_MAX

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, pending: PendingRequest[Any]) -> None:
        """Add a request; dropped ones must not pile up, because an outage may last while callers give up."""
        if len(self._requests) >= self._remove_dropped_at:
            self._requests = [each for each in self._requests if not each.is_dropped]
            self._remove_dropped_at = max(_DROPPED_MAX, 2 * len(self._requests))
        self._requests.append(pending)

    def put_first(self, earlier: Sequence[PendingRequest[Any]]) -> None:
        """Put requests first, because they were submitted before those that wait."""
        self._requests[:0] = earlier

    def take(self) -> list[PendingRequest[Any]]:
        """Return and remove all requests, without those that were dropped."""
        requests, self._requests = self._requests, []
        return [each for each in requests if not each.is_dropped]

    def fail(self, error: ZooKeeperError) -> None:
        """Fail and remove all requests."""
        requests, self._requests = self._requests, []
        _fail(requests, error)

    def fail_writes(self, error: ZooKeeperError) -> None:
        """Fail and remove the writes. Reads stay, because a read means the same in any session."""
        writes = [each for each in self._requests if each.request.is_write]
        self._requests = [each for each in self._requests if not each.request.is_write]
        _fail(writes, error)


def _fail(requests: Sequence[PendingRequest[Any]], error: ZooKeeperError) -> None:
    for pending in requests:
        # each request gets a copy, because each is raised in another task and collects its own traceback
        pending.complete(None, copy.copy(error))
