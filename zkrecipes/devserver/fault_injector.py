"""The faults that a server injects: which request each one hits, and which replies are held back.

`Faults` is the part that users see. A server's connections ask the injector for each request. Nothing is
random: a fault hits the request that it selects, so a test that fails once always fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypedDict, final

import anyio
import anyio.lowlevel

from zkrecipes.codec.messages import Request
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.enums import OpCode

__all__ = ["FaultInjector", "FaultKind", "FaultRule", "ReplyHold", "RequestSelector", "paths_of"]

# The requests that a fault without opcodes does not hit.
_ONLY_BY_OPCODE = (OpCode.PING, OpCode.CREATE_SESSION)


class FaultKind(Enum):
    """The effect of a fault on the request that it hits."""

    BEFORE_SEND = "before send"
    """The connection is dropped after the previous reply, so the client cannot send the request."""
    AFTER_SEND = "after send"
    """The server receives and discards the request, and drops the connection. Nothing is applied."""
    AFTER_COMMIT = "after commit"
    """The request is applied. The reply, and the events behind it, are lost with the connection."""
    EXPIRE = "expire"
    """The session expires when the request arrives. The request is not applied."""
    CORRUPT = "corrupt"
    """The request is applied. The reply is a frame of the right length that is full of garbage."""
    DELAY = "delay"
    """The request is applied. The reply, and everything behind it on that connection, leaves later."""


class RequestSelector(TypedDict, total=False):
    """The requests that a fault hits: the keyword arguments of the methods of `Faults`."""

    path: str | None
    """Only requests for this path (a multi: with an operation for it); None, the default, means any path."""
    session_id: int | None
    """Only requests of this session; None, the default, means any session."""
    skip: int
    """The number of selected requests that pass before the first hit; 0 by default."""
    times: int
    """The number of requests to hit, one after another; 1 by default."""


@final
class FaultRule:
    """One fault: the requests that it selects, and how many of them it has hit.

    Args:
        kind: the effect.
        opcodes: the selected opcodes; none means all but pings and greetings.
        path: see `RequestSelector`.
        session_id: see `RequestSelector`.
        skip: see `RequestSelector`.
        times: see `RequestSelector`.
        delay: for `DELAY`, the seconds before the reply leaves.
    """

    def __init__(
        self,
        kind: FaultKind,
        opcodes: Collection[int] = (),
        *,
        path: str | None = None,
        session_id: int | None = None,
        skip: int = 0,
        times: int = 1,
        delay: float = 0.0,
    ) -> None:
        self.kind = kind
        self.session_id = session_id
        self.delay = delay
        self.times_used: int = 0
        self._opcodes = frozenset(opcodes)
        self._path = path
        self._skip = skip
        self._times_max = times
        self._used = anyio.Event()

    @property
    def is_spent(self) -> bool:
        """Whether the fault will hit no more requests."""
        return self.times_used >= self._times_max

    def remove(self) -> None:
        """Hit no more requests."""
        self._times_max = 0

    async def wait_used(self, times: int) -> None:
        """Wait until the fault has hit this many requests."""
        await anyio.lowlevel.checkpoint()
        while self.times_used < times:
            await self._used.wait()

    def try_use(self, session_id: int, opcode: int, request: Request[Any] | None) -> bool:
        """Count a hit if the fault hits this request. Call it once for each request.

        Returns:
            Whether the fault hits the request.
        """
        if self.is_spent or not self._selects(session_id, opcode, request):
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        self.use()
        return True

    def use(self) -> None:
        """Count one hit."""
        self.times_used += 1
        self._used.set()
        self._used = anyio.Event()

    def _selects(self, session_id: int, opcode: int, request: Request[Any] | None) -> bool:
        if self._opcodes:
            if opcode not in self._opcodes:
                return False
        elif opcode in _ONLY_BY_OPCODE:
            return False
        if self.session_id is not None and session_id != self.session_id:
            return False
        return self._path is None or self._path in paths_of(request)


@final
@dataclass(frozen=True, eq=False)
class ReplyHold:
    """A period in which a server sends nothing to a session, or to any session (None)."""

    session_id: int | None


@final
class FaultInjector:
    """The faults of one server. Users may add faults before the server runs."""

    def __init__(self) -> None:
        self._on_release: Callable[[], None] = lambda: None
        self._on_drop: Callable[[int], None] = lambda _: None
        self._rules: list[FaultRule] = []
        self._next_session_rules: list[FaultRule] = []
        self._holds: list[ReplyHold] = []

    def attach(self, *, on_release: Callable[[], None], on_drop: Callable[[int], None]) -> None:
        """Attach the running server.

        Args:
            on_release: called when a hold of replies has ended.
            on_drop: called with the id of a session whose connection a fault drops.
        """
        self._on_release = on_release
        self._on_drop = on_drop

    def add(self, rule: FaultRule) -> None:
        """Add a fault."""
        self._rules.append(rule)

    def add_for_next_session(self, rule: FaultRule) -> None:
        """Add a fault that hits requests of the next new session."""
        self._next_session_rules.append(rule)

    def drop_connection(self, rule: FaultRule, session_id: int) -> None:
        """Apply a fault now: drop the session's connection."""
        rule.use()
        self._on_drop(session_id)

    def hold_replies(self, session_id: int | None) -> ReplyHold:
        """Send nothing to a session, or to any session (None), until `release`."""
        hold = ReplyHold(session_id)
        self._holds.append(hold)
        return hold

    def release(self, hold: ReplyHold) -> None:
        """End a hold. A second call does nothing."""
        if hold in self._holds:
            self._holds.remove(hold)
            self._on_release()

    def clear(self) -> None:
        """Remove every fault, and end every hold."""
        self._rules.clear()
        self._next_session_rules.clear()
        self._holds.clear()
        self._on_release()

    def are_replies_held(self, session_id: int) -> bool:
        """Whether nothing may be sent to this session now."""
        return any(hold.session_id in (None, session_id) for hold in self._holds)

    def on_new_session(self, session_id: int) -> None:
        """Apply the faults for the next session to this one."""
        for rule in self._next_session_rules:
            rule.session_id = session_id
        self._rules += self._next_session_rules
        self._next_session_rules.clear()

    def use_fault(self, session_id: int, opcode: int, request: Request[Any] | None) -> FaultRule | None:
        """Return the fault that hits this request, or None. Call it once for each request.

        Returns:
            The fault, or None. If several faults hit the request, each of them counts a hit, and only the
            first takes effect.
        """
        if not self._rules:
            return None
        hits = [rule for rule in self._rules if rule.try_use(session_id, opcode, request)]
        self._rules = [rule for rule in self._rules if not rule.is_spent]
        return hits[0] if hits else None


def paths_of(request: Request[Any] | None) -> set[str]:
    """Return the paths that a request names."""
    if isinstance(request, (MultiRequest, MultiReadRequest)):
        return {path for operation in request.operations for path in paths_of(operation)}
    return set() if request is None or request.path is None else {request.path}
