"""One member of a double barrier: from its arrival until every member of its round is out.

The docs of the recipe (`docs/recipes/barrier.md`) explain why no two rounds overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import final
from uuid import uuid4

from zkrecipes.client.recipe_api import ChangedPaths, Guard, Pauses, Pending, RecipeApi, recipe_api
from zkrecipes.errors import (
    ConnectionLossError,
    NoAuthError,
    NoNodeError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.recipes.double_barrier_directory import BarrierDirectory, BarrierRecord, BarrierView
from zkrecipes.recipes.locking.acquisition import is_proven
from zkrecipes.recipes.znodes.clean_up import remove
from zkrecipes.recipes.znodes.directories import make_directory

__all__ = ["BarrierMember", "Step", "next_in_circle", "next_step"]


class Step(Enum):
    """What a member that waits with a znode does next."""

    ENTER = "its round has begun"
    WITHDRAW = "another round runs, or may: remove the znode, and wait without one"
    FOLLOW = "a member of Curator's has begun a round"
    COUNT = "there may be enough members to begin a round"
    WAIT = "there are too few members"


def next_step(
    view: BarrierView, czxid: int, arrived: BarrierRecord, parties: int, *, is_called: bool
) -> Step:
    """Decide what a member that waits with a znode does.

    Args:
        view: what it sees, after its znode was created.
        czxid: of its znode.
        arrived: the record before its znode was created, when no member of an earlier round was there.
        parties: how many members begin a round.
        is_called: whether a `ready` younger than the znode was there, even if it has gone again.
    """
    record, ready = view.record, view.ready
    if ready is not None and ready.czxid < czxid:
        return Step.WITHDRAW
    if czxid < record.zxid:
        # In a round that ended meanwhile it was not inside; and a round counts only younger znodes.
        return Step.ENTER if record.is_open else Step.WITHDRAW
    if record.is_open and record.zxid != arrived.zxid:
        return Step.WITHDRAW  # that round began before the znode was created: its members may be inside
    if is_called or ready is not None:
        return Step.FOLLOW
    return Step.COUNT if len(view.members) >= parties else Step.WAIT


def next_in_circle(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that follows `name`, the first after the last.

    Each member watches another one this way. Names are random, so of n departures about log n wake a member.
    """
    return min(names, key=lambda each: (each <= name, each))


