"""The newest value of something that changes, for readers who may be slow: what they missed is skipped."""

from __future__ import annotations

import copy
from typing import Generic, Self, TypeVar, final

import anyio
import anyio.lowlevel

__all__ = ["LatestReader", "LatestValue"]

T = TypeVar("T")


@final
class LatestValue(Generic[T]):
    """One writer puts values, any number of readers wait for the newest.

    Attributes:
        number: how many values were put.
    """

    def __init__(self) -> None:
        self.number: int = 0
        self._value: T
        self._error: Exception | None = None
        self._changed = anyio.Event()

    def put(self, value: T) -> None:
        """There is a newer value."""
        self._value = value
        self.number += 1
        self._tell()

    def fail(self, error: Exception) -> None:
        """There will be no newer value; readers get the newest first, then this. The first call counts."""
        if self._error is None:
            self._error = error
            self._tell()

    def reader(self) -> LatestReader[T]:
        """An iterator that begins with the present value, where there is one."""
        return LatestReader(self)

    async def wait_newer(self, number: int) -> T:
        """Wait for a value that is newer than the `number`-th.

        Raises:
            Exception: what `fail` was given.
        """
        await anyio.lowlevel.checkpoint()
        while self.number <= number:
            if self._error is not None:
                raise copy.copy(self._error)  # each reader's collects a traceback of its own
            await self._changed.wait()
        return self._value

    def _tell(self) -> None:
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
        """The newest value, as soon as it is newer than the last one that was handed out."""
        value = await self._latest.wait_newer(self._number)
        self._number = self._latest.number
        return value
