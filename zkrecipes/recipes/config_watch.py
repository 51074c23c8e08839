"""ConfigWatch: the value of a znode, typed, and always the newest one."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar, final, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import BREAKS_MAX, Pauses, RecipeApi, Stat, check_client, recipe_api
from zkrecipes.errors import (
    BadVersionError,
    ConnectionLossError,
    NodeExistsError,
    NoNodeError,
    PacketTooLargeError,
    ServerError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.paths import check_path
from zkrecipes.recipes.following.latest_value import LatestValue

__all__ = ["ConfigWatch"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

T = TypeVar("T")
U = TypeVar("U")

_RETRY_AFTER: Final = 1.0
_RETRY_AFTER_MAX: Final = 30.0
_REPLY_OVERHEAD: Final = 16 + 4 + 68
"""The bytes of a get's reply beside the data: its header, their length, the stat (`zookeeper.jute`, 3.9)."""


_turns: Final[WeakKeyDictionary[object, WeakValueDictionary[str, anyio.Lock]]] = WeakKeyDictionary()
"""By client and full path: whose turn it is to update."""


class _Read(NamedTuple):
    """A znode as it was read; absent where there is no stat."""

    data: bytes | None
    stat: Stat | None


_ABSENT: Final = _Read(None, None)


@final
class ConfigWatch(Generic[T]):
    """The value of a znode, decoded, and kept up to date for as long as the block runs.

        async with zk.ConfigWatch(client, "/config", decode=json.loads, default={}) as config:
            print(config.value)
            async for value in config:  # begins with the present one
                ...

    Only the newest value is kept: a slow reader skips those in between, and never misses the last one.
    Nothing is lost across reconnects, new sessions, and a deletion and re-creation of the znode. Data that
    cannot be decoded change no value: the last good one stays, and the error can be read in `error` and in
    the log.

    Each `async for` has a place of its own, so tasks may share what was entered. `update` needs no block.

    Args:
        client: whose session watches.
        path: which znode; it need not exist.
        decode: makes a value of the data (null data are empty); without it the value is the bytes. It runs in
            the client's background: whatever `Exception` it raises counts as bad data.
        default: the value while the znode is absent; None without it.

    Raises:
        ValueError: the path cannot be right.
        TypeError: `decode` is no function.

    Entering waits until the znode was read, and raises:
        ZooKeeperError: it may not be read, or the client is over.

    Cancellation: no watch is left behind.
    """

    @overload
    def __init__(self: ConfigWatch[bytes | None], client: Client, path: str) -> None: ...
    @overload
    def __init__(self: ConfigWatch[bytes], client: Client, path: str, *, default: bytes) -> None: ...
    @overload
    def __init__(
        self: ConfigWatch[U | None], client: Client, path: str, *, decode: Callable[[bytes], U]
    ) -> None: ...
    @overload
    def __init__(
        self: ConfigWatch[U], client: Client, path: str, *, decode: Callable[[bytes], U], default: U
    ) -> None: ...

    def __init__(
        self, client: Client, path: str, *, decode: Callable[[bytes], Any] = bytes, default: Any = None
    ) -> None:
        check_client(client)
        self.path: str = check_path(path)
        if not callable(decode):
            # or each reading would look like bad data
            raise TypeError(f"decode is a function from bytes to a value, not {decode!r}")
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._decode: Callable[[bytes], T] = decode
        self._default: T = default
        self._value: T = default
        self._stat: Stat | None = None
        self._bad_data: Exception | None = None
        self._unreadable: ZooKeeperError | None = None
        self._retry_after = _RETRY_AFTER
        self._pauses = Pauses()
        self._seen: _Read | None = None
        self._values: LatestValue[T] = LatestValue()
        self._following: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        if self._following is not None:
            raise RuntimeError(f"{self!r} has been entered already; make another one")
        self._following = self._api.background(self._follow)
        await self._following.__aenter__()
        try:
            await self._values.wait_newer(0)
        except BaseException:
            await self._following.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._following is not None
        await self._following.__aexit__(None, None, None)

    @property
    def value(self) -> T:
        """The newest good value, or the default while the znode is absent.

        Raises:
            RuntimeError: the block has not been entered, so nothing was read.
        """
        self._check_entered()
        return self._value

    @property
    def stat(self) -> Stat | None:
        """The stat of the znode when it had `value`; None for the default."""
        return self._stat

    @property
    def error(self) -> Exception | None:
        """Why the newest data are not in `value`: what `decode` raised, why they were not read; or None."""
        return self._bad_data if self._unreadable is None else self._unreadable

    def __aiter__(self) -> AsyncIterator[T]:
        """The values from the present one on; it ends only with the block or the client.

        Raises:
            RuntimeError: the block has not been entered, or has been left.
            ZooKeeperError: the client is over.
        """
        self._check_entered()
        return self._values.reader()

    def _check_entered(self) -> None:
        if self._following is None:
            raise RuntimeError(
                f"{self!r} must be entered before it is read: `async with zk.ConfigWatch(…) as config:`"
            )

    async def update(self, change: Callable[[T], T], *, encode: Callable[[T], bytes] | None = None) -> T:
        """Let `change` make another value of the present one, and write that; if somebody was faster, again.

        `value` follows a moment later, as after anybody's change. Where the data stay the same nothing is
        written. An absent znode is made, with what is missing above it. Updates of one client take turns.

        Args:
            change: makes the new value of the present one, which is the default while the znode is absent. It
                may be called several times, and must not change what it is given.
            encode: makes data of the value; None: it is bytes already.

        Returns:
            The new value.

        Raises:
            Exception: what `decode` raises for the present data, or `change`, or `encode`; nothing was
                written.
            TypeError, ValueError: the data are no bytes, or too many.
            ConnectionLossError: the reply was lost, and others have written so often since that nobody knows
                whether ours was among them; or the connection was lost again and again (too much data, as a
                rule). A lost reply alone is settled by reading again: the next version with just these bytes
                counts as ours. Should another client have written the same bytes at that moment, theirs and
                ours are one change; what several clients count up needs a lock.
            ZooKeeperError: the server refused, or the client is over.

        Cancellation: the value may have been written.
        """
        async with self._turn():
            return await self._update(change, encode)

    def __repr__(self) -> str:
        return f"<ConfigWatch {self.path}>"

    # --- writing -------------------------------------------------------------------------------------------

    def _turn(self) -> anyio.Lock:
        """The updates of one client to one znode are made one after another.

        Those of two at once can be the same bytes for the same version; were the replies of both lost, each
        would find what it wrote, and only one was.
        """
        turns = _turns.setdefault(self._api.root, WeakValueDictionary())
        return turns.setdefault(self._api.operations.full(self.path), anyio.Lock())

    async def _update(self, change: Callable[[T], T], encode: Callable[[T], bytes] | None) -> T:
        losses = 0
        while True:
            before = await self._read()
            new = change(self._value_of(before))
            data: Any = new if encode is None else encode(new)
            if before.stat is not None and data == before.data:
                return new
            try:
                await self._write(before, data)
            except (BadVersionError, NodeExistsError, NoNodeError):
                continue  # somebody was faster
            except ConnectionLossError as error:
                losses += 1
                if await self._was_written(before, data, error):
                    return new
                if losses == BREAKS_MAX:
                    raise
            except SessionExpiredError:
                if self._api.is_over:
                    raise
            else:
                return new

    async def _read(self) -> _Read:
        try:
            data, stat = await self._client.get(self.path)
        except NoNodeError:
            return _ABSENT
        return _Read(data, stat)

    def _value_of(self, read: _Read) -> T:
        if read.stat is None:
            return self._default
        return self._decode(b"" if read.data is None else read.data)

    async def _write(self, before: _Read, data: bytes) -> None:
        if before.stat is None:
            await self._client.create(self.path, data, make_parents=True)
        else:
            await self._client.set(self.path, data, version=before.stat.version)

    async def _was_written(self, before: _Read, data: bytes, error: ConnectionLossError) -> bool:
        """Whether the write whose reply was lost has happened.

        Raises:
            ConnectionLossError: there is no telling.
        """
        # Without the sync a server that lags would not show yet what the last one had forwarded.
        self._api.submit(self._api.operations.sync(self.path))
        after = await self._read()
        if after.stat is None or (before.stat is not None and before.stat.czxid != after.stat.czxid):
            return False  # deleted meanwhile, and what we wrote with it
        writes = after.stat.version - (-1 if before.stat is None else before.stat.version)
        if writes > 1:
            raise error
        return writes == 1 and after.data == data

    # --- following -----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        session: object = None
        try:
            while True:
                if session is not self._api.session:
                    session = self._api.session
                    # so that a new session does not show what is older than what the last one has shown
                    self._api.submit(self._api.operations.sync(self.path))
                try:
                    if self._unreadable is not None:
                        await self._wait_until_worth_a_try(self._unreadable)
                    await self._take_and_wait()
                except ZooKeeperError as error:
                    if error.is_transient and not self._api.is_over:
                        logger.info("%s is read again: %s", self.path, error, extra={"path": self.path})
                        await self._pauses.wait()
                    else:
                        self._after(error)
        except Exception as error:
            self._values.fail(error)
            raise
        finally:
            self._values.fail(RuntimeError(f"the block of {self!r} has ended"))

    def _after(self, error: ZooKeeperError) -> None:
        """Decide what an error means: that it is over, or that it will be read again."""
        if self._api.is_over:
            raise error
        if isinstance(error, SessionExpiredError):
            return
        if self._seen is None:
            raise error
        if self._unreadable is not None:
            self._retry_after = min(2 * self._retry_after, _RETRY_AFTER_MAX)
        if type(error) is not type(self._unreadable):
            logger.warning(
                "%s cannot be read now, and its last value stays: %s",
                self.path,
                error,
                extra={"path": self.path},
            )
        self._unreadable = error

    async def _take_and_wait(self) -> None:
        """Read the znode, and return when it may have changed."""
        try:
            async with self._client.get_and_watch(self.path) as (node, changed):
                self._take(_Read(node.data, node.stat))
                await changed.wait()
        except NoNodeError:
            async with self._client.exists_and_watch(self.path) as (stat, changed):
                if stat is None:
                    self._take(_ABSENT)
                    await changed.wait()

    async def _wait_until_worth_a_try(self, refusal: ZooKeeperError) -> None:
        """Wait for a change of what cannot be read. A change of its ACL fires no watch, hence a limit."""
        with anyio.move_on_after(self._retry_after) as limit:
            try:
                async with self._client.exists_and_watch(self.path) as (stat, changed):
                    if _is_too_large(stat, refusal):
                        # Each try costs the connection, and everything else that is under way on it.
                        limit.deadline = math.inf
                    await changed.wait()
            except ServerError:  # from 3.9 on this needs READ, too
                await anyio.sleep_forever()

    def _take(self, read: _Read) -> None:
        """The znode was read: whether it brings another value or bad data."""
        self._unreadable, self._retry_after = None, _RETRY_AFTER
        self._pauses.reset()
        is_first, is_news = self._seen is None, _key(read) != _key(self._seen)
        self._seen = read
        if not is_news:
            return
        try:
            value = self._value_of(read)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the data, the watch goes on
            self._bad_data = error
            logger.warning(
                "the data of %s are bad, and its last value stays: %r",
                self.path,
                error,
                extra={"path": self.path},
            )
            if is_first:
                self._values.put(self._value)
            return
        self._value, self._stat, self._bad_data = value, read.stat, None
        self._values.put(value)


def _is_too_large(stat: Stat | None, refusal: ZooKeeperError) -> bool:
    """Whether it was refused for its size, and would be again."""
    if stat is None or not isinstance(refusal, PacketTooLargeError):
        return False
    return stat.data_length + _REPLY_OVERHEAD > refusal.limit


def _key(read: _Read | None) -> object:
    """What tells two readings apart. Not the version, which begins anew when a znode is made again."""
    if read is None or read.stat is None:
        return read
    return read.data, read.stat.czxid, read.stat.mzxid
