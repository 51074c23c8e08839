"""Some permits of a semaphore: znodes that are made together in one transaction, and go together.

Who is first in the queue counts the permits that are out, and takes its own in the transaction that removes
its place in the queue. So the place was there, and nobody else took any, from the count to the transaction;
and the next in the queue sees the permits when it comes to its turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar, final
from uuid import uuid4

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import ChangedPaths, Pauses, Session, recipe_api
from zkrecipes.errors import (
    BadVersionError,
    ConnectionLossError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    TransactionError,
    ZooKeeperError,
)
from zkrecipes.paths import join, name_of, parent_of
from zkrecipes.recipes.locking.layouts import SemaphoreLayout
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode, is_too_much
from zkrecipes.recipes.znodes.clean_up import remove
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import remove_leftovers
from zkrecipes.recipes.znodes.unexpected_children import log_miscounted_children

__all__ = ["PermitPool", "Permits", "PoolState"]

T = TypeVar("T")

_PERMIT_OVERHEAD: Final = 100
"""The bytes of a create, beside its data: at least."""


@final
class PoolState(NamedTuple):
    """How things stood in a pool at one moment.

    Attributes:
        out: how many permits were out, whoever has them.
        limit: what the pool's directory said, or None where it said nothing.
        version: of the directory's data where that may hold the limit, so that a changed limit is noticed.
    """

    out: int
    limit: int | None
    version: int | None


@final
class PermitPool(NamedTuple):
    """Where the permits of one semaphore lie.

    Every child of the directory is a permit that is out, as it is for kazoo and Curator.
    """

    client: Client
    directory: str
    queue: LockQueue
    layout: SemaphoreLayout
    acl: Sequence[ACL] | None

    async def agree(self, limit: int | None) -> int | None:
        """The limit that the directory holds; it is set to `limit` where there is none yet.

        Text that is no number is left alone, and `limit` it is, as for kazoo.

        Args:
            limit: None to write none; then the result is None where there is none.
        """
        read = partial(self.client.get, self.directory)
        while True:
            try:
                data, stat = await self.persist(read)
                if data or limit is None:
                    found = parse_limit(data)
                    return limit if found is None else found
                version = stat.version
            except NoNodeError:
                if limit is None:
                    return None
                await self.make(limit)
                continue
            with suppress(NoNodeError, BadVersionError):  # somebody else was faster: look again
                await self.persist(partial(self.client.set, self.directory, b"%d" % limit, version=version))

    async def set_limit(self, limit: int) -> None:
        """Write the limit into the directory."""
        while True:
            try:
                await self.persist(partial(self.client.set, self.directory, b"%d" % limit))
            except NoNodeError:
                await self.make(limit)
            else:
                return

    async def make(self, limit: int) -> None:
        """Make the directory where it is missing.

        Where it holds the limit it is no container, which would be reaped with it; neither is the queue's
        beside it, which kazoo's clients do not make again.
        """
        # others make and remove it, too
        with suppress(NodeExistsError, NoNodeError):
            await self.persist(partial(self._try_to_make, limit))

    async def _try_to_make(self, limit: int) -> None:
        if not self.layout.has_limit:
            await make_directory(self.client, self.directory)
            return
        await self.client.ensure_path(self.queue.directory)
        await self.client.ensure_path(parent_of(self.directory))
        await self.client.create(self.directory, b"%d" % limit)

    async def remove_leftovers(self) -> None:
        """Remove the permits that an earlier client left in a session that this one has resumed."""
        api, is_permit = recipe_api(self.client), self.layout.is_permit
        await self.persist(partial(remove_leftovers, api, self.directory, is_permit))

    async def persist(self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a read, or a write that may be applied twice, until its end is known."""
        retries = recipe_api(self.client).retries()
        while True:
            try:
                return await request()
            except ZooKeeperError as error:
                await retries.wait_after(error)

    async def look(self, changed: ChangedPaths | None = None) -> PoolState:
        """Count what is out, and have `changed` told of whatever changes that.

        Raises:
            NoNodeError: there is no directory.
        """
        api = recipe_api(self.client)
        operations, watch = api.operations, changed is not None
        names = api.submit(operations.get_children(self.directory, watch=watch), watcher=changed)
        if not self.layout.has_limit:
            return PoolState(self._count(await names.wait()), None, None)
        node = api.submit(operations.get(self.directory, watch=watch), watcher=changed)
        out = self._count(await names.wait())
        data, stat = await node.wait()
        return PoolState(out, parse_limit(data), stat.version)

    def _count(self, names: list[str]) -> int:
        strangers = [name for name in names if not self.layout.is_permit(name)]
        if strangers:
            log_miscounted_children(self.client, self.directory, strangers)
        return len(names)


