"""A replica without a leader. An election is reduced to its outcome (`FastLeaderElection`, 3.9)."""

from __future__ import annotations

from typing import final

from zkrecipes.testing.simulated.follower_role import Following
from zkrecipes.testing.simulated.leader_role import Leading
from zkrecipes.testing.simulated.replica import Replica, Role

__all__ = ["Looking"]

# A vote takes some time to reach all replicas, and each replica looks at a different time (range in seconds).
_LOOK_SOON = (0.001, 0.06)
_LOOK_AGAIN = (0.01, 0.08)
# Votes that arrive within this many seconds still count (`finalizeWait`).
_SETTLES_AFTER = 0.2


@final
class Looking(Role):
    """The role of a replica that has no leader and serves no clients."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self._since = replica.ensemble.scheduler.now()

    def enter(self) -> None:
        """Start looking."""
        self.replica.call_in_role(self.replica.ensemble.random.uniform(*_LOOK_SOON), self._look_for_leader)

    @property
    def has_settled(self) -> bool:
        """Whether the replica's vote can be counted."""
        return self.replica.ensemble.scheduler.now() - self._since >= _SETTLES_AFTER

    def _look_for_leader(self) -> None:
        replica, ensemble = self.replica, self.replica.ensemble
        leaders = [
            other
            for other in ensemble.replicas.values()
            if isinstance(other.role, Leading)
            and other.role.has_started
            and not other.is_paused
            and ensemble.replica_network.is_linked(replica.number, other.number)
        ]
        if leaders:
            leader = max(leaders, key=lambda other: other.accepted_epoch)
            replica.change_role(Following(replica, leader.number))
        elif not self._try_election():
            replica.call_in_role(ensemble.random.uniform(*_LOOK_AGAIN), self._look_for_leader)

    def _try_election(self) -> bool:
        """Let the reachable replicas elect a leader; return whether this replica has a new role."""
        replica, ensemble = self.replica, self.replica.ensemble
        voters = {
            other: other.role
            for other in ensemble.replicas.values()
            if isinstance(other.role, Looking)
            and not other.is_paused
            and (other is replica or ensemble.replica_network.is_linked(replica.number, other.number))
        }
        if not ensemble.is_majority(len(voters)):
            return False
        best = max(
            voters,
            key=lambda other: (
                other.current_epoch,
                other.last_zxid,
                other.number == ensemble.preferred_leader,
                other.number,
            ),
        )
        followers = [
            other
            for other in voters
            if other is not best and ensemble.replica_network.is_linked(best.number, other.number)
        ]
        elected = [best, *followers]
        if not ensemble.is_majority(len(elected)) or not all(voters[each].has_settled for each in elected):
            return False
        best.change_role(Leading(best))
        for other in followers:
            other.change_role(Following(other, best.number))
        return replica in elected
