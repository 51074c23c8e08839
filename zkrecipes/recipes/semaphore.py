"""Semaphore: so many at a time, in order of arrival, across processes and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import final

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import ChangedPaths, Guard, Pauses, recipe_api
from zkrecipes.errors import (
    ConnectionLossError,
    LockLostError,
    NoAuthError,
    NoNodeError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.paths import check_path
from zkrecipes.recipes.acquisition import is_proven, task_id
from zkrecipes.recipes.contender import Entry, Place, Queue
from zkrecipes.recipes.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
    read_contenders,
)
from zkrecipes.recipes.entered_by_task import EnteredByTask
from zkrecipes.recipes.entered_once import EnteredOnce
from zkrecipes.recipes.hold import Hold, HoldBlock
from zkrecipes.recipes.layouts import SEMAPHORES, choose_layout
from zkrecipes.recipes.permits import Permits, Pool, Room
from zkrecipes.recipes.semaphore_terms import Terms, check_count

__all__ = ["Semaphore", "SemaphoreAcquisition"]


@final
class Semaphore:
    """At most `limit` permits are out at a time, first come first served, across processes and machines.

        semaphore = zk.Semaphore(client, "/limits/api", limit=3)
        async with semaphore as hold:
            ...  # cancelled if the permit can no longer be proven; leaving raises LockLostError then

    Building it does no I/O, and tasks may share it. Whoever asks for several permits gets them together;
    those who came later wait meanwhile, so that it is not passed over for ever. Ask for what you need at
    once: two who each have one permit and want another wait for each other.

    The contenders agree on the limit through the semaphore's znode, as kazoo's do: the first one writes it
    there, and who begins with another limit is refused. `set_limit` changes it for everybody, those who wait
    included. When it is lowered nobody is evicted, and nobody enters until fewer are out. In Curator's layout
    the limit is nowhere written: every contender must be given the same.

    Args:
        client: whose session holds the permits.
        path: a directory of its own; no other data belongs there, as each child counts as a permit.
        limit: how many permits there are.
        identifier: what `holders` and `contenders` show of this one; host and process id by default.
        layout: how the znodes are named: `"kazoo"`, as kazoo's `Semaphore` does it, or `"curator"`, as
            Curator's `InterProcessSemaphoreV2` does it. All contenders on a path must use the same.
        acl: of the contenders' znodes; it must give their owner READ. None: the client's default.

    Raises:
        ValueError: the path, the limit, the identifier, the layout or the ACL cannot be right.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        limit: int,
        identifier: str | None = None,
        layout: str = "kazoo",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        self.path = check_path(path)
        self.identifier = check_identifier(identifier)
        names = choose_layout(layout, SEMAPHORES)
        if path == "/" and names.has_limit:
            # the queue beside it would lie in it, and count as a permit for ever
            raise ValueError("a semaphore in kazoo's layout needs a directory beside its own: not the path /")
        top = "" if path == "/" else path
        acl = check_contender(client, path, self.identifier.encode(), acl)
        queue = Queue(client, top + names.queue, names.lock, acl)
        self._pool = Pool(client, top + names.permits, queue, names, acl)
        self._terms = Terms(self._pool, limit, self.__repr__)
        self._entered: EnteredByTask[SemaphoreAcquisition] = EnteredByTask()

    @property
    def limit(self) -> int:
        """How many permits there are, as far as this object has seen."""
        return self._terms.limit

    def acquire(self, *, permits: int = 1, blocking: bool = True) -> SemaphoreAcquisition:
        """Enter the result to have permits: `async with semaphore.acquire(permits=2) as hold`.

        For one permit `async with semaphore as hold` is the same.

        `hold` is as a mutex's. Its fencing token orders the entries and does not exclude: others are inside
        at the same time, with lower tokens and higher ones. The loss of one permit is the loss of all.

        Args:
            permits: how many, all or none.
            blocking: wait for one's turn and for enough free permits. With False entering raises
                `anyio.WouldBlock` also while somebody else is just entering.

        Raises:
            ValueError: `permits` is below 1, or above the limit. Once the contenders have agreed on a limit,
                that is found out when it is entered.

        Entering raises:
            ValueError: the contenders have agreed on another limit, or on a new one that is below `permits`.
            anyio.WouldBlock: there are not enough, with `blocking=False`.
            RuntimeError: this task has so many already that it would wait for itself.
            NoAuthError: an ACL does not let this client in.
            PacketTooLargeError: there are too many children to be listed.
            ConnectionLossError: the connection was lost again and again, and the permits are hundreds: more
                than the server takes in one transaction, as a rule.
            ZooKeeperError: the client is over.

        Leaving raises:
            LockLostError: a permit was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind, whatever was under way; the removal goes on in the background.
        """
        check_count("the number of permits", permits)
        if not (self._terms.has_agreed and self._pool.layout.has_limit):
            self._terms.check(permits)
        return SemaphoreAcquisition(
            self._pool, self._terms, permits, self.identifier.encode(), blocking=blocking, what=repr(self)
        )

    async def __aenter__(self) -> Hold:
        """One permit, as `acquire()` gives it."""
        acquisition = self.acquire()
        hold = await acquisition.__aenter__()
        self._entered.push(acquisition)
        return hold

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entered.pop(self).__aexit__(error_type, error, traceback)

    async def set_limit(self, limit: int) -> None:
        """Change the limit for everybody, those who wait included. Nobody who is inside is evicted.

        Raises:
            ValueError: it is below 1; or the layout is Curator's, where nothing holds the limit.
            NoAuthError: the znode's ACL does not let this client write.
        """
        check_count("a semaphore's limit", limit)
        if not self._pool.layout.has_limit:
            raise ValueError("Curator's semaphores do not share their limit: give each the same one")
        await self._terms.change(limit)

    async def holders(self) -> list[Contender]:
        """Who has permits, in order of entry: one for each permit."""
        try:
            names = await self._pool.client.get_children(self._pool.directory)
        except NoNodeError:
            return []
        entries = [Entry(name, 0, "") for name in names]
        found = await read_contenders(self._pool.queue._replace(directory=self._pool.directory), entries)
        return sorted(found, key=lambda each: (each.fencing_token, each.path))

    async def contenders(self) -> list[Contender]:
        """Who has permits, one for each permit, and then who waits, in order of arrival.

        The token of one who waits is that of its place, and lower than what it will have.
        """
        waiting = await list_contenders(self._pool.queue)
        holders = await self.holders()
        inside = {each.path for each in holders}
        return holders + [each for each in waiting if each.path not in inside]

    def __repr__(self) -> str:
        return f"<Semaphore {self.path} limit={self.limit} {self.identifier}>"


