"""From a call to a request and back: check paths, add and remove the chroot, convert arguments to wire units.

`Client`, `Pipeline` and `Transaction` offer the same calls and differ only in how the request travels. This
module defines the meaning of each call once. It neither waits nor sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar, Unpack, final

from zkrecipes.acl import OPEN_ACL
from zkrecipes.client.create_options import (
    CreateOptions,
    check_acl,
    check_options,
    check_text,
    create_mode,
    ttl_ms,
)
from zkrecipes.codec.messages import (
    ACLReply,
    AddWatchRequest,
    CheckRequest,
    CheckWatchesRequest,
    ChildrenNumberReply,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Empty,
    EphemeralsReply,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Reply,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReconfigRequest,
    Request,
    SetACLRequest,
    SetDataRequest,
    StatReply,
    SyncRequest,
    WhoAmIReply,
    WhoAmIRequest,
)
from zkrecipes.codec.records import ACL, Id, Node, Stat
from zkrecipes.enums import AddWatchMode, CreateMode, ServerVersion, WatcherType
from zkrecipes.errors import NoNodeError, NoWatcherError, UnimplementedError, ZooKeeperError
from zkrecipes.paths import check_path, chroot_off, chroot_on
from zkrecipes.protocol.server_requirement import Requirement

__all__ = ["CONFIG_PATH", "Operation", "Operations", "TreeView", "check_alone"]

T = TypeVar("T")

CONFIG_PATH: Final = "/zookeeper/config"
"""The znode that holds the members of the ensemble (servers from 3.5)."""

_ANY_VERSION: Final = -1
_VERSION_MAX: Final = 2**31 - 1
_CONFIG_VERSION_MAX: Final = 2**63 - 1  # the version of the ensemble's members is a zxid
# A server closes the connection on a request that it does not know. So a connection learns its server's
# version before it sends a request that has one of these requirements (`protocol/capabilities.py`).
_CREATE_WITH_STAT: Final = Requirement("create_with_stat", ServerVersion.V3_5)
_CONTAINER: Final = Requirement("a container", ServerVersion.V3_5)
_TTL: Final = Requirement("a znode with a ttl", ServerVersion.V3_5)
_CHECK_WATCHES: Final = Requirement("check_watches", ServerVersion.V3_5)
_RECONFIG: Final = Requirement("reconfig", ServerVersion.V3_5)
# A plain read, but a server before 3.5 has no such znode, and its NoNodeError would not give the reason.
_GET_CONFIG: Final = Requirement("get_config", ServerVersion.V3_5)
_GET_EPHEMERALS: Final = Requirement("get_ephemerals", ServerVersion.V3_6)
_GET_ALL_CHILDREN_NUMBER: Final = Requirement("get_all_children_number", ServerVersion.V3_6)
_PERSISTENT_WATCH: Final = Requirement("a persistent watch", ServerVersion.V3_6)
_RECURSIVE_WATCH: Final = Requirement("a recursive watch", ServerVersion.V3_6)
_WHOAMI: Final = Requirement("whoami", ServerVersion.V3_7)


@final
class Operation(NamedTuple, Generic[T]):
    """A call as a value: `client.operations` makes it, and `client.stream` or a pipeline sends it.

    Its arguments and paths are checked, and its paths contain the chroot.
    """

    request: Request[Any]
    """The request, with full paths."""
    convert: Callable[[Any], T]
    """The function that turns a reply into the result."""
    recover: Callable[[ZooKeeperError], T] | None = None
    """The function that turns an error that means a result into that result, and raises all other errors."""
    requirement: Requirement | None = None
    """The feature that the server must have, or None if every server has it."""
    reply_size_max: int = 0
    """The largest reply to accept beyond `max_packet_size`, in bytes; 0 for no exception."""


@final
class TreeView:
    """A client's view of the tree: its chroot, and the defaults of the calls under it. It never changes.

    A full path is the server's; a seen path is the caller's. Users get `Client` and `Operations`, which have
    none of these methods.

    Args:
        chroot: the full path of the znode that the caller sees as `/`; empty for none.
        default_acl: the ACL of new znodes that are created without one. None: `OPEN_ACL`.
        data_size_max: the maximum size of a znode's data in bytes.
        checks_paths: whether `full` checks the paths.
    """

    __slots__ = ("checks_paths", "chroot", "data_size_max", "default_acl")

    def __init__(
        self,
        chroot: str,
        default_acl: Sequence[ACL] | None,
        data_size_max: int,
        *,
        checks_paths: bool = True,
    ) -> None:
        self.chroot: str = chroot
        self.default_acl: list[ACL] = list(OPEN_ACL) if default_acl is None else check_acl(default_acl)
        self.data_size_max: int = data_size_max
        self.checks_paths: bool = checks_paths

    def full(self, path: str) -> str:
        """Return the full path on the server of a path as the caller sees it."""
        if self.checks_paths:
            check_path(path)
        return chroot_on(self.chroot, path) if self.chroot else path

    def full_prefix(self, prefix: str) -> str:
        """Return the beginning of full paths for the beginning of paths as the caller sees them.

        The slash stays, even for the root: a server appends the number of a sequential znode to `/` as given,
        and `/app` without a slash would find the znodes of `/application`.
        """
        if self.checks_paths:
            check_path(prefix, sequential=True)
        return self.chroot + prefix

    def seen(self, path: str) -> str:
        """Return a full path as the caller sees it."""
        return chroot_off(self.chroot, path)

    def under(self, path: str) -> TreeView:
        """Return the view of the tree below `path`."""
        return TreeView(self.full(path), self.default_acl, self.data_size_max)

    def without_chroot(self) -> TreeView:
        """Return the view of the whole tree."""
        return TreeView("", self.default_acl, self.data_size_max)

    def for_listed(self) -> TreeView:
        """Return the same view for paths that a server has listed, which need no check.

        Servers other than Apache's allow characters that Apache's servers refuse. If another client uses
        them in a name, this client can still list and delete the znodes beside it.
        """
        return TreeView(self.chroot, self.default_acl, self.data_size_max, checks_paths=False)


@final
class Operations:
    """The calls of a client under its chroot, as values: each method makes an `Operation` and sends nothing.

    Arguments, results and errors are those of the client's methods of the same names.
    """

    def __init__(self, view: TreeView) -> None:
        self._view = view
        self._full = view.full

    # --- writes --------------------------------------------------------------------------------------------

    def create(self, path: str, data: bytes | None = b"", **options: Unpack[CreateOptions]) -> Operation[str]:
        """Create a znode; the result is its path."""
        return self._create(path, data, options, CreateRequest, self._path_of_reply)

    def create_with_stat(
        self, path: str, data: bytes | None = b"", **options: Unpack[CreateOptions]
    ) -> Operation[tuple[str, Stat]]:
        """Create a znode; the result is its path and its stat (servers from 3.5)."""
        return self._create(path, data, options, Create2Request, self._path_and_stat_of_reply)

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Operation[Stat]:
        """Replace a znode's data; the result is its new stat."""
        request = SetDataRequest(self._full(path), self._check_data(data), _version(version))
        return Operation(request, _stat_of_reply)

    def delete(self, path: str, *, version: int | None = None) -> Operation[None]:
        """Delete a znode."""
        return Operation(DeleteRequest(self._full(path), _version(version)), _nothing)

    def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Operation[Stat]:
        """Replace a znode's ACL; the result is the znode's stat."""
        request = SetACLRequest(self._full(path), check_acl(acl), _version(version))
        return Operation(request, _stat_of_reply)

    def check(self, path: str, *, version: int | None = None) -> Operation[None]:
        """Fail unless the znode exists and has this version. Only transactions can send a check."""
        return Operation(CheckRequest(self._full(path), _version(version)), _nothing)

    # --- reads ---------------------------------------------------------------------------------------------

    def get(self, path: str, *, watch: bool = False) -> Operation[Node]:
        """Read a znode's data and stat."""
        return Operation(GetDataRequest(self._full(path), watch), _itself)

    def exists(self, path: str, *, watch: bool = False) -> Operation[Stat | None]:
        """Read a znode's stat; the result is None if the znode does not exist."""
        return Operation(ExistsRequest(self._full(path), watch), _stat_of_reply, _none_if_missing)

    def get_children(self, path: str, *, watch: bool = False) -> Operation[list[str]]:
        """List the names of a znode's children."""
        return Operation(GetChildrenRequest(self._full(path), watch), _children_of_reply)

    def get_children_with_stat(self, path: str, *, watch: bool = False) -> Operation[tuple[list[str], Stat]]:
        """List the names of a znode's children, and read its stat."""
        return Operation(GetChildren2Request(self._full(path), watch), _children_and_stat_of_reply)

    def get_acl(self, path: str) -> Operation[tuple[list[ACL], Stat]]:
        """Read a znode's ACL and stat."""
        return Operation(GetACLRequest(self._full(path)), _acl_and_stat_of_reply)

    def sync(self, path: str = "/") -> Operation[None]:
        """Wait until the server has caught up with its leader."""
        return Operation(SyncRequest(self._full(path)), _nothing)

    def get_all_children_number(self, path: str) -> Operation[int]:
        """Count the znodes below a znode, at any depth (servers from 3.6)."""
        request = GetAllChildrenNumberRequest(self._full(path))
        return Operation(request, _number_of_reply, requirement=_GET_ALL_CHILDREN_NUMBER)

    def get_ephemerals(self, prefix: str = "/") -> Operation[list[str]]:
        """List the paths of this session's ephemeral znodes that begin with `prefix` (servers from 3.6)."""
        request = GetEphemeralsRequest(self._view.full_prefix(prefix))
        return Operation(request, self._ephemerals_of_reply, requirement=_GET_EPHEMERALS)

    def check_watches(self, path: str, kind: WatcherType = WatcherType.ANY) -> Operation[bool]:
        """Ask whether the server has such a watch of this session (servers from 3.5)."""
        request = CheckWatchesRequest(self._full(path), WatcherType(kind))
        return Operation(request, _true, _false_if_no_watcher, _CHECK_WATCHES)

    def add_watch(self, path: str, *, recursive: bool = False) -> Operation[object]:
        """Set a persistent watch (servers from 3.6)."""
        mode = AddWatchMode.PERSISTENT_RECURSIVE if recursive else AddWatchMode.PERSISTENT
        requirement = _RECURSIVE_WATCH if recursive else _PERSISTENT_WATCH
        return Operation(AddWatchRequest(self._full(path), mode), _itself, requirement=requirement)

    def whoami(self) -> Operation[list[Id]]:
        """List the identities of this session (servers from 3.7)."""
        return Operation(WhoAmIRequest(), _ids_of_reply, requirement=_WHOAMI)

    # --- the ensemble --------------------------------------------------------------------------------------

    def get_config(self) -> Operation[Node]:
        """Read the members of the ensemble (servers from 3.5). The path is full: no chroot applies to it."""
        return Operation(GetDataRequest(CONFIG_PATH), _itself, requirement=_GET_CONFIG)

    def reconfig(
        self,
        joining: Sequence[str] = (),
        leaving: Sequence[str | int] = (),
        new_members: Sequence[str] = (),
        *,
        from_version: int | None = None,
    ) -> Operation[Node]:
        """Change the members of the ensemble; the result is the new configuration (servers from 3.5)."""
        if new_members and (joining or leaving):
            raise ValueError("new_members must be given without joining and leaving: it lists all members")
        if not (new_members or joining or leaving):
            raise ValueError("reconfig must be given joining, leaving or new_members")
        version = _version(from_version, version_max=_CONFIG_VERSION_MAX)
        request = ReconfigRequest(_members(joining), _members(leaving), _members(new_members), version)
        return Operation(request, _itself, requirement=_RECONFIG)

    # --- pieces --------------------------------------------------------------------------------------------

    def _create(
        self,
        path: str,
        data: bytes | None,
        options: CreateOptions,
        plain: type[CreateRequest | Create2Request],
        convert: Callable[[Any], T],
    ) -> Operation[T]:
        acl, ttl, sequential, mode = None, None, False, CreateMode.PERSISTENT
        if options:
            check_options(options)
            mode = create_mode(options)
            acl, ttl, sequential = options.get("acl"), options.get("ttl"), options.get("sequential", False)
        full_path = self._view.full_prefix(path) if sequential else self._full(path)
        entries = self._view.default_acl if acl is None else check_acl(acl)
        arguments = full_path, self._check_data(data), entries, mode
        if ttl is not None:
            return Operation(CreateTTLRequest(*arguments, ttl_ms(ttl)), convert, _name_the_switch, _TTL)
        if mode is CreateMode.CONTAINER:
            return Operation(CreateContainerRequest(*arguments), convert, None, _CONTAINER)
        requirement = _CREATE_WITH_STAT if plain is Create2Request else None
        return Operation(plain(*arguments), convert, None, requirement)

    def _check_data(self, data: bytes | None) -> bytes | None:
        if data is None or isinstance(data, bytes):
            size = 0 if data is None else len(data)
        else:
            raise _not_bytes(data)
        size_max = self._view.data_size_max
        if size > size_max:
            raise ValueError(
                f"data must have at most {size_max} bytes, the room that max_packet_size leaves, not {size}"
            )
        return data

    def _ephemerals_of_reply(self, reply: EphemeralsReply) -> list[str]:
        return [self._view.seen(path) for path in reply.ephemerals or ()]

    def _path_of_reply(self, reply: CreateReply | Create2Reply) -> str:
        return self._view.seen(reply.path)

    def _path_and_stat_of_reply(self, reply: Create2Reply) -> tuple[str, Stat]:
        return self._view.seen(reply.path), reply.stat