def parse_limit(data: bytes | None) -> int | None:
    """The number that the data is, or None where it is none."""
    try:
        return int((data or b"").decode("ascii"))
    except ValueError:
        return None


@final
class Permits:
    """Some permits, from the transaction that makes their znodes to their removal.

    Attributes:
        paths: of their znodes, once they are there.
        token: the zxid of the transaction that made them.
    """

    def __init__(self, pool: PermitPool, count: int, data: bytes) -> None:
        self._pool = pool
        self._api = recipe_api(pool.client)
        self._count = count
        self._data = data
        self._guids: list[str] = []
        self._losses = 0
        self.paths: list[str] = []
        self.token: int = 0
        self.session: Session = self._api.session

    async def take(self, place: QueueNode, room: PoolState) -> bool:
        """Take them if the room is as it was; False: it is not, or the place is gone. Look again.

        Args:
            place: it is at its turn; its znode goes in the same transaction.
            room: there is enough of it.

        Raises:
            ConnectionLossError: the connection was lost again and again, and they are many.
            ZooKeeperError: they cannot be made, or the client is over.

        Cancellation: they may exist; call `leave`.
        """
        pool = self._pool
        if place.session is not self._api.session:
            # What is made now would be the next session's, and outlive the place, should that still be there.
            return False
        self._guids = [uuid4().hex for _ in range(self._count)]
        self.session = place.session
        try:
            async with pool.client.transaction() as transaction:
                transaction.delete(place.path)
                if room.version is not None:
                    transaction.check(pool.directory, version=room.version)
                made = [
                    transaction.create(
                        join(pool.directory, pool.layout.prefix(guid)),
                        self._data,
                        ephemeral=True,
                        sequential=pool.layout.is_sequential,
                        acl=pool.acl,
                    )
                    for guid in self._guids
                ]
        except TransactionError as error:
            self._guids = []
            if isinstance(error.error, (NoNodeError, BadVersionError)):
                return False
            raise error.error from error
        except ZooKeeperError as error:
            if not error.is_transient:
                raise
            if not isinstance(error, ConnectionLossError):
                await Pauses().wait()
            return await self._settle(place, error)
        self.paths, self.token = [each.result() for each in made], made[0].zxid
        place.is_left()
        return True

    async def leave(self) -> NoAuthError | None:
        """Remove their znodes, whatever is known of them. Shielded and bounded, as `QueueNode.leave`.

        Returns:
            The server's refusal, as `QueueNode.leave`.
        """
        guids, self._guids = self._guids, []
        paths, self.paths = self.paths, []
        if not guids:
            return None
        return await remove(
            self._api,
            self.session,
            self._pool.directory,
            names=map(name_of, paths),
            prefixes=[] if paths else map(self._pool.layout.prefix, guids),
        )

    async def _settle(self, place: QueueNode, error: ZooKeeperError) -> bool:
        """After an answer that leaves it open whether they were made: find out."""
        is_taken = await self._adopt(place)
        if not is_taken and isinstance(error, ConnectionLossError):
            self._losses += 1
            if is_too_much(self._count * (len(self._data) + _PERMIT_OVERHEAD), self._losses):
                raise error
        return is_taken

    async def _adopt(self, place: QueueNode) -> bool:
        """Whether they were made, all of them as it is a transaction, and live."""
        pool, api = self._pool, self._api
        prefixes = tuple(map(pool.layout.prefix, self._guids))
        names = await pool.persist(partial(api.read_caught_up, api.operations.get_children(pool.directory)))
        paths = [join(pool.directory, name) for name in names if name.startswith(prefixes)]
        is_whole = len(paths) == self._count
        stat = await pool.persist(partial(pool.client.exists, paths[0])) if is_whole else None
        is_current = self.session is api.session
        if is_current and stat is not None and stat.ephemeral_owner == self.session.id:
            self.paths, self.token = paths, stat.czxid
            place.is_left()
            return True
        # of a session that is over, or somebody has removed one already
        self.paths = paths
        await self.leave()
        return False
