"""The znodes: add, remove, set, list. Pure: the caller passes the zxid and the time of each change.

It applies the rules by which the numbers of a Stat grow (`DataTree.java` and `DataNode.java`, 3.9). It does
not check permissions, nor does it fire watches. Between `begin` and `commit`, it keeps an undo log, so that a
transaction can be rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache
from typing import Any, final

from zkrecipes.codec.records import ACL, Id, Stat
from zkrecipes.enums import Perms
from zkrecipes.errors import NoNodeError

__all__ = ["SPECIAL_PATHS", "DataTree", "ZNode", "ZNodeKind"]

SPECIAL_PATHS = frozenset({"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"})
"""The znodes that no client can delete (`DataTree.isSpecialPath`)."""

_ANYONE = Id("world", "anyone")
_OPEN_ACL = (ACL(Perms.ALL, _ANYONE),)
_READ_ACL = (ACL(Perms.READ, _ANYONE),)


class ZNodeKind(Enum):
    """The conditions on which a server deletes a znode automatically."""

    PERSISTENT = "persistent"
    """Never."""
    EPHEMERAL = "ephemeral"
    """When its session ends."""
    CONTAINER = "container"
    """When its last child has been deleted."""
    TTL = "ttl"
    """Some time after its last change, if it has no children."""


@final
class ZNode:
    """One znode. Only `DataTree` changes it."""

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "creates",
        "ctime",
        "czxid",
        "data",
        "kind",
        "mtime",
        "mzxid",
        "owner",
        "path",
        "pzxid",
        "ttl_ms",
        "version",
    )

    def __init__(
        self,
        data: bytes | None,
        acl: tuple[ACL, ...],
        zxid: int,
        time_ms: int,
        *,
        kind: ZNodeKind = ZNodeKind.PERSISTENT,
        owner: int = 0,
        ttl_ms: int = 0,
        creates: int = 0,
    ) -> None:
        self.data: bytes | None = data
        self.acl: tuple[ACL, ...] = acl
        self.czxid: int = zxid
        self.mzxid: int = zxid
        self.pzxid: int = zxid
        self.ctime: int = time_ms
        self.mtime: int = time_ms
        self.version: int = 0
        self.aversion: int = 0
        # The number of children ever created: the sequence counter, and the stored cversion.
        self.creates: int = creates
        self.kind: ZNodeKind = kind
        self.owner: int = owner
        self.ttl_ms: int = ttl_ms
        self.path: str = "/"
        # A dict, because the order of a set differs between processes; most znodes never need one.
        self.children: dict[str, None] | None = None

    def stat(self) -> Stat:
        """Return the Stat that clients see."""
        data, children = self.data, self.children
        count = 0 if children is None else len(children)
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            # Derives the count of changes from the count of creates (`DataNode.copyStat`).
            wrapped(self.creates * 2 - count),
            self.aversion,
            self.owner,  # 0 for a container and a TTL znode
            0 if data is None else len(data),
            count,
            self.pzxid,
        )


def wrapped(number: int) -> int:
    """Return `number` as a signed 32-bit integer, because Java's `int` overflows silently."""
    return (number + 0x80000000 & 0xFFFFFFFF) - 0x80000000


@lru_cache(maxsize=1024)
def _interned(acl: tuple[ACL, ...]) -> tuple[ACL, ...]:
    """Return one object for equal ACLs, because a million znodes mostly share a few ACLs."""
    return acl


