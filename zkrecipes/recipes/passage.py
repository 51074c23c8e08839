"""One member's way through a double barrier: in when enough are there, out when all have gone.

A member has an ephemeral znode in the barrier's directory; a persistent one beside it, `ready`, lets the
members in. The names, and what they mean, are those of Curator's `DistributedDoubleBarrier`.
"""

# What is added to Curator's way, so that no member waits for ever and none is let in alone:
#
# `ready` lets in who was there before it; the transaction that makes it checks that all who were counted are
# still there. Who sees it appear needs no second look, as others may be through and gone already, and `ready`
# with them. Who comes later is let in while one of those is there. Where none is, `ready` was left behind by
# members that died: it is removed, and everybody is counted afresh.
#
# A member waits for those who were inside with it, by their names, which are never used twice. So a barrier
# may be entered again at once: who is in the next round already is not waited for in this one.
#
# Who is first by name goes last, and removes `ready` together with its own znode. If it dies, those who wait
# remove it. Should that hit the `ready` of a later round, it is made again: by those who come in, while they
# are enough, or by those who leave and wait for one that has not come in.
#
# Who leaves says goodbye: the transaction that removes its znode also sets the directory's data (to what they
# are, should there be any), so that the directory's version counts the goodbyes. (Who goes last says it when
# its block has ended.) How many children have gone in all can be seen from the same stat, as `cversion`
# counts those that came and those that went. The difference is how many were lost.
#
# Who waits watches `ready` and one member, so that no departure wakes everybody.

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, final
from uuid import uuid4

import anyio

from zkrecipes.client.recipe_api import Pending, RecipeApi, Stat, recipe_api
from zkrecipes.client.watching import OneShotWatch
from zkrecipes.enums import EventType
from zkrecipes.errors import (
    BadVersionError,
    BrokenBarrierError,
    ConnectionLossError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    PacketTooLargeError,
    ServerError,
    SessionExpiredError,
    TransactionError,
    ZooKeeperError,
)
from zkrecipes.recipes.directories import make_directory
from zkrecipes.recipes.meeting_place import (
    READY,
    MeetingPlace,
    View,
    departures_since,
    gone_silently,
    is_member,
)

