"""A concise notation for histories of a double barrier, for the tests of their checker."""

from __future__ import annotations

from collections import Counter

from tests.recipes.double_barrier_checker import (
    Arrived,
    BlockBegan,
    BlockEnded,
    Crashed,
    Event,
    Left,
    Member,
    ReadyCreated,
    ReadyDeleted,
    Rule,
    SessionEnded,
    Settled,
    Violation,
    ZnodeCreated,
    ZnodeDeleted,
    check,
)

__all__ = ["History"]


class History:
    """A history of a barrier for two members, built step by step. Each transaction gets the next zxid."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.zxid = 0
        self._znodes: dict[Member, str] = {}
        self._renewals: Counter[Member] = Counter()

    def session(self, member: Member) -> int:
        """Return the id of a member's current session."""
        return sum(map(ord, member.name)) * 10_000 + member.incarnation * 100 + self._renewals[member]

    def arrive(self, member: Member) -> History:
        self.events.append(Arrived(member, self.zxid))
        return self

    def create(self, member: Member) -> History:
        self.zxid += 1
        self._znodes[member] = f"{member}-{self.zxid}"
        self.events.append(ZnodeCreated(self.zxid, self._znodes[member], self.session(member), member))
        return self

    def delete(self, member: Member, by: Member | None = None) -> History:
        self.zxid += 1
        self.events.append(ZnodeDeleted(self.zxid, self._znodes[member], self.session(by or member)))
        return self

    def ready(self, by: Member, *, together: bool = False) -> History:
        self.zxid += not together
        self.events.append(ReadyCreated(self.zxid, self.session(by), by.is_ours))
        return self

    def remove_ready(self, by: Member, *, together: bool = False) -> History:
        self.zxid += not together
        self.events.append(ReadyDeleted(self.zxid, self.session(by), by.is_ours))
        return self

    def begin(self, *members: Member) -> History:
        self.events += [BlockBegan(member, self.zxid) for member in members]
        return self

    def end(self, *members: Member) -> History:
        self.events += [BlockEnded(member, self.zxid) for member in members]
        return self

    def leave(self, *members: Member) -> History:
        self.events += [Left(member, self.zxid) for member in members]
        return self

    def crash(self, member: Member) -> History:
        self.events.append(Crashed(member))
        return self

    def expire(self, member: Member, *, is_forced: bool = False) -> History:
        self.zxid += 1
        self.events.append(SessionEnded(self.zxid, self.session(member), is_forced))
        self.events.append(ZnodeDeleted(self.zxid, self._znodes[member], None))
        self._renewals[member] += 1
        return self

    def settle(self) -> History:
        self.events.append(Settled())
        return self

    # --- several steps -------------------------------------------------------------------------------------

    def come(self, *members: Member) -> History:
        """Let the members arrive, and create their znodes."""
        for member in members:
            self.arrive(member).create(member)
        return self

    def enter(self, *members: Member) -> History:
        """Let the members arrive; the last one begins the round, and all enter."""
        return self.come(*members).ready(members[-1]).begin(*members)

    def go(self, *members: Member) -> History:
        """End the blocks and delete the znodes; the last member removes `ready`."""
        for member in members:
            self.end(member).delete(member)
        return self.remove_ready(members[-1]).leave(*members)

    def rules(self, parties: int = 2) -> list[Rule]:
        return [violation.rule for violation in self.check(parties)]

    def check(self, parties: int = 2) -> list[Violation]:
        return check(self.events, parties)
