"""The requests about watches, one function each, and the delivery of events to watches.

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

# The zxid of an event that setWatches causes (`WatchedEvent.NO_ZXID`): no change caused the event.
_NO_ZXID = -1

_KIND_BY_ADD_MODE = {
    AddWatchMode.PERSISTENT: WatchKind.PERSISTENT,
    AddWatchMode.PERSISTENT_RECURSIVE: WatchKind.RECURSIVE,
}
_KINDS_BY_WATCHER_TYPE = {
    WatcherType.CHILDREN: (WatchKind.CHILD,),
    WatcherType.DATA: (WatchKind.DATA,),
    WatcherType.ANY: (WatchKind.CHILD, WatchKind.DATA, WatchKind.PERSISTENT, WatchKind.RECURSIVE),
    WatcherType.PERSISTENT: (WatchKind.PERSISTENT,),
    WatcherType.PERSISTENT_RECURSIVE: (WatchKind.RECURSIVE,),
}


@final
class WatchRequests:
    """The handlers of the opcodes about watches, over one tree and one watch table."""

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
        """Notify each client whose watch an event fires, if it may read the znode."""
        for event, path, acl in events:
            owners = self._watches.fire(event, path)
            if owners:
                message = WatchEventMessage(event, KeeperState.CONNECTED, path)
                for client in owners:
                    if is_permitted(acl, Perms.READ, client.ids):
                        client.notify(zxid, message)

    def _set_watches(
        self, client: ConnectedClient, request: SetWatchesRequest | SetWatches2Request
    ) -> Record:
        """Restore one-shot watches, and fire those that became due after `relative_zxid`."""
        since = request.relative_zxid
        for path in request.data_watches or ():
            node = self._tree.find(path)
            if node is None:
                self._fire_now(client, EventType.DELETED, path)
            elif node.mzxid > since:
                self._fire_now(client, EventType.DATA_CHANGED, path)
            else:
                self._watches.add(WatchKind.DATA, path, client)
        for path in request.exist_watches or ():
            if path in self._tree:
                self._fire_now(client, EventType.CREATED, path)
            else:
                self._watches.add(WatchKind.DATA, path, client)
        for path in request.child_watches or ():
            node = self._tree.find(path)
            if node is None:
                self._fire_now(client, EventType.DELETED, path)
            elif node.pzxid > since:
                self._fire_now(client, EventType.CHILDREN_CHANGED, path)
            else:
                self._watches.add(WatchKind.CHILD, path, client)
        return Empty()

    def _set_watches2(self, client: ConnectedClient, request: SetWatches2Request) -> Record:
        """Restore one-shot watches, as `_set_watches`, and persistent watches without a replay."""
        self._set_watches(client, request)
        for path in request.persistent_watches or ():
            self._watches.add(WatchKind.PERSISTENT, path, client)
        for path in request.persistent_recursive_watches or ():
            self._watches.add(WatchKind.RECURSIVE, path, client)
        return Empty()

    def _add_watch(self, client: ConnectedClient, request: AddWatchRequest) -> Record:
        kind = _KIND_BY_ADD_MODE.get(request.mode)  # type: ignore[call-overload]  # the client may send any int
        if kind is None:
            raise MarshallingError(request.path, detail=f"unknown mode {request.mode}")
        self._watches.add(kind, request.path, client)
        return ErrorReply(0)

    def _check_watches(self, client: ConnectedClient, request: CheckWatchesRequest) -> Record:
        own = self._watches.watches_of(client)
        if not any((kind, request.path) in own for kind in _kinds_of(request)):
            raise NoWatcherError(request.path)
        return Empty()

    def _remove_watches(self, client: ConnectedClient, request: RemoveWatchesRequest) -> Record:
        removed = [self._watches.remove(kind, request.path, client) for kind in _kinds_of(request)]
        if not any(removed):
            raise NoWatcherError(request.path)
        return Empty()

    def _fire_now(self, client: ConnectedClient, event: EventType, path: str) -> None:
        client.notify(_NO_ZXID, WatchEventMessage(event, KeeperState.CONNECTED, path))


def _kinds_of(request: CheckWatchesRequest | RemoveWatchesRequest) -> tuple[WatchKind, ...]:
    kinds = _KINDS_BY_WATCHER_TYPE.get(request.type)  # type: ignore[call-overload]  # the client may send any int
    if kinds is None:
        raise MarshallingError(request.path, detail=f"unknown watcher type {request.type}")
    return kinds  # type: ignore[no-any-return]