__all__ = ["Passage"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")


class _Departures(NamedTuple):
    """How many children had gone without a goodbye, and from which directory, as it may be made anew."""

    directory_czxid: int
    silent: int


def next_in_circle(name: str, names: Iterable[str]) -> str:
    """The one of `names` that follows `name`, the first after the last: each watches another one.

    As names are random, who is watched is, too: of n departures about log n wake a given member.
    """
    return min(names, key=lambda each: (each <= name, each))


@final
class Passage:
    """One member, from before its znode is made until after it is removed."""

    def __init__(self, place: MeetingPlace) -> None:
        self._place = place
        self._api: RecipeApi = recipe_api(place.client)
        self._session = self._api.session
        self._name = ""
        self._czxid = 0
        # Who was inside when a latecomer came in; None for a member that was there before `ready`: everybody
        # who comes while that one is there is let in, too.
        self._found_inside: frozenset[str] | None = None
        self._before: _Departures | None = None
        self._found_data: bytes | None = b""
        self._has_said = False

    # --- in ------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Make the znode, and wait until enough members are there.

        Raises:
            ZooKeeperError: the server refused, or the client is over.

        Cancellation, errors: the znode may exist; call `withdraw`.
        """
        while True:
            try:
                if await self._try_to_enter():
                    return
            except PacketTooLargeError:
                raise  # the list of the directory: it would be too large again
            except ConnectionLossError:
                continue  # the next try finds its own znode, and whoever is in
            except SessionExpiredError:
                if self._api.is_over:
                    raise

    async def _try_to_enter(self) -> bool:
        """One try; False: the znode is not there, and the next try makes it again."""
        try:
            return await self._come_and_wait()
        except NoNodeError:
            # A container is removed when it is empty, and with it what tells who was lost.
            await make_directory(self._place.client, self._place.directory, container=not self._place.is_told)
            return False

    async def _come_and_wait(self) -> bool:
        place, api = self._place, self._api
        if self._session is not api.session or not self._name:
            # A name for each session: a znode of the last one may still be there.
            self._session, self._name = api.session, str(uuid4())
        create: Pending[str] | None = api.submit(
            api.operations.create(self._path, place.data, ephemeral=True, acl=place.acl)
        )
        while True:
            # One round trip: a server answers one session in order, so the list holds the new znode.
            listing = api.submit(api.operations.get_children_with_stat(place.directory))
            async with place.client.exists_and_watch(place.ready) as (ready, opened):
                if create is not None and not await self._settle(create):
                    return False
                create = None
                children, directory = await listing.wait()
                if self._session.state.is_final or self._name not in children:
                    return False
                others = self._others(children)
                place.name_strangers(children)
                await self._keep_data(directory)
                if ready is not None:
                    if await self._is_let_in(ready, others):
                        await self._look_back(directory)
                        return True
                    await self._remove([READY], politely=True)
                elif len(others) + 1 >= place.parties:
                    if await self._open(directory, others):
                        return True
                elif await self._wait_for(opened):
                    await self._look_back(directory)
                    return True

    async def _keep_data(self, directory: Stat) -> None:
        """Look what a goodbye must leave as it is: the directory should have no data, but may."""
        if directory.data_length and not self._found_data:
            self._found_data = (await self._place.client.get(self._place.directory)).data

    async def _settle(self, create: Pending[str]) -> bool:
        """Whether the znode is there and is ours."""
        try:
            await create.wait()
        except NodeExistsError:  # an earlier try made it, and its reply was lost
            stat = await self._place.client.exists(self._path)
            if stat is None or stat.ephemeral_owner != self._session.id:
                self._name = ""
                return False
            self._czxid = stat.czxid
        else:
            self._czxid = create.zxid
        return True

    async def _is_let_in(self, ready: Stat, others: frozenset[str]) -> bool:
        """Whether `ready` is meant for this member: it was there before, or somebody who was still is."""
        if self._czxid < ready.czxid:
            self._found_inside = None
            return True
        async with self._place.client.pipeline() as pipe:
            stats = [pipe.exists(self._place.path_of(name)) for name in others]
        found = [stat.result() for stat in stats]
        if any(stat is not None and stat.czxid < ready.czxid for stat in found):
            self._found_inside = others
            return True
        logger.info(
            "%s was left behind by members that are gone: it is removed",
            self._place.ready,
            extra={"path": self._place.ready},
        )
        return False

    async def _open(self, directory: Stat, others: frozenset[str]) -> bool:
        """Let everybody in if all who were counted are still there; False: look again."""
        silent = gone_silently(directory)
        try:
            await self._place.make_ready(silent, (self._name, *others))
        except (NoNodeError, NodeExistsError):
            return False
        self._found_inside = None
        self._before = _Departures(directory.czxid, silent)
        return True

    async def _wait_for(self, opened: OneShotWatch) -> bool:
        """Whether `ready` has been made; False: look again."""
        # It may also be that our own znode is removed by hand, or the directory with all of them.
        async with self._place.client.exists_and_watch(self._path) as (ours, gone):
            if ours is not None:
                await first_of(opened, gone)
        if not opened.has_fired or (await opened.wait()).type is not EventType.CREATED:
            return False
        self._found_inside = None
        return True

    async def _look_back(self, directory: Stat) -> None:
        """Find out how many had gone silently before `ready` was made."""
        if not self._place.is_told:
            return
        gone = gone_silently(directory)
        with suppress(NoNodeError, ValueError):  # it has gone already, or Curator made it, with other data
            node = await self._place.client.get(self._place.ready)
            gone = int(node.data or b"")
        self._before = _Departures(directory.czxid, gone)

    # --- out -----------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Say goodbye, wait until everybody who was inside has gone, and remove what is left.

        Raises:
            BrokenBarrierError: this member was no longer inside; or another one was lost, and that is told.
            ZooKeeperError: the server refused, or the client is over.

        Cancellation, errors: call `withdraw`.
        """
        inside, view = await self._say_goodbye()
        if inside:
            view = await self._wait_until_gone(inside)
        lost = await self._count_lost(view) if self._place.is_told else 0
        await self._clear_away(view.children if inside else None, politely=True)
        if lost:
            raise self._broken(("a member was" if lost == 1 else f"{lost} members were") + " lost inside")

    async def withdraw(self) -> None:
        """Remove the znode with a goodbye, if it is there; for a task of the client's own."""
        await self._clear_away(politely=True)

    async def vanish(self) -> None:
        """Remove the znode without a goodbye; for a task of the client's own."""
        await self._clear_away(politely=False)

    async def _say_goodbye(self) -> tuple[frozenset[str], View]:
        """Who was still inside then, and what was there."""
        inside: frozenset[str] = frozenset()
        is_unknown = False
        while True:
            view = await self._place.look(caught_up=True)
            if self._session.state.is_final:
                raise self._broken("the session expired while it was inside")
            if self._name not in view.children:
                if is_unknown:
                    return inside, view
                raise self._broken(f"its znode {self._name} was deleted")
            others = self._others(view.children)
            inside = others if self._found_inside is None else others & self._found_inside
            is_unknown = False
            try:
                if inside and self._name < min(others):
                    await self._say_it_and_stay()
                    return inside, view
                if await self._remove(self._what_to_remove(view.children), politely=True):
                    return inside, view
            except ConnectionLossError:
                is_unknown = True
            except SessionExpiredError:
                continue

    async def _say_it_and_stay(self) -> None:
        """Curator's way: the first by name goes last, and those who have gone already wait for it."""
        try:
            async with self._place.client.transaction() as tx:
                tx.set(self._path, self._place.data, version=0)
                tx.set(self._place.directory, self._found_data)
        except TransactionError as error:
            if isinstance(error.error, (NoNodeError, NoAuthError)):
                return  # it has gone, as will be seen; or it is said later
            if not isinstance(error.error, BadVersionError):
                raise error.error from None
        self._has_said = True  # now, or before, and the reply was lost

    async def _wait_until_gone(self, inside: frozenset[str]) -> View:
        """Wait until none of them is there; what is there then."""
        while True:
            try:
                await self._wait_for_one(inside)
                view = await self._place.look()
            except PacketTooLargeError:
                raise
            except ConnectionLossError:
                continue
            except SessionExpiredError:
                if self._api.is_over:
                    raise
                continue
            inside = inside.intersection(view.children)
            if not inside:
                return view

    async def _wait_for_one(self, inside: frozenset[str]) -> None:
        """Wait until one of them may have gone; let in those who are not in yet."""
        client, ready_path = self._place.client, self._place.ready
        one = self._place.path_of(next_in_circle(self._name, inside))
        async with (
            client.exists_and_watch(ready_path) as (ready, closed),
            client.exists_and_watch(one) as (there, gone),
        ):
            if there is None:
                return
            if ready is not None:
                await first_of(closed, gone)
                return
            # All of them may be in; one that was cut off for a while may not know.
            silent = None if self._before is None else self._before.silent
            with suppress(NodeExistsError, NoNodeError):
                await self._place.make_ready(silent)

    async def _clear_away(self, children: list[str] | None = None, *, politely: bool) -> None:
        """Remove the znode if it is still there, and `ready` if nobody else is."""
        place, api = self._place, self._api
        while True:
            try:
                if children is None:
                    api.submit(api.operations.sync(place.directory))
                    children = await place.client.get_children(place.directory)
                names = self._what_to_remove(children)
                is_all = READY in names or READY not in children
                if not names or (await self._remove(names, politely=politely) and is_all):
                    return
            except NoNodeError:
                return
            except (PacketTooLargeError, ServerError):
                # Sent until it is answered: nobody else ever uses this name, so twice is the same as once.
                await api.submit(api.operations.delete(self._path), is_errand=True).wait_done()
                raise
            except ConnectionLossError:
                pass
            except SessionExpiredError:
                if api.is_over:
                    raise
            children = None

    def _what_to_remove(self, children: list[str]) -> list[str]:
        names = [self._name] if self._name in children else []
        return names if READY not in children or self._others(children) else [*names, READY]

    async def _remove(self, names: list[str], *, politely: bool) -> bool:
        """Remove children of the directory together; False: not all are as they were seen."""
        place = self._place
        is_news = politely and not self._has_said and self._name in names
        try:
            async with place.client.transaction() as tx:
                for name in names:
                    # The version is that of a znode whose goodbye has not been said.
                    version = 0 if is_news and name == self._name else None
                    tx.delete(place.path_of(name), version=version)
                for _ in range(is_news + (READY in names)):
                    tx.set(place.directory, self._found_data)
        except TransactionError as error:
            if isinstance(error.error, NoAuthError):
                # Somebody made the directory and lets nobody write to it: go without a goodbye.
                for name in names:
                    with suppress(NoNodeError):
                        await place.client.delete(place.path_of(name))
                return True
            if not isinstance(error.error, (NoNodeError, BadVersionError)):
                raise error.error from None
            self._has_said |= isinstance(error.error, BadVersionError)
            return False
        return True

    async def _count_lost(self, view: View) -> int:
        """How many have gone without a goodbye since `ready` was made."""
        client, before = self._place.client, self._before
        assert before is not None
        while True:
            directory = view.directory
            if directory is None or directory.czxid != before.directory_czxid:
                raise self._broken("it was deleted, so whether a member was lost is unknown")
            # Who has said goodbye and is still there has not gone yet: the version of its znode tells.
            there = [self._place.path_of(name) for name in view.children if is_member(name)]
            async with client.pipeline() as pipe:
                stats = [pipe.exists(path) for path in there]
                after = pipe.exists(self._place.directory)
            now = after.result()
            if now is not None and (now.cversion, now.version) == (directory.cversion, directory.version):
                found = [stat.result() for stat in stats]
                early = sum(stat is not None and stat.version > 0 for stat in found)
                return departures_since(gone_silently(directory) + early, before.silent)
            view = await self._place.look()

    def _broken(self, reason: str) -> BrokenBarrierError:
        return BrokenBarrierError(self._place.directory, reason=reason)

    # --- who is there --------------------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return self._place.path_of(self._name)

    def _others(self, children: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in children if name != self._name and is_member(name))


async def first_of(*watches: OneShotWatch) -> None:
    """Wait until one of them has fired or is over."""
    async with anyio.create_task_group() as tasks:

        async def wait_for(watch: OneShotWatch) -> None:
            with suppress(ZooKeeperError):  # its session is over, as the next request will tell
                await watch.wait()
            tasks.cancel_scope.cancel()

        for watch in watches:
            tasks.start_soon(wait_for, watch)
