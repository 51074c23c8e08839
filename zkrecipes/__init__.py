"""Coordinate async Python programs through Apache ZooKeeper.

This module exports every public name and defines none. It loads a name on first use, so that
`import zkrecipes` costs little and loads neither an event loop nor the dev server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# Every public name is listed twice: here for type checkers and editors, below for the running program.
# tests/house/test_exports.py compares the two.
if TYPE_CHECKING:
    from zkrecipes.acl import (
        ANYONE_ID as ANYONE_ID,
        AUTHENTICATED_ID as AUTHENTICATED_ID,
        CREATOR_ALL_ACL as CREATOR_ALL_ACL,
        OPEN_ACL as OPEN_ACL,
        READ_ACL as READ_ACL,
        digest_id as digest_id,
    )
    from zkrecipes.client.async_block import (
        AsyncBlock as AsyncBlock,
    )
    from zkrecipes.client.changed_paths import (
        ChangedPaths as ChangedPaths,
    )
    from zkrecipes.client.client import (
        Client as Client,
    )
    from zkrecipes.client.connect import (
        connect as connect,
    )
    from zkrecipes.client.create_options import (
        CreateOptions as CreateOptions,
    )
    from zkrecipes.client.instrument import (
        Instrument as Instrument,
        ObservedRequest as ObservedRequest,
    )
    from zkrecipes.client.jaas import (
        read_jaas as read_jaas,
    )
    from zkrecipes.client.multi_read import (
        MultiRead as MultiRead,
    )
    from zkrecipes.client.operations import (
        Operation as Operation,
        Operations as Operations,
    )
    from zkrecipes.client.otel import (
        OpenTelemetry as OpenTelemetry,
    )
    from zkrecipes.client.pipeline import (
        Pipeline as Pipeline,
    )
    from zkrecipes.client.recipe_api import (
        RecipeApi as RecipeApi,
        recipe_api as recipe_api,
    )
    from zkrecipes.client.retries import (
        Retries as Retries,
    )
    from zkrecipes.client.stats import (
        ClientStats as ClientStats,
    )
    from zkrecipes.client.stream import (
        Replies as Replies,
    )
    from zkrecipes.client.transaction import (
        Transaction as Transaction,
    )
    from zkrecipes.client.triggered_read import (
        SubmittedRead as SubmittedRead,
        TriggeredRead as TriggeredRead,
    )
    from zkrecipes.client.typed_client import (
        TypedClient as TypedClient,
        TypedNode as TypedNode,
    )
    from zkrecipes.client.walk import (
        Walk as Walk,
        WalkEntry as WalkEntry,
    )
    from zkrecipes.client.watching import (
        OneShotWatch as OneShotWatch,
        WatchEvents as WatchEvents,
    )
    from zkrecipes.codec.records import (
        ACL as ACL,
        Id as Id,
        Node as Node,
        Stat as Stat,
    )
    from zkrecipes.devserver.server import (
        DevServer as DevServer,
    )
    from zkrecipes.enums import (
        AddWatchMode as AddWatchMode,
        CreateMode as CreateMode,
        EventType as EventType,
        Perms as Perms,
        SessionState as SessionState,
        WatcherType as WatcherType,
    )
    from zkrecipes.errors import (
        AcquireTimeoutError as AcquireTimeoutError,
        APIError as APIError,
        AuthFailedError as AuthFailedError,
        BadArgumentsError as BadArgumentsError,
        BadVersionError as BadVersionError,
        BrokenBarrierError as BrokenBarrierError,
        ConnectionLossError as ConnectionLossError,
        ConnectTimeoutError as ConnectTimeoutError,
        DataInconsistencyError as DataInconsistencyError,
        EphemeralOnLocalSessionError as EphemeralOnLocalSessionError,
        HoldLostError as HoldLostError,
        InvalidACLError as InvalidACLError,
        InvalidCallbackError as InvalidCallbackError,
        JobRecordError as JobRecordError,
        LeadershipLostError as LeadershipLostError,
        LockLostError as LockLostError,
        MarshallingError as MarshallingError,
        NewConfigNoQuorumError as NewConfigNoQuorumError,
        NoAuthError as NoAuthError,
        NoChildrenForEphemeralsError as NoChildrenForEphemeralsError,
        NodeExistsError as NodeExistsError,
        NoNodeError as NoNodeError,
        NotDueError as NotDueError,
        NotEmptyError as NotEmptyError,
        NotReadOnlyError as NotReadOnlyError,
        NoWatcherError as NoWatcherError,
        OperationTimeoutError as OperationTimeoutError,
        PacketTooLargeError as PacketTooLargeError,
        ProtocolError as ProtocolError,
        QuotaExceededError as QuotaExceededError,
        ReconfigDisabledError as ReconfigDisabledError,
        ReconfigInProgressError as ReconfigInProgressError,
        ReplyNotReceivedError as ReplyNotReceivedError,
        ReplyTooSlowError as ReplyTooSlowError,
        RequestTimeoutError as RequestTimeoutError,
        RuntimeInconsistencyError as RuntimeInconsistencyError,
        RunTimeoutError as RunTimeoutError,
        ServerError as ServerError,
        SessionClosedError as SessionClosedError,
        SessionError as SessionError,
        SessionExpiredError as SessionExpiredError,
        SessionMovedError as SessionMovedError,
        SnapshotConflictError as SnapshotConflictError,
        SystemZooKeeperError as SystemZooKeeperError,
        ThrottledError as ThrottledError,
        TransactionError as TransactionError,
        UnimplementedError as UnimplementedError,
        UnknownServerError as UnknownServerError,
        UnknownSessionError as UnknownSessionError,
        ZooKeeperError as ZooKeeperError,
    )
    from zkrecipes.net.hold_guard import (
        Guard as Guard,
    )
    from zkrecipes.net.kerberos import (
        Kerberos as Kerberos,
    )
    from zkrecipes.net.pending import (
        Pending as Pending,
    )
    from zkrecipes.net.session import (
        Session as Session,
        SessionKey as SessionKey,
    )
    from zkrecipes.net.session_changes import (
        SessionChange as SessionChange,
        SessionChanges as SessionChanges,
    )
    from zkrecipes.net.transport.address import (
        Address as Address,
    )
    from zkrecipes.net.transport.network import (
        Network as Network,
        Stream as Stream,
    )
    from zkrecipes.net.transport.tls import (
        TLS as TLS,
    )
    from zkrecipes.protocol.digest_md5 import (
        DigestMD5 as DigestMD5,
    )
    from zkrecipes.protocol.events import (
        WatchEvent as WatchEvent,
    )
    from zkrecipes.protocol.sasl import (
        SaslExchange as SaslExchange,
        SaslMechanism as SaslMechanism,
    )
    from zkrecipes.recipes.barrier import (
        Barrier as Barrier,
    )
    from zkrecipes.recipes.config_tree import (
        ConfigTree as ConfigTree,
        ConfigTreeChange as ConfigTreeChange,
        ConfigTreeChanges as ConfigTreeChanges,
    )
    from zkrecipes.recipes.config_watch import (
        ConfigWatch as ConfigWatch,
    )
    from zkrecipes.recipes.double_barrier import (
        DoubleBarrier as DoubleBarrier,
    )
    from zkrecipes.recipes.election import (
        Election as Election,
    )
    from zkrecipes.recipes.following.latest_value import (
        LatestReader as LatestReader,
    )
    from zkrecipes.recipes.group import (
        Group as Group,
        GroupChange as GroupChange,
        GroupChanges as GroupChanges,
    )
    from zkrecipes.recipes.locking.acquisition import (
        Acquisition as Acquisition,
    )
    from zkrecipes.recipes.locking.contenders import (
        Contender as Contender,
    )
    from zkrecipes.recipes.locking.hold import (
        Hold as Hold,
    )
    from zkrecipes.recipes.multi_lock import (
        Acquirable as Acquirable,
        MultiAcquisition as MultiAcquisition,
        MultiHold as MultiHold,
        MultiLock as MultiLock,
    )
    from zkrecipes.recipes.mutex import (
        Mutex as Mutex,
    )
    from zkrecipes.recipes.once_per import (
        JobStatus as JobStatus,
        OncePer as OncePer,
        RunAcquisition as RunAcquisition,
    )
    from zkrecipes.recipes.once_per_record import (
        OnCrash as OnCrash,
        OnFailure as OnFailure,
        RunOutcome as RunOutcome,
        RunRecord as RunRecord,
    )
    from zkrecipes.recipes.once_per_use import (
        Run as Run,
    )
    from zkrecipes.recipes.persistent_node import (
        PersistentNode as PersistentNode,
    )
    from zkrecipes.recipes.persistent_node_state import (
        OnConflict as OnConflict,
    )
    from zkrecipes.recipes.read_write_lock import (
        ReadWriteLock as ReadWriteLock,
    )
    from zkrecipes.recipes.semaphore import (
        Semaphore as Semaphore,
    )
    from zkrecipes.settings.connecting import (
        connect_from as connect_from,
    )
    from zkrecipes.settings.errors import (
        SettingsError as SettingsError,
    )
    from zkrecipes.settings.options import (
        ConnectOptions as ConnectOptions,
    )
    from zkrecipes.settings.reading import (
        SettingsFormat as SettingsFormat,
        read_settings as read_settings,
    )
    from zkrecipes.settings.settings import (
        Settings as Settings,
    )

_NAMES_BY_MODULE = {
    "zkrecipes.acl": (
        "ANYONE_ID",
        "AUTHENTICATED_ID",
        "CREATOR_ALL_ACL",
        "OPEN_ACL",
        "READ_ACL",
        "digest_id",
    ),
    "zkrecipes.client.async_block": ("AsyncBlock",),
    "zkrecipes.client.changed_paths": ("ChangedPaths",),
    "zkrecipes.client.client": ("Client",),
    "zkrecipes.client.jaas": ("read_jaas",),
    "zkrecipes.client.multi_read": ("MultiRead",),
    "zkrecipes.client.create_options": ("CreateOptions",),
    "zkrecipes.client.instrument": (
        "Instrument",
        "ObservedRequest",
    ),
    "zkrecipes.client.connect": ("connect",),
    "zkrecipes.client.operations": (
        "Operation",
        "Operations",
    ),
    "zkrecipes.client.otel": ("OpenTelemetry",),
    "zkrecipes.client.pipeline": ("Pipeline",),
    "zkrecipes.net.transport.network": ("Network", "Stream"),
    "zkrecipes.net.transport.address": ("Address",),
    "zkrecipes.protocol.sasl": ("SaslExchange", "SaslMechanism"),
    "zkrecipes.client.recipe_api": ("RecipeApi", "recipe_api"),
    "zkrecipes.client.retries": ("Retries",),
    "zkrecipes.client.stats": ("ClientStats",),
    "zkrecipes.client.stream": ("Replies",),
    "zkrecipes.client.transaction": ("Transaction",),
    "zkrecipes.client.triggered_read": ("SubmittedRead", "TriggeredRead"),
    "zkrecipes.client.typed_client": (
        "TypedClient",
        "TypedNode",
    ),
    "zkrecipes.client.walk": (
        "WalkEntry",
        "Walk",
    ),
    "zkrecipes.client.watching": (
        "OneShotWatch",
        "WatchEvents",
    ),
    "zkrecipes.codec.records": (
        "ACL",
        "Id",
        "Node",
        "Stat",
    ),
    "zkrecipes.devserver.server": ("DevServer",),
    "zkrecipes.enums": (
        "AddWatchMode",
        "CreateMode",
        "EventType",
        "Perms",
        "SessionState",
        "WatcherType",
    ),
    "zkrecipes.errors": (
        "APIError",
        "AcquireTimeoutError",
        "AuthFailedError",
        "BadArgumentsError",
        "BadVersionError",
        "BrokenBarrierError",
        "ConnectTimeoutError",
        "ConnectionLossError",
        "DataInconsistencyError",
        "EphemeralOnLocalSessionError",
        "HoldLostError",
        "InvalidACLError",
        "InvalidCallbackError",
        "JobRecordError",
        "LeadershipLostError",
        "LockLostError",
        "MarshallingError",
        "NewConfigNoQuorumError",
        "NoAuthError",
        "NoChildrenForEphemeralsError",
        "NoNodeError",
        "NoWatcherError",
        "NodeExistsError",
        "NotDueError",
        "NotEmptyError",
        "NotReadOnlyError",
        "OperationTimeoutError",
        "PacketTooLargeError",
        "ProtocolError",
        "QuotaExceededError",
        "ReconfigDisabledError",
        "ReconfigInProgressError",
        "ReplyNotReceivedError",
        "ReplyTooSlowError",
        "RequestTimeoutError",
        "RunTimeoutError",
        "RuntimeInconsistencyError",
        "ServerError",
        "SessionClosedError",
        "SessionError",
        "SessionExpiredError",
        "SessionMovedError",
        "SnapshotConflictError",
        "SystemZooKeeperError",
        "ThrottledError",
        "TransactionError",
        "UnimplementedError",
        "UnknownServerError",
        "UnknownSessionError",
        "ZooKeeperError",
    ),
    "zkrecipes.net.hold_guard": ("Guard",),
    "zkrecipes.net.kerberos": ("Kerberos",),
    "zkrecipes.net.pending": ("Pending",),
    "zkrecipes.net.session": ("Session", "SessionKey"),
    "zkrecipes.net.session_changes": ("SessionChange", "SessionChanges"),
    "zkrecipes.net.transport.tls": ("TLS",),
    "zkrecipes.protocol.digest_md5": ("DigestMD5",),
    "zkrecipes.protocol.events": ("WatchEvent",),
    "zkrecipes.recipes.barrier": ("Barrier",),
    "zkrecipes.recipes.config_tree": (
        "ConfigTree",
        "ConfigTreeChange",
        "ConfigTreeChanges",
    ),
    "zkrecipes.recipes.config_watch": ("ConfigWatch",),
    "zkrecipes.recipes.double_barrier": ("DoubleBarrier",),
    "zkrecipes.recipes.election": ("Election",),
    "zkrecipes.recipes.following.latest_value": ("LatestReader",),
    "zkrecipes.recipes.group": (
        "Group",
        "GroupChange",
        "GroupChanges",
    ),
    "zkrecipes.recipes.locking.hold": ("Hold",),
    "zkrecipes.recipes.locking.acquisition": ("Acquisition",),
    "zkrecipes.recipes.locking.contenders": ("Contender",),
    "zkrecipes.recipes.multi_lock": (
        "Acquirable",
        "MultiAcquisition",
        "MultiHold",
        "MultiLock",
    ),
    "zkrecipes.recipes.mutex": ("Mutex",),
    "zkrecipes.recipes.persistent_node": ("PersistentNode",),
    "zkrecipes.recipes.persistent_node_state": ("OnConflict",),
    "zkrecipes.recipes.read_write_lock": ("ReadWriteLock",),
    "zkrecipes.recipes.once_per": ("JobStatus", "OncePer", "RunAcquisition"),
    "zkrecipes.recipes.once_per_record": ("OnCrash", "OnFailure", "RunOutcome", "RunRecord"),
    "zkrecipes.recipes.once_per_use": ("Run",),
    "zkrecipes.recipes.semaphore": ("Semaphore",),
    "zkrecipes.settings.connecting": ("connect_from",),
    "zkrecipes.settings.errors": ("SettingsError",),
    "zkrecipes.settings.options": ("ConnectOptions",),
    "zkrecipes.settings.reading": ("SettingsFormat", "read_settings"),
    "zkrecipes.settings.settings": ("Settings",),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

# Names of kazoo and Curator, and the counterparts here.
_CALLED_HERE = {
    "ChildrenWatch": "Group (its changes), or Client.watch",
    "CuratorFramework": "connect",
    "DataWatch": "ConfigWatch, or Client.watch",
    "GroupMember": "Group",
    "InterProcessMultiLock": "MultiLock",
    "InterProcessMutex": "Mutex",
    "InterProcessReadWriteLock": "ReadWriteLock",
    "InterProcessSemaphoreV2": "Semaphore",
    "KazooClient": "connect",
    "KazooException": "ZooKeeperError",
    "KazooState": "SessionState",
    "LeaderLatch": "Election",
    "LeaderSelector": "Election",
    "Lock": "Mutex",
    "Party": "Group",
    "PersistentTtlNode": "PersistentNode",
    "ReadLock": "ReadWriteLock",
    "SessionExpiredException": "SessionExpiredError",
    "ShallowParty": "Group",
    "TreeCache": "ConfigTree",
    "WriteLock": "ReadWriteLock",
    "ZnodeStat": "Stat",
    "ZookeeperError": "ZooKeeperError",
}

__all__ = sorted(_MODULE_BY_NAME)  # noqa: PLE0605 - type checkers read the block above


__version__: str
"""The version of the installed package."""

if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> object:
        module = _MODULE_BY_NAME.get(name)
        if name == "__version__":
            # On demand: reading the metadata takes longer than importing the package.
            return import_module("importlib.metadata").version("zkrecipes")
        if module is None:
            here = _CALLED_HERE.get(name)
            remedy = "" if here is None else f"; its counterpart is zkrecipes.{here}"
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{remedy}")
        value: object = getattr(import_module(module), name)
        globals()[name] = value  # the next look-up finds it in the module
        return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_BY_NAME]
