"""Faults by name: which request is hurt, how, and how often; and replies that are held back.

Nothing here is random: a fault hits the request that it names, so a test that sees it once sees it always.
What hurts a whole server (refuse, pause, restart) is a method of `DevServer`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, final

import anyio
import anyio.lowlevel

from zkrecipes.codec.messages import Request
from zkrecipes.codec.multi import MultiReadRequest, MultiRequest
from zkrecipes.enums import OpCode

__all__ = ["Fault", "FaultKind", "Faults", "HeldReplies"]


class FaultKind(Enum):
    """What happens to a request."""

    BEFORE_SEND = "before send"
    """The connection is dropped once the request before it has been answered, so it is never sent there."""
    AFTER_SEND = "after send"
    """It is received and thrown away, and the connection is dropped: nothing is applied."""
    AFTER_COMMIT = "after commit"
    """It is applied; its reply, and events behind it, are lost with the connection."""
    EXPIRE = "expire"
    """Its session is expired when it arrives; it is not applied."""
    CORRUPT = "corrupt"
    """It is applied; its reply arrives as a frame of the right length that is full of garbage."""
    DELAY = "delay"
    """It is applied; its reply, and what is behind it on that connection, leaves later."""


@final
class Fault:
    """One fault that was asked for. It stays until it is spent or removed."""

    def __init__(
        self,
        how: FaultKind,
        opcodes: frozenset[int],
        path: str | None,
        session_id: int | None,
        *,
        skip: int,
        times: int,
        seconds: float = 0.0,
    ) -> None:
        self.how = how
        self.seconds = seconds
        """How much later the reply leaves, for `DELAY`."""
        self.times_used: int = 0
        """How many requests it has hit."""
        self._opcodes = opcodes
        self._path = path
        self.session_id = session_id
        self._skip = skip
        self._times = times
        self._used = anyio.Event()

    @property
    def is_spent(self) -> bool:
        """Whether it will hit no more requests."""
        return self.times_used >= self._times

    def remove(self) -> None:
        """It hits no more requests."""
        self._times = 0

    async def wait_used(self, times: int = 1) -> None:
        """Wait until it has hit so many requests."""
        await anyio.lowlevel.checkpoint()
        while self.times_used < times:
            await self._used.wait()

    def hits(self, session_id: int, opcode: int, request: Request[Any] | None) -> bool:
        """Whether it hits this request, which is then counted."""
        if self.is_spent or not self._concerns(session_id, opcode, request):
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        self.use()
        return True

    def use(self) -> None:
        """Count one use."""
        self.times_used += 1
        self._used.set()
        self._used = anyio.Event()

    def _concerns(self, session_id: int, opcode: int, request: Request[Any] | None) -> bool:
        if self._opcodes:
            if opcode not in self._opcodes:
                return False
        elif opcode in (OpCode.PING, OpCode.CREATE_SESSION):
            return False
        if self.session_id is not None and session_id != self.session_id:
            return False
        return self._path is None or self._path in paths_of(request)


@final
class HeldReplies:
    """Replies and events that are held back until `release`."""

    def __init__(self, session_id: int | None, on_release: Callable[[HeldReplies], None]) -> None:
        self.session_id = session_id
        self._on_release = on_release

    def release(self) -> None:
        """Send what was held back, and hold no more."""
        self._on_release(self)


@final
class Faults:
    """The faults of one server.

    Args:
        on_release: called when replies need no longer be held.
        on_drop: called with a session id when its connection is to be dropped.
    """

    def __init__(self, *, on_release: Callable[[], None], on_drop: Callable[[int], None]) -> None:
        self._on_release = on_release
        self._on_drop = on_drop
        self._faults: list[Fault] = []
        self._for_next_session: list[Fault] = []
        self._held: list[HeldReplies] = []

    def drop_request(
        self,
        *opcodes: OpCode,
        path: str | None = None,
        session_id: int | None = None,
        skip: int = 0,
        times: int = 1,
    ) -> Fault:
        """Drop the connection on a request that was received, without applying it.

        Args:
            opcodes: which requests; none means all but pings and greetings. `CREATE_SESSION` is a greeting.
            path: only those for this path (a multi: with an operation for it); None means any.
            session_id: only those of this session; None means any.
            skip: let so many of them pass first.
            times: hit so many, one after another.
        """
        fault = Fault(FaultKind.AFTER_SEND, frozenset(opcodes), path, session_id, skip=skip, times=times)
        self._faults.append(fault)
        return fault

    def lose_reply(
        self,
        *opcodes: OpCode,
        path: str | None = None,
        session_id: int | None = None,
        skip: int = 0,
        times: int = 1,
    ) -> Fault:
        """Apply a request, and drop the connection in place of the reply. Arguments as for `drop_request`."""
        fault = Fault(FaultKind.AFTER_COMMIT, frozenset(opcodes), path, session_id, skip=skip, times=times)
        self._faults.append(fault)
        return fault

    def corrupt_reply(
        self,
        *opcodes: OpCode,
        path: str | None = None,
        session_id: int | None = None,
        skip: int = 0,
        times: int = 1,
    ) -> Fault:
        """Apply a request, and answer it with a frame of the right length that is full of garbage.

        A client cannot tell whose reply it was: it has to leave the connection. Arguments as for
        `drop_request`.
        """
        fault = Fault(FaultKind.CORRUPT, frozenset(opcodes), path, session_id, skip=skip, times=times)
        self._faults.append(fault)
        return fault

    def delay_reply(
        self,
        seconds: float,
        *opcodes: OpCode,
        path: str | None = None,
        session_id: int | None = None,
        skip: int = 0,
        times: int = 1,
    ) -> Fault:
        """Apply a request at once, and answer it so much later; what is behind it waits for it.

        Further requests are read and applied meanwhile. The other arguments are as for `drop_request`; with
        a large `times` the server is slow for as long as one likes (`Fault.remove` ends it).

        Args:
            seconds: how much later, on the server's clock.
            opcodes: see `drop_request`.
            path: see `drop_request`.
            session_id: see `drop_request`.
            skip: see `drop_request`.
            times: see `drop_request`.

        Raises:
            ValueError: `seconds` is not above 0.
        """
        if not seconds > 0:
            raise ValueError(f"a delay must be above 0 seconds, not {seconds!r}")
        fault = Fault(
            FaultKind.DELAY, frozenset(opcodes), path, session_id, skip=skip, times=times, seconds=seconds
        )
        self._faults.append(fault)
        return fault

    def inject(
        self, nth: int, how: FaultKind, *, session_id: int | None = None, seconds: float = 1.0
    ) -> Fault:
        """Hurt one request of a session, whatever it is; pings do not count.

        Args:
            nth: which, counted from 1.
            how: in which way.
            session_id: whose, counted from now; None is the next session that is made.
            seconds: how much later its reply leaves, for `DELAY`.

        Raises:
            ValueError: `nth` is below 1.
        """
        if nth < 1:
            raise ValueError(f"requests are counted from 1: {nth}")
        # What drops the connection before a request hits the one before that, which may be the greeting.
        before = how is FaultKind.BEFORE_SEND
        greeting = before and nth == 1
        opcodes = frozenset({OpCode.CREATE_SESSION}) if greeting else frozenset[OpCode]()
        skip = 0 if greeting else nth - 1 - before
        fault = Fault(how, opcodes, None, session_id, skip=skip, times=1, seconds=seconds)
        if session_id is None:
            self._for_next_session.append(fault)
        elif greeting:
            fault.use()
            self._on_drop(session_id)
        else:
            self._faults.append(fault)
        return fault

    def hold_replies(self, *, session_id: int | None = None) -> HeldReplies:
        """From now on send nothing, neither replies nor events, until it is released; requests are applied.

        Args:
            session_id: only to this session; None means to all, greetings too.
        """
        held = HeldReplies(session_id, self._release)
        self._held.append(held)
        return held

    def clear(self) -> None:
        """Remove every fault, and release what is held."""
        self._faults.clear()
        self._for_next_session.clear()
        self._held.clear()
        self._on_release()

    def are_replies_held(self, session_id: int) -> bool:
        """Whether nothing may be sent to this session now."""
        return any(held.session_id in (None, session_id) for held in self._held)

    def session_made(self, session_id: int) -> None:
        """What was asked for the next session is meant for this one."""
        for fault in self._for_next_session:
            fault.session_id = session_id
        self._faults += self._for_next_session
        self._for_next_session.clear()

    def verdict(self, session_id: int, opcode: int, request: Request[Any] | None) -> Fault | None:
        """The fault that hits this request, or None; asked once for each. Of several the first acts."""
        if not self._faults:
            return None
        hitting = [fault for fault in self._faults if fault.hits(session_id, opcode, request)]
        self._faults = [fault for fault in self._faults if not fault.is_spent]
        return hitting[0] if hitting else None

    def _release(self, held: HeldReplies) -> None:
        if held in self._held:
            self._held.remove(held)
            self._on_release()


def paths_of(request: Request[Any] | None) -> set[str]:
    """The paths that a request is about."""
    if isinstance(request, (MultiRequest, MultiReadRequest)):
        return {path for operation in request.operations for path in paths_of(operation)}
    return set() if request is None or request.path is None else {request.path}