@final
class DataTree:
    """All znodes by path.

    Args:
        start_counter: the initial sequence counter of each new znode and of the root.
    """

    def __init__(self, *, start_counter: int = 0) -> None:
        self._start_counter = start_counter
        root = ZNode(b"", _OPEN_ACL, 0, 0, creates=start_counter)
        # The root has two names, so that the parent of "/a" is not a special case (as in `DataTree.java`).
        self._nodes: dict[str, ZNode] = {"": root, "/": root}
        self._ephemerals: dict[int, dict[str, None]] = {}
        self._reapable: dict[str, None] = {}
        self._undo_log: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self.changed_paths: dict[str, None] | None = None
        """The paths changed since they were last saved; None if nothing is saved."""
        for path, acl in (
            ("/zookeeper", _OPEN_ACL),
            ("/zookeeper/config", _READ_ACL),
            ("/zookeeper/quota", _OPEN_ACL),
        ):
            self._attach(path, ZNode(b"", acl, 0, 0))
        # A real server sets its ACL with version -1 (`DataTree.addConfigNode`).
        self._nodes["/zookeeper/config"].aversion = -1

    def __len__(self) -> int:
        return len(self._nodes) - 1

    def __contains__(self, path: str) -> bool:
        return path in self._nodes

    def paths(self) -> Iterator[str]:
        """Iterate over all paths; parents come before their children."""
        return (path for path in self._nodes if path)

    def find(self, path: str) -> ZNode | None:
        """Return the znode, or None if it does not exist."""
        return self._nodes.get(path)

    def get(self, path: str) -> ZNode:
        """The znode.

        Raises:
            NoNodeError: the znode does not exist.
        """
        node = self._nodes.get(path)
        if node is None:
            raise NoNodeError(path)
        return node

    def ephemerals(self, session_id: int) -> list[str]:
        """Return the paths of a session's ephemeral znodes, oldest first."""
        return list(self._ephemerals.get(session_id, ()))

    def all_ephemerals(self) -> dict[int, list[str]]:
        """Return the paths of all ephemeral znodes, by session id."""
        return {session_id: list(paths) for session_id, paths in self._ephemerals.items()}

    def reapable(self) -> Iterator[tuple[str, ZNode]]:
        """Iterate over all containers and TTL znodes."""
        return ((path, self._nodes[path]) for path in self._reapable)

    def approximate_size(self) -> int:
        """Return the characters of all paths plus the bytes of all data (`DataTree.approximateDataSize`)."""
        return sum(len(path) + len(node.data or b"") for path, node in self._nodes.items())

    def count_below(self, path: str) -> int:
        """Return the number of descendants of a znode."""
        if path == "/":
            return len(self) - 1
        below = path + "/"
        return sum(other.startswith(below) for other in self._nodes)

    def add(
        self,
        path: str,
        data: bytes | None,
        acl: tuple[ACL, ...],
        zxid: int,
        time_ms: int,
        *,
        kind: ZNodeKind = ZNodeKind.PERSISTENT,
        owner: int = 0,
        ttl_ms: int = 0,
    ) -> ZNode:
        """Add a znode. Its parent must exist, and `path` must not."""
        parent = self._nodes[path[: path.rfind("/")]]
        if self._undo_log is not None:
            self._undo_log.append((self._restore_parent, (parent, parent.creates, parent.pzxid)))
            self._undo_log.append((self._detach, (path,)))
        if self.changed_paths is not None:
            self.changed_paths[path] = self.changed_paths[parent.path] = None
        parent.creates = wrapped(parent.creates + 1)
        parent.pzxid = zxid
        node = ZNode(
            data,
            _interned(acl),
            zxid,
            time_ms,
            kind=kind,
            owner=owner,
            ttl_ms=ttl_ms,
            creates=self._start_counter,
        )
        self._attach(path, node)
        return node

    def remove(self, path: str, zxid: int) -> ZNode:
        """Remove a znode without children."""
        parent = self._nodes[path[: path.rfind("/")]]
        node = self._nodes[path]
        if self._undo_log is not None:
            self._undo_log.append((self._restore_parent, (parent, parent.creates, parent.pzxid)))
            self._undo_log.append((self._attach, (path, node)))
        if self.changed_paths is not None:
            self.changed_paths[path] = self.changed_paths[parent.path] = None
        parent.pzxid = zxid
        self._detach(path)
        return node

    def set_data(self, node: ZNode, data: bytes | None, version: int, zxid: int, time_ms: int) -> None:
        """Replace a znode's data; `version` is the new version."""
        if self._undo_log is not None:
            self._undo_log.append((_restore_data, (node, node.data, node.version, node.mzxid, node.mtime)))
        if self.changed_paths is not None:
            self.changed_paths[node.path] = None
        _restore_data(node, data, version, zxid, time_ms)

    def set_acl(self, node: ZNode, acl: tuple[ACL, ...], version: int) -> None:
        """Replace a znode's ACL; `version` is the new version."""
        if self.changed_paths is not None:
            self.changed_paths[node.path] = None
        node.acl = _interned(acl)
        node.aversion = version

    def restore(self, node: ZNode) -> None:
        """Restore a saved znode unchanged, without counting it as a change.

        Raises:
            KeyError: the znode's parent does not exist.
        """
        present = self._nodes.get(node.path)
        if present is None:
            self._attach(node.path, node)
            return
        node.children = present.children
        for path in (node.path, "") if node.path == "/" else (node.path,):
            self._nodes[path] = node

    def begin(self) -> None:
        """Record every change in the undo log, until `commit` or `roll_back`."""
        self._undo_log = []

    def commit(self) -> None:
        """Keep the changes since `begin`."""
        self._undo_log = None

    def roll_back(self) -> None:
        """Undo the changes since `begin`."""
        undo_log, self._undo_log = self._undo_log or [], None
        for function, arguments in reversed(undo_log):
            function(*arguments)

    def _attach(self, path: str, node: ZNode) -> None:
        slash = path.rfind("/")
        parent = self._nodes[path[:slash]]
        if parent.children is None:
            parent.children = {}
        parent.children[path[slash + 1 :]] = None
        self._nodes[path] = node
        node.path = path
        if node.kind is ZNodeKind.EPHEMERAL:
            self._ephemerals.setdefault(node.owner, {})[path] = None
        elif node.kind is not ZNodeKind.PERSISTENT:
            self._reapable[path] = None

    def _detach(self, path: str) -> None:
        slash = path.rfind("/")
        node = self._nodes.pop(path)
        children = self._nodes[path[:slash]].children
        assert children is not None, "the parent of a znode has no children"
        del children[path[slash + 1 :]]
        if node.kind is ZNodeKind.EPHEMERAL:
            owned = self._ephemerals[node.owner]
            del owned[path]
            if not owned:
                del self._ephemerals[node.owner]
        elif node.kind is not ZNodeKind.PERSISTENT:
            del self._reapable[path]

    @staticmethod
    def _restore_parent(parent: ZNode, creates: int, pzxid: int) -> None:
        parent.creates = creates
        parent.pzxid = pzxid


def _restore_data(node: ZNode, data: bytes | None, version: int, mzxid: int, mtime: int) -> None:
    node.data = data
    node.version = version
    node.mzxid = mzxid
    node.mtime = mtime