@final
class SemaphoreAcquisition(EnteredOnce):
    """Some permits of a semaphore, to be entered once with `async with`; what it gives is the hold."""

    def __init__(
        self, pool: Pool, terms: Terms, count: int, data: bytes, *, blocking: bool, what: str
    ) -> None:
        super().__init__(what)
        self._pool = pool
        self._terms = terms
        self._count = count
        self._blocking = blocking
        self._place = Place(pool.queue, data)
        self._permits = Permits(pool, count, data)
        self._task = 0
        self._block: HoldBlock

    async def __aenter__(self) -> Hold:
        self.enter_once()
        self._task = task_id()
        try:
            await self._terms.agree()
            guard = await self._acquire()
        except BaseException:
            await self._leave()
            raise
        self._terms.taken[self._task] += self._count
        path, *others = self._permits.paths
        self._block = HoldBlock(guard, path, LockLostError)
        self._block.enter()
        return Hold(self._pool.client, guard, path, self._permits.token, LockLostError, also=others)

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = self._block.exit(error_type, error, traceback)
        self._terms.taken -= Counter({self._task: self._count})
        refusal = await self._permits.leave()
        outcome = refusal if outcome is None else outcome
        if outcome is not None and outcome is not error:
            raise outcome

    async def _acquire(self) -> Guard:
        """Queue up until it is our turn, there is room, and the hold is proven."""
        place, permits = self._place, self._permits
        api = recipe_api(self._pool.client)
        while True:
            children = await place.take()
            if not self._blocking and place.is_blocked(children):
                raise anyio.WouldBlock
            if await place.wait_turn(children) and await self._take_permits():
                path, *others = permits.paths
                guard = api.guard(path, permits.session, also=others)
                if await is_proven(guard, path):
                    return guard
            # The znodes are gone, with their session or by somebody's hand, or are about to go: again.
            refusal = await self._leave()
            if refusal is not None:
                raise refusal  # this client would wait for its own znode

    async def _take_permits(self) -> bool:
        """First in the queue: wait for room and take the permits; False if the place is lost."""
        place, pool = self._place, self._pool
        api = recipe_api(pool.client)
        async with api.changed_paths() as changed:
            is_watching = False
            pauses = Pauses()
            while not place.session.state.is_final:
                try:
                    taken = await self._look_and_take(changed if is_watching else None)
                    if taken is not None:
                        return taken
                    is_watching = True  # watches are for those that have to wait
                except NoNodeError:
                    await pool.make(self._terms.limit)
                except SessionExpiredError:
                    if api.is_over:
                        raise
                except ZooKeeperError as error:
                    # a lost connection has been dealt with, unless it is the size of the transaction
                    if not error.is_transient or isinstance(error, ConnectionLossError):
                        raise
                    await pauses.wait()
        return False

    async def _look_and_take(self, changed: ChangedPaths | None) -> bool | None:
        """Take the permits, or wait for a change if there is no room.

        Returns:
            True if they are taken, False if the place is lost, None if it must be looked again.
        """
        place, pool = self._place, self._pool
        room = await pool.look(changed)
        if self._has_room(room):
            if await self._permits.take(place, room):
                return True
            if await pool.client.exists(place.path) is None:
                return False
        elif changed is not None:
            await changed.wait()
        return None

    def _has_room(self, room: Room) -> bool:
        """Whether the permits can be had now.

        Raises:
            ValueError: they can never be had.
            RuntimeError: only when this task gives some back.
            anyio.WouldBlock: not now, and the caller does not want to wait.
        """
        if self._terms.admit(room, self._count):
            return True
        if not self._blocking:
            raise anyio.WouldBlock
        self._terms.check_wait(self._task, self._count)
        return False

    async def _leave(self) -> NoAuthError | None:
        refusal: NoAuthError | None = None
        try:
            refusal = await self._permits.leave()
        finally:
            refusal = await self._place.leave() or refusal
        return refusal
