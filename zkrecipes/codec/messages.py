"""The catalogue: every request with its reply, declared once, for both directions and both sides.

The `proto` module of ZooKeeper's jute file (`zookeeper.jute`, read at 3.9; releases 3.4 to 3.9),
with names in snake_case and fields in wire order. Each declaration yields encoding, decoding, equality,
`repr`, the server's dispatch (`REQUESTS`) and the client's reply type.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, get_args

from zkrecipes.codec.code_generation import compile_frame_encoder
from zkrecipes.codec.jute import (
    Bool,
    Buffer,
    Int,
    Long,
    OptionalBool,
    OptionalUString,
    Record,
    Secret,
    UString,
    Vector,
    record_type_of,
)
from zkrecipes.codec.records import ACL, ClientInfo, Node, Stat
from zkrecipes.enums import OpCode

__all__ = [
    "REQUESTS",
    "ACLReply",
    "AddWatchRequest",
    "AuthRequest",
    "CheckRequest",
    "CheckWatchesRequest",
    "ChildrenNumberReply",
    "ChildrenReply",
    "CloseSessionRequest",
    "ConnectReply",
    "ConnectRequest",
    "Create2Reply",
    "Create2Request",
    "CreateContainerRequest",
    "CreateReply",
    "CreateRequest",
    "CreateTTLRequest",
    "DeleteContainerRequest",
    "DeleteRequest",
    "Empty",
    "EphemeralsReply",
    "ErrorReply",
    "ExistsRequest",
    "GetACLRequest",
    "GetAllChildrenNumberRequest",
    "GetChildren2Reply",
    "GetChildren2Request",
    "GetChildrenRequest",
    "GetDataRequest",
    "GetEphemeralsRequest",
    "GetMaxChildrenReply",
    "GetMaxChildrenRequest",
    "MultiHeader",
    "PingRequest",
    "ReconfigRequest",
    "RemoveWatchesRequest",
    "ReplyHeader",
    "Request",
    "RequestHeader",
    "SASLReply",
    "SASLRequest",
    "SetACLRequest",
    "SetDataRequest",
    "SetMaxChildrenRequest",
    "SetWatches2Request",
    "SetWatchesRequest",
    "StatReply",
    "SyncReply",
    "SyncRequest",
    "WatchEventMessage",
    "WhoAmIReply",
    "WhoAmIRequest",
]

R = TypeVar("R", bound=Record)

REQUESTS: dict[int, type[Request[Any]]] = {}
"""Every request that carries an opcode, by opcode."""


class Request(Record, Generic[R]):
    """A record that a client sends under an opcode; `R` is the record that answers it."""

    __slots__ = ()
    opcode: ClassVar[OpCode]
    reply: ClassVar[type[Record]]
    is_write: ClassVar[bool]
    """Whether the request may change data, so that the client never repeats it automatically."""

    def __init_subclass__(cls, *, opcode: OpCode, is_write: bool = False, **options: Any) -> None:
        # Call the base first: otherwise Generic loses its parameters.
        super().__init_subclass__(**options)
        cls.opcode = opcode
        cls.is_write = is_write
        for base in cls.__dict__.get("__orig_bases__", ()):
            cls.reply = get_args(base)[0]
        REQUESTS[opcode] = cls

    @property
    def path(self) -> str | None:
        """The znode that the request names, or None for a request without one path; a field overrides it."""
        return None

    def encode_frame(self, xid: int) -> bytes:
        """Return the whole frame: length, request header, body."""
        cls = type(self)
        compiled = compile_frame_encoder(cls, record_type_of(cls), cls.opcode)
        cls.encode_frame = compiled  # type: ignore[method-assign,assignment]
        return self.encode_frame(xid)


# --- headers and the greeting ------------------------------------------------------------------------------


class RequestHeader(Record):
    """The header of every request except the greeting."""

    xid: Int
    type: Int


class ReplyHeader(Record, tuple[int, int, int]):
    """The header of every reply except the greeting's; a body follows only if `err` is 0."""

    xid: Int
    zxid: Long
    err: Int


class ConnectRequest(Record):
    """The client's greeting, sent without a header. The shortest form, of 3.4, has no `read_only`."""

    protocol_version: Int
    last_zxid_seen: Long
    timeout_ms: Int
    session_id: Long
    password: Secret
    read_only: OptionalBool = None


