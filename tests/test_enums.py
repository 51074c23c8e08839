"""The constants have ZooKeeper's numbers, and readable representations."""

from __future__ import annotations

from enum import IntEnum

import pytest

from zkrecipes.enums import (
    AddWatchMode,
    CreateMode,
    EventType,
    KeeperState,
    OpCode,
    Perms,
    ServerVersion,
    SessionState,
    SpecialXid,
    WatcherType,
)

# The numbers of ZooKeeper's sources, read at 3.9.5.
NUMBERS: list[tuple[type[IntEnum], dict[str, int]]] = [
    (  # ZooDefs.OpCode
        OpCode,
        {
            "notification": 0,
            "create": 1,
            "delete": 2,
            "exists": 3,
            "getData": 4,
            "setData": 5,
            "getACL": 6,
            "setACL": 7,
            "getChildren": 8,
            "sync": 9,
            "ping": 11,
            "getChildren2": 12,
            "check": 13,
            "multi": 14,
            "create2": 15,
            "reconfig": 16,
            "checkWatches": 17,
            "removeWatches": 18,
            "createContainer": 19,
            "deleteContainer": 20,
            "createTTL": 21,
            "multiRead": 22,
            "auth": 100,
            "setWatches": 101,
            "sasl": 102,
            "getEphemerals": 103,
            "getAllChildrenNumber": 104,
            "setWatches2": 105,
            "addWatch": 106,
            "whoAmI": 107,
            "createSession": -10,
            "closeSession": -11,
            "error": -1,
        },
    ),
    # ClientCnxn: NOTIFICATION_XID …
    (SpecialXid, {"notification": -1, "ping": -2, "auth": -4, "setWatches": -8}),
    (
        CreateMode,
        {
            "persistent": 0,
            "ephemeral": 1,
            "persistentSequential": 2,
            "ephemeralSequential": 3,
            "container": 4,
            "persistentWithTtl": 5,
            "persistentSequentialWithTtl": 6,
        },
    ),
    (  # Watcher.Event.EventType, and our own RESYNC
        EventType,
        {
            "none": -1,
            "created": 1,
            "deleted": 2,
            "dataChanged": 3,
            "childrenChanged": 4,
            "dataWatchRemoved": 5,
            "childWatchRemoved": 6,
            "persistentWatchRemoved": 7,
            "resync": 1000,
        },
    ),
    (  # Watcher.Event.KeeperState
        KeeperState,
        {
            "disconnected": 0,
            "connected": 3,
            "authFailed": 4,
            "connectedReadOnly": 5,
            "saslAuthenticated": 6,
            "expired": -112,
            "closed": 7,
        },
    ),
    (AddWatchMode, {"persistent": 0, "persistentRecursive": 1}),
    (
        WatcherType,
        {"children": 1, "data": 2, "any": 3, "persistent": 4, "persistentRecursive": 5},
    ),
]


def constant_case(name: str) -> str:
    for word in ("ACL", "TTL"):
        name = name.replace(word, word.capitalize())
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)


@pytest.mark.parametrize(("enum", "numbers"), NUMBERS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_numbers_are_those_of_zookeeper(enum: type[IntEnum], numbers: dict[str, int]) -> None:
    theirs = {constant_case(name): number for name, number in numbers.items()}
    assert {member.name: member.value for member in enum} == theirs


def test_permissions_are_bits_and_all_is_every_one() -> None:
    names = {"READ": 1, "WRITE": 2, "CREATE": 4, "DELETE": 8, "ADMIN": 16}
    assert {perm.name: perm.value for perm in Perms} == names
    assert sum(names.values()) == Perms.ALL


def test_a_later_version_is_larger() -> None:
    assert list(ServerVersion) == sorted(ServerVersion)
    assert ServerVersion.V3_4 < ServerVersion.V3_5 < ServerVersion.V3_6 < ServerVersion.V3_7


@pytest.mark.parametrize("mode", CreateMode)
def test_a_create_mode_describes_itself(mode: CreateMode) -> None:
    assert mode.is_ephemeral == ("EPHEMERAL" in mode.name)
    assert mode.is_sequential == ("SEQUENTIAL" in mode.name)
    assert mode.has_ttl == ("TTL" in mode.name)


def test_session_states_are_connected_or_final_or_neither() -> None:
    assert [state for state in SessionState if state.is_connected] == [
        SessionState.CONNECTED,
        SessionState.CONNECTED_READ_ONLY,
    ]
    assert [state for state in SessionState if state.is_final] == [
        SessionState.EXPIRED,
        SessionState.CLOSED,
        SessionState.AUTH_FAILED,
    ]
