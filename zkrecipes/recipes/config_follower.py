"""Follows one znode for a `ConfigWatch`: reads it whenever it changes, and keeps the newest good value.

A task of the client runs it. After the first successful read, bad data and refused reads never end the task:
the last good value stays, and `error` has the reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar, final

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Stat, recipe_api
from zkrecipes.errors import (
    NoNodeError,
    PacketTooLargeError,
    ServerError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.recipes.following.latest_value import LatestValue

__all__ = ["ABSENT", "ConfigFollower", "ConfigRead", "ConfigSource"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

T = TypeVar("T")

_RETRY_AFTER: Final = 1.0
_RETRY_AFTER_MAX: Final = 30.0
_REPLY_OVERHEAD: Final = 16 + 4 + 68
"""The bytes of a get's reply besides the data: header, length of the data, stat (`zookeeper.jute`, 3.9)."""


class ConfigRead(NamedTuple):
    """The data and the stat of a znode, read together; without a stat, the znode is absent."""

    data: bytes | None
    stat: Stat | None

    @property
    def identity(self) -> object:
        """A value that is equal for two readings of the same state.

        It leaves out the version, which starts again at 0 when a znode is deleted and created.
        """
        return None if self.stat is None else (self.data, self.stat.czxid, self.stat.mzxid)


ABSENT: Final = ConfigRead(None, None)


@final
@dataclass(frozen=True, slots=True)
class ConfigSource(Generic[T]):
    """A znode and the meaning of its data."""

    client: Client
    path: str
    decode: Callable[[bytes], T]
    default: T
    """The value while the znode is absent."""

    def value_of(self, read: ConfigRead) -> T:
        """Return the value of a reading, or raise the error of `decode`."""
        if read.stat is None:
            return self.default
        return self.decode(b"" if read.data is None else read.data)


@final
class ConfigFollower(Generic[T]):
    """A follower of one znode, for as long as `run` runs.

    Attributes:
        value: the newest good value.
        stat: the stat of the znode when it had this value; None for the default.
        values: the values for readers.
    """

    def __init__(self, source: ConfigSource[T]) -> None:
        self.value: T = source.default
        self.stat: Stat | None = None
        self.values: LatestValue[T] = LatestValue()
        self._source = source
        self._client = source.client
        self._api = recipe_api(source.client)
        self._path = source.path
        self._last: ConfigRead | None = None
        self._bad_data: Exception | None = None
        self._unreadable: ZooKeeperError | None = None
        self._retry_after = _RETRY_AFTER
        self._retries = self._api.retries(
            pause_after_loss=True, failure=f"could not read {source.path}", path=source.path
        )

    @property
    def error(self) -> Exception | None:
        """The reason why `value` is older than the newest data, or None."""
        return self._bad_data if self._unreadable is None else self._unreadable

    async def run(self) -> None:
        """Follow the znode until the client has ended, or the first attempt to read it is refused."""
        session: object = None
        try:
            while True:
                if session is not self._api.session:
                    session = self._api.session
                    # The server of a new session may lag behind the server of the old one.
                    self._api.submit(self._api.operations.sync(self._path))
                try:
                    if self._unreadable is not None:
                        await self._wait_for_retry(self._unreadable)
                    await self._read_and_wait()
                except ZooKeeperError as error:
                    await self._handle(error)
        except Exception as error:
            self.values.fail(error)
            raise
        finally:
            self.values.fail(RuntimeError(f"the block of <ConfigWatch {self._path}> has ended"))

    async def _handle(self, error: ZooKeeperError) -> None:
        """Wait until the znode can be read again, or keep `error` for `_wait_for_retry`."""
        if self._api.is_over:
            raise error
        if error.is_transient or isinstance(error, SessionExpiredError):
            await self._retries.wait_after(error)
            return
        if self._last is None:
            raise error
        if self._unreadable is not None:
            self._retry_after = min(2 * self._retry_after, _RETRY_AFTER_MAX)
        if type(error) is not type(self._unreadable):
            self._warn("could not read %s: %s (keeping the last value, retrying)", error)
        self._unreadable = error

    async def _read_and_wait(self) -> None:
        """Read the znode, and return when it may have changed."""
        try:
            async with self._client.get_and_watch(self._path) as (node, changed):
                self._accept(ConfigRead(node.data, node.stat))
                await changed.wait()
        except NoNodeError:
            async with self._client.exists_and_watch(self._path) as (stat, changed):
                if stat is None:
                    self._accept(ABSENT)
                    await changed.wait()

    async def _wait_for_retry(self, refusal: ZooKeeperError) -> None:
        """Wait until an unreadable znode changes, or for a limited time, because a new ACL fires no watch."""
        with anyio.move_on_after(self._retry_after) as limit:
            try:
                async with self._client.exists_and_watch(self._path) as (stat, changed):
                    if _is_too_large(stat, refusal):
                        # Each read of too much data breaks the connection, and with it every other request in
                        # flight.
                        limit.deadline = math.inf
                    await changed.wait()
            except ServerError:  # since 3.9, `exists` also needs READ
                await anyio.sleep_forever()

    def _accept(self, read: ConfigRead) -> None:
        """Take a reading; publish its value if it is a new one."""
        self._unreadable, self._retry_after = None, _RETRY_AFTER
        self._retries.reset()
        last, self._last = self._last, read
        if last is not None and read.identity == last.identity:
            return
        try:
            value = self._source.value_of(read)
        except Exception as error:  # noqa: BLE001 - no error of `decode` ends the watch
            self._bad_data = error
            self._warn("could not decode the data of %s: %r (keeping the last value)", error)
            if last is None:
                self.values.put(self.value)
            return
        self.value, self.stat, self._bad_data = value, read.stat, None
        self.values.put(value)

    def _warn(self, message: str, error: Exception) -> None:
        logger.warning(message, self._path, error, extra={"path": self._path})


def _is_too_large(stat: Stat | None, refusal: ZooKeeperError) -> bool:
    """Whether the znode was unreadable because of its size, and still is."""
    if stat is None or not isinstance(refusal, PacketTooLargeError):
        return False
    return stat.data_length + _REPLY_OVERHEAD > refusal.limit
