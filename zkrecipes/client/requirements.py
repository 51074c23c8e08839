"""Which operations a server may be too old for.

A 3.4 server drops the connection on what it does not know, so these are not sent before it is clear that they
are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from zkrecipes.codec.messages import (
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
from zkrecipes.enums import ServerGeneration
from zkrecipes.errors import UnimplementedError

__all__ = ["CONFIG_PATH", "Requirement", "requirement_of"]

CONFIG_PATH: Final = "/zookeeper/config"
"""The znode that holds the members of the ensemble, from 3.5 on."""


class Requirement(NamedTuple):
    """What an operation is called, and the first release that has it."""

    name: str
    generation: ServerGeneration

    def check(self, generation: ServerGeneration, path: str | None) -> None:
        """Return if a server of this generation has the operation.

        Raises:
            UnimplementedError: it has not; the message names the operation and the release.
        """
        if generation < self.generation:
            major, minor = divmod(self.generation, 100)
            raise UnimplementedError(path, detail=f"{self.name} needs ZooKeeper {major}.{minor}")


# A read like any other, but older servers have no such znode; a NoNodeError would not say why.
_GET_CONFIG: Final = Requirement("get_config", ServerGeneration.V3_5)

_BY_REQUEST: Final[Mapping[type[Request[Any]], Requirement]] = {
    Create2Request: Requirement("create_with_stat", ServerGeneration.V3_5),
    CreateContainerRequest: Requirement("a container", ServerGeneration.V3_5),
    CreateTTLRequest: Requirement("a znode with a ttl", ServerGeneration.V3_5),
    ReconfigRequest: Requirement("reconfig", ServerGeneration.V3_5),
    CheckWatchesRequest: Requirement("check_watches", ServerGeneration.V3_5),
    MultiReadRequest: Requirement("multi_read", ServerGeneration.V3_6),
    GetEphemeralsRequest: Requirement("get_ephemerals", ServerGeneration.V3_6),
    GetAllChildrenNumberRequest: Requirement("get_all_children_number", ServerGeneration.V3_6),
    WhoAmIRequest: Requirement("whoami", ServerGeneration.V3_7),
}


def requirement_of(request: Request[Any]) -> Requirement | None:
    """What a server must have for this request, and all that is in it; None where every server has it."""
    if isinstance(request, MultiRequest):
        needed = _BY_REQUEST.keys() & {type(each) for each in request.operations}
        return max((_BY_REQUEST[each] for each in needed), key=_generation_of, default=None)
    if isinstance(request, GetDataRequest) and request.path == CONFIG_PATH:
        return _GET_CONFIG
    return _BY_REQUEST.get(type(request))


def _generation_of(requirement: Requirement) -> ServerGeneration:
    return requirement.generation