@final
class BarrierMember:
    """One passage of one member.

    Attributes:
        round: the record of its round, once it has entered.
    """

    def __init__(self, directory: BarrierDirectory) -> None:
        self._directory = directory
        self._api: RecipeApi = recipe_api(directory.client)
        self._session = self._api.session
        self._name = ""  # until it creates a znode
        self._is_called = False  # whether `ready` was created since then
        self.round: BarrierRecord = BarrierRecord(0)

    @property
    def path(self) -> str:
        """The path of its znode."""
        return self._directory.path_of(self._name)

    # --- in ------------------------------------------------------------------------------------------------

    async def enter(self) -> Guard:
        """Wait until a round begins with this member, and until its hold is proven.

        Raises:
            ZooKeeperError: the server refused, or the client is over.

        Cancellation, errors: the znode may exist; call `withdraw`.
        """
        pauses = Pauses()
        while True:
            try:
                if await self._wait_for_round(await self._wait_until_over()):
                    guard = self._api.guard(self.path, self._session)
                    if await is_proven(guard, self.path):
                        return guard
            except ZooKeeperError as error:
                await self._pause_after(error, pauses)
            await self._delete()

    async def _wait_until_over(self) -> BarrierRecord:
        """Wait, without a znode, until no member of a round is there; return the record of then."""
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
        """The members that may be inside a round that began before."""
        if view.ready is not None:
            return view.members
        if view.record.is_open and view.members:
            # Curator's members remove `ready` while others may be inside.
            ages = await self._directory.ages(view.members)
            return [name for name, czxid in ages.items() if czxid < view.record.zxid]
        return ()

    async def _wait_for_round(self, arrived: BarrierRecord) -> bool:
        """Create the znode, and wait until a round begins with it; False: the znode is of no use."""
        directory, api = self._directory, self._api
        self._session, self._name = api.session, str(uuid4())  # a name is never used twice
        self._is_called = False
        create = api.submit(
            api.operations.create(self.path, directory.data, ephemeral=True, acl=directory.acl)
        )
        pauses = Pauses()
        while True:
            try:
                is_in = await self._wait_once(create, arrived)
            except NoNodeError:
                await make_directory(directory.client, directory.path)
                return False
            except ZooKeeperError as error:
                if error is create.error or isinstance(error, SessionExpiredError):
                    raise
                await self._pause_after(error, pauses)  # the record tells whether a transaction was applied
            else:
                if is_in is not None:
                    return is_in
                pauses.reset()

    async def _wait_once(self, create: Pending[str], arrived: BarrierRecord) -> bool | None:
        """Look, and do the next step; whether a round has begun with this member, None: look again."""
        directory, api = self._directory, self._api
        async with api.changed_paths(and_reconnects=True) as changed:
            own = api.submit(api.operations.exists(self.path, watch=True), watcher=changed)
            view = await directory.look(changed)
            if not isinstance(create.error, ConnectionLossError):
                await create.wait()  # else `own` tells what has become of it
            stat = await own.wait()
            if stat is None or self._session.state.is_final:
                return False
            self._is_called |= view.ready is not None
            step = next_step(view, stat.czxid, arrived, directory.parties, is_called=self._is_called)
            if step is Step.WITHDRAW:
                return False
            if step is Step.ENTER:
                self.round = view.record
                return True
            members = None if step is Step.WAIT else await self._members_to_check(view)
            if members is None:
                self._is_called |= directory.ready in await changed.wait()
                return None
            begun = await directory.begin_round(view.record, members, make_ready=step is Step.COUNT)
            self.round = begun or self.round
            return None if begun is None else True

    async def _members_to_check(self, view: BarrierView) -> list[str] | None:
        """Whom to check in the transaction that begins a round; None: no round can begin now."""
        ages = await self._directory.ages(view.members)
        # An older znode belongs to a member of Curator's that is still in the round that has ended.
        waiting = sorted((czxid, name) for name, czxid in ages.items() if czxid > view.record.zxid)
        is_enough = len(waiting) >= self._directory.parties
        if self._is_called:
            # Curator's member counted the others, and some may be through already; or it counted too many.
            return [self._name] if is_enough or len(waiting) == len(ages) else None
        if not is_enough:
            return None
        others = [name for _, name in waiting if name != self._name]
        return [self._name, *others[: self._directory.parties - 1]]

    # --- out -----------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Remove the znode, and wait until every member of the round is out.

        Raises:
            ZooKeeperError: the server refused, or the client is over.

        Cancellation, errors: call `withdraw`.
        """
        pauses = Pauses()
        while True:
            try:
                if await self._is_round_over():
                    return
                pauses.reset()
            except ZooKeeperError as error:
                await self._pause_after(error, pauses)

    async def withdraw(self) -> NoAuthError | None:
        """Remove the znode without waiting for other members, and `ready` if no member is left.

        Shielded and bounded; the rest goes on in tasks of the client's.

        Returns:
            Why the znode may not be removed, or None.
        """
        refusal = None

        async def run() -> None:
            nonlocal refusal
            refusal = await self._remove()
            pauses = Pauses()
            while True:
                try:
                    await self._directory.end_abandoned_round()
                except ZooKeeperError as error:
                    await self._pause_after(error, pauses)
                else:
                    return

        if self._name:
            await self._api.clean_up(run)
        return refusal

    async def _is_round_over(self) -> bool:
        """Do the next step of leaving; True: nothing is left to do."""
        async with self._api.changed_paths() as changed:
            view = await self._directory.look(changed, is_synced=True)
            others = await self._others_inside(view)
            if not others:
                return await self._go_last(view)
            # Curator's way: the first by name goes last, and those that have gone already wait for it.
            if self._name in view.members and self._name != min(view.members):
                await self._delete()
            await self._wait_for_change(changed, others)
        return False

    async def _others_inside(self, view: BarrierView) -> list[str]:
        """The members to wait for, which are inside or leaving."""
        if view.record.zxid > self.round.zxid:
            return []  # the round has ended
        others = [name for name in view.members if name != self._name]
        if view.ready is not None and view.ready.czxid <= self.round.zxid:
            # Ours without a round remove their znodes at once; Curator's have entered, and wait for all.
            return others
        ages = await self._directory.ages(others)
        return [name for name, czxid in ages.items() if czxid < self.round.zxid]

    async def _go_last(self, view: BarrierView) -> bool:
        """Remove what is left when no other member of the round is there; False: look again."""
        own = self._name if self._name in view.members else None
        is_ours = view.ready is not None and view.ready.czxid <= self.round.zxid
        if is_ours and view.record.zxid <= self.round.zxid:
            return await self._directory.end_round(view.record, own=own)
        if own is not None:
            await self._delete()
        return True

    # --- both ----------------------------------------------------------------------------------------------

    async def _wait_for_change(self, changed: ChangedPaths, members: Iterable[str]) -> None:
        """Wait until one of these members has gone, or `ready` has changed."""
        one = self._directory.path_of(next_in_circle(self._name or str(uuid4()), members))
        exists = self._api.operations.exists(one, watch=True)
        if await self._api.submit(exists, watcher=changed).wait() is not None:
            await changed.wait()

    async def _pause_after(self, error: ZooKeeperError, pauses: Pauses) -> None:
        """Return when a step may be tried again after an error.

        Raises:
            ZooKeeperError: the error, if trying again is useless.
        """
        if isinstance(error, SessionExpiredError) and not self._api.is_over:
            return
        if not error.is_transient:
            raise error
        await pauses.wait()

    async def _delete(self) -> None:
        """Delete the znode, whatever is known of it.

        Raises:
            NoAuthError: the directory does not permit DELETE.
        """
        refusal = await self._remove()
        if refusal is not None:
            raise refusal

    async def _remove(self) -> NoAuthError | None:
        if not self._name:
            return None
        return await remove(self._api, self._session, self._directory.path, names=[self._name])
