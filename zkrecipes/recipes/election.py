"""Election: one leader at a time, whose address every client can read."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, NoReturn, final

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Backoff, async_block, check_client, recipe_api
from zkrecipes.client.watching import OneShotWatch
from zkrecipes.errors import LeadershipLostError, NoNodeError, SessionExpiredError, ZooKeeperError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.following.latest_value import LatestReader, LatestValue
from zkrecipes.recipes.locking.acquisition import Acquisition, EnteredByCalls
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
    read_contenders,
    to_contender,
)
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.lock_layouts import ELECTIONS, ElectionLayoutName, choose_layout
from zkrecipes.recipes.locking.lock_use import LockUse
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.queue_order import QueuedName, in_order
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["Election"]

logger: logging.Logger = logging.getLogger("zkrecipes.recipes")


_SHORT_TERM: Final = 1.0
"""Seconds. `run` pauses after a shorter leadership."""


@final
class Election(EnteredByCalls):
    """One leader among several candidates, with the same promise as a `Mutex`.

        election = zk.Election(client, "/leader", data=b"10.0.0.7:8080")
        async with election.lead() as leadership:
            ...  # cancelled if the leadership can no longer be proven; then LeadershipLostError

    The leader's data (its address) is the data of the znode that makes it the leader, so the two cannot
    differ. Creating the object does no I/O, and tasks may share it.

    Args:
        client: the client whose session holds the leadership.
        path: a directory for this election alone, created if it is missing.
        identifier: the candidate's name; host and process id by default.
        data: the data that observers and the other candidates read; None: the identifier.
        layout: the names of the candidates' znodes: those of kazoo's `Election` (`"kazoo"`, the default), of
            Curator's `LeaderLatch` (`"curator-latch"`) or of its `LeaderSelector` (`"curator-selector"`). All
            candidates on a path must use the same layout. Those libraries read the data as UTF-8 text.
        acl: the ACL of the candidates' znodes; it must give their owner READ. None: the client's default.

    Attributes:
        path: the same as the argument.
        identifier: the candidate's name.

    Raises:
        TypeError: the data is not bytes.
        ValueError: the path, the identifier, the layout or the ACL is not valid; or the data is too large,
            or not UTF-8 in one of Curator's layouts.
    """

    _calls = "`async with election.lead()`"

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        identifier: str | None = None,
        data: bytes | None = None,
        layout: ElectionLayoutName = "kazoo",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        check_client(client)
        self.path: str = check_path(path)
        self.identifier: str = check_identifier(identifier)
        self._data = self.identifier.encode() if data is None else data
        acl = check_contender(client, path, self._data, acl)
        self._queue = LockQueue(client, path, choose_layout(layout, ELECTIONS), acl)
        if layout != "kazoo":
            _check_text(self._data, layout)
        self._recipe = object()

    @takes_wait
    def lead(self, *, wait: float | None = None) -> Acquisition:
        """Lead for as long as the block runs: `async with election.lead() as leadership`.

        Args:
            wait: the maximal wait in seconds, from entering to the first statement of the block; the
                leadership itself is not limited. With 0 it is one try: entering raises as soon as it sees a
                candidate in front, and immediately while the client has no connection. None: no limit.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises:
            AcquireTimeoutError: `wait` seconds were not enough; the error names the leader.
            RuntimeError: this task already leads at this path, or waits to, through this or another object of
                the client: it would wait for itself.
            NoAuthError: the ACL of the directory, or that of the candidate before this one, lacks a
                permission that this client needs.
            ConnectionLossError: the connection was lost repeatedly, and the data is large: usually larger
                than the server accepts.
            PacketTooLargeError: the directory has too many children to be listed.
            ZooKeeperError: the client has ended.

        Leaving hands the leadership to the next candidate immediately. It raises:
            LeadershipLostError: the leadership was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind at any point; the removal continues in the background.
        """
        use = LockUse(
            self._queue,
            self._data,
            lost=LeadershipLostError,
            wait=wait,
            what=repr(self),
            recipe=self._recipe,
        )
        return Acquisition(use)

    async def run(self, func: Callable[[Hold], Awaitable[object]]) -> NoReturn:
        """Take part until cancelled: run `func(leadership)` whenever this candidate leads, even after a loss.

        When `func` returns, the leadership goes to the next candidate, and this one queues up again behind
        the others. If `func` repeatedly returns immediately, this candidate pauses before it queues up, for
        longer each time, up to two seconds.

        If `func` raises an error while it leads, `run` releases the leadership and raises that error
        unchanged. An error that `func` raises because of a loss is logged with the loss. Transient answers of
        the server do not end the run.

        Raises:
            TypeError: `func` is not an async function; it has been called once.
            ZooKeeperError: the errors of entering `lead`; for example, the client has ended.

        Cancellation: as for `lead`.
        """
        pauses = Backoff()
        while True:
            leadership: Hold | None = None
            started_at = math.inf
            try:
                async with self.lead() as leadership:
                    started_at = anyio.current_time()
                    running = func(leadership)
                    if not isinstance(running, Awaitable):
                        raise TypeError(f"func must be an async function of the leadership, not {func!r}")
                    await running
            except LeadershipLostError as loss:
                if leadership is None or loss.path != leadership.path:
                    raise  # `func` lost another leadership and did not handle the error
                logger.warning(
                    "the leadership of %s was lost (taking part again): %s",
                    self.path,
                    loss,
                    exc_info=loss.__cause__,
                    extra={"path": self.path},
                )
            if anyio.current_time() - started_at >= _SHORT_TERM:
                pauses.reset()
            else:
                await pauses.wait()

    async def leader(self, *, sync: bool = True) -> Contender | None:
        """Read the current leader; None if there is no leader.

        A replaced leader is never returned, because the znode with its data is what makes it the leader.

        Args:
            sync: let the server catch up first, by a write that changes nothing and needs a quorum. Then the
                answer is not older than the call, even if the server still follows an ensemble leader that
                has been replaced. Without the sync, the answer may be as old as the server's state.

        Raises:
            NoAuthError: the ACL of the directory or of the leader's znode does not permit READ.
            NotReadOnlyError: the server is read-only, so it cannot catch up.
            ZooKeeperError: the client has ended.
        """
        api = recipe_api(self._queue.client)
        retries = api.retries()
        while True:
            session = api.session
            caught_up = api.catch_up() if sync else None
            try:
                candidates = await self._candidates()
                # The first candidate stays the first while its znode exists, so its data is a leader's.
                first = await read_contenders(self._queue, candidates[:1]) if candidates else []
                if caught_up is not None:
                    await caught_up.wait()
            except SessionExpiredError as error:
                await retries.wait_after(error)
                continue
            # In a new session, a server that lags behind the previous one may have answered.
            if session is api.session and (first or not candidates):
                return first[0] if first else None

    async def contenders(self) -> list[Contender]:
        """Return the candidates in order; the first one leads, or is about to.

        `Contender.identifier` is the candidate's data as text.
        """
        return await list_contenders(self._queue)

    @async_block("election.changes()", "leaders")
    async def changes(self) -> AsyncIterator[LatestReader[Contender | None]]:
        """Follow the leadership: `async with election.changes() as leaders`, then `async for` over `leaders`.

        The iterator starts with the current leader, and gives None while there is no leader. A slow reader
        skips leaders that have been replaced; it never misses the newest one, across reconnects and new
        sessions. While the client reaches no server, the last leader may be out of date.

        Entering raises:
            ZooKeeperError: the client has ended.

        The iterator raises:
            NoAuthError: the ACL of the directory or of the leader's znode does not permit READ.
            RuntimeError: the block has been left.
            ZooKeeperError: the client has ended.
        """
        observer = _Observer(self._queue)
        async with recipe_api(self._queue.client).background(observer.run):
            yield observer.leaders.reader()

    async def _candidates(self) -> list[QueuedName]:
        try:
            return in_order(await self._queue.client.get_children(self.path), self._queue.layout)
        except NoNodeError:
            return []

    def __repr__(self) -> str:
        return f"<Election {self.path} {self.identifier}>"


def _check_text(data: bytes, layout: str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"data must be UTF-8 in the layout {layout!r}: {error}") from None


@final
class _Observer:
    """A task that reads the leader, and again after each change.

    It watches the leader's own znode, because only the end of that znode can make another candidate the
    leader. So other candidates that arrive or leave wake no observer. Without a leader, it watches for
    candidates.
    """

    def __init__(self, queue: LockQueue) -> None:
        self.leaders: LatestValue[Contender | None] = LatestValue()
        self._queue = queue
        self._client = queue.client
        self._api = recipe_api(queue.client)
        self._session = self._api.session
        self._last: Contender | None = None
        self._retries = self._api.retries(
            pause_after_loss=True, failure=f"could not read {queue.directory}", path=queue.directory
        )

    async def run(self) -> None:
        """Observe until the client has ended or a read is refused; readers get the reason as an error."""
        try:
            while True:
                try:
                    await self._observe_session()
                except ZooKeeperError as error:
                    await self._retries.wait_after(error)
        except Exception as error:
            self.leaders.fail(error)
            if not isinstance(error, ZooKeeperError):
                raise
        finally:
            self.leaders.fail(RuntimeError(f"the block of changes() at {self._queue.directory} has ended"))

    async def _observe_session(self) -> None:
        self._session = self._api.session
        # Within a session, no server shows an older state than the one before; a new session may start at a
        # server that lags.
        self._api.submit(self._api.operations.sync(self._queue.directory))
        while self._session is self._api.session:
            try:
                await self._observe_once()
            except NoNodeError:
                continue  # deleted between two reads

    async def _observe_once(self) -> None:
        """Publish the leader, and wait until it may have changed."""
        queue = self._queue
        try:
            children = await self._client.get_children(queue.directory)
        except NoNodeError:
            async with self._client.exists_and_watch(queue.directory) as (stat, changed):
                if stat is None:
                    await self._publish(None, changed)
            return
        candidates = in_order(children, queue.layout)
        if candidates:
            path = join(queue.directory, candidates[0].name)
            async with self._client.get_and_watch(path) as (node, changed):
                await self._publish(to_contender(path, node), changed)
            return
        async with self._client.get_children_and_watch(queue.directory) as (children, changed):
            if not in_order(children, queue.layout):
                await self._publish(None, changed)

    async def _publish(self, leader: Contender | None, changed: OneShotWatch) -> None:
        self._retries.reset()
        if self._session is not self._api.session:
            return  # the reads were in two sessions, perhaps answered by two servers
        if self.leaders.number == 0 or leader != self._last:
            self._last = leader
            self.leaders.put(leader)
        await changed.wait()
