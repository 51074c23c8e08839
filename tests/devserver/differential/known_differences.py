"""The known differences between the dev server, which behaves like 3.9, and older real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.devserver.differential.play import Answers
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

__all__ = ["normalized", "without_known_differences"]

_GUARDING = (CreateRequest, Create2Request, CreateContainerRequest, CreateTTLRequest, SetACLRequest)


def without_known_differences(history: History, version: tuple[int, ...]) -> History:
    """The history without the steps that servers of this version answer differently."""
    if version >= (3, 9):
        return history
    guarded = tuple(_guarded_paths(history))
    return one_mode_each([_as_before_3_9(step, guarded) for step in history])


def normalized(answers: Answers, version: tuple[int, ...]) -> Answers:
    """The answers without those that servers of this version give differently."""
    if version >= (3, 9):
        return answers
    # Since 3.9, an event has the zxid of its cause (ZOOKEEPER-4655).
    frames = tuple(
        (number, ("event", None, *frame[2:]) if frame[0] == "event" else frame)
        for number, frame in answers.frames
    )
    return answers._replace(frames=frames)


def _as_before_3_9(step: Step, guarded: tuple[str, ...]) -> Step:
    """The step without the requests that older servers answer differently."""
    if isinstance(step, Ask):
        requests = (each for each in step.requests if not _is_answered_otherwise(each, guarded))
        return Ask(step.number, tuple(requests))
    if isinstance(step, Mangle) and _is_answered_otherwise(step.request, guarded):
        return Ask(step.number, ())  # a cut behind the end leaves the request unchanged
    if isinstance(step, (SayGarbage, Mangle)):
        # A malformed write used a zxid; a check outside of a multi got no answer.
        opcode = step.opcode if isinstance(step, SayGarbage) else step.request.opcode
        request_class = REQUESTS.get(opcode)
        if request_class is CheckRequest or (request_class is not None and request_class.is_write):
            return Ask(step.number, ())
    return step


def _guarded_paths(history: History) -> Iterator[str]:
    """Paths, or prefixes of paths, of znodes that some client may not read at some time."""
    requests = [request for step in history if isinstance(step, Ask) for request in step.requests]
    parts = [part for request in requests if isinstance(request, MultiRequest) for part in request.operations]
    for request in requests + parts:
        if isinstance(request, _GUARDING) and request.acl != OPEN:
            yield request.path


def _is_answered_otherwise(request: Request[Any], guarded: tuple[str, ...]) -> bool:
    if isinstance(request, ExistsRequest):
        return request.path.startswith(guarded)  # reading the ACL needed no permission
    if "'::1'" in repr(request):
        return True  # an IPv6 address was invalid in an ACL
    if isinstance(request, (CheckWatchesRequest, RemoveWatchesRequest)):
        # A type for persistent watches alone did not exist; servers took it for any type.
        return request.type != WatcherType.ANY or isinstance(request, CheckWatchesRequest)
    if isinstance(request, MultiRequest):
        return any(_is_odd_create(each) for each in request.operations)
    if isinstance(request, CheckRequest):
        return True  # outside a multi, the request got no answer
    # Only the server itself could send it, in another format.
    return isinstance(request, DeleteContainerRequest)


def _is_odd_create(operation: Request[Any]) -> bool:
    """Whether it is a create that older servers deserialize differently in a multi.

    Before 3.9, each got the reply to a create, and a server tried creates that 3.9 refuses during
    deserialization.
    """
    if isinstance(operation, (Create2Request, CreateContainerRequest)):
        return True
    if isinstance(operation, CreateRequest):
        return operation.acl is None or not 0 <= operation.flags <= CreateMode.CONTAINER
    return False
