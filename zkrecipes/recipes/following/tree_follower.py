"""Follows a znode and everything below it: reads what has changed, and keeps the newest view.

It uses one-shot watches, which every server has. All watches of a session end with it. Then the follower
reads everything again, after a `sync`, so that no view is older than the one before. A view is complete:
every znode that was found is read before the view is published.

The cost of a change does not depend on the size of the tree: views share their equal parts (`snapshots`). The
first look at a large tree reads some znodes at a time (`windowed`), so that the loop is not blocked for long.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, NamedTuple, final

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Backoff, ChangedPaths, Node, Pending, RecipeApi, Stat, recipe_api
from zkrecipes.errors import NoAuthError, NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.paths import join
from zkrecipes.recipes.following.latest_value import LatestValue
from zkrecipes.recipes.following.snapshots import Snapshot, SnapshotDict
from zkrecipes.recipes.following.windowed_reads import ask_each

__all__ = ["TreeFollower", "TreeNode", "View"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

ROOT: Final = ""
_NO_CHILDREN: Final[frozenset[str]] = frozenset()


class TreeNode(NamedTuple):
    """A znode's data and stat, read together."""

    data: bytes
    stat: Stat


View = Snapshot[TreeNode]
"""The znodes by path relative to the root, whose path is empty."""


class _Reads(NamedTuple):
    """The requests about one znode that are in flight."""

    node: Pending[Node] | None
    children: Pending[tuple[list[str], Stat]] | None


@final
class TreeFollower:
    """A follower of one tree, for as long as `run` runs.

    Args:
        client: the client whose session watches.
        root: the path of the top znode, which need not exist.
        is_group: True: follow only the root's children, and not the root's data. A view is published as soon
            as it is complete, even if members have changed during the reading, and without the children whose
            ACL does not permit READ. False: follow everything, and publish only views of one point in time.

    Attributes:
        views: the newest view.
    """

    def __init__(self, client: Client, root: str, *, is_group: bool = False) -> None:
        self.views: LatestValue[View] = LatestValue()
        self._api: RecipeApi = recipe_api(client)
        self._operations = self._api.operations_for_listed
        self._root = root
        self._is_group = is_group
        self._nodes: SnapshotDict[TreeNode] = SnapshotDict()
        self._children: dict[str, set[str] | frozenset[str]] = {}  # of each znode that is watched
        self._unreadable: set[str] = set()
        self._is_refused = False  # whether a reply of this round was a transient error
        self._retries = self._api.retries()

    async def run(self) -> None:
        """Follow until the client has ended or a read is refused, and raise the error in the readers."""
        try:
            while True:
                try:
                    await self._follow_session()
                except SessionExpiredError as error:
                    await self._retries.wait_after(error)
        except Exception as error:
            self.views.fail(error)
            if not isinstance(error, ZooKeeperError):
                raise
        finally:
            self.views.fail(RuntimeError(f"the block that follows {self._root} has ended"))

    async def _follow_session(self) -> None:
        pauses = Backoff()
        async with self._api.changed_paths() as changed:
            self._api.submit(self._api.operations.sync(self._root))
            self._nodes = SnapshotDict()
            self._children.clear()
            due = [ROOT]
            while True:
                while due:
                    self._is_refused = False
                    due = await self._read(due, changed)
                    if self._is_refused:
                        await pauses.wait()
                pauses.reset()
                if not changed.has_news or (self._is_group and not changed.is_over):
                    self.views.put(self._nodes.snapshot())
                due = [self._relative(path) for path in await changed.wait()]

    async def _read(self, due: Iterable[str], changed: ChangedPaths) -> list[str]:
        """Read these znodes; return the paths to read next."""
        found: list[str] = []

        async def take(path: str, reads: _Reads) -> None:
            found.extend(await self._take(path, reads, changed))

        await ask_each(due, lambda path: self._ask(path, changed), take)
        return found

    def _ask(self, path: str, changed: ChangedPaths) -> _Reads | None:
        if path != ROOT and path not in self._children:
            return None
        operations, full = self._operations, self._absolute(path)
        node = children = None
        if path != ROOT or not self._is_group:
            node = changed.submit(operations.get(full, watch=True))
        if path == ROOT or not self._is_group:
            children = changed.submit(operations.get_children_with_stat(full, watch=True))
        return _Reads(node, children)

    async def _take(self, path: str, reads: _Reads, changed: ChangedPaths) -> list[str]:
        """Take the replies about one znode; return the paths to read next (after an error, the same path)."""
        try:
            return await self._take_replies(path, reads, changed)
        except ZooKeeperError as error:
            if not error.is_transient:
                raise
            logger.info("could not read %s: %s (retrying)", self._root, error, extra={"path": self._root})
            self._is_refused = True
            return [path]

    async def _take_replies(self, path: str, reads: _Reads, changed: ChangedPaths) -> list[str]:
        """Take the replies about one znode; return the paths below it that are not known yet."""
        try:
            if reads.node is not None:
                self._take_node(path, await reads.node.wait())
            if reads.children is not None:
                return self._take_children(path, (await reads.children.wait())[0])
        except NoNodeError:
            self._forget(path)
            if path == ROOT and await self._has_appeared(changed):
                return [ROOT]
        except NoAuthError as error:
            if path == ROOT or not self._is_group:
                raise
            self._leave_out(path, error)
        return []

    async def _has_appeared(self, changed: ChangedPaths) -> bool:
        """Whether the root, which was missing, exists now; if not, a watch reports its creation."""
        exists = self._api.operations.exists(self._root, watch=True)
        return await changed.submit(exists).wait() is not None

    def _take_node(self, path: str, node: Node) -> None:
        if self._is_known(path):
            self._nodes[path] = TreeNode(b"" if node.data is None else node.data, node.stat)

    def _take_children(self, path: str, names: list[str]) -> list[str]:
        """Take a list of children; return the paths of those that are not known yet."""
        if not self._is_known(path):
            return []
        known = self._children[path]
        for name in known.difference(names):
            below = _below(path, name)
            self._forget(below)  # its children were deleted before it, and their watches have fired
            self._unreadable.discard(below)
        self._children[path] = set(names) if names else _NO_CHILDREN
        # Not `name not in known`: a child that was found missing is still in that list, and may exist again.
        new = [below for name in names if (below := _below(path, name)) not in self._children]
        for below in new:
            self._children[below] = _NO_CHILDREN
        return new

    def _is_known(self, path: str) -> bool:
        """Whether a znode is still followed.

        A znode that disappeared from its parent's list in the same round is not followed. If it was created
        again since, the parent's watch has fired.
        """
        if path == ROOT:
            self._children.setdefault(ROOT, _NO_CHILDREN)
        return path in self._children

    def _forget(self, path: str) -> None:
        self._nodes.discard(path)
        self._children.pop(path, None)

    def _leave_out(self, path: str, error: NoAuthError) -> None:
        self._nodes.discard(path)
        if path not in self._unreadable:
            self._unreadable.add(path)
            logger.warning(
                "could not read a member of %s: %s (leaving it out)",
                self._root,
                error,
                extra={"path": self._root},
            )

    def _absolute(self, path: str) -> str:
        return self._root if path == ROOT else join(self._root, path)

    def _relative(self, path: str) -> str:
        return path[len(self._root) :].lstrip("/")


def _below(path: str, name: str) -> str:
    return name if path == ROOT else f"{path}/{name}"