class ConnectReply(Record):
    """The server's reply to the greeting, sent without a header; a timeout of 0 means an expired session."""

    protocol_version: Int
    timeout_ms: Int
    session_id: Long
    password: Secret
    read_only: OptionalBool = None


# --- replies that several requests share -------------------------------------------------------------------


class Empty(Record):
    """No body."""


class CreateReply(Record):
    """The path of the new znode, with its sequence number."""

    path: UString


class Create2Reply(Record):
    """The path of the new znode and its stat."""

    path: UString
    stat: Stat


class StatReply(Record):
    """A stat alone (jute: `ExistsResponse`, `SetDataResponse`, `SetACLResponse`)."""

    stat: Stat


class ChildrenReply(Record):
    """The names of children, in no order."""

    children: Vector[UString]


class GetChildren2Reply(Record):
    """The names of children, in no order, and their parent's stat."""

    children: Vector[UString]
    stat: Stat


class ChildrenNumberReply(Record):
    """The number of descendants of a znode."""

    total_number: Int


class EphemeralsReply(Record):
    """Paths of ephemeral znodes of this session."""

    ephemerals: Vector[UString]


class ACLReply(Record):
    """An access control list and its znode's stat."""

    acl: Vector[ACL]
    stat: Stat


class SyncReply(Record):
    """The path that was synced."""

    path: UString


class SASLReply(Record):
    """The server's next token (jute: `SetSASLResponse`)."""

    token: Secret


class WhoAmIReply(Record):
    """The identities of this session."""

    client_info: Vector[ClientInfo]


class GetMaxChildrenReply(Record):
    """A quota that no server implements."""

    max: Int


class ErrorReply(Record):
    """An error code as a body (jute: `ErrorResponse`), as in the results of a multi."""

    err: Int


class WatchEventMessage(Record, tuple[int, int, str]):
    """A watch event (jute: `WatcherEvent`); its header has the xid -1."""

    type: Int
    state: Int
    path: UString


# --- writes ------------------------------------------------------------------------------------------------


class CreateRequest(Request[CreateReply], opcode=OpCode.CREATE, is_write=True):
    """A request to create a znode; the reply is its path."""

    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int


class Create2Request(Request[Create2Reply], opcode=OpCode.CREATE2, is_write=True):
    """A request to create a znode; the reply is its path and stat (servers from 3.5)."""

    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int


class CreateContainerRequest(Request[Create2Reply], opcode=OpCode.CREATE_CONTAINER, is_write=True):
    """A request to create a container (servers from 3.5)."""

    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int


class CreateTTLRequest(Request[Create2Reply], opcode=OpCode.CREATE_TTL, is_write=True):
    """A request to create a znode that is deleted `ttl_ms` ms after its last change (servers from 3.5)."""

    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int
    ttl_ms: Long


class DeleteRequest(Request[Empty], opcode=OpCode.DELETE, is_write=True):
    """A request to delete a znode if it has this version (-1: any)."""

    path: UString
    version: Int


class DeleteContainerRequest(Request[Empty], opcode=OpCode.DELETE_CONTAINER, is_write=True):
    """A request to delete an empty container; a server sends it to itself."""

    path: UString


class SetDataRequest(Request[StatReply], opcode=OpCode.SET_DATA, is_write=True):
    """A request to replace the data of a znode if it has this version (-1: any)."""

    path: UString
    data: Buffer
    version: Int


class SetACLRequest(Request[StatReply], opcode=OpCode.SET_ACL, is_write=True):
    """A request to replace the ACL of a znode if its ACL has this version (-1: any)."""

    path: UString
    acl: Vector[ACL]
    version: Int


class CheckRequest(Request[Empty], opcode=OpCode.CHECK):
    """A part of a multi, which fails unless the znode exists and has this version (-1: any)."""

    path: UString
    version: Int


class ReconfigRequest(Request[Node], opcode=OpCode.RECONFIG, is_write=True):
    """A request to change the ensemble's members (servers from 3.5)."""

    joining_servers: OptionalUString
    leaving_servers: OptionalUString
    new_members: OptionalUString
    cur_config_id: Long


