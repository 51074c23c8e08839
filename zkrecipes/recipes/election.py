"""Election: one leader at a time, whose address everybody can read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Guard, recipe_api
from zkrecipes.errors import LeadershipLostError, NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.paths import check_path
from zkrecipes.recipes.acquisition import Acquisition, HeldByTask
from zkrecipes.recipes.contender import Place, Queue, in_order
from zkrecipes.recipes.contenders import (
    Contender,
    check_acl,
    default_identifier,
    list_contenders,
    read_contenders,
)
from zkrecipes.recipes.directories import make_directory
from zkrecipes.recipes.hold import Hold
from zkrecipes.recipes.latest import Latest, LatestReader
from zkrecipes.recipes.layouts import ELECTIONS, choose_layout

__all__ = ["Election"]

logger = logging.getLogger(__name__)


@final
class Election:
    """One leader among several candidates, to the same promise as a `Mutex`.

        election = zk.Election(client, "/leader", data=b"10.0.0.7:8080")
        async with election.lead() as leadership:
            ...  # cancelled if the leadership can no longer be proven; then LeadershipLostError

    The leader's data (its address) is that of the znode that makes it the leader: both come and go together.
    Building it does no I/O, and tasks may share it.

    Args:
        client: whose session holds the leadership.
        path: a directory of its own, made when it is missing.
        identifier: what this candidate calls itself; host and process id by default.
        data: what observers read of the leader; None: its identifier.
        layout: how the candidates' znodes are named: `"kazoo"`, as kazoo's `Election`, `"curator-latch"`, as
            Curator's `LeaderLatch`, or `"curator-selector"`, as its `LeaderSelector`.
        acl: of the candidates' znodes; it must give their owner READ. None: the client's default.

    Raises:
        ValueError: the path, the layout or the ACL cannot be right.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        identifier: str | None = None,
        data: bytes | None = None,
        layout: str = "kazoo",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        self.path = check_path(path)
        self.identifier = default_identifier() if identifier is None else identifier
        self._data = self.identifier.encode() if data is None else data
        self._queue = Queue(client, path, choose_layout(layout, ELECTIONS), check_acl(acl))
        self._held: HeldByTask[Hold] = HeldByTask()

    def lead(self, *, blocking: bool = True) -> Acquisition[Hold]:
        """Lead for as long as the block runs: `async with election.lead() as leadership`.

        Args:
            blocking: wait for one's turn. With False entering raises `anyio.WouldBlock` if there is a leader.

        Entering raises what `Mutex.acquire` says. Leaving hands the leadership to the next candidate at once,
        and raises `LeadershipLostError` if it was lost while the block ran.
        """
        return Acquisition(
            self._queue,
            self._data,
            self._held,
            self._make_leadership,
            lost=LeadershipLostError,
            blocking=blocking,
            what=repr(self),
        )

    async def run(self, func: Callable[[Hold], Awaitable[object]]) -> None:
        """Take part for ever: `func(leadership)` runs whenever this candidate leads, and again after a loss.

        When `func` returns, the leadership goes to the next candidate and this one queues up again. What `func`
        raises while it leads releases the leadership and comes out as itself; what it raises because of the
        loss is logged with it.

        Raises:
            ZooKeeperError: the client is over.
        """
        while True:
            try:
                async with self.lead() as leadership:
                    await func(leadership)
            except LeadershipLostError as loss:
                logger.warning(
                    "%s: taking part again after a loss: %s", self.path, loss, exc_info=loss.__cause__
                )

    async def leader(self, *, sync: bool = True) -> Contender | None:
        """Who leads, as of this read; None while nobody does.

        Args:
            sync: let the server catch up with its leader first: the answer is then not older than the call.
        """
        client = self._queue.client
        if sync:
            await client.sync(self.path)
        while True:
            try:
                candidates = in_order(await client.get_children(self.path), self._queue.layout)
            except NoNodeError:
                return None
            if not candidates:
                return None
            # The first stays the first for as long as its znode is there, so its data is a leader's.
            first = await read_contenders(self._queue, candidates[:1])
            if first:
                return first[0]

    async def contenders(self) -> list[Contender]:
        """The candidates in order: the first one leads, or is about to."""
        return await list_contenders(self._queue)

    @asynccontextmanager
    async def observe(self) -> AsyncIterator[LatestReader[Contender | None]]:
        """Follow the leadership: an async iterator that begins with the present leader.

        It gives None while there is no leader. A slow reader skips leaders that have gone meanwhile.
        """
        observer = _Observer(self._queue.client, self)
        async with recipe_api(self._queue.client).background(observer.run):
            yield observer.leaders.reader()

    def _make_leadership(self, guard: Guard, place: Place) -> Hold:
        return Hold(self._queue.client, guard, place.path, place.token, LeadershipLostError)

    def __repr__(self) -> str:
        return f"<Election {self.path} {self.identifier}>"


@final
class _Observer:
    """Reads who leads, again and again, when the candidates have changed."""

    def __init__(self, client: Client, election: Election) -> None:
        self.leaders: Latest[Contender | None] = Latest()
        self._election = election
        self._client = client
        self._last: Contender | None = None
        self._is_first = True

    async def run(self) -> None:
        """Observe until the client is over; readers are told why."""
        try:
            while True:
                try:
                    await self._observe_once()
                except NoNodeError:
                    await make_directory(self._client, self._election.path)
                except SessionExpiredError:
                    if recipe_api(self._client).is_over:
                        raise
        except ZooKeeperError as error:
            self.leaders.fail(error)

    async def _observe_once(self) -> None:
        async with self._client.get_children_and_watch(self._election.path) as (_, changed):
            leader = await self._election.leader(sync=False)
            if self._is_first or leader != self._last:
                self._is_first, self._last = False, leader
                self.leaders.put(leader)
            await changed.wait()
