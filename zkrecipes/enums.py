"""ZooKeeper's fixed numbers, as they travel on the wire, and the states that users see.

The numbers are those of ZooKeeper's `ZooDefs.OpCode`, `CreateMode`, `Watcher.Event` and `AddWatchMode`
(read at 3.9). The enums have no behaviour beyond properties.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag

__all__ = [
    "AddWatchMode",
    "CreateMode",
    "EventType",
    "KeeperState",
    "OpCode",
    "Perms",
    "ServerVersion",
    "SessionState",
    "SpecialXid",
    "WatcherType",
]


class OpCode(IntEnum):
    """The operation of a request (`ZooDefs.OpCode`)."""

    NOTIFICATION = 0
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10
    CLOSE_SESSION = -11
    ERROR = -1


class SpecialXid(IntEnum):
    """Xids with a special meaning; the xids of requests count up from 1 (`ClientCnxn`)."""

    NOTIFICATION = -1
    PING = -2
    AUTH = -4
    SET_WATCHES = -8


class CreateMode(IntEnum):
    """The kind of a znode, as the `flags` of a create request (`CreateMode.java`)."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_WITH_TTL = 5
    PERSISTENT_SEQUENTIAL_WITH_TTL = 6

    @property
    def is_ephemeral(self) -> bool:
        """Whether the znode is deleted with its session."""
        return self in (CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL)

    @property
    def is_sequential(self) -> bool:
        """Whether the server appends a sequence number to the name."""
        return self in (
            CreateMode.PERSISTENT_SEQUENTIAL,
            CreateMode.EPHEMERAL_SEQUENTIAL,
            CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL,
        )

    @property
    def has_ttl(self) -> bool:
        """Whether the server deletes the znode some time after its last change."""
        return self in (CreateMode.PERSISTENT_WITH_TTL, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL)


class EventType(IntEnum):
    """The change of a watched znode (`Watcher.Event.EventType`), and our own mark `RESYNC`."""

    NONE = -1
    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7
    RESYNC = 1000
    """Events may have been missed: read again what you depend on. Never on the wire."""


class KeeperState(IntEnum):
    """The `state` field of a watch event (`Watcher.Event.KeeperState`)."""

    DISCONNECTED = 0
    CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    SASL_AUTHENTICATED = 6
    EXPIRED = -112
    CLOSED = 7


class AddWatchMode(IntEnum):
    """The reach of a persistent watch (`AddWatchMode.java`, servers from 3.6)."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


class WatcherType(IntEnum):
    """The kind of watch that `removeWatches` and `checkWatches` name (`Watcher.WatcherType`)."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


class Perms(IntFlag):
    """The permissions of an ACL entry (`ZooDefs.Perms`)."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class ServerVersion(IntEnum):
    """The releases of ZooKeeper that added features. A later release has all features of the earlier ones."""

    V3_4 = 304
    """Create, delete, get, set, children, ACLs, multi, sync, one-shot watches."""
    V3_5 = 305
    """Adds create2, containers, TTL nodes, removeWatches, reconfig."""
    V3_6 = 306
    """Adds persistent watches, setWatches2, multiRead, getEphemerals, getAllChildrenNumber."""
    V3_7 = 307
    """Adds whoAmI."""


class SessionState(Enum):
    """The state of a session. The last three are final; `protocol.states` has the transitions."""

    CONNECTING = "connecting"
    """No session yet: the client is looking for the first server."""
    CONNECTED = "connected"
    """Authentication is done, watches are set again, and requests flow."""
    CONNECTED_READ_ONLY = "connected_read_only"
    """Attached to a server without a quorum, which executes only reads."""
    SUSPENDED = "suspended"
    """No server currently; the session may be alive."""
    EXPIRED = "expired"
    """The session is over: the server reported it, or no server answered and the client gave it up."""
    CLOSED = "closed"
    """The client closed the session."""
    AUTH_FAILED = "auth_failed"
    """The server refused the credentials."""

    @property
    def is_connected(self) -> bool:
        """Whether requests flow."""
        return self in (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)

    @property
    def is_final(self) -> bool:
        """Whether no other state can follow."""
        return self in (SessionState.EXPIRED, SessionState.CLOSED, SessionState.AUTH_FAILED)
