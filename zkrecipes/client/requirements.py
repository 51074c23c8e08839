"""Which operations a server may be too old for.

A server closes the connection on an operation that it does not know, so the connection asks what the server
has before it sends one of these (`protocol/capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zkrecipes.codec.messages import (
    AddWatchRequest,
    CheckWatchesRequest,
    Create2Request,
    CreateContainerRequest,
    CreateTTLRequest,
    GetAllChildrenNumberRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReconfigRequest,
    Request,
    WhoAmIRequest,
)
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.enums import AddWatchMode, ServerVersion
from zkrecipes.protocol.requirement import Requirement

__all__ = ["CONFIG_PATH", "requirement_of"]

CONFIG_PATH: Final = "/zookeeper/config"
"""The znode that holds the members of the ensemble, from 3.5 on."""


# A read like any other, but older servers have no such znode; a NoNodeError would not say why.
_GET_CONFIG: Final = Requirement("get_config", ServerVersion.V3_5)

_PERSISTENT_WATCH: Final = Requirement("a persistent watch", ServerVersion.V3_6)
_RECURSIVE_WATCH: Final = Requirement("a recursive watch", ServerVersion.V3_6)

_BY_REQUEST: Final[Mapping[type[Request[Any]], Requirement]] = {
    Create2Request: Requirement("create_with_stat", ServerVersion.V3_5),
    CreateContainerRequest: Requirement("a container", ServerVersion.V3_5),
    CreateTTLRequest: Requirement("a znode with a ttl", ServerVersion.V3_5),
    ReconfigRequest: Requirement("reconfig", ServerVersion.V3_5),
    CheckWatchesRequest: Requirement("check_watches", ServerVersion.V3_5),
    MultiReadRequest: Requirement("multi_read", ServerVersion.V3_6),
    GetEphemeralsRequest: Requirement("get_ephemerals", ServerVersion.V3_6),
    GetAllChildrenNumberRequest: Requirement("get_all_children_number", ServerVersion.V3_6),
    WhoAmIRequest: Requirement("whoami", ServerVersion.V3_7),
}

_NEEDING: Final = frozenset({*_BY_REQUEST, MultiRequest, AddWatchRequest})
"""All others but `GetDataRequest` need nothing."""


def requirement_of(request: Request[Any]) -> Requirement | None:
    """What a server must have for this request, and all that is in it; None where every server has it."""
    kind = type(request)
    if kind is GetDataRequest:  # the most frequent
        assert isinstance(request, GetDataRequest)
        return _GET_CONFIG if request.path == CONFIG_PATH else None
    if kind not in _NEEDING:
        return None
    if isinstance(request, MultiRequest):
        needed = _BY_REQUEST.keys() & {type(each) for each in request.operations}
        return max((_BY_REQUEST[each] for each in needed), key=_version_of, default=None)
    if isinstance(request, AddWatchRequest):
        is_recursive = request.mode == AddWatchMode.PERSISTENT_RECURSIVE
        return _RECURSIVE_WATCH if is_recursive else _PERSISTENT_WATCH
    return _BY_REQUEST.get(kind)


def _version_of(requirement: Requirement) -> ServerVersion:
    return requirement.version
