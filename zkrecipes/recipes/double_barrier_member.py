"""One member of a double barrier: from its arrival until every member of its round is out.

The comment at the head of `double_barrier` has the table of znodes and steps. `next_step` decides the next
step of a waiting member; `BarrierMember` executes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import final
from uuid import uuid4

from zkrecipes.client.recipe_api import ChangedPaths, Guard, Pending, RecipeApi, recipe_api
from zkrecipes.errors import (
    ConnectionLossError,
    NoAuthError,
    NoNodeError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.recipes.double_barrier_directory import BarrierDirectory, BarrierRecord, BarrierView
from zkrecipes.recipes.locking.lock_use import wait_proven
from zkrecipes.recipes.znodes.clean_up import remove
from zkrecipes.recipes.znodes.directories import make_directory

__all__ = ["BarrierMember", "Step", "next_in_ring", "next_step"]


class Step(Enum):
    """The next step of a member that waits with a znode."""

    ENTER = "its round has begun"
    START_OVER = "another round runs, or may run: delete the znode, and arrive again"
    JOIN = "a member of Curator's recipe has begun a round: write its record"
    BEGIN = "there may be enough members to begin a round"
    WAIT = "there are too few members"


def next_step(
    view: BarrierView, czxid: int, arrived: BarrierRecord, parties: int, *, has_seen_ready: bool
) -> Step:
    """Return the next step of a member that waits with a znode.

    Args:
        view: the directory, read after the member's znode was created.
        czxid: the czxid of the member's znode.
        arrived: the record read before the znode was created, when no member of an earlier round was left.
        parties: the number of members that begin a round.
        has_seen_ready: whether a `ready` younger than the znode has existed, even if it is deleted now.
    """
    record, ready = view.record, view.ready
    if ready is not None and ready.czxid < czxid:
        return Step.START_OVER
    if czxid < record.zxid:
        # If the round has ended, the member was not inside, and later rounds count only younger znodes.
        return Step.ENTER if record.is_open else Step.START_OVER
    if record.is_open and record.zxid != arrived.zxid:
        return Step.START_OVER  # that round began before the znode was created: its members may be inside
    if has_seen_ready or ready is not None:
        return Step.JOIN
    return Step.BEGIN if len(view.members) >= parties else Step.WAIT


def next_in_ring(name: str, names: Iterable[str]) -> str:
    """Return the name that follows `name` among `names`, in a ring in which the first follows the last.

    Each member watches the next one. Names are random, so a member is woken by about log n of n departures.
    """
    return min(names, key=lambda each: (each <= name, each))


@final
class BarrierMember:
    """One pass of one member through the barrier.

    Attributes:
        round: the record of its round, once it has entered.
    """

    def __init__(self, directory: BarrierDirectory) -> None:
        self._directory = directory
        self._api: RecipeApi = recipe_api(directory.client)
        self._session = self._api.session
        self._name = ""  # until it creates a znode
        self._has_seen_ready = False  # since it created the znode
        self.round: BarrierRecord = BarrierRecord(0)

    @property
    def path(self) -> str:
        """The path of its znode."""
        return self._directory.path_of(self._name)

    # --- entering ------------------------------------------------------------------------------------------

    async def enter(self) -> Guard:
        """Wait until a round begins with this member, and until its hold is proven.

        Raises:
            ZooKeeperError: the server refused, or the client has ended.

        After cancellation or an error the znode may exist; call `remove`.
        """
        retries = self._api.retries(pause_after_loss=True)
        while True:
            try:
                if await self._wait_with_znode(await self._wait_while_round_runs()):
                    guard = self._api.guard(self.path, self._session)
                    if await wait_proven(guard, self.path):
                        return guard
            except ZooKeeperError as error:
                await retries.wait_after(error)
            await self._delete_znode()

    async def _wait_while_round_runs(self) -> BarrierRecord:
        """Wait, without a znode, until no member of a round is left; return the record at that time."""
        directory = self._directory
        while True:
            async with self._api.changed_paths() as changed:
                view = await directory.look(changed)
                if view.ready is not None and not view.members:
                    await directory.end_round(view.record)
                    continue
                inside = await self._possibly_inside(view)
                if not inside:
                    return view.record
                await self._wait_for_change(changed, inside)

    async def _possibly_inside(self, view: BarrierView) -> Iterable[str]:
        """Return the members that may be inside a round that has begun."""
        if view.ready is not None:
            return view.members
        if view.record.is_open and view.members:
            # Members that run Curator's recipe delete `ready` while others may be inside.
            czxids = await self._directory.czxids(view.members)
            return [name for name, czxid in czxids.items() if czxid < view.record.zxid]
        return ()

    async def _wait_with_znode(self, arrived: BarrierRecord) -> bool:
        """Create the znode, and wait until a round begins with it; return False to start over."""
        directory, api = self._directory, self._api
        self._session, self._name = api.session, str(uuid4())  # a name is never used twice
        self._has_seen_ready = False
        create = api.submit(
            api.operations.create(self.path, directory.data, ephemeral=True, acl=directory.acl)
        )
        retries = api.retries(pause_after_loss=True)
        while True:
            try:
                is_inside = await self._look_and_step(create, arrived)
            except NoNodeError:
                await make_directory(directory.client, directory.path)
                return False
            except ZooKeeperError as error:
                if error is create.error or isinstance(error, SessionExpiredError):
                    raise
                await retries.wait_after(error)  # the record shows whether a transaction was applied
            else:
                if is_inside is not None:
                    return is_inside
                retries.reset()

    async def _look_and_step(self, create: Pending[str], arrived: BarrierRecord) -> bool | None:
        """Read the directory, and do the next step.

        Returns:
            True: a round has begun with this member. False: start over. None: look again.
        """
        directory, api = self._directory, self._api
        async with api.changed_paths(and_reconnects=True) as changed:
            own = changed.submit(api.operations.exists(self.path, watch=True))
            view = await directory.look(changed)
            if not isinstance(create.error, ConnectionLossError):
                await create.wait()  # otherwise `own` shows whether the znode was created
            stat = await own.wait()
            if stat is None or self._session.state.is_final:
                return False
            seen = self._has_seen_ready = self._has_seen_ready or view.ready is not None
            step = next_step(view, stat.czxid, arrived, directory.parties, has_seen_ready=seen)
            if step is Step.START_OVER:
                return False
            if step is Step.ENTER:
                self.round = view.record
                return True
            members = None if step is Step.WAIT else await self._members_to_check(view)
            if members is None:
                self._has_seen_ready |= directory.ready in await changed.wait()
                return None
            begun = await directory.begin_round(view.record, members, make_ready=step is Step.BEGIN)
            self.round = begun or self.round
            return None if begun is None else True

    async def _members_to_check(self, view: BarrierView) -> list[str] | None:
        """Return the members to check in the transaction that begins a round; None if no round can begin."""
        czxids = await self._directory.czxids(view.members)
        # An older znode belongs to a member that runs Curator's recipe and is still in the round that has
        # ended.
        waiting = sorted((czxid, name) for name, czxid in czxids.items() if czxid > view.record.zxid)
        is_enough = len(waiting) >= self._directory.parties
        if self._has_seen_ready:
            # The Curator member that created `ready` has counted the others. Some may have left since, or it
            # counted too many.
            return [self._name] if is_enough or len(waiting) == len(czxids) else None
        if not is_enough:
            return None
        others = [name for _, name in waiting if name != self._name]
        return [self._name, *others[: self._directory.parties - 1]]

    # --- leaving -------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Delete the znode, and wait until every member of the round is out.

        Raises:
            ZooKeeperError: the server refused, or the client has ended.

        After cancellation or an error, call `remove`.
        """
        retries = self._api.retries(pause_after_loss=True)
        while True:
            try:
                if await self._take_leaving_step():
                    return
                retries.reset()
            except ZooKeeperError as error:
                await retries.wait_after(error)

    async def remove(self) -> NoAuthError | None:
        """Delete the znode without waiting for other members, and end the round if no member is left.

        The wait is shielded and bounded; tasks of the client do the rest.

        Returns:
            The refusal if an ACL does not permit the deletion, otherwise None.
        """
        refusal = None

        async def run() -> None:
            nonlocal refusal
            refusal = await self._remove_znode()
            retries = self._api.retries(pause_after_loss=True)
            while True:
                try:
                    await self._directory.end_abandoned_round()
                except ZooKeeperError as error:
                    await retries.wait_after(error)
                else:
                    return

        if self._name:
            await self._api.clean_up(run)
        return refusal

    async def _take_leaving_step(self) -> bool:
        """Do the next step of leaving; return True if nothing is left to do."""
        async with self._api.changed_paths() as changed:
            view = await self._directory.look(changed, is_synced=True)
            others = await self._others_inside(view)
            if not others:
                return await self._leave_last(view)
            # As in Curator, the first member by name leaves last, and the members that left before wait for
            # it.
            if self._name in view.members and self._name != min(view.members):
                await self._delete_znode()
            await self._wait_for_change(changed, others)
        return False

    async def _others_inside(self, view: BarrierView) -> list[str]:
        """Return the members to wait for, which are inside or leaving."""
        if view.record.zxid > self.round.zxid:
            return []  # the round has ended
        others = [name for name in view.members if name != self._name]
        if view.ready is not None and view.ready.czxid <= self.round.zxid:
            # A late member of ours deletes its znode immediately; one that runs Curator's recipe enters, and
            # waits for all.
            return others
        czxids = await self._directory.czxids(others)
        return [name for name, czxid in czxids.items() if czxid < self.round.zxid]

    async def _leave_last(self, view: BarrierView) -> bool:
        """End the round as its last member; return False to look again."""
        own = self._name if self._name in view.members else None
        is_ours = view.ready is not None and view.ready.czxid <= self.round.zxid
        if is_ours and view.record.zxid <= self.round.zxid:
            return await self._directory.end_round(view.record, own=own)
        if own is not None:
            await self._delete_znode()
        return True

    # --- both ----------------------------------------------------------------------------------------------

    async def _wait_for_change(self, changed: ChangedPaths, members: Iterable[str]) -> None:
        """Wait until the next of these members in the ring is out, or `ready` has changed."""
        watched = self._directory.path_of(next_in_ring(self._name or str(uuid4()), members))
        exists = self._api.operations.exists(watched, watch=True)
        if await changed.submit(exists).wait() is not None:
            await changed.wait()

    async def _delete_znode(self) -> None:
        """Delete the znode if it exists or may exist.

        Raises:
            NoAuthError: the directory does not permit DELETE.
        """
        refusal = await self._remove_znode()
        if refusal is not None:
            raise refusal

    async def _remove_znode(self) -> NoAuthError | None:
        if not self._name:
            return None
        return await remove(self._api, self._session, self._directory.path, names=[self._name])
