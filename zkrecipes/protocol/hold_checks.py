"""The heartbeat of checks that keeps the holds of one session proven: what is due when, and what it showed.

A check is a `multi` of nothing but a `check` (no version) of some holds' own nodes: a write as far as the
quorum is concerned (so an answer proves something, see `zkrecipes.protocol.hold_proof`), yet it changes
nothing and fires no watch. Pure: the caller sends, receives and tells the time.
"""

# Two kinds of checks go out.
#
# - A round names every hold, each sixteenth of a timeout. It goes in parts that any server takes, all sent
#   together. Whichever part is answered proves the session; each part proves that the nodes exist that it
#   names.
# - Between the rounds, a check names only what was asked for: a new hold's node, or the one whose owner wants
#   a proof now. So a client with thousands of holds enters one more at the price of one.
#
# Either waits until all that was sent before is answered.

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from zkrecipes.protocol.hold_forecast import will_last
from zkrecipes.protocol.hold_proof import (
    CANCEL_BEFORE_END,
    CHECK_EVERY,
    CHECK_UNANSWERED_AFTER,
    MOVE_BEFORE_CANCEL,
)

if TYPE_CHECKING:
    from zkrecipes.protocol.hold_proof import HoldProof

__all__ = ["PART_SIZE_MAX", "HoldChecks", "in_parts"]

PART_SIZE_MAX: Final = 2**16
"""Bytes of the largest check: no server's `jute.maxbuffer` (1 MiB by default) is smaller."""

# What a check takes in a multi beside its path: the operation's header, the path's length, the version.
_BESIDE_THE_PATH: Final = 9 + 4 + 4
# A frame's length, its header, and the end of the multi.
_BESIDE_THE_CHECKS: Final = 4 + 8 + 9

# A check that was asked for needs a write answered before it, or it proves no more than the last one did. On
# a session that has written nothing for long the first check is that write, and a second at once is the
# proof. More would not help faster than the heartbeat does, and would load the quorum as fast as it can
# answer.
_AT_ONCE_MAX: Final = 2

# From this round trip on (in timeouts) a link is called slow: near a tenth, where no hold can be proven.
_SLOW_FROM: Final = 1 / 12
# So many checks in a row, or it is not the link.
_SLOW_CHECKS: Final = 3

# Whose link is that slow waits for twice the fastest answer before it leaves a server, or it would leave
# every server in turn. At most so long, in timeouts.
_PATIENCE_MAX: Final = 1 / 2

# So few names are asked for again together after a failure.
_HALVED_DOWN_TO: Final = 32

_NOT_FOUND: Final = -1


@dataclass(slots=True)
class _Check:
    """A check that is on its way."""

    number: int
    paths: tuple[str, ...]
    proves_until: float
    sent_at: float
    waiting_since: float
    """Its send, or the last answer to a request sent before it, whichever is later."""
    at_once: int
    """How many checks in a row, this one included, may go at once to get a proof."""
    heard_at: float = -math.inf
    """When bytes of a reply to a request sent before it came last."""


