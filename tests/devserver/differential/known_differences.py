"""In what the dev server, which behaves as 3.9 does, is known to differ from an older real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.devserver.differential.play import Told
from tests.devserver.differential.steps import OPEN, Ask, History, Mangle, SayGarbage, Step
from tests.devserver.differential.watch_modes import one_mode_each
from zkrecipes.codec.messages import (
    REQUESTS,
    CheckRequest,
    CheckWatchesRequest,
    Create2Request,
    CreateContainerRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    ExistsRequest,
    RemoveWatchesRequest,
    Request,
    SetACLRequest,
)
from zkrecipes.codec.multi import MultiRequest
from zkrecipes.enums import CreateMode, WatcherType

__all__ = ["told_alike", "without_known_differences"]

_GUARDING = (CreateRequest, Create2Request, CreateContainerRequest, CreateTTLRequest, SetACLRequest)


def without_known_differences(history: History, version: tuple[int, ...]) -> History:
    """The history without the steps that servers of this version are known to answer otherwise."""
    if version >= (3, 9):
        return history
    guarded = tuple(_guarded_paths(history))
    return one_mode_each([_as_before_3_9(step, guarded) for step in history])


def told_alike(told: Told, version: tuple[int, ...]) -> Told:
    """What was told, without what servers of this version are known to tell otherwise."""
    if version >= (3, 9):
        return told
    # An event has the zxid of its cause from 3.9 on (ZOOKEEPER-4655), and none before.
    frames = tuple(
        (who, ("event", None, *frame[2:]) if frame[0] == "event" else frame) for who, frame in told.frames
    )
    return told._replace(frames=frames)


def _as_before_3_9(step: Step, guarded: tuple[str, ...]) -> Step:
    """The step without what was answered otherwise."""
    if isinstance(step, Ask):
        requests = (each for each in step.requests if not _is_answered_otherwise(each, guarded))
        return Ask(step.who, tuple(requests))
    if isinstance(step, Mangle) and _is_answered_otherwise(step.request, guarded):
        return Ask(step.who, ())  # what is cut off behind its end is the request as it was
    if isinstance(step, (SayGarbage, Mangle)):
        # A write that could not be read took a zxid; a check outside of a multi was not answered.
        opcode = step.opcode if isinstance(step, SayGarbage) else step.request.opcode
        request_class = REQUESTS.get(opcode)
        if request_class is CheckRequest or (request_class is not None and request_class.is_write):
            return Ask(step.who, ())
    return step


def _guarded_paths(history: History) -> Iterator[str]:
    """Paths, or their beginnings, of znodes that not everybody may read at all times."""
    requests = [request for step in history if isinstance(step, Ask) for request in step.requests]
    parts = [part for request in requests if isinstance(request, MultiRequest) for part in request.operations]
    for request in requests + parts:
        if isinstance(request, _GUARDING) and request.acl != OPEN:
            yield request.path


def _is_answered_otherwise(request: Request[Any], guarded: tuple[str, ...]) -> bool:
    if isinstance(request, ExistsRequest):
        return request.path.startswith(guarded)  # it needed no permission to read
    if "'::1'" in repr(request):
        return True  # an address of the sixth version was invalid in an ACL
    if isinstance(request, (CheckWatchesRequest, RemoveWatchesRequest)):
        # Persistent watches could not be meant alone, and were taken for those of any kind.
        return request.type != WatcherType.ANY or isinstance(request, CheckWatchesRequest)
    if isinstance(request, MultiRequest):
        return any(_is_odd_create(each) for each in request.operations)
    if isinstance(request, CheckRequest):
        return True  # outside of a multi it was not answered
    # Only the server itself could say it, in another form.
    return isinstance(request, DeleteContainerRequest)


def _is_odd_create(operation: Request[Any]) -> bool:
    """Whether it is a create that was read otherwise in a multi.

    Before 3.9 each was answered as a create; and what 3.9 refuses while it reads was tried as any other.
    """
    if isinstance(operation, (Create2Request, CreateContainerRequest)):
        return True
    if isinstance(operation, CreateRequest):
        return operation.acl is None or not 0 <= operation.flags <= CreateMode.CONTAINER
    return False
