"""The faults of a dev server, as users see them: hit chosen requests, or hold replies back.

Faults of a whole server (refuse, pause, restart) are methods of `DevServer`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Unpack, final

from zkrecipes.devserver.fault_injector import FaultInjector, FaultKind, FaultRule, RequestSelector
from zkrecipes.enums import OpCode

__all__ = ["Fault", "Faults", "HeldReplies"]


@final
class Fault:
    """One injected fault. It stays until it is spent or removed."""

    def __init__(self, rule: FaultRule) -> None:
        self._rule = rule

    @property
    def kind(self) -> FaultKind:
        """The effect on the requests that it hits."""
        return self._rule.kind

    @property
    def times_used(self) -> int:
        """The number of requests that it has hit."""
        return self._rule.times_used

    @property
    def is_spent(self) -> bool:
        """Whether it will hit no more requests."""
        return self._rule.is_spent

    def remove(self) -> None:
        """Hit no more requests."""
        self._rule.remove()

    async def wait_used(self, times: int = 1) -> None:
        """Wait until it has hit this many requests."""
        await self._rule.wait_used(times)


@final
class HeldReplies:
    """Replies and events that are held back until `release`."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def release(self) -> None:
        """Send everything that was held back, and hold back no more."""
        self._release()


@final
class Faults:
    """The faults of one server: `DevServer.faults`.

    Several methods take the keyword arguments of `RequestSelector`, which select the requests to hit:
    `faults.lose_reply(OpCode.CREATE, path="/a", skip=1)`.
    """

    def __init__(self, injector: FaultInjector) -> None:
        self._injector = injector

    def drop_request(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> Fault:
        """Drop the connection when a request arrives, without applying the request.

        Args:
            opcodes: the requests to hit; none means all but pings and greetings. `CREATE_SESSION` is a
                greeting.
            which: see `RequestSelector`.
        """
        return self._add(FaultRule(FaultKind.AFTER_SEND, opcodes, **which))

    def lose_reply(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> Fault:
        """Apply a request, and drop the connection instead of sending the reply.

        Args:
            opcodes: see `drop_request`.
            which: see `RequestSelector`.
        """
        return self._add(FaultRule(FaultKind.AFTER_COMMIT, opcodes, **which))

    def corrupt_reply(self, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> Fault:
        """Apply a request, and reply with a frame of the right length that is full of garbage.

        The client cannot know which request the reply answers, so it has to end the connection.

        Args:
            opcodes: see `drop_request`.
            which: see `RequestSelector`.
        """
        return self._add(FaultRule(FaultKind.CORRUPT, opcodes, **which))

    def delay_reply(self, seconds: float, *opcodes: OpCode, **which: Unpack[RequestSelector]) -> Fault:
        """Apply a request immediately, but delay its reply and everything behind it on that connection.

        The server continues to read and apply requests. A large `times` makes the server slow until
        `Fault.remove`.

        Args:
            seconds: the delay, on the server's clock.
            opcodes: see `drop_request`.
            which: see `RequestSelector`.

        Raises:
            ValueError: `seconds` is not above 0.
        """
        if not seconds > 0:
            raise ValueError(f"seconds must be above 0, not {seconds!r}")
        return self._add(FaultRule(FaultKind.DELAY, opcodes, delay=seconds, **which))

    def inject(
        self, nth: int, kind: FaultKind, *, session_id: int | None = None, seconds: float = 1.0
    ) -> Fault:
        """Inject a fault into one request of a session, chosen by its number. Pings do not count.

        Args:
            nth: the number of the request, from 1. Counting starts now, or with the new session.
            kind: the effect.
            session_id: the session; None, the default, means the next new session.
            seconds: the delay of the reply, for `DELAY`.

        Raises:
            ValueError: `nth` is below 1.
        """
        if nth < 1:
            raise ValueError(f"nth must be at least 1, not {nth}")
        # The connection is dropped after the previous request, which may be the greeting.
        is_before = kind is FaultKind.BEFORE_SEND
        is_after_greeting = is_before and nth == 1
        rule = FaultRule(
            kind,
            (OpCode.CREATE_SESSION,) if is_after_greeting else (),
            session_id=session_id,
            skip=0 if is_after_greeting else nth - 1 - is_before,
            delay=seconds,
        )
        if session_id is None:
            self._injector.add_for_next_session(rule)
        elif is_after_greeting:
            self._injector.drop_connection(rule, session_id)
        else:
            self._injector.add(rule)
        return Fault(rule)

    def hold_replies(self, *, session_id: int | None = None) -> HeldReplies:
        """Apply requests, but send no replies and no events until `HeldReplies.release`.

        Args:
            session_id: the session to hold back from; None means all, including greetings.
        """
        hold = self._injector.hold_replies(session_id)
        return HeldReplies(partial(self._injector.release, hold))

    def clear(self) -> None:
        """Remove every fault, and send everything that is held back."""
        self._injector.clear()

    def _add(self, rule: FaultRule) -> Fault:
        self._injector.add(rule)
        return Fault(rule)
