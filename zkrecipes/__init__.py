"""Coordinate async Python programs through Apache ZooKeeper: the front door.

Every public name is offered here and defined elsewhere. A name is loaded when it is first asked for, so that
`import zkrecipes` costs next to nothing and loads neither an event loop nor the dev server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# Every public name stands here twice: for type checkers and editors, and below for the running program.
# tests/house/test_exports.py compares the two.
if TYPE_CHECKING:
    from zkrecipes.enums import (
        AddWatchMode as AddWatchMode,
        CreateMode as CreateMode,
        EventType as EventType,
        Perms as Perms,
        SessionState as SessionState,
    )
    from zkrecipes.errors import (
        APIError as APIError,
        AuthFailedError as AuthFailedError,
        BadArgumentsError as BadArgumentsError,
        BadVersionError as BadVersionError,
        ConnectionLossError as ConnectionLossError,
        ConnectTimeoutError as ConnectTimeoutError,
        DataInconsistencyError as DataInconsistencyError,
        EphemeralOnLocalSessionError as EphemeralOnLocalSessionError,
        HoldLostError as HoldLostError,
        InvalidACLError as InvalidACLError,
        InvalidCallbackError as InvalidCallbackError,
        LeadershipLostError as LeadershipLostError,
        LockLostError as LockLostError,
        MarshallingError as MarshallingError,
        NewConfigNoQuorumError as NewConfigNoQuorumError,
        NoAuthError as NoAuthError,
        NoChildrenForEphemeralsError as NoChildrenForEphemeralsError,
        NodeExistsError as NodeExistsError,
        NoNodeError as NoNodeError,
        NotEmptyError as NotEmptyError,
        NotReadOnlyError as NotReadOnlyError,
        NoWatcherError as NoWatcherError,
        OperationTimeoutError as OperationTimeoutError,
        PacketTooLargeError as PacketTooLargeError,
        ProtocolError as ProtocolError,
        QuotaExceededError as QuotaExceededError,
        ReconfigDisabledError as ReconfigDisabledError,
        ReconfigInProgressError as ReconfigInProgressError,
        RequestTimeoutError as RequestTimeoutError,
        RuntimeInconsistencyError as RuntimeInconsistencyError,
        ServerError as ServerError,
        SessionClosedError as SessionClosedError,
        SessionError as SessionError,
        SessionExpiredError as SessionExpiredError,
        SessionMovedError as SessionMovedError,
        SystemZooKeeperError as SystemZooKeeperError,
        ThrottledError as ThrottledError,
        TransactionError as TransactionError,
        UnimplementedError as UnimplementedError,
        UnknownServerError as UnknownServerError,
        ZooKeeperError as ZooKeeperError,
    )

_NAMES_BY_MODULE = {
    "zkrecipes.enums": (
        "AddWatchMode",
        "CreateMode",
        "EventType",
        "Perms",
        "SessionState",
    ),
    "zkrecipes.errors": (
        "APIError",
        "AuthFailedError",
        "BadArgumentsError",
        "BadVersionError",
        "ConnectTimeoutError",
        "ConnectionLossError",
        "DataInconsistencyError",
        "EphemeralOnLocalSessionError",
        "HoldLostError",
        "InvalidACLError",
        "InvalidCallbackError",
        "LeadershipLostError",
        "LockLostError",
        "MarshallingError",
        "NewConfigNoQuorumError",
        "NoAuthError",
        "NoChildrenForEphemeralsError",
        "NoNodeError",
        "NoWatcherError",
        "NodeExistsError",
        "NotEmptyError",
        "NotReadOnlyError",
        "OperationTimeoutError",
        "PacketTooLargeError",
        "ProtocolError",
        "QuotaExceededError",
        "ReconfigDisabledError",
        "ReconfigInProgressError",
        "RequestTimeoutError",
        "RuntimeInconsistencyError",
        "ServerError",
        "SessionClosedError",
        "SessionError",
        "SessionExpiredError",
        "SessionMovedError",
        "SystemZooKeeperError",
        "ThrottledError",
        "TransactionError",
        "UnimplementedError",
        "UnknownServerError",
        "ZooKeeperError",
    ),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted(_MODULE_BY_NAME)  # noqa: PLE0605 - type checkers read the block above


if not TYPE_CHECKING:  # or a checker would take any name for granted

    def __getattr__(name: str) -> object:
        module = _MODULE_BY_NAME.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(module), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_BY_NAME]
