"""Follows a znode and what is below it: reads again what has changed, and keeps the newest view.

One-shot watches do it, so every server will do. All watches of a session end with it; then everything is
read again, after a `sync`, so that a view is never older than the one before. A view is whole: what was found
is read before it is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar, final

from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import ChangedPaths, Node, Pending, RecipeApi, Stat, recipe_api
from zkrecipes.errors import NoAuthError, NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.paths import join
from zkrecipes.recipes.latest import Latest

__all__ = ["TreeFollower", "TreeNode", "View", "differences"]

logger = logging.getLogger("zkrecipes.recipes")

V = TypeVar("V")

ROOT: Final = ""


class TreeNode(NamedTuple):
    """A znode's data and stat as they were read together."""

    data: bytes
    stat: Stat


View = Mapping[str, TreeNode]
"""The znodes by path, relative to the root, whose own path is empty."""


@dataclass(slots=True)
class _Known:
    """What is known of a znode that is watched."""

    node: TreeNode | None = None
    """None: its data are not of interest, or may not be read."""
    children: set[str] = field(default_factory=set)


class _Reads(NamedTuple):
    """What was asked about one znode."""

    node: Pending[Node] | None
    children: Pending[tuple[list[str], Stat]] | None


@final
class TreeFollower:
    """Follows a tree for as long as `run` runs.

    Args:
        client: whose session watches.
        root: the znode at the top; it need not exist.
        is_group: only the root's children, and of the root no data. A view is shown as soon as it is whole,
            though members may have changed meanwhile, and children that may not be read are left out.
            Otherwise: everything, and only views of how things were at one moment.

    Attributes:
        views: the newest view.
    """

    def __init__(self, client: Client, root: str, *, is_group: bool = False) -> None:
        self.views: Latest[View] = Latest()
        self._api: RecipeApi = recipe_api(client)
        self._root = root
        self._is_group = is_group
        self._known: dict[str, _Known] = {}
        self._unreadable: set[str] = set()

    async def run(self) -> None:
        """Follow until the client is over, or may not read; readers are told why."""
        try:
            while True:
                try:
                    await self._follow_session()
                except SessionExpiredError:
                    if self._api.is_over:
                        raise
        except Exception as error:
            self.views.fail(error)
            if not isinstance(error, ZooKeeperError):
                raise
        finally:
            self.views.fail(RuntimeError(f"the block that followed {self._root} has ended"))

    async def _follow_session(self) -> None:
        async with self._api.changed_paths() as changed:
            self._api.submit(self._api.operations.sync(self._root))
            self._known.clear()
            due = {ROOT}
            while True:
                while due:
                    due = await self._read(due, changed)
                if not changed.has_news or (self._is_group and not changed.is_over):
                    self.views.put(self._view())
                due = {self._relative(path) for path in await changed.wait()}
                due = {path for path in due if path == ROOT or path in self._known}

    def _view(self) -> View:
        return {path: known.node for path, known in self._known.items() if known.node is not None}

    async def _read(self, due: Iterable[str], changed: ChangedPaths) -> set[str]:
        """Read these znodes, all at once; return what was found and is to be read next."""
        reads = {path: self._ask(path, changed) for path in sorted(due)}
        found: set[str] = set()
        for path, (node, children) in reads.items():
            try:
                if node is not None:
                    self._take_node(path, await node.wait())
                if children is not None:
                    found |= self._take_children(path, (await children.wait())[0])
            except NoNodeError:
                self._known.pop(path, None)
                if path == ROOT and await self._has_appeared(changed):
                    found.add(ROOT)
            except NoAuthError as error:
                if path == ROOT or not self._is_group:
                    raise
                self._leave_out(path, error)
        return {path for path in found if path == ROOT or path in self._known}

    def _ask(self, path: str, changed: ChangedPaths) -> _Reads:
        operations, full = self._api.operations, self._absolute(path)
        node = children = None
        if path != ROOT or not self._is_group:
            node = self._api.submit(operations.get(full, watch=True), watcher=changed)
        if path == ROOT or not self._is_group:
            children = self._api.submit(operations.get_children_with_stat(full, watch=True), watcher=changed)
        return _Reads(node, children)

    async def _has_appeared(self, changed: ChangedPaths) -> bool:
        """Whether the root, which was missing, is there now; otherwise it is watched for."""
        exists = self._api.operations.exists(self._root, watch=True)
        return await self._api.submit(exists, watcher=changed).wait() is not None

    def _take_node(self, path: str, node: Node) -> None:
        known = self._known_at(path)
        if known is not None:
            known.node = TreeNode(b"" if node.data is None else node.data, node.stat)

    def _take_children(self, path: str, names: list[str]) -> set[str]:
        """Take a list of children; return the paths of those that are not known yet."""
        known = self._known_at(path)
        if known is None:
            return set()
        for name in known.children.difference(names):
            self._known.pop(_below(path, name), None)  # what was below it has gone before, and said so
            self._unreadable.discard(_below(path, name))
        known.children = set(names)
        # Not `{…} - self._known.keys()`: that walks all that is known, once for each znode (quadratic).
        new = {below for name in names if (below := _below(path, name)) not in self._known}
        for each in new:
            self._known[each] = _Known()
        return new

    def _known_at(self, path: str) -> _Known | None:
        """What is known of a znode; None where it left the list of its parent in the same round.

        Should it have come back since, its parent's watch has fired for that.
        """
        return self._known.setdefault(path, _Known()) if path == ROOT else self._known.get(path)

    def _leave_out(self, path: str, error: NoAuthError) -> None:
        known = self._known.get(path)
        if known is not None:
            known.node = None
        if path not in self._unreadable:
            self._unreadable.add(path)
            logger.warning("a member of %s is left out: %s", self._root, error, extra={"path": self._root})

    def _absolute(self, path: str) -> str:
        return self._root if path == ROOT else join(self._root, path)

    def _relative(self, path: str) -> str:
        return path[len(self._root) :].lstrip("/")


def _below(path: str, name: str) -> str:
    return name if path == ROOT else f"{path}/{name}"


def differences(
    old: Mapping[str, V], new: Mapping[str, V]
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The keys that came, those that went, and those whose value is another."""
    changed = frozenset(key for key in new.keys() & old.keys() if new[key] != old[key])
    return frozenset(new.keys() - old.keys()), frozenset(old.keys() - new.keys()), changed
