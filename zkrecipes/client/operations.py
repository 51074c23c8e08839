"""From a call to a request and back: paths checked, chroot on and off, arguments in the wire's units.

`Client`, `Pipeline` and `Transaction` offer the same calls and differ only in how the request travels, so
what a call means stands here, once. Nothing here waits or sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar, final

from zkrecipes.acl import OPEN_ACL
from zkrecipes.client.requirements import CONFIG_PATH
from zkrecipes.codec.messages import (
    ACLReply,
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
from zkrecipes.codec.strings import encode_string
from zkrecipes.enums import CreateMode, Perms, WatcherType
from zkrecipes.errors import NoNodeError, NoWatcherError, UnimplementedError, ZooKeeperError
from zkrecipes.paths import check_path, chroot_off, chroot_on

__all__ = ["Operation", "Operations", "check_alone"]

T = TypeVar("T")

ANY_VERSION: Final = -1
_VERSION_MAX: Final = 2**31 - 1
_CONFIG_VERSION_MAX: Final = 2**63 - 1  # that of the ensemble's members is a zxid
_PLAIN_MODES: Final = (
    (CreateMode.PERSISTENT, CreateMode.EPHEMERAL),
    (CreateMode.PERSISTENT_SEQUENTIAL, CreateMode.EPHEMERAL_SEQUENTIAL),
)
# A TTL is kept in 40 bits of the ephemeral owner (`EphemeralType.TTL`).
_TTL_MS_MAX: Final = 0x00FF_FFFF_FFFF


@final
class Operation(NamedTuple, Generic[T]):
    """What a call would send, as a value: made by `client.operations`, sent by `client.stream`.

    Arguments and paths were checked when it was made, and the chroot is in it.
    """

    request: Request[Any]
    """With full paths."""
    convert: Callable[[Any], T]
    """Turns a reply into the result."""
    recover: Callable[[ZooKeeperError], T] | None = None
    """Turns an error into a result where it means one; raises the others."""


@final
class Operations:
    """The calls of a client under one chroot, as values: each makes an `Operation` and sends nothing.

    Arguments, results and errors are those of the client's calls of the same name.

    Args:
        chroot: full path of what the caller sees as `/`; empty for none.
        default_acl: what new znodes get that name no ACL.
        data_size_max: the most bytes of data that a znode may be given.
    """

    def __init__(self, chroot: str, default_acl: Sequence[ACL] | None, data_size_max: int) -> None:
        self.chroot = chroot
        self.default_acl: list[ACL] = list(OPEN_ACL) if default_acl is None else _check_acl(default_acl)
        self.data_size_max = data_size_max
        self._checks_paths = True

    def full(self, path: str) -> str:
        """The path on the server."""
        if self._checks_paths:
            check_path(path)
        return chroot_on(self.chroot, path) if self.chroot else path

    def seen(self, path: str) -> str:
        """The path as the caller sees it."""
        return chroot_off(self.chroot, path)

    def under(self, path: str) -> Operations:
        """The same for the tree below `path`."""
        return Operations(self.full(path), self.default_acl, self.data_size_max)

    def without_chroot(self) -> Operations:
        """The same for the whole tree."""
        return Operations("", self.default_acl, self.data_size_max)

    def for_listed(self) -> Operations:
        """The same for paths that the server has listed, which are not checked.

        Servers other than Apache's allow characters that Apache's refuses, and such a znode of another client
        must not keep this one from listing or deleting what is beside it.
        """
        other = Operations(self.chroot, self.default_acl, self.data_size_max)
        other._checks_paths = False
        return other

    # --- writes --------------------------------------------------------------------------------------------

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> Operation[str]:
        """Make a znode; the result is its path."""
        mode = _create_mode(ephemeral, sequential, container, ttl)
        arguments = self._create_arguments(path, data, acl, mode, sequential)
        request: Request[Any]
        if ttl is not None:
            request = CreateTTLRequest(*arguments, _ttl_ms(ttl))
        else:
            request = (CreateContainerRequest if container else CreateRequest)(*arguments)
        return Operation(request, self._path_of_reply, None if ttl is None else _name_the_switch)

    def create_with_stat(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> Operation[tuple[str, Stat]]:
        """Make a znode; the result is its path and stat (servers from 3.5)."""
        mode = _create_mode(ephemeral, sequential, container, ttl)
        arguments = self._create_arguments(path, data, acl, mode, sequential)
        request: Request[Any]
        if ttl is not None:
            request = CreateTTLRequest(*arguments, _ttl_ms(ttl))
        else:
            request = (CreateContainerRequest if container else Create2Request)(*arguments)
        return Operation(request, self._path_and_stat_of_reply, None if ttl is None else _name_the_switch)

    def set(self, path: str, data: bytes | None, *, version: int | None = None) -> Operation[Stat]:
        """Replace a znode's data; the result is its new stat."""
        request = SetDataRequest(self.full(path), self._check_data(data), _version(version))
        return Operation(request, _stat_of_reply)

    def delete(self, path: str, *, version: int | None = None) -> Operation[None]:
        """Remove a znode."""
        return Operation(DeleteRequest(self.full(path), _version(version)), _nothing)

    def set_acl(self, path: str, acl: Sequence[ACL], *, version: int | None = None) -> Operation[Stat]:
        """Replace a znode's ACL; the result is its stat."""
        request = SetACLRequest(self.full(path), _check_acl(acl), _version(version))
        return Operation(request, _stat_of_reply)

    def check(self, path: str, *, version: int | None = None) -> Operation[None]:
        """Fail unless the znode exists and has this version; in a transaction."""
        return Operation(CheckRequest(self.full(path), _version(version)), _nothing)

    # --- reads ---------------------------------------------------------------------------------------------

    def get(self, path: str, *, watch: bool = False) -> Operation[Node]:
        """A znode's data and stat."""
        return Operation(GetDataRequest(self.full(path), watch), _itself)

    def exists(self, path: str, *, watch: bool = False) -> Operation[Stat | None]:
        """A znode's stat, or None where there is none."""
        return Operation(ExistsRequest(self.full(path), watch), _stat_of_reply, _none_if_missing)

    def get_children(self, path: str, *, watch: bool = False) -> Operation[list[str]]:
        """The names of a znode's children."""
        return Operation(GetChildrenRequest(self.full(path), watch), _children_of_reply)

    def get_children_with_stat(self, path: str, *, watch: bool = False) -> Operation[tuple[list[str], Stat]]:
        """The names of a znode's children and its stat."""
        return Operation(GetChildren2Request(self.full(path), watch), _children_and_stat_of_reply)

    def get_acl(self, path: str) -> Operation[tuple[list[ACL], Stat]]:
        """A znode's ACL and stat."""
        return Operation(GetACLRequest(self.full(path)), _acl_and_stat_of_reply)

    def sync(self, path: str = "/") -> Operation[None]:
        """Wait until the server has caught up with its leader."""
        return Operation(SyncRequest(self.full(path)), _nothing)

    def get_all_children_number(self, path: str) -> Operation[int]:
        """How many znodes there are below one, at any depth (servers from 3.6)."""
        return Operation(GetAllChildrenNumberRequest(self.full(path)), _number_of_reply)

    def get_ephemerals(self, prefix: str = "/") -> Operation[list[str]]:
        """The paths of this session's ephemeral znodes that begin with `prefix` (servers from 3.6)."""
        check_path(prefix, sequential=True)
        # With the slash, also for the root: /app would find those of /application.
        return Operation(GetEphemeralsRequest(self.chroot + prefix), self._ephemerals_of_reply)

    def check_watches(self, path: str, kind: WatcherType = WatcherType.ANY) -> Operation[bool]:
        """Whether the server has such a watch of this session's (servers from 3.5)."""
        request = CheckWatchesRequest(self.full(path), WatcherType(kind))
        return Operation(request, _yes, recover=_no_where_there_is_none)

    def whoami(self) -> Operation[list[Id]]:
        """The identities of this session (servers from 3.7)."""
        return Operation(WhoAmIRequest(), _ids_of_reply)

    # --- the ensemble --------------------------------------------------------------------------------------

    def get_config(self) -> Operation[Node]:
        """The members of the ensemble, by full path: they are not below a chroot (servers from 3.5)."""
        return Operation(GetDataRequest(CONFIG_PATH), _itself)

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
            raise ValueError("new_members are all members, so nobody joins or leaves besides")
        if not (new_members or joining or leaving):
            raise ValueError("a reconfig changes something: name who joins, who leaves, or all members")
        version = _version(from_version, version_max=_CONFIG_VERSION_MAX)
        request = ReconfigRequest(_members(joining), _members(leaving), _members(new_members), version)
        return Operation(request, _itself)

    # --- pieces --------------------------------------------------------------------------------------------

    def _create_arguments(
        self, path: str, data: bytes | None, acl: Sequence[ACL] | None, mode: CreateMode, sequential: bool
    ) -> tuple[str, bytes | None, list[ACL], int]:
        if self._checks_paths:
            check_path(path, sequential=sequential)
        entries = self.default_acl if acl is None else _check_acl(acl)
        # A sequential "/" becomes a child of the chroot: the server appends the number to what it is given.
        full_path = self.chroot + path if sequential else chroot_on(self.chroot, path)
        return full_path, self._check_data(data), entries, mode

    def _check_data(self, data: bytes | None) -> bytes | None:
        if data is None or isinstance(data, bytes):
            size = 0 if data is None else len(data)
        else:
            raise _not_bytes(data)
        if size > self.data_size_max:
            raise ValueError(
                f"{size} bytes of data are more than the {self.data_size_max} that max_packet_size leaves"
            )
        return data

    def _ephemerals_of_reply(self, reply: EphemeralsReply) -> list[str]:
        return [chroot_off(self.chroot, path) for path in reply.ephemerals or ()]

    def _path_of_reply(self, reply: CreateReply | Create2Reply) -> str:
        return chroot_off(self.chroot, reply.path)

    def _path_and_stat_of_reply(self, reply: Create2Reply) -> tuple[str, Stat]:
        return chroot_off(self.chroot, reply.path), reply.stat