def _not_bytes(data: object) -> TypeError:
    remedy = "encode it: text.encode()" if isinstance(data, str) else "make it bytes: bytes(data)"
    return TypeError(f"a znode's data must be bytes or None, not {type(data).__name__}; {remedy}")


def check_alone(operation: Operation[T]) -> Operation[T]:
    """Return the operation if it can be sent alone: outside a transaction, and with no owner for a watch.

    Raises:
        TypeError: `operation` is not an `Operation`.
        ValueError: the operation sets a watch, or is a check, which only transactions can send.
    """
    if not isinstance(operation, Operation):
        raise TypeError(f"operation must be one that client.operations makes, not {operation!r}")
    if isinstance(operation.request, CheckRequest):
        raise ValueError("a check must be part of a transaction")
    if getattr(operation.request, "watch", False):
        raise ValueError("a watch must have an owner: use one of the client's `…_and_watch` methods")
    return operation


def _version(version: int | None, *, version_max: int = _VERSION_MAX) -> int:
    if version is None:
        return _ANY_VERSION
    if isinstance(version, Stat):
        raise TypeError("version must be an int or None, not a Stat; write stat.version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise TypeError(f"version must be an int or None, not {version!r}")
    if version < 0:
        # -1 would mean any: a version that has wrapped must never turn a guarded write into an unguarded one.
        raise ValueError(f"version must not be negative, got {version}; None means any")
    if version > version_max:
        raise ValueError(f"version must be at most {version_max}, not {version}")
    return version


def _members(servers: Sequence[str | int]) -> str | None:
    if isinstance(servers, str):
        raise TypeError(f"servers must be a list of strings, not one string: {servers!r}")
    members = ",".join(map(str, servers))
    check_text("the description of a server", members)
    return members or None


def _itself(reply: T) -> T:
    return reply


def _nothing(_: Empty) -> None:
    return None


def _stat_of_reply(reply: StatReply) -> Stat:
    return reply.stat


def _children_of_reply(reply: Any) -> list[str]:
    return reply.children or []


def _children_and_stat_of_reply(reply: GetChildren2Reply) -> tuple[list[str], Stat]:
    return reply.children or [], reply.stat


def _acl_and_stat_of_reply(reply: ACLReply) -> tuple[list[ACL], Stat]:
    return reply.acl or [], reply.stat


def _number_of_reply(reply: ChildrenNumberReply) -> int:
    return reply.total_number


def _ids_of_reply(reply: WhoAmIReply) -> list[Id]:
    return [Id(info.auth_scheme, info.user) for info in reply.client_info or ()]


def _name_the_switch(error: ZooKeeperError) -> NoReturn:
    if isinstance(error, UnimplementedError) and not error.detail:
        error.detail = "a znode with a ttl needs a server with zookeeper.extendedTypesEnabled"
    raise error


def _none_if_missing(error: ZooKeeperError) -> None:
    if not isinstance(error, NoNodeError):
        raise error


def _true(_: object) -> bool:
    return True


def _false_if_no_watcher(error: ZooKeeperError) -> bool:
    if isinstance(error, NoWatcherError):
        return False
    raise error
