"""The newest of a series of values, for readers that may be slow and then skip values."""

from __future__ import annotations

import copy
from typing import Generic, Self, TypeVar, final

import anyio
import anyio.lowlevel

__all__ = ["LatestReader", "LatestValue"]

T = TypeVar("T")


@final
class LatestValue(Generic[T]):
    """The newest value of one writer, for any number of readers that wait for it.

    Attributes:
        number: the number of values so far.
    """

    def __init__(self) -> None:
        self.number: int = 0
        self._value: T
        self._error: Exception | None = None
        self._changed = anyio.Event()

    def put(self, value: T) -> None:
        """Publish a newer value."""
        self._value = value
        self.number += 1
        self._notify()

    def fail(self, error: Exception) -> None:
        """Raise `error` in each reader after the newest value; the first call counts."""
        if self._error is None:
            self._error = error
            self._notify()

    def reader(self) -> LatestReader[T]:
        """Return an iterator that starts with the current value, if there is one."""
        return LatestReader(self)

    async def wait_newer(self, number: int) -> T:
        """Wait for a value that is newer than the value with this number.

        Raises:
            Exception: the error passed to `fail`.
        """
        await anyio.lowlevel.checkpoint()
        while self.number <= number:
            if self._error is not None:
                raise copy.copy(self._error)  # each reader's copy collects a separate traceback
            await self._changed.wait()
        return self._value

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@final
class LatestReader(Generic[T]):
    """An async iterator of values, each newer than the one before; those in between may be skipped."""

    def __init__(self, latest: LatestValue[T]) -> None:
        self._latest = latest
        self._number = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the newest value, as soon as it is newer than the last one that was returned."""
        value = await self._latest.wait_newer(self._number)
        self._number = self._latest.number
        return value