def _not_bytes(data: object) -> TypeError:
    remedy = "encode it: text.encode()" if isinstance(data, str) else "make it bytes: bytes(data)"
    return TypeError(f"a znode's data must be bytes or None, not {type(data).__name__}; {remedy}")


def check_alone(operation: Operation[T]) -> Operation[T]:
    """Return the operation if it may travel by itself, with nobody to own what it leaves.

    Raises:
        TypeError: it is none.
        ValueError: it sets a watch, or is a check, which says something in a transaction only.
    """
    if not isinstance(operation, Operation):
        raise TypeError(f"an operation is made by `client.operations`, it is not {operation!r}")
    if isinstance(operation.request, CheckRequest):
        raise ValueError("a check belongs in a transaction")
    if getattr(operation.request, "watch", False):
        raise ValueError("nobody would own the watch: use one of the client's `…_and_watch`")
    return operation


def _create_mode(ephemeral: bool, sequential: bool, container: bool, ttl: float | None) -> CreateMode:
    if container and (ephemeral or sequential or ttl is not None):
        raise ValueError("a container is neither ephemeral nor sequential and has no ttl")
    if ephemeral and ttl is not None:
        raise ValueError("an ephemeral znode goes with its session and has no ttl")
    if container:
        return CreateMode.CONTAINER
    if ttl is not None:
        return CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL if sequential else CreateMode.PERSISTENT_WITH_TTL
    return _PLAIN_MODES[bool(sequential)][bool(ephemeral)]


