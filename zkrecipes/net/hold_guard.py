"""One hold as its recipe sees it: whether it is proven, until when, and the scope of its body."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol, final

import anyio

from zkrecipes.protocol.hold_checks import HoldChecks
from zkrecipes.protocol.hold_proof import HoldProof

__all__ = ["Guard"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")

_NEVER: Final = float("-inf")
_NO_PROOF: Final = "no proof that the session lives came in time"


class HoldOwner(Protocol):
    """What a guard asks of the client's holds (`net/holds.py`), of which it is one."""

    hurry: Callable[[], None]
    look_at_clock: Callable[[], object]
    now: Callable[[], float]
    proof: HoldProof
    checks: HoldChecks
    waiting: dict[Guard, None]
    blocked: str

    @property
    def cancel_at(self) -> float:
        """When the body is cancelled, unless a proof comes."""

    def move(self, guard: Guard, path: str) -> None:
        """Check `path` in place of the guard's znodes."""

    def forget(self, guard: Guard) -> None:
        """The hold is over."""


@final
class Guard:
    """The proof of one hold: a cancel scope for its body, and how long it is valid.

    Its body ends before it does: the scope is cancelled an eighth of a timeout before the end of the proof,
    and the hold is valid until then, for what the body does to clean up.

    Attributes:
        paths: the hold's own znodes, full paths on the server; it is lost with the first of them.
        is_proven: whether it was proven once; `why_ended` reports what ended it later.
        is_unreadable: it was lost because the znode's ACL does not let its owner read it.
    """

    def __init__(self, paths: tuple[str, ...], holds: HoldOwner) -> None:
        self.paths = paths
        self._scope: anyio.CancelScope | None = anyio.CancelScope()
        self._holds = holds
        self._lost = self._ended = ""
        self.is_proven: bool = False
        self.is_unreadable = False
        self._news: anyio.Event | None = None

    @property
    def scope(self) -> anyio.CancelScope:
        """The scope of the body, cancelled when its hold can no longer be proven; none after `drop_scope`."""
        assert self._scope is not None
        return self._scope

    @property
    def valid_until(self) -> float:
        """Until when the hold is proven, on `anyio.current_time()`'s clock; `-inf` when it is lost."""
        self._holds.look_at_clock()
        return _NEVER if self._lost or not self.is_proven else self._holds.proof.valid_until

    def why_lost(self) -> str:
        """Why the hold is no longer valid, at this very moment; empty while it is."""
        self._holds.look_at_clock()
        if not self._lost and self.is_proven and self._holds.now() >= self._holds.proof.valid_until:
            self.lose(_NO_PROOF + self._holds.blocked)
        return self._lost

    def why_ended(self) -> str:
        """Why the body may no longer run, at this very moment; empty while it may.

        Once there is a reason it stays, even if the hold is proven again. A body that nothing can cancel may
        run as long as the hold is valid.
        """
        self.why_lost()
        if self._scope is not None and self.is_proven and self._holds.now() >= self._holds.cancel_at:
            self.end(_NO_PROOF + self._holds.blocked)
        return self._ended

    async def wait_proven(self) -> bool:
        """Wait until the hold is proven for the first time, or lost; whether it is proven.

        Cancellation: nothing has changed; the hold is still checked until `release`.
        """
        while not self.is_proven and not self._lost:
            await self._wait_for_news()
        return not self.why_ended()

    async def confirm(self) -> bool:
        """Get one proof now: a check that is sent after this call. Whether it found the hold valid."""
        return await self.wait_confirmed(self.ask())

    def ask(self) -> int:
        """Ask for a check at once, and return its number for `wait_confirmed`."""
        number = max(self._holds.checks.ask(path) for path in self.paths)
        self._holds.hurry()
        return number

    async def wait_confirmed(self, number: int) -> bool:
        """Wait until a check from this number on finds the hold, or it is lost; whether it is valid."""
        while not self.why_lost() and any(
            self._holds.checks.found_number(path) < number for path in self.paths
        ):
            # nothing else reports the end of the proof once the body was cancelled
            with anyio.CancelScope(deadline=self._holds.proof.valid_until):
                await self._wait_for_news()
        return not self._lost

    def move_to(self, path: str) -> None:
        """Another znode stands for the hold from now on; it has been made already."""
        if not self._lost:
            self._holds.move(self, path)

    def release(self) -> None:
        """Check the hold no longer: the body has ended. Later questions are answered that it is over."""
        self._lost = self._lost or "its block has ended"
        self._holds.forget(self)
        self.tell()

    def drop_scope(self) -> anyio.CancelScope | None:
        """Prove the hold without cancelling anything from now on: no task is left to cancel.

        Another task than the one that entered the scope cannot leave it. It works in a callback of the loop,
        too.

        Returns:
            The scope, which is not cancelled any more; None if it was dropped before.
        """
        dropped, self._scope = self._scope, None
        return dropped

    def lose(self, reason: str) -> None:
        """The hold is over without its owner's doing."""
        if not self._lost:
            self._lost = reason
            self._holds.forget(self)
            self.end(reason)

    def disown(self, reason: str) -> None:
        """The hold is another process's, of which this one is a child.

        Nothing is cancelled or logged: the loop is the other process's, too, and that has lost nothing.
        """
        self._lost = self._ended = self._lost or reason

    def end(self, reason: str) -> None:
        """Cancel the body, for good."""
        if self._ended:
            return
        self._ended = reason
        logger.warning("a hold is lost: %s: %s", self.paths[0], reason, extra={"path": self.paths[0]})
        if self._scope is not None:
            self._scope.cancel()
        self.tell()

    def prove(self) -> None:
        """The hold is proven for the first time: its body may begin."""
        self.is_proven = True
        self.tell()

    def tell(self) -> None:
        """Something has changed: wake the tasks that wait for it, which look again."""
        self._holds.waiting.pop(self, None)
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def _wait_for_news(self) -> None:
        if self._news is None:
            self._news = anyio.Event()
        self._holds.waiting[self] = None
        await self._news.wait()