@final
class HoldChecks:
    """Which checks one session sends for its holds, on whichever connection it has.

    The conversation: send what `take_due` returns, in that order; then one of `succeeded` and `failed`
    follows for each, or `detached`. Ask `unanswered` and `take_due` again at `next_deadline`. A hold is its
    node's full path, which belongs to this hold alone and is never used again.

    Answers are reported to the proof (`HoldProof.answered`) as those of all other requests are; here only
    what they mean.

    Args:
        proof: The proof of the same session. Tell it `attached` and `detached` first, then this object.
        part_size_max: Bytes of the largest check.
    """

    __slots__ = (
        "_asked",
        "_at_once",
        "_attached",
        "_due_at",
        "_found",
        "_greeting_took",
        "_names_max",
        "_number",
        "_on_way",
        "_part_size_max",
        "_proof",
        "_slow_checks",
        "_timed",
    )

    def __init__(self, proof: HoldProof, *, part_size_max: int = PART_SIZE_MAX) -> None:
        self._proof = proof
        self._part_size_max = part_size_max
        self._attached = False
        # Each hold, and the number of the newest check that found its node.
        self._found: dict[str, int] = {}
        self._asked: dict[str, None] = {}
        self._on_way: deque[_Check] = deque()
        self._due_at = -math.inf
        self._at_once = 1
        self._number = 0
        self._names_max = math.inf
        self._greeting_took = 0.0
        self._slow_checks = 0
        self._timed = -math.inf

    @property
    def paths(self) -> tuple[str, ...]:
        """The holds, in the order in which they were added."""
        return tuple(self._found)

    @property
    def is_link_slow(self) -> bool:
        """Whether round trips are so long that holds can hardly be proven, or not at all."""
        return self._slow_checks >= _SLOW_CHECKS

    def add(self, path: str) -> None:
        """A node was created, or has come to its turn: check it from now on, the first time at once."""
        self._found[path] = _NOT_FOUND
        self.ask(path)

    def add_found(self, path: str, now: float) -> None:
        """A node has just been created by a write that proved the hold: its first check has time."""
        if not self._found:
            self._due_at = now + CHECK_EVERY * self._proof.timeout
        self._found[path] = 0

    def discard(self, path: str) -> None:
        """The hold is over: check it no more. A path that is not held is ignored."""
        self._found.pop(path, None)
        self._asked.pop(path, None)

    def ask(self, path: str) -> int:
        """Ask for a check of one hold at once.

        Returns:
            The least number of a check that answers: it is sent after this call. See `found_number`.
        """
        if path in self._found:
            self._asked[path] = None
            self._at_once = _AT_ONCE_MAX
        return self._number + 1

    def found_number(self, path: str) -> int:
        """The number of the newest check that found the node; below 1 before the first."""
        return self._found.get(path, _NOT_FOUND)

    def is_found(self, path: str) -> bool:
        """Whether the node was found since it was added."""
        return self.found_number(path) != _NOT_FOUND

    def is_proven(self, path: str, now: float) -> bool:
        """Whether a body may begin in this hold: its node was found, and the proof will last.

        A hold once proven ends by `failed` or by the time of the proof.
        """
        return self.is_found(path) and self.will_last(now)

    def will_last(self, now: float) -> bool:
        """Whether each coming check extends the proof in time, if it takes as long as the newest write."""
        # with the first hold the rounds begin: see `add_found`
        next_check_at = self._due_at if self._found else now + CHECK_EVERY * self._proof.timeout
        return will_last(self._proof, now=now, next_check_at=next_check_at)

    def attached(self, greeting_took: float = 0.0) -> None:
        """A connection is up: the first round on it is due at once.

        Args:
            greeting_took: How long its greeting took to be answered.
        """
        self._attached = True
        self._greeting_took = greeting_took
        self._on_way.clear()
        self._due_at = -math.inf
        self._at_once = _AT_ONCE_MAX

    def detached(self) -> None:
        """The connection is gone, and the checks that were on their way with it."""
        self._attached = False
        self._on_way.clear()

    def take_due(self, now: float) -> list[tuple[str, ...]]:
        """Return the paths of each check to send now; after this call they count as sent.

        Returns:
            Nothing if none is due, if there is no hold or no connection, or while a check is on its way.
        """
        if not self._attached or not self._found or self._on_way:
            return []
        is_round = now >= self._due_at or len(self._asked) == len(self._found)
        if not (is_round or self._asked):
            return []
        names = self._found if is_round else self._asked
        parts = list(in_parts(names, self._names_max, self._part_size_max))
        for paths in parts:
            self._number += 1
            proves_until, at_once = self._proof.write_proves_until, self._at_once
            self._on_way.append(_Check(self._number, paths, proves_until, now, now, at_once))
            self._at_once = 1
        self._asked.clear()
        self._names_max = math.inf
        if is_round:
            self._due_at = now + CHECK_EVERY * self._proof.timeout
        return parts

    def replied_to_earlier(self, now: float) -> None:
        """A request sent before the checks on their way was answered: the server works, it has a backlog."""
        if self._on_way:
            self._on_way[0].waiting_since = now

    def heard_earlier(self, now: float) -> None:
        """Bytes came of a reply to a request sent before the checks on their way.

        The server works, and a large reply has not ended. The holds can afford to wait for its end only while
        a move to another server can still save them.
        """
        if self._on_way:
            self._on_way[0].heard_at = now

    def succeeded(self, now: float) -> tuple[str, ...]:
        """The oldest check found all its nodes. After calling this, proof, `is_proven` and deadlines differ.

        Returns:
            The paths that it named, including those discarded meanwhile.
        """
        check = self._take_check(now)
        self._note_round_trip(check, now)
        self._proof.write_committed(check.proves_until)
        for path in check.paths:
            if path in self._found:
                self._found[path] = check.number
        if check.at_once > 1 and not self.will_last(now):
            self._ask_again(check.paths, check.at_once - 1)
        return check.paths

    def failed(self, index: int | None, now: float) -> str | None:
        """The oldest check was answered with an error.

        Args:
            index: Which of its paths is to blame, the first that is missing or may not be read. None if none
            is
                (a server that refuses to serve): then only the next regular check follows.
            now: When the answer came.

        Returns:
            The path that was lost by it, and is no longer checked; the rest is due at once. None if there is
            none, or its hold has been discarded meanwhile.
        """
        check = self._take_check(now)
        if index is None:
            return None
        # Those before it were found, those behind it were not looked at, so nothing is said of either. If
        # many are gone, as when an administrator removes a directory, halves find them in few round trips.
        self._names_max = min(self._names_max, max(_HALVED_DOWN_TO, len(check.paths) // 2))
        path = check.paths[index]
        is_held = path in self._found
        self.discard(path)
        self._ask_again(check.paths, check.at_once)
        return path if is_held else None

    def unanswered(self, now: float) -> bool:
        """Whether the server must be left for another one, since a check has waited for too long."""
        return bool(self._found and self._on_way) and now >= self._leave_at(self._on_way[0])

    def next_deadline(self) -> float:
        """Return when to ask `unanswered` and `take_due` again: infinite for never, `-inf` for at once."""
        if not self._attached or not self._found:
            return math.inf
        if self._on_way:
            return self._leave_at(self._on_way[0])
        return -math.inf if self._asked else self._due_at

    def _take_check(self, now: float) -> _Check:
        if not self._on_way:
            raise RuntimeError("no check is on its way")
        check = self._on_way.popleft()
        self.replied_to_earlier(now)
        return check

    def _ask_again(self, paths: Iterable[str], at_once: int) -> None:
        self._asked.update((path, None) for path in paths if path in self._found)
        self._at_once = max(self._at_once, at_once)

    def _note_round_trip(self, check: _Check, now: float) -> None:
        if check.sent_at == self._timed:
            return  # another part of that check: it says no more of the link, as one pause delays all parts
        self._timed = check.sent_at
        is_slow = now - check.sent_at >= _SLOW_FROM * self._proof.timeout
        self._slow_checks = self._slow_checks + 1 if is_slow else 0

    def _leave_at(self, check: _Check) -> float:
        timeout = self._proof.timeout
        fastest = min(self._proof.fastest_answer, self._greeting_took)
        patience = max(CHECK_UNANSWERED_AFTER * timeout, min(2 * fastest, _PATIENCE_MAX * timeout))
        move_until = self._proof.valid_until - (CANCEL_BEFORE_END + MOVE_BEFORE_CANCEL) * timeout
        return max(check.waiting_since + patience, min(check.heard_at + patience, move_until))


def in_parts(
    paths: Iterable[str], names_max: float = math.inf, size_max: int = PART_SIZE_MAX
) -> Iterator[tuple[str, ...]]:
    """Split paths into checks of at most `size_max` bytes and `names_max` names each, in order."""
    part: list[str] = []
    size = _BESIDE_THE_CHECKS
    for path in paths:
        takes = _BESIDE_THE_PATH + len(path.encode())
        if part and (size + takes > size_max or len(part) >= names_max):
            yield tuple(part)
            part, size = [], _BESIDE_THE_CHECKS
        part.append(path)
        size += takes
    if part:
        yield tuple(part)
