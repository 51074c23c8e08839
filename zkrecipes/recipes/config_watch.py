"""ConfigWatch: the decoded value of a znode, kept up to date.

Contains the public class: `config_follower` reads the znode whenever it changes; `config_update` writes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final, overload

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Stat, check_client, recipe_api
from zkrecipes.paths import check_path
from zkrecipes.recipes.config_follower import ConfigFollower, ConfigSource
from zkrecipes.recipes.config_update import update_config

__all__ = ["ConfigWatch"]

T = TypeVar("T")
U = TypeVar("U")


@final
class ConfigWatch(Generic[T]):
    """The value of a znode, decoded, and kept up to date for as long as the block runs.

        async with zk.ConfigWatch(client, "/config", decode=json.loads, default={}) as config:
            print(config.value)
            async for value in config:  # starts with the current value
                ...

    Only the newest value is kept: a slow reader skips values, and never misses the last one. Nothing is lost
    across reconnects, new sessions, and a deletion and re-creation of the znode. Data that cannot be decoded
    change no value: the last good value stays, and the error is in `error` and in the log.

    Each `async for` has a separate position, so tasks may share the entered object. `update` needs no block.
    (Groups, elections and trees are not entered; their `changes()` opens the block to iterate over.)

    Args:
        client: the client whose session watches.
        path: the path of the znode, which need not exist.
        decode: makes a value from the data (null data are passed as empty); without it the value is the
            bytes. It runs in a background task of the client, and any `Exception` that it raises means bad
            data.
        default: the value while the znode is absent; None without it.

    Raises:
        ValueError: the path is invalid.
        TypeError: `decode` is not a function.

    Entering waits until the znode was read, and raises:
        ZooKeeperError: the server does not permit reading it, or the client has ended.

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
            # otherwise each reading would look like bad data
            raise TypeError(f"decode must be a function from bytes to a value, not {decode!r}")
        self._source: ConfigSource[T] = ConfigSource(client, path, decode, default)
        self._follower: ConfigFollower[T] = ConfigFollower(self._source)
        self._following: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        if self._following is not None:
            raise RuntimeError(f"{self!r} can be entered only once: create another one")
        self._following = recipe_api(self._source.client).background(self._follower.run)
        await self._following.__aenter__()
        try:
            await self._follower.values.wait_newer(0)
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
        return self._follower.value

    @property
    def stat(self) -> Stat | None:
        """The stat of the znode when it had `value`; None for the default."""
        return self._follower.stat

    @property
    def error(self) -> Exception | None:
        """The reason why `value` is older than the newest data, or None.

        It is the error of `decode`, or the error of the last attempt to read the znode.
        """
        return self._follower.error

    def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the values, starting with the current one; only the block or the client ends it.

        Raises:
            RuntimeError: the block has not been entered, or has been left.
            ZooKeeperError: the client has ended.
        """
        self._check_entered()
        return self._follower.values.reader()

    async def update(self, change: Callable[[T], T], *, encode: Callable[[T], bytes] | None = None) -> T:
        """Write the value that `change` makes from the current one; start again if another client was faster.

        `value` follows a moment later, as after any change. If the data stay the same, nothing is written. An
        absent znode is created, with missing levels above it. Updates of one client take turns.

        Args:
            change: makes the new value from the current one, which is the default while the znode is absent.
                It may be called several times, and must not change its argument.
            encode: makes data from the value; None: the value already is bytes.

        Returns:
            The new value.

        Raises:
            Exception: the error that `decode` raises for the current data, or `change`, or `encode`; nothing
                was written.
            TypeError, ValueError: the data are not bytes, or too large.
            ConnectionLossError: the reply was lost and other clients have written more than once since, so it
                is unknown whether the update was applied; or the connection was lost several times in a row,
                usually because there is too much data. After a lost reply alone, `update` reads the znode: if
                the next version has these bytes, the update was applied. If another client writes the same
                bytes over the same version, both count as one change; counting up from several clients needs
                a lock.
            ZooKeeperError: the server refused, or the client has ended.

        Cancellation: the value may have been written.
        """
        return await update_config(self._source, change, encode)

    def __repr__(self) -> str:
        return f"<ConfigWatch {self.path}>"

    def _check_entered(self) -> None:
        if self._following is None:
            raise RuntimeError(
                f"{self!r} must be entered before it is read: `async with zk.ConfigWatch(…) as config:`"
            )
