"""The heartbeat of checks that keeps the holds of one session proven.

A check is a `multi` that contains only a `check` (without a version) of some holds' own nodes. To the quorum
it is a write, so its answer is a proof (see `zkrecipes.protocol.hold_proof`), yet it changes nothing and
fires no watch. This module is pure: the caller sends, receives and supplies the time.
"""

# There are two kinds of checks.
#
# - A round names every hold, each sixteenth of a timeout. It consists of parts that any server accepts, all
#   sent together. The answer to any part proves the session; each part proves that the nodes it names exist.
# - Between the rounds, a check names only the requested nodes: a new hold's node, or a node whose owner wants
#   a proof now. So for a client with thousands of holds, one more costs as much as the first.
#
# Either kind waits until all earlier checks are answered.

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

__all__ = ["PART_SIZE_MAX", "HoldChecks", "split_into_parts"]

PART_SIZE_MAX: Final = 2**16
"""The size of the largest check, in bytes: no server's `jute.maxbuffer` (1 MiB by default) is smaller."""

# The bytes of a check in a multi besides its path: the operation's header, the path's length, the version.
_CHECK_OVERHEAD: Final = 9 + 4 + 4
# The frame's length, its header, and the end of the multi.
_FRAME_OVERHEAD: Final = 4 + 8 + 9

# A requested check proves more than the last one only if a write was answered before it. On a session that
# has written nothing for long, the first check is that write, and an immediate second one is the proof. More
# of them would not prove a hold earlier than the heartbeat does, and would load the quorum without a pause.
_IMMEDIATE_CHECKS_MAX: Final = 2

# A link with at least this round trip (in timeouts) is slow: near a tenth, at which no hold can be proven.
_SLOW_ROUND_TRIP: Final = 1 / 12
# The link is the cause only if this many checks in a row are slow.
_SLOW_CHECKS: Final = 3

# A client with such a link waits for twice the fastest answer before it leaves a server; otherwise it would
# leave every server in turn. It waits at most this long, in timeouts.
_UNANSWERED_MAX: Final = 1 / 2

# After a failure, halves are checked again down to this number of names.
_HALVED_NAMES_MIN: Final = 32

_NOT_FOUND: Final = -1


@dataclass(slots=True)
class _Check:
    """A check in flight."""

    number: int
    paths: tuple[str, ...]
    proves_until: float
    sent_at: float
    waiting_since: float
    """The later of its send and the last answer to a request sent before it."""
    at_once: int
    """The number of checks in a row, including this one, that may leave immediately to get a proof."""
    heard_at: float = -math.inf
    """The time when the last bytes of a reply to an earlier request arrived."""


