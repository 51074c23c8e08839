"""A replica without a leader. An election is reduced to its outcome (`FastLeaderElection`, 3.9)."""

from __future__ import annotations

from typing import final

from zkrecipes.testing.simulated.following import Following
from zkrecipes.testing.simulated.leading import Leading
from zkrecipes.testing.simulated.replica import Replica, Role

__all__ = ["Looking"]

# A vote needs a moment to go round, and each replica looks at its own time.
_LOOK_SOON = (0.001, 0.06)
_LOOK_AGAIN = (0.01, 0.08)
# Votes that arrive within so many seconds still count (`finalizeWait`).
_SETTLES_AFTER = 0.2


@final
class Looking(Role):
    """It has no leader, and serves nobody."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self._since = replica.world.timetable.now()

    def begin(self) -> None:
        """Start looking."""
        self.replica.in_term(self.replica.world.random.uniform(*_LOOK_SOON), self._look)

    @property
    def has_settled(self) -> bool:
        """Whether its vote can be counted."""
        return self.replica.world.timetable.now() - self._since >= _SETTLES_AFTER

    def _look(self) -> None:
        replica, world = self.replica, self.replica.world
        leaders = [
            other
            for other in world.replicas.values()
            if isinstance(other.role, Leading)
            and other.role.has_started
            and not other.is_paused
            and world.wires.is_linked(replica.number, other.number)
        ]
        if leaders:
            leader = max(leaders, key=lambda other: other.accepted_epoch)
            replica.take(Following(replica, leader.number))
        elif not self._elect():
            replica.in_term(world.random.uniform(*_LOOK_AGAIN), self._look)

    def _elect(self) -> bool:
        """Let those in reach elect one of them; whether this replica has a role by that."""
        replica, world = self.replica, self.replica.world
        voters = {
            other: other.role
            for other in world.replicas.values()
            if isinstance(other.role, Looking)
            and not other.is_paused
            and (other is replica or world.wires.is_linked(replica.number, other.number))
        }
        if not world.is_majority(len(voters)):
            return False
        best = max(
            voters,
            key=lambda other: (
                other.current_epoch,
                other.last_zxid,
                other.number == world.preferred_leader,
                other.number,
            ),
        )
        followers = [
            other
            for other in voters
            if other is not best and world.wires.is_linked(best.number, other.number)
        ]
        elected = [best, *followers]
        if not world.is_majority(len(elected)) or not all(voters[each].has_settled for each in elected):
            return False
        best.take(Leading(best))
        for other in followers:
            other.take(Following(other, best.number))
        return replica in elected
