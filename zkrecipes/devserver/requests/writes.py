"""The requests that change the tree, one function each: check in the real server's order, then apply.

If several things are wrong, the order of the checks decides which error a client sees, so it is that of
`PrepRequestProcessor.pRequest2Txn` (3.9). The functions raise `ServerError`s. Each changes the tree only
after all of its checks, so only a multi needs the tree's undo log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    CheckRequest,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    Empty,
    ReconfigRequest,
    SetACLRequest,
    SetDataRequest,
    StatReply,
)
from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.auth.access import check_permission, expand_acl
from zkrecipes.devserver.data_tree import SPECIAL_PATHS, DataTree, ZNodeKind, wrapped
from zkrecipes.devserver.requests.quotas import SizeChange
from zkrecipes.enums import CreateMode, EventType, OpCode, Perms
from zkrecipes.errors import (
    BadArgumentsError,
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NotEmptyError,
    ReconfigDisabledError,
    UnimplementedError,
)
from zkrecipes.paths import check_path

__all__ = ["WRITES", "Change", "TreeEvent", "end_session"]

# A TTL has 40 bits (`EphemeralType.TTL`).
_TTL_MAX_MS = (1 << 40) - 1

_MODES = {int(mode): mode for mode in CreateMode}
_EMPTY = Empty()


class TreeEvent(NamedTuple):
    """An event for watches, and the ACL that decides which clients may receive it."""

    event: EventType
    path: str
    acl: tuple[ACL, ...]


@final
class Change:
    """A transaction in progress: its client, zxid and time, and its events so far.

    Args:
        tree: the znodes.
        session_id: the owner of new ephemeral znodes.
        ids: the identities of the client.
        zxid: the zxid of the transaction.
        time_ms: milliseconds since 1970.
        extended_types: whether clients may create TTL znodes.
        schemes: the configured ACL schemes, such as `sasl`.
    """

    __slots__ = (
        "events",
        "extended_types",
        "ids",
        "schemes",
        "session_id",
        "size_changes",
        "time_ms",
        "tree",
        "zxid",
    )

    def __init__(
        self,
        tree: DataTree,
        *,
        session_id: int,
        ids: list[Id],
        zxid: int,
        time_ms: int,
        extended_types: bool = False,
        schemes: Collection[str] = (),
    ) -> None:
        self.tree: DataTree = tree
        self.schemes: Collection[str] = schemes
        self.session_id: int = session_id
        self.ids: list[Id] = ids
        self.zxid: int = zxid
        self.time_ms: int = time_ms
        self.extended_types: bool = extended_types
        self.events: list[TreeEvent] = []
        self.size_changes: list[SizeChange] = []
        """The changes that quotas count."""


def _create(change: Change, request: CreateRequest) -> Record:
    return CreateReply(_add_node(change, request, -1))


def _create2(change: Change, request: Create2Request | CreateContainerRequest) -> Record:
    path = _add_node(change, request, -1)
    return Create2Reply(path, change.tree.get(path).stat())


def _create_ttl(change: Change, request: CreateTTLRequest) -> Record:
    path = _add_node(change, request, request.ttl_ms)
    return Create2Reply(path, change.tree.get(path).stat())


def _add_node(
    change: Change,
    request: CreateRequest | Create2Request | CreateContainerRequest | CreateTTLRequest,
    ttl_ms: int,
) -> str:
    path, tree = request.path, change.tree
    mode = _mode_of(request, ttl_ms, extended_types=change.extended_types)
    slash = path.rfind("/")
    if slash == -1 or "\0" in path:
        raise BadArgumentsError(path)
    acl = expand_acl(request.acl, change.ids, path, change.schemes)
    parent_path = path[:slash]
    parent = tree.get(parent_path)
    check_permission(parent.acl, Perms.CREATE, change.ids, path)
    if mode.is_sequential:
        path = f"{path}{parent.creates:010d}"
    _check_path(path)
    if path in tree:
        raise NodeExistsError(path)
    if parent.kind is ZNodeKind.EPHEMERAL:
        raise NoChildrenForEphemeralsError(path)
    kind = _kind_of(request.opcode, mode)
    tree.add(
        path,
        request.data,
        acl,
        change.zxid,
        change.time_ms,
        kind=kind,
        owner=change.session_id if kind is ZNodeKind.EPHEMERAL else 0,
        ttl_ms=max(ttl_ms, 0),
    )
    change.size_changes.append(SizeChange(path, len(request.data or b""), 1))
    change.events.append(TreeEvent(EventType.CREATED, path, acl))
    change.events.append(TreeEvent(EventType.CHILDREN_CHANGED, parent_path or "/", parent.acl))
    return path


def _mode_of(
    request: CreateRequest | Create2Request | CreateContainerRequest | CreateTTLRequest,
    ttl_ms: int,
    *,
    extended_types: bool,
) -> CreateMode:
    mode = _MODES.get(request.flags)
    if mode is None:
        raise BadArgumentsError(request.path, detail=f"unknown flags {request.flags}")
    if mode.has_ttl and not extended_types:
        raise UnimplementedError(request.path, detail="TTL znodes need extended_types")
    if mode.has_ttl and not 0 < ttl_ms <= _TTL_MAX_MS:
        raise BadArgumentsError(request.path, detail=f"a TTL must be 1 to {_TTL_MAX_MS} ms, not {ttl_ms}")
    if not mode.has_ttl and request.opcode == OpCode.CREATE_TTL:
        raise BadArgumentsError(request.path, detail=f"flags {request.flags} allow no TTL")
    return mode


def _kind_of(opcode: OpCode, mode: CreateMode) -> ZNodeKind:
    """Return the kind of the new znode. For containers and TTL znodes the opcode decides, not the flags."""
    if opcode == OpCode.CREATE_CONTAINER:
        return ZNodeKind.CONTAINER
    if opcode == OpCode.CREATE_TTL:
        return ZNodeKind.TTL
    return ZNodeKind.EPHEMERAL if mode.is_ephemeral else ZNodeKind.PERSISTENT


def _delete(change: Change, request: DeleteRequest) -> Record:
    path, tree = request.path, change.tree
    parent = tree.get(_parent_path(path))
    check_permission(parent.acl, Perms.DELETE, change.ids, path)
    node = tree.get(path)
    _next_version(node.version, request.version, path)
    if node.children:
        raise NotEmptyError(path)
    _remove_node(change, path)
    return _EMPTY


def _delete_container(change: Change, request: DeleteContainerRequest) -> Record:
    """Delete a znode for the reaper. Real servers accept this from clients, without any permission."""
    path, tree = request.path, change.tree
    _parent_path(path)
    node = tree.get(path)
    if node.children:
        raise NotEmptyError(path)
    if node.kind is ZNodeKind.EPHEMERAL:
        raise BadVersionError(path)
    _remove_node(change, path)
    return _EMPTY


def _remove_node(change: Change, path: str) -> None:
    parent_path = path[: path.rfind("/")]
    parent = change.tree.get(parent_path)
    node = change.tree.remove(path, change.zxid)
    change.size_changes.append(SizeChange(path, -len(node.data or b""), -1))
    change.events.append(TreeEvent(EventType.DELETED, path, node.acl))
    change.events.append(TreeEvent(EventType.CHILDREN_CHANGED, parent_path or "/", parent.acl))


def _set_data(change: Change, request: SetDataRequest) -> Record:
    path = request.path
    _check_path(path)
    node = change.tree.get(path)
    check_permission(node.acl, Perms.WRITE, change.ids, path)
    version = _next_version(node.version, request.version, path)
    change.size_changes.append(SizeChange(path, len(request.data or b"") - len(node.data or b""), 0))
    change.tree.set_data(node, request.data, version, change.zxid, change.time_ms)
    change.events.append(TreeEvent(EventType.DATA_CHANGED, path, node.acl))
    return StatReply(node.stat())


def _set_acl(change: Change, request: SetACLRequest) -> Record:
    path = request.path
    _check_path(path)
    acl = expand_acl(request.acl, change.ids, path, change.schemes)
    node = change.tree.get(path)
    check_permission(node.acl, Perms.ADMIN, change.ids, path)
    version = _next_version(node.aversion, request.version, path)
    change.tree.set_acl(node, acl, version)
    return StatReply(node.stat())


def _check(change: Change, request: CheckRequest) -> Record:
    path = request.path
    _check_path(path)
    node = change.tree.get(path)
    check_permission(node.acl, Perms.READ, change.ids, path)
    _next_version(node.version, request.version, path)
    return _EMPTY


def _reconfig(_change: Change, _request: ReconfigRequest) -> Record:
    """Refuse: `reconfigEnabled` is off by default, and a standalone server cannot reconfigure (-6)."""
    raise ReconfigDisabledError


def end_session(change: Change) -> None:
    """Delete all ephemeral znodes of the session, under the zxid of the change."""
    for path in change.tree.ephemerals(change.session_id):
        _remove_node(change, path)


def _parent_path(path: str) -> str:
    slash = path.rfind("/")
    if slash == -1 or "\0" in path or path in SPECIAL_PATHS:
        raise BadArgumentsError(path)
    return path[:slash]


def _check_path(path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:
        raise BadArgumentsError(path, detail=str(error)) from error


def _next_version(current: int, expected: int, path: str) -> int:
    """Return the version after `current`: never -1, because an expected version of -1 means any version."""
    if expected not in (-1, current):
        raise BadVersionError(path)
    next_version = wrapped(current + 1)
    return 0 if next_version == -1 else next_version


WRITES: dict[int, Callable[[Change, Any], Record]] = {
    OpCode.CREATE: _create,
    OpCode.CREATE2: _create2,
    OpCode.CREATE_CONTAINER: _create2,
    OpCode.CREATE_TTL: _create_ttl,
    OpCode.DELETE: _delete,
    OpCode.DELETE_CONTAINER: _delete_container,
    OpCode.SET_DATA: _set_data,
    OpCode.SET_ACL: _set_acl,
    OpCode.CHECK: _check,
    OpCode.RECONFIG: _reconfig,
}
"""The handler of each writing opcode. `CHECK` never changes the tree."""