@final
class HoldChecks:
    """The checks that one session sends for its holds, on any of its connections.

    The conversation: send the checks that `take_due` returns, in that order; then call `succeeded` or
    `failed` for each, or `detached`. Call `is_overdue` and `take_due` again at `next_deadline`. A hold is
    identified by its node's full path, which belongs to this hold alone and is never used again.

    Report the time of each answer to the proof (`HoldProof.answered`), as for all other requests, and its
    result here.

    Args:
        proof: The proof of the same session. Call its `attached` and `detached` first, then this object's.
        part_size_max: The bytes of the largest check.
    """

    __slots__ = (
        "_asked",
        "_at_once",
        "_attached",
        "_due_at",
        "_found",
        "_greeting_took",
        "_in_flight",
        "_names_max",
        "_number",
        "_part_size_max",
        "_proof",
        "_slow_checks",
        "_timed",
    )

    def __init__(self, proof: HoldProof, *, part_size_max: int = PART_SIZE_MAX) -> None:
        self._proof = proof
        self._part_size_max = part_size_max
        self._attached = False
        # Each hold, with the number of the newest check that found its node.
        self._found: dict[str, int] = {}
        self._asked: dict[str, None] = {}
        self._in_flight: deque[_Check] = deque()
        self._due_at = -math.inf
        self._at_once = 1
        self._number = 0
        self._names_max = math.inf
        self._greeting_took = 0.0
        self._slow_checks = 0
        self._timed = -math.inf

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the holds, in the order in which they were added."""
        return tuple(self._found)

    @property
    def is_link_slow(self) -> bool:
        """Whether round trips are so long that holds can hardly be proven, or not at all."""
        return self._slow_checks >= _SLOW_CHECKS

    def add(self, path: str) -> None:
        """Check a node from now on, the first time immediately. Call it when the node may become a hold."""
        self._found[path] = _NOT_FOUND
        self.ask(path)

    def add_found(self, path: str, now: float) -> None:
        """Check a node from the next round on, because the write that created it proved the hold."""
        if not self._found:
            self._due_at = now + CHECK_EVERY * self._proof.timeout
        self._found[path] = 0

    def discard(self, path: str) -> None:
        """Stop checking a hold that has ended. A path that is not held is ignored."""
        self._found.pop(path, None)
        self._asked.pop(path, None)

    def ask(self, path: str) -> int:
        """Request an immediate check of one hold.

        Returns:
            The smallest number of a check that is sent after this call. See `found_number`.
        """
        if path in self._found:
            self._asked[path] = None
            self._at_once = _IMMEDIATE_CHECKS_MAX
        return self._number + 1

    def found_number(self, path: str) -> int:
        """Return the number of the newest check that found the node; below 1 before the first."""
        return self._found.get(path, _NOT_FOUND)

    def is_found(self, path: str) -> bool:
        """Whether a check has found the node since it was added."""
        return self.found_number(path) != _NOT_FOUND

    def is_proven(self, path: str, now: float) -> bool:
        """Whether a body may begin in this hold: its node was found, and the proof will last.

        A proven hold ends by `failed`, or when its proof ends.
        """
        return self.is_found(path) and self.will_last(now)

    def will_last(self, now: float) -> bool:
        """Whether each coming check extends the proof in time, if it takes as long as the newest write."""
        # the rounds begin with the first hold: see `add_found`
        next_check_at = self._due_at if self._found else now + CHECK_EVERY * self._proof.timeout
        return will_last(self._proof, now=now, next_check_at=next_check_at)

    def attached(self, greeting_took: float = 0.0) -> None:
        """Note a new connection; the first round on it is due immediately.

        Args:
            greeting_took: The time from its greeting to the answer, in seconds.
        """
        self._attached = True
        self._greeting_took = greeting_took
        self._in_flight.clear()
        self._due_at = -math.inf
        self._at_once = _IMMEDIATE_CHECKS_MAX

    def detached(self) -> None:
        """Forget the checks in flight, because the connection has ended."""
        self._attached = False
        self._in_flight.clear()

    def take_due(self, now: float) -> list[tuple[str, ...]]:
        """Return the paths of each check to send now; after this call they count as sent.

        Returns:
            An empty list if no check is due, without a hold or a connection, or while a check is in flight.
        """
        if not self._attached or not self._found or self._in_flight:
            return []
        is_round = now >= self._due_at or len(self._asked) == len(self._found)
        if not (is_round or self._asked):
            return []
        names = self._found if is_round else self._asked
        parts = list(split_into_parts(names, self._names_max, self._part_size_max))
        for paths in parts:
            self._number += 1
            proves_until, at_once = self._proof.write_proves_until, self._at_once
            self._in_flight.append(_Check(self._number, paths, proves_until, now, now, at_once))
            self._at_once = 1
        self._asked.clear()
        self._names_max = math.inf
        if is_round:
            self._due_at = now + CHECK_EVERY * self._proof.timeout
        return parts

    def replied_to_earlier(self, now: float) -> None:
        """Note the answer to a request sent before the checks in flight: the server has a backlog."""
        if self._in_flight:
            self._in_flight[0].waiting_since = now

    def heard_earlier(self, now: float) -> None:
        """Note bytes of a reply to a request sent before the checks in flight.

        The server works, and a large reply is incomplete. The holds can wait for its end only while a move to
        another server can still save them.
        """
        if self._in_flight:
            self._in_flight[0].heard_at = now

    def succeeded(self, now: float) -> tuple[str, ...]:
        """Process the success of the oldest check. It changes the proof, `is_proven` and the deadlines.

        Returns:
            The paths that it named, including discarded ones.
        """
        check = self._take_check(now)
        self._note_round_trip(check, now)
        self._proof.write_committed(check.proves_until)
        for path in check.paths:
            if path in self._found:
                self._found[path] = check.number
        if check.at_once > 1 and not self.will_last(now):
            self._request_again(check.paths, check.at_once - 1)
        return check.paths

    def failed(self, index: int | None, now: float) -> str | None:
        """Process the error of the oldest check.

        Args:
            index: The position of the path that caused it, the first that is missing or may not be read. None
                if no path caused it (a server that refuses to serve): then the next regular check follows.
            now: The time when the answer arrived.

        Returns:
            The path of the lost hold, which is not checked again; the other paths are due immediately. None
            if no hold was lost, or its path was discarded before.
        """
        check = self._take_check(now)
        if index is None:
            return None
        # The server found the paths before it and did not check those behind it; both are checked again. If
        # many are missing, as when an administrator removes a directory, halves find them in few round trips.
        self._names_max = min(self._names_max, max(_HALVED_NAMES_MIN, len(check.paths) // 2))
        path = check.paths[index]
        is_held = path in self._found
        self.discard(path)
        self._request_again(check.paths, check.at_once)
        return path if is_held else None

    def is_overdue(self, now: float) -> bool:
        """Whether the client must leave the server, because a check has waited for too long."""
        return bool(self._found and self._in_flight) and now >= self._leave_at(self._in_flight[0])

    def next_deadline(self) -> float:
        """Return when to call `is_overdue` and `take_due` again: `inf` for never, `-inf` for now."""
        if not self._attached or not self._found:
            return math.inf
        if self._in_flight:
            return self._leave_at(self._in_flight[0])
        return -math.inf if self._asked else self._due_at

    def _take_check(self, now: float) -> _Check:
        if not self._in_flight:
            raise RuntimeError("a check must be in flight")
        check = self._in_flight.popleft()
        self.replied_to_earlier(now)
        return check

    def _request_again(self, paths: Iterable[str], at_once: int) -> None:
        self._asked.update((path, None) for path in paths if path in self._found)
        self._at_once = max(self._at_once, at_once)

    def _note_round_trip(self, check: _Check, now: float) -> None:
        if check.sent_at == self._timed:
            return  # another part of the same round: one pause delays all parts
        self._timed = check.sent_at
        is_slow = now - check.sent_at >= _SLOW_ROUND_TRIP * self._proof.timeout
        self._slow_checks = self._slow_checks + 1 if is_slow else 0

    def _leave_at(self, check: _Check) -> float:
        timeout = self._proof.timeout
        fastest = min(self._proof.fastest_answer, self._greeting_took)
        patience = max(CHECK_UNANSWERED_AFTER * timeout, min(2 * fastest, _UNANSWERED_MAX * timeout))
        move_until = self._proof.valid_until - (CANCEL_BEFORE_END + MOVE_BEFORE_CANCEL) * timeout
        return max(check.waiting_since + patience, min(check.heard_at + patience, move_until))


def split_into_parts(
    paths: Iterable[str], names_max: float = math.inf, size_max: int = PART_SIZE_MAX
) -> Iterator[tuple[str, ...]]:
    """Split paths into checks of at most `size_max` bytes and `names_max` names each, in order."""
    part: list[str] = []
    size = _FRAME_OVERHEAD
    for path in paths:
        takes = _CHECK_OVERHEAD + len(path.encode())
        if part and (size + takes > size_max or len(part) >= names_max):
            yield tuple(part)
            part, size = [], _FRAME_OVERHEAD
        part.append(path)
        size += takes
    if part:
        yield tuple(part)
