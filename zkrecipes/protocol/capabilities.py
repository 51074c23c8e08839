"""The capabilities of one connection's server: the known facts, and the questions that settle the rest.

The problem. A server has no request that names its release. A later release shows only by an opcode that it
brought, and a server closes the connection on an opcode that it does not know
(`ZooKeeperServer.submitRequest`, `UnimplementedRequestProcessor`, read at 3.4 to 3.9).

The trick. Each question is a harmless request that only some releases answer. Before 3.5 there is no
`/zookeeper/config`; every server tolerates the question whether it exists. So that question comes first, and
decides whether opcodes of later releases are asked at all.

The consequences. A question travels alone: it leaves when nothing is in flight, and nothing follows it until
it is answered. If the connection ends on it, no other request is in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, final

from zkrecipes.codec.messages import ExistsRequest, GetAllChildrenNumberRequest, Request, WhoAmIRequest
from zkrecipes.enums import ServerVersion
from zkrecipes.errors import NoNodeError, UnimplementedError
from zkrecipes.protocol.events import Ticket

__all__ = ["ANSWERED_WITHIN", "Capabilities", "CapabilityProbe", "Question", "questions_for"]

ANSWERED_WITHIN: Final = 1.0
"""The time, in session timeouts, after which an unanswered question ends the connection."""

_QUESTIONS: Final[tuple[tuple[ServerVersion, Request[Any]], ...]] = (
    (ServerVersion.V3_5, ExistsRequest("/zookeeper/config", watch=False)),
    (ServerVersion.V3_6, GetAllChildrenNumberRequest("/zookeeper")),
    (ServerVersion.V3_7, WhoAmIRequest()),
)


@final
class Capabilities(NamedTuple):
    """The known limits of a server's version: it is `at_least` this version, and older than `below`."""

    at_least: ServerVersion = ServerVersion.V3_4
    below: ServerVersion | None = None
    """None if no limit is known."""

    def has(self, version: ServerVersion) -> bool | None:
        """Whether the server is of this version or a later one; None if that is not known."""
        if self.at_least >= version:
            return True
        return False if self.below is not None and self.below <= version else None

    def learned(self, version: ServerVersion, *, has_it: bool) -> Capabilities:
        """Return the capabilities after one more answer."""
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
    """Generate the questions that settle whether a server is of this version, in the order to ask them.

    If a server answers one with no, those after it are superfluous.
    """
    if known.has(version) is not None:
        return
    for each, request in _QUESTIONS:
        if each <= version and known.has(each) is None:
            yield Question(each, request)


@final
class CapabilityProbe:
    """The known capabilities of one connection's server, and the questions already asked.

    Args:
        guess: the capabilities of a server at this address on an earlier connection. Its upper limit is
            trusted; its lower limit decides only whether persistent watches are restored without a question.

    Attributes:
        known: the capabilities that this server has shown, as far as requests have needed them.
        is_surprising: whether the server refused an operation that it was known to have.
        assumes_persistent: whether the guess permits to restore persistent watches.
    """

    __slots__ = ("_asked", "assumes_persistent", "is_surprising", "known")

    def __init__(self, guess: Capabilities | None) -> None:
        guess = guess or Capabilities()
        self.assumes_persistent: bool = guess.at_least >= ServerVersion.V3_6
        self.known: Capabilities = Capabilities(below=guess.below)
        self.is_surprising: bool = False
        self._asked: set[ServerVersion] = set()

    def new_questions(self, version: ServerVersion) -> Iterator[Question]:
        """Generate the questions that settle whether the server is of this version, each once."""
        for question in questions_for(version, self.known):
            if question.version not in self._asked:
                self._asked.add(question.version)
                yield question

    def learn(self, version: ServerVersion, *, has_it: bool) -> None:
        """Note whether the server is of this version."""
        self.known = self.known.learned(version, has_it=has_it)

    def version_to_restore(self) -> ServerVersion:
        """Return the version by which the watches are restored: the guess, or the known one."""
        return ServerVersion.V3_6 if self.assumes_persistent else self.known.at_least
