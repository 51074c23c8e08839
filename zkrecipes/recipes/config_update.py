"""Updates the value of a znode for a `ConfigWatch`: reads, changes and writes it, if no client was faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import BREAKS_MAX, recipe_api
from zkrecipes.errors import (
    BadVersionError,
    ConnectionLossError,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)
from zkrecipes.recipes.config_follower import ABSENT, ConfigRead, ConfigSource

__all__ = ["update_config"]

T = TypeVar("T")

_locks: Final[WeakKeyDictionary[object, WeakValueDictionary[str, anyio.Lock]]] = WeakKeyDictionary()
"""By client and full path: the lock that lets the updates of one client take turns.

Two concurrent updates may write the same bytes over the same version. If both replies are lost, each finds
its own bytes and claims success, although only one write was applied.
"""


async def update_config(
    source: ConfigSource[T], change: Callable[[T], T], encode: Callable[[T], bytes] | None
) -> T:
    """Write the value that `change` makes from the current one; `ConfigWatch.update` has the details."""
    api = recipe_api(source.client)
    locks = _locks.setdefault(api.root, WeakValueDictionary())
    async with locks.setdefault(api.full_path(source.path), anyio.Lock()):
        return await _update(source, change, encode)


async def _update(
    source: ConfigSource[T], change: Callable[[T], T], encode: Callable[[T], bytes] | None
) -> T:
    retries = recipe_api(source.client).retries()
    losses = 0
    while True:
        before = await _read(source.client, source.path)
        new = change(source.value_of(before))
        data: Any = new if encode is None else encode(new)
        if before.stat is not None and data == before.data:
            return new
        try:
            await _write(source, before, data)
        except (BadVersionError, NodeExistsError, NoNodeError):
            continue  # another client was faster
        except ConnectionLossError as error:
            losses += 1
            if await _was_written(source, before, data, error):
                return new
            if losses == BREAKS_MAX:
                raise
        except SessionExpiredError as error:
            await retries.wait_after(error)
        else:
            return new


async def _read(client: Client, path: str) -> ConfigRead:
    try:
        data, stat = await client.get(path)
    except NoNodeError:
        return ABSENT
    return ConfigRead(data, stat)


async def _write(source: ConfigSource[T], before: ConfigRead, data: bytes) -> None:
    if before.stat is None:
        await source.client.create(source.path, data, make_parents=True)
    else:
        await source.client.set(source.path, data, version=before.stat.version)


async def _was_written(
    source: ConfigSource[T], before: ConfigRead, data: bytes, error: ConnectionLossError
) -> bool:
    """Whether the write whose reply was lost was applied.

    Raises:
        ConnectionLossError: it is unknown whether the write was applied, because others have written more
            than once since.
    """
    api = recipe_api(source.client)
    # Without the sync, a lagging server might not show a write that the previous server had forwarded.
    api.submit(api.operations.sync(source.path))
    after = await _read(source.client, source.path)
    if after.stat is None or (before.stat is not None and before.stat.czxid != after.stat.czxid):
        return False  # the znode was deleted, and with it the written data
    writes = after.stat.version - (-1 if before.stat is None else before.stat.version)
    if writes > 1:
        raise error
    return writes == 1 and after.data == data