class SetMaxChildrenRequest(Record):
    """A quota that no server implements; in the jute file, without an opcode."""

    path: UString
    max: Int


class CloseSessionRequest(Request[Empty], opcode=OpCode.CLOSE_SESSION, is_write=True):
    """A request to end the session and remove its ephemeral znodes."""


# --- reads -------------------------------------------------------------------------------------------------


class ExistsRequest(Request[StatReply], opcode=OpCode.EXISTS):
    """A request to read the stat of a znode; the watch is set even if there is no znode."""

    path: UString
    watch: Bool = False


class GetDataRequest(Request[Node], opcode=OpCode.GET_DATA):
    """A request to read the data and stat of a znode."""

    path: UString
    watch: Bool = False


class GetChildrenRequest(Request[ChildrenReply], opcode=OpCode.GET_CHILDREN):
    """A request to read the names of a znode's children."""

    path: UString
    watch: Bool = False


class GetChildren2Request(Request[GetChildren2Reply], opcode=OpCode.GET_CHILDREN2):
    """A request to read the names of a znode's children and the znode's stat."""

    path: UString
    watch: Bool = False


class GetACLRequest(Request[ACLReply], opcode=OpCode.GET_ACL):
    """A request to read the access control list and stat of a znode."""

    path: UString


class GetAllChildrenNumberRequest(Request[ChildrenNumberReply], opcode=OpCode.GET_ALL_CHILDREN_NUMBER):
    """A request to count the descendants of a znode (servers from 3.6)."""

    path: UString


class GetEphemeralsRequest(Request[EphemeralsReply], opcode=OpCode.GET_EPHEMERALS):
    """A request to list this session's ephemeral znodes below a prefix (servers from 3.6)."""

    prefix_path: UString


class GetMaxChildrenRequest(Record):
    """A quota that no server implements; in the jute file, without an opcode."""

    path: UString


class SyncRequest(Request[SyncReply], opcode=OpCode.SYNC):
    """A request to which the server replies after catching up with its leader."""

    path: UString


class WhoAmIRequest(Request[WhoAmIReply], opcode=OpCode.WHO_AM_I):
    """A request to list the identities of this session (servers from 3.7)."""


class PingRequest(Request[Empty], opcode=OpCode.PING):
    """A request that keeps the session alive; sent with xid -2."""


# --- watches -----------------------------------------------------------------------------------------------


class SetWatchesRequest(Request[Empty], opcode=OpCode.SET_WATCHES):
    """A request to restore one-shot watches; those changed after `relative_zxid` fire immediately."""

    relative_zxid: Long
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]


class SetWatches2Request(Request[Empty], opcode=OpCode.SET_WATCHES2):
    """`SetWatchesRequest` with persistent watches, restored without a replay (servers from 3.6)."""

    relative_zxid: Long
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]
    persistent_watches: Vector[UString]
    persistent_recursive_watches: Vector[UString]


class AddWatchRequest(Request[ErrorReply], opcode=OpCode.ADD_WATCH):
    """A request to set a persistent watch, mode as `AddWatchMode` (servers from 3.6)."""

    path: UString
    mode: Int


class CheckWatchesRequest(Request[Empty], opcode=OpCode.CHECK_WATCHES):
    """A request that fails unless the session has a watch of this `WatcherType` (servers from 3.5)."""

    path: UString
    type: Int


class RemoveWatchesRequest(Request[Empty], opcode=OpCode.REMOVE_WATCHES):
    """A request to remove the session's watches of this `WatcherType` (servers from 3.5)."""

    path: UString
    type: Int


# --- authentication ----------------------------------------------------------------------------------------


class AuthRequest(Request[Empty], opcode=OpCode.AUTH):
    """A request to add an identity to the connection (jute: `AuthPacket`); sent with xid -4."""

    type: Int
    scheme: UString
    auth: Secret


class SASLRequest(Request[SASLReply], opcode=OpCode.SASL):
    """The client's next token (jute: `GetSASLRequest`; `SetSASLRequest` has the same fields)."""

    token: Secret


class MultiHeader(Record, tuple[int, bool, int]):
    """The header of each operation and each result of a multi; (-1, True, -1) ends both lists."""

    type: Int
    done: Bool
    err: Int
