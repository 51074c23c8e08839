"""The initial state of a server: empty, empty after a state that was lost, or restored from disk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import final

from zkrecipes.devserver.auth.sasl import SaslUsers
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.devserver.processor import Processor
from zkrecipes.devserver.session_tracker import Session, SessionTracker, first_session_id
from zkrecipes.devserver.storage.tables import SavedState

__all__ = ["StateFactory"]


@final
@dataclass(frozen=True, kw_only=True)
class StateFactory:
    """The options that all states of one server share; `DevServer` explains each."""

    tick_time: float
    timeout_min: float | None
    timeout_max: float | None
    start_counter: int
    random: Random
    super_digest: str | None
    extended_types: bool
    sasl_users: SaslUsers | None
    schemes: Collection[str]

    def create(self, started_at: float, zxid: int | None) -> Processor:
        """Create an empty state.

        Args:
            started_at: seconds since 1970.
            zxid: the first zxid; None derives it from the time. The fraction of a second fills the lower half
                of the zxid, so a restart within the same second is also ahead.

        Raises:
            ValueError: a time is out of range.
        """
        return self._new(_zxid_at(started_at) if zxid is None else zxid, first_session_id(started_at))

    def replace(self, lost: Processor, now: float) -> Processor:
        """Create an empty state that is ahead of all clients of a lost state, with other session ids.

        Args:
            lost: the lost state.
            now: seconds since 1970.
        """
        epoch_after = ((lost.zxid >> 32) + 1) << 32
        first_id = max(first_session_id(now), lost.sessions.next_id)
        return self._new(max(_zxid_at(now), epoch_after), first_id)

    def restore(self, saved: SavedState, started_at: float, now: float) -> Processor:
        """Restore a saved state. Clients of its sessions have a whole timeout to attach again.

        Args:
            saved: the saved state.
            started_at: seconds since 1970.
            now: seconds on the clock that sessions expire by.

        Raises:
            KeyError: the parent of a znode is missing.
        """
        processor = self._new(saved.zxid, max(saved.next_session_id, first_session_id(started_at)))
        for node in saved.znodes:
            processor.tree.restore(node)
        for row in saved.sessions:
            processor.sessions.restore(Session(row.session_id, row.timeout, row.password), now)
        return processor

    def _new(self, zxid: int, first_id: int) -> Processor:
        return Processor(
            tree=DataTree(start_counter=self.start_counter),
            sessions=SessionTracker(
                tick_time=self.tick_time,
                timeout_min=self.timeout_min,
                timeout_max=self.timeout_max,
                first_id=first_id,
            ),
            zxid=zxid,
            random=self.random,
            super_digest=self.super_digest,
            extended_types=self.extended_types,
            sasl_users=self.sasl_users,
            schemes=self.schemes,
        )


def _zxid_at(time: float) -> int:
    return int(time * 2**32)
