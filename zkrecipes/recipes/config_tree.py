"""ConfigTree: a znode and everything below it, as of one point in time."""

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
from zkrecipes.recipes.following.windowed_reads import ask_each

__all__ = ["ConfigTree", "ConfigTreeChange", "ConfigTreeChanges"]

_WITHOUT_PAUSE: Final = 2000
"""The number of differences that are compared before other tasks run: less than 5 ms."""


@final
@dataclass(frozen=True, slots=True)
class ConfigTreeChange:
    """The current tree, and its differences from the previous item.

    Attributes:
        values: the data of each znode, by path relative to the tree's path, which is `""`. It never changes.
            Beyond 512 znodes the order of its keys has no meaning.
        added: the paths of new znodes.
        removed: the paths of znodes that were deleted.
        updated: the paths of znodes whose data changed, or that were deleted and created again.
    """

    values: Mapping[str, bytes]
    added: frozenset[str]
    removed: frozenset[str]
    updated: frozenset[str]


@final
class ConfigTree:
    """A znode and everything below it, always as of one point in time.

        tree = zk.ConfigTree(client, "/config")
        values = await tree.snapshot()  # {"": b"", "db": b"", "db/host": b"10.0.0.7"}
        async with tree.changes() as changes:
            async for change in changes:
                print(change.values, change.updated)

    Use it for configuration that is spread over several znodes and makes sense only as a whole. The client
    keeps everything in memory, and each znode costs a watch or two while changes are followed. Creating the
    object does no I/O, and tasks may share it.

    Args:
        client: the client whose session reads.
        path: the path of the top znode, which need not exist.

    Raises:
        ValueError: the path is invalid.
    """

    def __init__(self, client: Client, path: str) -> None:
        check_client(client)
        self.path: str = check_path(path)
        self._client = client
        self._api: RecipeApi = recipe_api(client)
        self._operations = self._api.operations_for_listed

    async def snapshot(self, *, tries: int = 10) -> dict[str, bytes]:
        """Return the data of each znode, by path relative to the tree's path, which is `""`.

        The dict is empty if the tree does not exist. The client reads the tree, and then checks it: if no
        data and no list of children has changed (`mzxid`, `pzxid`), the result is the tree as it was between
        the reading and the check.

        Args:
            tries: how many times to try while other clients change the tree.

        Raises:
            ValueError: `tries` is below 1.
            SnapshotConflictError: the tree changed during each try.
            NoAuthError: the server does not permit reading a part of the tree.
            ZooKeeperError: the client has ended.
        """
        if tries < 1:
            raise ValueError(f"tries must be at least 1, not {tries!r}")
        for _ in range(tries):
            session = self._api.session
            found = await self._read()
            # The server of a new session may lag, and show a state older than a change that was read.
            if await self._is_unchanged(found) and session is self._api.session:
                return {path: node.data for path, node in found.items()}
        raise SnapshotConflictError(self.path, tries)

    @async_block("tree.changes()", "changes")
    async def changes(self) -> AsyncIterator[ConfigTreeChanges]:
        """Follow the tree: the block gets an async iterator whose first item is the current tree.

        A slow reader gets the newest state, in one change for everything that happened since. Nothing is lost
        across reconnects and new sessions. While the tree changes faster than the client can read it, the
        iterator yields nothing. Each task needs a separate block.

        Entering raises:
            ZooKeeperError: the client has ended.
        """
        follower = TreeFollower(self._client, self.path)
        async with self._api.background(follower.run):
            yield ConfigTreeChanges(follower.views.reader())

    def __repr__(self) -> str:
        return f"<ConfigTree {self.path}>"

    async def _read(self) -> dict[str, _Node]:
        """Read the tree level by level; leave out znodes that were just deleted: the check will find them."""
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

    async def _is_unchanged(self, found: Mapping[str, _Node]) -> bool:
        """Whether nothing has changed since the tree was read."""
        if not found:
            return await self._client.exists(self.path) is None
        is_unchanged = True

        async def take(path: str, pending: Pending[Stat | None]) -> None:
            nonlocal is_unchanged
            stat, node = await pending.wait(), found[path]
            if stat is None or (stat.mzxid, stat.pzxid) != (node.mzxid, node.pzxid):
                is_unchanged = False

        def ask(path: str) -> Pending[Stat | None] | None:
            exists = self._operations.exists(self._absolute(path))
            return self._api.submit(exists) if is_unchanged else None

        await ask_each(found, ask, take)
        return is_unchanged

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
    """The data of the znodes in a view."""

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
    """An async iterator of the changes of a tree; only the end of the block or of the client ends it."""

    def __init__(self, views: LatestReader[View]) -> None:
        self._views = views
        self._seen: View = Snapshot()
        self._is_first = True
        self._newer: View | None = None  # taken from `views`, and not yet returned

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConfigTreeChange:
        """Return the next change; the first one has the current tree.

        Raises:
            NoAuthError: the server does not permit reading a part of the tree.
            RuntimeError: the block has been left.
            ZooKeeperError: the client has ended.

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
