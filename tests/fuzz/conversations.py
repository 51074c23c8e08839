"""The conversations: the client's scripts, and the recorded answers of real servers.

The answers have three parts, and the client must read each before it sends more: the answer to the greeting,
the answers to its credentials and its watches, and the answers to its requests. `record.py` records them; the
files are in `recorded/`, one for each conversation and release.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zkrecipes.codec.messages import (
    AddWatchRequest,
    CloseSessionRequest,
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    RemoveWatchesRequest,
    Request,
    SetACLRequest,
    SetDataRequest,
    SyncRequest,
    WhoAmIRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.codec.records import ACL, Id
from zkrecipes.enums import AddWatchMode, CreateMode, Perms, ServerVersion, WatcherType
from zkrecipes.protocol.watch_table import WatchKind

RECORDED = Path(__file__).parent / "recorded"

_OPEN = [ACL(Perms.ALL, Id("world", "anyone"))]


class Ask(NamedTuple):
    """One request of a conversation."""

    request: Request[Any]
    is_watch: bool = False


@dataclass(frozen=True)
class Script:
    """The client's side of a conversation.

    Attributes:
        since: the first server version that has all its operations.
        requests: the requests, in order.
        credentials: the credentials sent before them.
        watched: the watches restored before them, as after a reconnect.
    """

    since: ServerVersion
    requests: Sequence[Ask]
    credentials: Sequence[tuple[str, bytes]] = ()
    watched: Sequence[tuple[WatchKind, str]] = ()


@dataclass(frozen=True)
class Conversation:
    """A script and the answers of one server.

    Attributes:
        name: the names of the script and the release, with a dash between.
        parts: the frames of the three parts, each with its length before it.
    """

    name: str
    script: Script
    version: ServerVersion
    parts: tuple[tuple[bytes, ...], ...]


def _create(path: str, data: bytes | None = b"data", mode: CreateMode = CreateMode.PERSISTENT) -> Ask:
    return Ask(CreateRequest(path, data, _OPEN, mode))


# Each recording begins on an empty server, so a script creates the znodes that it reads.
SCRIPTS = {
    "reads": Script(
        ServerVersion.V3_4,
        [
            _create("/f"),
            *(_create(f"/f/child-{number}-ä𝄞", bytes(number), CreateMode.EPHEMERAL) for number in range(12)),
            Ask(GetDataRequest("/f")),
            Ask(GetDataRequest("/f/child-7-ä𝄞")),
            Ask(GetDataRequest("/nothing")),
            Ask(ExistsRequest("/f")),
            Ask(ExistsRequest("/nothing")),
            Ask(GetChildrenRequest("/f")),
            Ask(GetChildren2Request("/f")),
            Ask(GetChildrenRequest("/f/child-1-ä𝄞")),
            Ask(GetACLRequest("/f")),
            Ask(SyncRequest("/")),
            Ask(CloseSessionRequest()),
        ],
    ),
    "newer-reads": Script(
        ServerVersion.V3_7,
        [
            _create("/f"),
            *(_create("/f/s-", b"", CreateMode.EPHEMERAL_SEQUENTIAL) for _ in range(8)),
            Ask(GetChildrenRequest("/f")),
            Ask(GetEphemeralsRequest("/")),
            Ask(GetAllChildrenNumberRequest("/")),
            Ask(WhoAmIRequest()),
            Ask(MultiReadRequest((GetDataRequest("/f"), GetChildrenRequest("/f"), GetDataRequest("/none")))),
            Ask(GetDataRequest("/zookeeper/config")),
            Ask(CloseSessionRequest()),
        ],
        credentials=[("digest", b"bob:secret"), ("digest", b"alice:wonder")],
    ),
    "writes": Script(
        ServerVersion.V3_4,
        [
            _create("/f", None),
            _create("/f"),
            _create("/none/f"),
            _create("/f/s-", b"1", CreateMode.PERSISTENT_SEQUENTIAL),
            Ask(SetDataRequest("/f", b"2" * 300, -1)),
            Ask(SetDataRequest("/f", b"3", 77)),
            Ask(SetACLRequest("/f", _OPEN, -1)),
            Ask(DeleteRequest("/f", -1)),
            Ask(MultiRequest((CreateRequest("/f/m", b"", _OPEN, 0), SetDataRequest("/f", b"", -1)))),
            Ask(MultiRequest((DeleteRequest("/f/m", -1), DeleteRequest("/none", -1)))),
            Ask(CloseSessionRequest()),
        ],
        credentials=[("digest", b"bob:secret")],
    ),
    "newer-writes": Script(
        ServerVersion.V3_5,
        [
            Ask(Create2Request("/f", b"1", _OPEN, 0)),
            Ask(Create2Request("/f", b"1", _OPEN, 0)),
            Ask(CreateContainerRequest("/c", b"", _OPEN, CreateMode.CONTAINER)),
            Ask(CreateTTLRequest("/t", b"", _OPEN, CreateMode.PERSISTENT_WITH_TTL, 60_000)),
            Ask(MultiRequest((Create2Request("/f/m", b"", _OPEN, 0), DeleteRequest("/f/m", -1)))),
            Ask(CloseSessionRequest()),
        ],
    ),
    "watches": Script(
        ServerVersion.V3_4,
        [
            _create("/f"),
            Ask(GetDataRequest("/f", watch=True), is_watch=True),
            Ask(ExistsRequest("/f/none", watch=True), is_watch=True),
            Ask(GetChildrenRequest("/f", watch=True), is_watch=True),
            _create("/f/none"),
            Ask(SetDataRequest("/f", b"2", -1)),
            Ask(GetDataRequest("/f/none", watch=True), is_watch=True),
            Ask(GetChildren2Request("/f/none", watch=True), is_watch=True),
            Ask(DeleteRequest("/f/none", -1)),
            Ask(CloseSessionRequest()),
        ],
        watched=[(WatchKind.EXIST, "/f"), (WatchKind.DATA, "/gone"), (WatchKind.CHILD, "/zookeeper")],
    ),
    "newer-watches": Script(
        ServerVersion.V3_6,
        [
            _create("/f"),
            Ask(AddWatchRequest("/f", AddWatchMode.PERSISTENT), is_watch=True),
            Ask(AddWatchRequest("/", AddWatchMode.PERSISTENT_RECURSIVE), is_watch=True),
            Ask(AddWatchRequest("/none", AddWatchMode.PERSISTENT), is_watch=True),
            *(_create("/f/s-", b"", CreateMode.PERSISTENT_SEQUENTIAL) for _ in range(4)),
            Ask(SetDataRequest("/f", b"2", -1)),
            Ask(RemoveWatchesRequest("/f", WatcherType.ANY)),
            Ask(RemoveWatchesRequest("/never", WatcherType.ANY)),
            Ask(DeleteRequest("/f/s-0000000001", -1)),
            Ask(CloseSessionRequest()),
        ],
        credentials=[("digest", b"bob:secret")],
        watched=[
            (WatchKind.RECURSIVE, "/f"),
            (WatchKind.PERSISTENT, "/f"),
            (WatchKind.DATA, "/gone"),
            (WatchKind.EXIST, "/f/none"),
        ],
    ),
}


def load_conversations() -> list[Conversation]:
    """Return all recorded conversations, in the order of their names."""
    return [_load(file) for file in sorted(RECORDED.glob("*.json"))]


def _load(file: Path) -> Conversation:
    facts = json.loads(file.read_text("ascii"))
    return Conversation(
        name=file.stem,
        script=SCRIPTS[facts["script"]],
        version=ServerVersion(facts["version"]),
        parts=tuple(tuple(map(bytes.fromhex, part)) for part in facts["parts"]),
    )
