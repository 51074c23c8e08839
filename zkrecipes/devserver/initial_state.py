"""How the state of a server begins: empty, after one that was lost, or from what was saved."""

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
    """What all states of one server have in common; see `DevServer` for what each means."""

    tick_time: float
    timeout_min: float | None
    timeout_max: float | None
    start_counter: int
    random: Random
    super_digest: str | None
    extended_types: bool
    sasl_users: SaslUsers | None
    schemes: Collection[str]

    def first(self, started_at: float, zxid: int | None) -> Processor:
        """An empty one.

        Args:
            started_at: seconds since 1970.
            zxid: None takes it from the time. The fraction of a second fills the lower half, so a restart
                within the same second is ahead too.
        """
        return self._new(_first_zxid(started_at) if zxid is None else zxid, first_session_id(started_at))

    def after(self, lost: Processor, now: float) -> Processor:
        """An empty one that is behind no client of the one that was lost, and shares no session ids.

        Args:
            lost: it.
            now: seconds since 1970.
        """
        epoch_after = ((lost.zxid >> 32) + 1) << 32
        first_id = max(first_session_id(now), lost.sessions.next_id)
        return self._new(max(_first_zxid(now), epoch_after), first_id)

    def restored(self, saved: SavedState, started_at: float, now: float) -> Processor:
        """What was saved; its sessions have a whole timeout to come back.

        Args:
            saved: it.
            started_at: seconds since 1970.
            now: seconds on the clock by which sessions live.

        Raises:
            KeyError: the parent of a znode is missing.
        """
        processor = self._new(saved.zxid, max(saved.next_session_id, first_session_id(started_at)))
        for node in saved.znodes:
            processor.tree.put(node)
        for row in saved.sessions:
            processor.sessions.put(Session(row.session_id, row.timeout, row.password), now)
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


def _first_zxid(time: float) -> int:
    return int(time * 2**32)
