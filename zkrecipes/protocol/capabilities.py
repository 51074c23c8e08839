"""What the server of one connection can do: what is known, and the questions that settle the rest. Sans-I/O.

A server has no request that names its release, so each question is a harmless request that only some releases
answer. Before 3.5 there is no `/zookeeper/config`; its existence is a question that no server minds. A later
release shows only by an opcode that it brought, and a server closes the connection on an opcode that it does
not know (`ZooKeeperServer.submitRequest`, `UnimplementedRequestProcessor`, read at 3.4 to 3.9). So a question
travels alone: it leaves when nothing is in flight, and nothing follows it until it is answered. If the
connection ends on it, no other request is in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, final

from zkrecipes.codec.messages import ExistsRequest, GetAllChildrenNumberRequest, Request, WhoAmIRequest
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import NoNodeError, UnimplementedError
from zkrecipes.protocol.events import Ticket

__all__ = ["ANSWERED_WITHIN", "Capabilities", "Question", "questions_for"]

ANSWERED_WITHIN: Final = 1.0
"""In session timeouts: how long a question may go unanswered before the connection ends."""

_QUESTIONS: Final[tuple[tuple[ServerVersion, Request[Any]], ...]] = (
    (ServerVersion.V3_5, ExistsRequest("/zookeeper/config", watch=False)),
    (ServerVersion.V3_6, GetAllChildrenNumberRequest("/zookeeper")),
    (ServerVersion.V3_7, WhoAmIRequest()),
)


@final
class Capabilities(NamedTuple):
    """What is known of a server: it has `at_least` this version, and is older than `below`."""

    at_least: ServerVersion = ServerVersion.V3_4
    below: ServerVersion | None = None
    """None if no limit is known."""

    def has(self, version: ServerVersion) -> bool | None:
        """Whether the server is of this version or a later one; None if that is not known."""
        if self.at_least >= version:
            return True
        return False if self.below is not None and self.below <= version else None

    def learned(self, version: ServerVersion, *, has_it: bool) -> Capabilities:
        """The same, with one more answer."""
        if has_it:
            below = None if self.below is not None and self.below <= version else self.below
            return Capabilities(max(self.at_least, version), below)
        older = max((each for each in ServerVersion if each < version), default=self.at_least)
        below = version if self.below is None else min(self.below, version)
        return Capabilities(min(self.at_least, older), below)


@final
class Question(Ticket):
    """A request whose only purpose is to learn whether the server is of a version."""

    __slots__ = ("version",)

    def __init__(self, version: ServerVersion, request: Request[Any]) -> None:
        super().__init__(request)
        self.version: ServerVersion = version
        self.is_alone = True

    def is_yes(self, code: int) -> bool:
        """Whether an answer with this code comes from a server of the version or a later one."""
        return code not in {UnimplementedError.code, NoNodeError.code}


def questions_for(version: ServerVersion, known: Capabilities) -> Iterator[Question]:
    """The questions that settle whether a server is of this version, in the order in which to ask them.

    A server that answers one with no need not be asked those after it.
    """
    if known.has(version) is not None:
        return
    for each, request in _QUESTIONS:
        if each <= version and known.has(each) is None:
            yield Question(each, request)
