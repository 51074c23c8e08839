"""Before 3.9, all watches of a connection on a path had one mode: the latest (ZOOKEEPER-4466)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.devserver.differential.steps import Ask, History, Mangle, Step
from zkrecipes.codec.messages import (
    AddWatchRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    Request,
    SetWatches2Request,
    SetWatchesRequest,
)

__all__ = ["one_mode_each"]

_READS = (ExistsRequest, GetDataRequest, GetChildrenRequest, GetChildren2Request)
_ONE_SHOT = -1


def one_mode_each(history: History) -> History:
    """The history without requests that change the mode of the watches on a path."""
    modes: dict[tuple[int, str], int] = {}
    return [_of_one_mode(step, modes) for step in history]


def _of_one_mode(step: Step, modes: dict[tuple[int, str], int]) -> Step:
    if isinstance(step, Mangle):  # perhaps behind its end
        whole = _of_one_mode(Ask(step.number, (step.request,)), modes)
        return step if whole != Ask(step.number, ()) else whole
    if not isinstance(step, Ask):
        return step
    kept = [
        request
        for request in step.requests
        if all(modes.setdefault((step.number, path), mode) == mode for path, mode in _watched(request))
    ]
    return Ask(step.number, tuple(kept))


def _watched(request: Request[Any]) -> Iterator[tuple[str, int]]:
    """Each path that the request watches, with the mode."""
    if isinstance(request, _READS) and request.watch:
        yield request.path, _ONE_SHOT
    elif isinstance(request, AddWatchRequest):
        yield request.path, request.mode
    elif isinstance(request, (SetWatchesRequest, SetWatches2Request)):
        for paths in (request.data_watches, request.exist_watches, request.child_watches):
            yield from ((path, _ONE_SHOT) for path in paths or ())
        if isinstance(request, SetWatches2Request):
            yield from ((path, 0) for path in request.persistent_watches or ())
            yield from ((path, 1) for path in request.persistent_recursive_watches or ())