def _ttl_ms(ttl: float) -> int:
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise TypeError(f"a ttl is a number of seconds, not {ttl!r}")
    if not 0.001 <= ttl <= _TTL_MS_MAX / 1000:
        raise ValueError(f"a ttl is between 0.001 and {_TTL_MS_MAX / 1000:.0f} seconds, not {ttl!r}")
    return round(ttl * 1000)


def _version(version: int | None, *, version_max: int = _VERSION_MAX) -> int:
    if version is None:
        return ANY_VERSION
    if isinstance(version, Stat):
        raise TypeError("a version must be an int or None, not a Stat; write stat.version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise TypeError(f"a version must be an int or None, not {version!r}")
    if version < 0:
        # -1 would mean any: a version that has wrapped must never unguard a write.
        raise ValueError(f"a version must not be negative, got {version}; None means any")
    if version > version_max:
        raise ValueError(f"a version is at most {version_max}, not {version}")
    return version


def _check_acl(acl: Any) -> list[ACL]:
    if isinstance(acl, ACL):
        raise TypeError(f"an ACL is a list of ACL entries, not one entry: write [{acl!r}]")
    if isinstance(acl, Id):
        raise TypeError(f"an ACL is a list of ACL entries, not an Id: write [ACL(Perms.ALL, {acl!r})]")
    if not isinstance(acl, Iterable):
        raise TypeError(f"an ACL is a list of ACL entries, not {acl!r}")
    entries = list(acl)
    if not entries:
        raise ValueError("an ACL has at least one entry")
    for entry in entries:
        _check_acl_entry(entry)
    return entries


def _check_acl_entry(entry: object) -> None:
    if not isinstance(entry, ACL):
        raise TypeError(f"an ACL is a list of ACL entries, not of {entry!r}")
    perms: object = entry.perms
    who: object = entry.id
    if not isinstance(who, Id) or not all(isinstance(part, str) for part in who):
        raise TypeError(f"an ACL entry is about an Id of two strings, not {who!r}")
    for part in who:
        _check_text("an id of an ACL entry", part)
    if not isinstance(perms, int):
        raise TypeError(f"an ACL entry permits Perms, not {perms!r}")
    if not 0 <= perms <= Perms.ALL:
        raise ValueError(f"an ACL entry permits a sum of Perms, at most {Perms.ALL:d}: {entry!r}")


def _members(servers: Sequence[str | int]) -> str | None:
    if isinstance(servers, str):
        raise TypeError(f"a list of servers is meant, not one string: {servers!r}")
    members = ",".join(map(str, servers))
    _check_text("a server of the ensemble", members)
    return members or None


def _check_text(what: str, text: str) -> None:
    try:
        encode_string(text)
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be text that UTF-8 can encode, not {text!r}") from None


def _itself(reply: Node) -> Node:
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


def _yes(_: object) -> bool:
    return True


def _no_where_there_is_none(error: ZooKeeperError) -> bool:
    if isinstance(error, NoWatcherError):
        return False
    raise error
