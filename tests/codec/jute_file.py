"""The declarations in ZooKeeper's jute file (`zookeeper.jute`, modules `data` and `proto`, read at 3.9.5).

The tables give for each record, by its name there, its fields in order and our classes for it.
"""

from __future__ import annotations

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ACLReply,
    AddWatchRequest,
    AuthRequest,
    CheckRequest,
    CheckWatchesRequest,
    ChildrenNumberReply,
    ChildrenReply,
    CloseSessionRequest,
    ConnectReply,
    ConnectRequest,
    Create2Reply,
    Create2Request,
    CreateContainerRequest,
    CreateReply,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    Empty,
    EphemeralsReply,
    ErrorReply,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Reply,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetMaxChildrenReply,
    GetMaxChildrenRequest,
    MultiHeader,
    PingRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SASLReply,
    SASLRequest,
    SetACLRequest,
    SetDataRequest,
    SetMaxChildrenRequest,
    SetWatches2Request,
    SetWatchesRequest,
    StatReply,
    SyncReply,
    SyncRequest,
    WatchEventMessage,
    WhoAmIReply,
    WhoAmIRequest,
)
from zkrecipes.codec.records import ACL, ClientInfo, Id, Node, Stat, StatPersisted

Declared = dict[str, tuple[str, list[type[Record]]]]

DATA: Declared = {
    "Id": ("ustring scheme, ustring id", [Id]),
    "ACL": ("int perms, Id id", [ACL]),
    "Stat": (
        (
            "long czxid, long mzxid, long ctime, long mtime, int version, int cversion, int aversion, "
            "long ephemeralOwner, int dataLength, int numChildren, long pzxid"
        ),
        [Stat],
    ),
    "StatPersisted": (
        (
            "long czxid, long mzxid, long ctime, long mtime, int version, int cversion, int aversion, "
            "long ephemeralOwner, long pzxid"
        ),
        [StatPersisted],
    ),
    "ClientInfo": ("ustring authScheme, ustring user", [ClientInfo]),
}

PROTO: Declared = {
    "ConnectRequest": (
        (
            "int protocolVersion, long lastZxidSeen, int timeOut, long sessionId, buffer passwd, "
            "boolean readOnly"
        ),
        [ConnectRequest],
    ),
    "ConnectResponse": (
        "int protocolVersion, int timeOut, long sessionId, buffer passwd, boolean readOnly",
        [ConnectReply],
    ),
    "SetWatches": (
        (
            "long relativeZxid, vector<ustring> dataWatches, vector<ustring> existWatches, "
            "vector<ustring> childWatches"
        ),
        [SetWatchesRequest],
    ),
    "SetWatches2": (
        (
            "long relativeZxid, vector<ustring> dataWatches, vector<ustring> existWatches, "
            "vector<ustring> childWatches, vector<ustring> persistentWatches, "
            "vector<ustring> persistentRecursiveWatches"
        ),
        [SetWatches2Request],
    ),
    "RequestHeader": ("int xid, int type", [RequestHeader]),
    "MultiHeader": ("int type, boolean done, int err", [MultiHeader]),
    "AuthPacket": ("int type, ustring scheme, buffer auth", [AuthRequest]),
    "ReplyHeader": ("int xid, long zxid, int err", [ReplyHeader]),
    "GetDataRequest": ("ustring path, boolean watch", [GetDataRequest]),
    "SetDataRequest": ("ustring path, buffer data, int version", [SetDataRequest]),
    "ReconfigRequest": (
        "ustring joiningServers, ustring leavingServers, ustring newMembers, long curConfigId",
        [ReconfigRequest],
    ),
    "SetDataResponse": ("Stat stat", [StatReply]),
    "GetSASLRequest": ("buffer token", [SASLRequest]),
    "SetSASLRequest": ("buffer token", [SASLRequest]),
    "SetSASLResponse": ("buffer token", [SASLReply]),
    "CreateRequest": (
        "ustring path, buffer data, vector<ACL> acl, int flags",
        [CreateRequest, Create2Request, CreateContainerRequest],
    ),
    "CreateTTLRequest": (
        "ustring path, buffer data, vector<ACL> acl, int flags, long ttl",
        [CreateTTLRequest],
    ),
    "DeleteRequest": ("ustring path, int version", [DeleteRequest]),
    "GetChildrenRequest": ("ustring path, boolean watch", [GetChildrenRequest]),
    "GetAllChildrenNumberRequest": ("ustring path", [GetAllChildrenNumberRequest]),
    "GetChildren2Request": ("ustring path, boolean watch", [GetChildren2Request]),
    "CheckVersionRequest": ("ustring path, int version", [CheckRequest]),
    "GetMaxChildrenRequest": ("ustring path", [GetMaxChildrenRequest]),
    "GetMaxChildrenResponse": ("int max", [GetMaxChildrenReply]),
    "SetMaxChildrenRequest": ("ustring path, int max", [SetMaxChildrenRequest]),
    "SyncRequest": ("ustring path", [SyncRequest]),
    "SyncResponse": ("ustring path", [SyncReply]),
    "GetACLRequest": ("ustring path", [GetACLRequest]),
    "SetACLRequest": ("ustring path, vector<ACL> acl, int version", [SetACLRequest]),
    "SetACLResponse": ("Stat stat", [StatReply]),
    "AddWatchRequest": ("ustring path, int mode", [AddWatchRequest]),
    "WatcherEvent": ("int type, int state, ustring path", [WatchEventMessage]),
    "ErrorResponse": ("int err", [ErrorReply]),
    "CreateResponse": ("ustring path", [CreateReply]),
    "Create2Response": ("ustring path, Stat stat", [Create2Reply]),
    "ExistsRequest": ("ustring path, boolean watch", [ExistsRequest]),
    "ExistsResponse": ("Stat stat", [StatReply]),
    "GetDataResponse": ("buffer data, Stat stat", [Node]),
    "GetChildrenResponse": ("vector<ustring> children", [ChildrenReply]),
    "GetAllChildrenNumberResponse": ("int totalNumber", [ChildrenNumberReply]),
    "GetChildren2Response": ("vector<ustring> children, Stat stat", [GetChildren2Reply]),
    "GetACLResponse": ("vector<ACL> acl, Stat stat", [ACLReply]),
    "CheckWatchesRequest": ("ustring path, int type", [CheckWatchesRequest]),
    "RemoveWatchesRequest": ("ustring path, int type", [RemoveWatchesRequest]),
    "GetEphemeralsRequest": ("ustring prefixPath", [GetEphemeralsRequest]),
    "GetEphemeralsResponse": ("vector<ustring> ephemerals", [EphemeralsReply]),
    "WhoAmIResponse": ("vector<ClientInfo> clientInfo", [WhoAmIReply]),
}

RENAMED = {"timeOut": "timeout_ms", "passwd": "password", "ttl": "ttl_ms"}

NOT_IN_THE_JUTE_FILE: set[type[Record]] = {
    # they have no body
    CloseSessionRequest,
    Empty,
    PingRequest,
    WhoAmIRequest,
    # a server sends this to itself
    DeleteContainerRequest,
}
