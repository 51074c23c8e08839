"""ConfigTree: a znode and all that is below it, as it was at one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, final

import anyio.lowlevel

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, Pending, RecipeApi, Stat, async_block, check_client, recipe_api
from zkrecipes.errors import NoNodeError, SnapshotConflictError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.following.latest_value import LatestReader
from zkrecipes.recipes.following.snapshots import Snapshot
from zkrecipes.recipes.following.tree_follower import TreeFollower, View
from zkrecipes.recipes.following.windowed import ask_each

__all__ = ["ConfigTree", "ConfigTreeChange", "ConfigTreeChanges"]

_WITHOUT_PAUSE: Final = 2000
"""Differences that are looked at before other tasks have their turn: less than 5 ms."""


@final
@dataclass(frozen=True, slots=True)
class ConfigTreeChange:
    """The tree as it is now, and how it differs from the change that was handed out before.

    Attributes:
        values: each znode's data, by path: relative to the tree's own, whose path is `""`. It never changes.
            Beyond 512 znodes the order of its keys means nothing.
        added: paths that were not there before.
        removed: paths that are no longer there.
        updated: paths whose data are others, or that were removed and added again meanwhile.
    """

    values: Mapping[str, bytes]
    added: frozenset[str]
    removed: frozenset[str]
    updated: frozenset[str]


@final
class ConfigTree:
    """A znode and everything below it, always as it was at one moment.

        tree = zk.ConfigTree(client, "/config")
        values = await tree.snapshot()  # {"": b"", "db": b"", "db/host": b"10.0.0.7"}
        async with tree.changes() as changes:
            async for change in changes:
                print(change.values, change.updated)

    For configuration that is spread over several znodes and makes sense as a whole only. Everything is kept
    in memory, and each znode costs a watch or two while changes are followed. Building it does no I/O, and
    tasks may share it.

    Args:
        client: whose session reads.
        path: the top; it need not exist.

    Raises:
        ValueError: the path cannot be right.
    """

    def __init__(self, client: Client, path: str) -> None:
        check_client(client)
        self.path: str = check_path(path)
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._operations = self._api.operations.for_listed()

    async def snapshot(self, *, tries: int = 10) -> dict[str, bytes]:
        """Each znode's data, by path relative to the tree's own, which is `""`; empty where there is none.

        The tree is read, and then looked at again: where no znode's data and no list of children has changed
        in between (`mzxid`, `pzxid`), what was read is how everything was at the moment between the two.

        Args:
            tries: how often to try that while others change the tree.

        Raises:
            ValueError: `tries` is below 1.
            SnapshotConflictError: it was changed each time.
            NoAuthError: a part of it may not be read.
            ZooKeeperError: the client is over.
        """
        if tries < 1:
            raise ValueError(f"a snapshot takes at least one try, not {tries!r}")
        for _ in range(tries):
            session = self._api.session
            found = await self._read()
            # A new session may be behind a server that lags: it would show the same from before.
            if await self._is_still(found) and session is self._api.session:
                return {path: node.data for path, node in found.items()}
        raise SnapshotConflictError(self.path, tries)

    @async_block("tree.changes()", "changes")
    async def changes(self) -> AsyncIterator[ConfigTreeChanges]:
        """Follow the tree: an async iterator that begins with the tree as it is.

        A slow reader gets the newest state, and what happened meanwhile is folded into one change. Nothing is
        lost across reconnects and new sessions. While the tree changes faster than it can be read, there is
        no new change. Several tasks need a block each.

        Entering raises:
            ZooKeeperError: the client is over.
        """
        follower = TreeFollower(self._client, self.path)
        async with self._api.background(follower.run):
            yield ConfigTreeChanges(follower.views.reader())

    def __repr__(self) -> str:
        return f"<ConfigTree {self.path}>"

    async def _read(self) -> dict[str, _Node]:
        """Read level after level. What goes meanwhile is left out: it will show."""
        found: dict[str, _Node] = {}
        level = [""]

        async def take(path: str, reads: _Reads) -> None:
            try:
                data, stat = await reads.node.wait()
                names, stat_of_list = await reads.children.wait()
            except NoNodeError:
                return
            found[path] = _Node(b"" if data is None else data, stat.mzxid, stat_of_list.pzxid)
            next_level.extend(f"{path}/{name}" if path else name for name in sorted(names))

        while level:
            next_level: list[str] = []
            await ask_each(level, self._ask, take)
            level = next_level
        return found

    def _ask(self, path: str) -> _Reads:
        submit, operations, full = self._api.submit, self._operations, self._absolute(path)
        return _Reads(submit(operations.get(full)), submit(operations.get_children_with_stat(full)))

    async def _is_still(self, found: Mapping[str, _Node]) -> bool:
        """Whether nothing has changed since it was read."""
        if not found:
            return await self._client.exists(self.path) is None
        is_still = True

        async def take(path: str, pending: Pending[Stat | None]) -> None:
            nonlocal is_still
            stat, node = await pending.wait(), found[path]
            if stat is None or (stat.mzxid, stat.pzxid) != (node.mzxid, node.pzxid):
                is_still = False

        def ask(path: str) -> Pending[Stat | None] | None:
            exists = self._operations.exists(self._absolute(path))
            return self._api.submit(exists) if is_still else None

        await ask_each(found, ask, take)
        return is_still

    def _absolute(self, path: str) -> str:
        return join(self.path, path) if path else self.path


class _Node(NamedTuple):
    data: bytes
    mzxid: int
    pzxid: int


class _Reads(NamedTuple):
    node: Pending[Node]
    children: Pending[tuple[list[str], Stat]]


@final
class _Values(Mapping[str, bytes]):
    """The data of a view's znodes."""

    __slots__ = ("_view",)

    def __init__(self, view: View) -> None:
        self._view = view

    def __getitem__(self, path: str) -> bytes:
        return self._view[path].data

    def __iter__(self) -> Iterator[str]:
        return iter(self._view)

    def __len__(self) -> int:
        return len(self._view)

    def __repr__(self) -> str:
        return repr(dict(self))


@final
class ConfigTreeChanges:
    """The changes of a tree, as an async iterator; it ends only with the block or the client."""

    def __init__(self, views: LatestReader[View]) -> None:
        self._views = views
        self._seen: View = Snapshot()
        self._is_first = True
        self._newer: View | None = None  # taken from `views`, and not yet handed out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConfigTreeChange:
        """The next change; the first one tells the tree as it is.

        Raises:
            NoAuthError: a part of the tree may not be read.
            RuntimeError: the block has been left.
            ZooKeeperError: the client is over.

        Cancellation: no change is lost.
        """
        while True:
            if self._newer is None:
                self._newer = await anext(self._views)
            change = await _compare(self._seen, self._newer)
            is_first, self._is_first = self._is_first, False
            self._seen, self._newer = self._newer, None
            if is_first or change.added or change.removed or change.updated:
                return change


async def _compare(old: View, new: View) -> ConfigTreeChange:
    added, removed, updated = set(), set(), set()
    for number, (path, was, now) in enumerate(new.changes_since(old), start=1):
        if was is None:
            added.add(path)
        elif now is None:
            removed.add(path)
        elif (was.data, was.stat.czxid) != (now.data, now.stat.czxid):
            updated.add(path)
        if number % _WITHOUT_PAUSE == 0:
            await anyio.lowlevel.checkpoint()
    return ConfigTreeChange(
        values=_Values(new),
        added=frozenset(added),
        removed=frozenset(removed),
        updated=frozenset(updated),
    )
