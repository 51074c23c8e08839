"""The heartbeat of checks that keeps the holds of one session proven: what is due when, and what it told.

A check is a `multi` of nothing but a `check` (no version) of each hold's own node: a write as far as the
quorum is concerned (so an answer proves something, see `zkrecipes.protocol.hold_proof`), yet it changes
nothing and fires no watch. Pure: the caller sends, receives and tells the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from zkrecipes.protocol.hold_proof import CANCEL_BEFORE_END, CHECK_EVERY, CHECK_UNANSWERED_AFTER

if TYPE_CHECKING:
    from zkrecipes.protocol.hold_proof import HoldProof

__all__ = ["HoldChecks"]

# A check that was asked for needs a write answered before it, or it proves no more than the last one did. On
# a session that has written nothing for long the first check is that write, and a second at once is the
# proof. More would not help faster than the heartbeat does, and would load the quorum as fast as it can
# answer.
_AT_ONCE_MAX: Final = 2


@dataclass(slots=True)
class _Check:
    """The one check that is on its way."""

    number: int
    paths: tuple[str, ...]
    proves_until: float
    waiting_since: float
    """Its send, or the last answer to a request sent before it, whichever is later."""
    at_once: int
    """How many checks in a row, this one included, may go at once to get a proof."""


@final
class HoldChecks:
    """Which checks one session sends for all its holds together, on whichever connection it has.

    The conversation: when `due` returns paths, send the check and say `sent`; then one of `succeeded`,
    `failed` and `detached` follows. Ask `unanswered` and `due` again at `next_deadline`. A hold is its node's
    full path, which belongs to this hold alone and is never used again.

    Answers are told to the proof (`HoldProof.answered`) as those of all other requests are; here only what
    they mean.

    Args:
        proof: The proof of the same session. Tell it `attached` and `detached` first, then this object.
    """

    __slots__ = (
        "_at_once",
        "_attached",
        "_check",
        "_due_at",
        "_found",
        "_number",
        "_proof",
        "_succeeded_number",
    )

    def __init__(self, proof: HoldProof) -> None:
        self._proof = proof
        self._attached = False
        self._found: dict[str, bool] = {}
        self._check: _Check | None = None
        self._due_at = -math.inf
        self._at_once = 1
        self._number = 0
        self._succeeded_number = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """The holds, in the order in which they were added."""
        return tuple(self._found)

    @property
    def succeeded_number(self) -> int:
        """The number of the newest check that found all its nodes; 0 before the first. See `demand`."""
        return self._succeeded_number

    def add(self, path: str) -> None:
        """A node was created, or has come to its turn: check it from now on, the first time at once."""
        self._found[path] = False
        self.demand()

    def add_found(self, path: str, now: float) -> None:
        """A node has just been created by a write that proved the hold: its first check has time."""
        if not self._found:
            self._due_at = now + CHECK_EVERY * self._proof.timeout
        self._found[path] = True

    def discard(self, path: str) -> None:
        """The hold is over: check it no more. A path that is not held is ignored."""
        self._found.pop(path, None)

    def demand(self) -> int:
        """Ask for a check at once.

        Returns:
            The number of the check that will answer: it is sent after this call. It has when
            `succeeded_number` is at least that.
        """
        self._due_at = -math.inf
        self._at_once = _AT_ONCE_MAX
        return self._number + 1

    def is_proven(self, path: str, now: float) -> bool:
        """Whether a body may run in this hold: its node was found since it was added, and there is time left.

        That is what a fresh hold waits for. A hold once proven ends by `failed` or by the time of the proof.
        """
        return self._found.get(path, False) and self._has_time_left(now)

    def attached(self) -> None:
        """A connection is up: the first check on it is due at once."""
        self._attached = True
        self._check = None
        self.demand()

    def detached(self) -> None:
        """The connection is gone, and a check that was on its way with it."""
        self._attached = False
        self._check = None

    def due(self, now: float) -> tuple[str, ...] | None:
        """Return the paths to check now. None: not yet, or no hold, no connection, or a check on its way."""
        if not self._attached or not self._found or self._check is not None or now < self._due_at:
            return None
        return self.paths

    def sent(self, paths: tuple[str, ...], now: float) -> None:
        """The check of these paths (from `due`) goes out. After calling this: `next_deadline` has changed."""
        self._number += 1
        self._check = _Check(self._number, paths, self._proof.write_proves_until, now, self._at_once)
        self._due_at = now + CHECK_EVERY * self._proof.timeout
        self._at_once = 1

    def replied_to_earlier(self, now: float) -> None:
        """A request sent before the check on its way was answered: the server works, it has a backlog."""
        if self._check is not None:
            self._check.waiting_since = now

    def succeeded(self, now: float) -> tuple[str, ...]:
        """The check found all its nodes. After calling this: `valid_until`, `is_proven` and deadlines differ.

        Returns:
            The paths that it named, those discarded meanwhile included.
        """
        check = self._take_check()
        self._succeeded_number = check.number
        self._proof.write_committed(check.proves_until)
        for path in check.paths:
            if path in self._found:
                self._found[path] = True
        if not self._has_time_left(now):
            self._go_on_at_once(check.at_once - 1)
        return check.paths

    def failed(self, index: int | None) -> str | None:
        """The check was answered with an error.

        Args:
            index: Which of its paths is to blame, the first that is missing or may not be read. None where
                none is (a server that refuses to serve): then only the next regular check follows.

        Returns:
            The path that was lost by it, and is no longer checked; the rest is due at once. None if there is
            none, or its hold has been discarded meanwhile.
        """
        check = self._take_check()
        if index is None:
            return None
        # Those before it were found, those behind it were not looked at, so nothing is said of either.
        self._go_on_at_once(check.at_once)
        path = check.paths[index]
        return path if self._found.pop(path, None) is not None else None

    def unanswered(self, now: float) -> bool:
        """Whether the server must be left for another one, since a check has waited for too long."""
        return bool(self._found) and self._check is not None and now >= self._leave_at(self._check)

    def next_deadline(self) -> float:
        """Return when to ask `unanswered` and `due` again: infinite for never, `-inf` for at once."""
        if not self._attached or not self._found:
            return math.inf
        if self._check is not None:
            return self._leave_at(self._check)
        return self._due_at

    def _take_check(self) -> _Check:
        check, self._check = self._check, None
        if check is None:
            raise RuntimeError("no check is on its way")
        return check

    def _go_on_at_once(self, at_once: int) -> None:
        if at_once > 0:
            self._due_at = -math.inf
            self._at_once = max(self._at_once, at_once)

    def _has_time_left(self, now: float) -> bool:
        return now < self._proof.valid_until - CANCEL_BEFORE_END * self._proof.timeout

    def _leave_at(self, check: _Check) -> float:
        return check.waiting_since + CHECK_UNANSWERED_AFTER * self._proof.timeout
