"""The requests that read the tree, one function each, with the watches that they set.

The order of the checks is that of `FinalRequestProcessor` (3.9): first that the znode exists, then that the
client may read it. A read that fails sets no watch, except for exists.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, final

from zkrecipes.codec.jute import Record
from zkrecipes.codec.messages import (
    ACLReply,
    ChildrenNumberReply,
    ChildrenReply,
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
    StatReply,
    SyncReply,
    SyncRequest,
    WhoAmIReply,
    WhoAmIRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiReply
from zkrecipes.codec.records import Node
from zkrecipes.devserver.auth.access import check_permission, client_infos, is_permitted, mask_passwords
from zkrecipes.devserver.connected_client import ConnectedClient
from zkrecipes.devserver.data_tree import DataTree, ZNode
from zkrecipes.enums import OpCode, Perms
from zkrecipes.errors import BadArgumentsError, MarshallingError, NoNodeError, ServerError
from zkrecipes.protocol.watch_table import WatchKind, WatchTable

__all__ = ["Reads"]


@final
class Reads:
    """The handlers of the reading opcodes, over one tree and one watch table.

    Args:
        tree: the znodes.
        watches: the watch table; each owner is a connected client.
        random: shuffles lists of children, because ZooKeeper guarantees no order.
    """

    def __init__(self, tree: DataTree, watches: WatchTable[ConnectedClient], random: Random) -> None:
        self._tree = tree
        self._watches = watches
        self._random = random
        self.by_opcode: dict[int, Callable[[ConnectedClient, Any], Record]] = {
            OpCode.EXISTS: self._exists,
            OpCode.GET_DATA: self._get_data,
            OpCode.GET_CHILDREN: self._get_children,
            OpCode.GET_CHILDREN2: self._get_children2,
            OpCode.GET_ACL: self._get_acl,
            OpCode.GET_ALL_CHILDREN_NUMBER: self._get_all_children_number,
            OpCode.GET_EPHEMERALS: self._get_ephemerals,
            OpCode.MULTI_READ: self._multi_read,
            OpCode.SYNC: self._sync,
            OpCode.WHO_AM_I: self._who_am_i,
        }

    def _exists(self, client: ConnectedClient, request: ExistsRequest) -> Record:
        path = request.path
        if "\0" in path:
            raise BadArgumentsError(path)
        node = self._tree.find(path)
        if node is not None:
            check_permission(node.acl, Perms.READ, client.ids, path)
        if request.watch:
            self._watches.add(WatchKind.DATA, path, client)
        if node is None:
            raise NoNodeError(path)
        return StatReply(node.stat())

    def _get_data(self, client: ConnectedClient, request: GetDataRequest) -> Node:
        node = self._readable_node(client, request.path)
        if request.watch:
            self._watches.add(WatchKind.DATA, request.path, client)
        return Node(node.data, node.stat())

    def _get_children(self, client: ConnectedClient, request: GetChildrenRequest) -> ChildrenReply:
        return ChildrenReply(self._children(client, request))

    def _get_children2(self, client: ConnectedClient, request: GetChildren2Request) -> Record:
        names = self._children(client, request)
        return GetChildren2Reply(names, self._tree.get(request.path).stat())

    def _children(
        self, client: ConnectedClient, request: GetChildrenRequest | GetChildren2Request
    ) -> list[str]:
        node = self._readable_node(client, request.path)
        if request.watch:
            self._watches.add(WatchKind.CHILD, request.path, client)
        names = list(node.children or ())
        self._random.shuffle(names)
        return names

    def _get_acl(self, client: ConnectedClient, request: GetACLRequest) -> Record:
        node = self._tree.get(request.path)
        check_permission(node.acl, Perms.READ | Perms.ADMIN, client.ids, request.path)
        sees_all = is_permitted(node.acl, Perms.ADMIN, client.ids)
        return ACLReply(list(node.acl) if sees_all else mask_passwords(node.acl), node.stat())

    def _get_all_children_number(
        self, client: ConnectedClient, request: GetAllChildrenNumberRequest
    ) -> Record:
        self._readable_node(client, request.path)
        return ChildrenNumberReply(self._tree.count_below(request.path))

    def _get_ephemerals(self, client: ConnectedClient, request: GetEphemeralsRequest) -> Record:
        paths = self._tree.ephemerals(client.session.id) if client.session is not None else []
        prefix = request.prefix_path
        if prefix.strip() not in ("", "/"):
            paths = [path for path in paths if path.startswith(prefix)]
        return EphemeralsReply(paths)

    def _multi_read(self, client: ConnectedClient, request: MultiReadRequest) -> Record:
        results: list[Record] = []
        for operation in request.operations:
            try:
                # A real server ignores the watch flags (`Op.getData`, `Op.getChildren`).
                if isinstance(operation, GetDataRequest):
                    results.append(self._get_data(client, GetDataRequest(operation.path)))
                elif isinstance(operation, GetChildrenRequest):
                    results.append(self._get_children(client, GetChildrenRequest(operation.path)))
                else:
                    raise MarshallingError
            except MarshallingError:
                raise
            except ServerError as error:
                results.append(ErrorReply(error.code))
        return MultiReply(tuple(results))

    def _sync(self, _client: ConnectedClient, request: SyncRequest) -> Record:
        return SyncReply(request.path)

    def _who_am_i(self, client: ConnectedClient, _request: WhoAmIRequest) -> Record:
        return WhoAmIReply(client_infos(client.ids))

    def _readable_node(self, client: ConnectedClient, path: str) -> ZNode:
        node = self._tree.get(path)
        check_permission(node.acl, Perms.READ, client.ids, path)
        return node
