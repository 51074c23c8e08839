"""The messages that concern watches: which watch a request sets, and what its reply shows. Pure functions."""

from __future__ import annotations

from typing import Any, Final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetWatches2Request,
)
from zkrecipes.enums import AddWatchMode, EventType
from zkrecipes.errors import NoNodeError
from zkrecipes.protocol.watch_table import WatchKind

__all__ = [
    "READS",
    "READS_OF_CHILDREN",
    "both_watches",
    "change_since",
    "persistent_watch",
    "requests_persistent",
    "requests_recursive",
    "requests_recursive_only",
    "watch_set_by",
    "watched_path",
    "zxid_read",
]

READS: Final = (ExistsRequest, GetDataRequest, GetChildrenRequest, GetChildren2Request)
READS_OF_CHILDREN: Final = (GetChildrenRequest, GetChildren2Request)


def watched_path(request: Request[Any]) -> str:
    """Return the one path whose watch a request changes."""
    if isinstance(request, SetWatches2Request):
        assert request.persistent_watches
        return request.persistent_watches[0]
    assert request.path is not None, "every other request that concerns watches has a path"
    return request.path


def persistent_watch(path: str) -> AddWatchRequest:
    """Return the request for a persistent watch alone."""
    return AddWatchRequest(path, AddWatchMode.PERSISTENT)


def both_watches(path: str) -> SetWatches2Request:
    """Return the request for a persistent and a recursive watch of one path, in one step."""
    return SetWatches2Request(0, [], [], [], [path], [path])


def requests_persistent(request: Request[Any]) -> bool:
    """Whether a request sets a persistent watch, alone or beside a recursive one."""
    return isinstance(request, SetWatches2Request) or (
        isinstance(request, AddWatchRequest) and request.mode == AddWatchMode.PERSISTENT
    )


def requests_recursive(request: Request[Any]) -> bool:
    """Whether a request sets a recursive watch, alone or beside a persistent one."""
    return isinstance(request, SetWatches2Request) or requests_recursive_only(request)


def requests_recursive_only(request: Request[Any]) -> bool:
    """Whether a request sets a recursive watch for its own watcher, not only to preserve another one."""
    return isinstance(request, AddWatchRequest) and request.mode == AddWatchMode.PERSISTENT_RECURSIVE


def watch_set_by(request: Request[Any], code: int) -> WatchKind | None:
    """Return the watch that a request has set, given the code of its reply."""
    if isinstance(request, ExistsRequest):
        return {0: WatchKind.DATA, NoNodeError.code: WatchKind.EXIST}.get(code)
    if code != 0:
        return None
    if isinstance(request, GetDataRequest):
        return WatchKind.DATA
    if isinstance(request, READS_OF_CHILDREN):
        return WatchKind.CHILD
    return WatchKind.PERSISTENT if requests_persistent(request) else WatchKind.RECURSIVE


def zxid_read(kind: WatchKind, reply: Record | None, zxid: int) -> int:
    """Return the newest change that a reader has seen.

    A stat contains it. Without one, the zxid in the reply's header serves: no server applies a write while it
    answers a read (`CommitProcessor`, `SyncRequestProcessor`).
    """
    # Each is at least the zxid of the znode's creation, so this also holds for a znode that was deleted and
    # created again.
    stat = getattr(reply, "stat", None)
    if stat is None:
        return zxid
    read: int = stat.pzxid if kind is WatchKind.CHILD else stat.mzxid
    return read


def change_since(kind: WatchKind, read: int, code: int, zxid: int) -> EventType | None:
    """Return the change since an owner's reading, from the reply to a second one; None without a change.

    Args:
        kind: the kind of the owner's watch.
        read: the newest change that the owner has read.
        code: the code of the second reply.
        zxid: the newest change that the second reply has read.
    """
    if kind is WatchKind.EXIST:
        return None if code == NoNodeError.code else EventType.CREATED
    if code == NoNodeError.code:
        return EventType.DELETED
    if code == 0 and zxid <= read:
        return None
    return EventType.CHILDREN_CHANGED if kind is WatchKind.CHILD else EventType.DATA_CHANGED
