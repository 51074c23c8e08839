"""The requests that are about watches alone, one function each, and the delivery of what watches wait for.

The rules are those of `DataTree.setWatches`, `addWatch`, `removeWatch`, `containsWatcher` and of
`NIOServerCnxn.process` (3.9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    AddWatchRequest,
    CheckWatchesRequest,
    Empty,
    ErrorReply,
    RemoveWatchesRequest,
    SetWatches2Request,
    SetWatchesRequest,
    WatchEventMessage,
)
from zkrecipes.devserver.auth.access import is_permitted
from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.requests.writes import TreeEvent
from zkrecipes.enums import AddWatchMode, EventType, KeeperState, OpCode, Perms, WatcherType
from zkrecipes.errors import MarshallingError, NoWatcherError
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["WatchRequests"]

# The zxid of an event that is no change's but an answer to setWatches (`WatchedEvent.NO_ZXID`).
_NO_ZXID = -1

_ADDED = {
    AddWatchMode.PERSISTENT: WatchKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatchKind.RECURSIVE,
}
_MEANT = {
    WatcherType.CHILDREN: (WatchKind.CHILD,),
    WatcherType.DATA: (WatchKind.DATA,),
    WatcherType.ANY: (WatchKind.CHILD, WatchKind.DATA, WatchKind.PERSISTENT, WatchKind.RECURSIVE),
    WatcherType.PERSISTENT: (WatchKind.PERSISTENT,),
    WatcherType.PERSISTENT_RECURSIVE: (WatchKind.RECURSIVE,),
}


@final
class WatchRequests:
    """What each opcode about watches answers, over one tree and one table of watches."""

    def __init__(self, tree: DataTree, watches: WatchTable[ConnectedClient]) -> None:
        self._tree = tree
        self._watches = watches
        self.by_opcode: dict[int, Callable[[ConnectedClient, Any], Record]] = {
            OpCode.SET_WATCHES: self._set_watches,
            OpCode.SET_WATCHES2: self._set_watches2,
            OpCode.ADD_WATCH: self._add_watch,
            OpCode.CHECK_WATCHES: self._check_watches,
            OpCode.REMOVE_WATCHES: self._remove_watches,
        }

    def fire(self, events: Iterable[TreeEvent], zxid: int) -> None:
        """Tell whoever waits for it and may read the znode."""
        for event, path, acl in events:
            owners = self._watches.fire(event, path)
            if owners:
                message = WatchEventMessage(event, KeeperState.CONNECTED, path)
                for peer in owners:
                    if is_permitted(acl, Perms.READ, peer.ids):
                        peer.notify(zxid, message)

    def _set_watches(self, peer: ConnectedClient, request: SetWatchesRequest | SetWatches2Request) -> Record:
        """Re-arm one-shot watches, or fire at once those that are due since `relative_zxid`."""
        since = request.relative_zxid
        for path in request.data_watches or ():
            node = self._tree.find(path)
            if node is None:
                self._fire_now(peer, EventType.DELETED, path)
            elif node.mzxid > since:
                self._fire_now(peer, EventType.DATA_CHANGED, path)
            else:
                self._watches.add(WatchKind.DATA, path, peer)
        for path in request.exist_watches or ():
            if path in self._tree:
                self._fire_now(peer, EventType.CREATED, path)
            else:
                self._watches.add(WatchKind.DATA, path, peer)
        for path in request.child_watches or ():
            node = self._tree.find(path)
            if node is None:
                self._fire_now(peer, EventType.DELETED, path)
            elif node.pzxid > since:
                self._fire_now(peer, EventType.CHILDREN_CHANGED, path)
            else:
                self._watches.add(WatchKind.CHILD, path, peer)
        return Empty()

    def _set_watches2(self, peer: ConnectedClient, request: SetWatches2Request) -> Record:
        """The same; persistent watches are set without a replay."""
        self._set_watches(peer, request)
        for path in request.persistent_watches or ():
            self._watches.add(WatchKind.PERSISTENT, path, peer)
        for path in request.persistent_recursive_watches or ():
            self._watches.add(WatchKind.RECURSIVE, path, peer)
        return Empty()

    def _add_watch(self, peer: ConnectedClient, request: AddWatchRequest) -> Record:
        kind = _ADDED.get(request.mode)  # type: ignore[call-overload]  # any int may stand there
        if kind is None:
            raise MarshallingError(request.path, detail=f"mode {request.mode}")
        self._watches.add(kind, request.path, peer)
        return ErrorReply(0)

    def _check_watches(self, peer: ConnectedClient, request: CheckWatchesRequest) -> Record:
        own = self._watches.watches_of(peer)
        if not any((kind, request.path) in own for kind in _meant(request)):
            raise NoWatcherError(request.path)
        return Empty()

    def _remove_watches(self, peer: ConnectedClient, request: RemoveWatchesRequest) -> Record:
        removed = [self._watches.remove(kind, request.path, peer) for kind in _meant(request)]
        if not any(removed):
            raise NoWatcherError(request.path)
        return Empty()

    def _fire_now(self, peer: ConnectedClient, event: EventType, path: str) -> None:
        peer.notify(_NO_ZXID, WatchEventMessage(event, KeeperState.CONNECTED, path))


def _meant(request: CheckWatchesRequest | RemoveWatchesRequest) -> tuple[WatchKind, ...]:
    kinds = _MEANT.get(request.type)  # type: ignore[call-overload]  # any int may stand there
    if kinds is None:
        raise MarshallingError(request.path, detail=f"watcher type {request.type}")
    return kinds  # type: ignore[no-any-return]
