"""Permits of a semaphore: znodes that one transaction creates together, and that are removed together.

The problem: two contenders that count the permits at the same time could both take the last one. The trick:
only the first contender in the queue counts, and the transaction that creates its permits also removes its
znode from the queue. The consequences: no other contender took permits between the count and the transaction,
because the contender was still first; and the next contender sees the new permits when its turn comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar, final
from uuid import uuid4

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Backoff, ChangedPaths, Session, recipe_api
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
from zkrecipes.recipes.locking.lock_layouts import SemaphoreLayout
from zkrecipes.recipes.locking.queue import LockQueue, QueueNode, is_write_too_large
from zkrecipes.recipes.znodes.clean_up import remove
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import remove_leftovers
from zkrecipes.recipes.znodes.unexpected_children import log_miscounted_children

__all__ = ["PermitPool", "Permits", "PoolState"]

T = TypeVar("T")

_PERMIT_OVERHEAD: Final = 100
"""The minimal size of a create beside its data, in bytes."""


@final
class PoolState(NamedTuple):
    """The state of a pool at one time.

    Attributes:
        taken: how many permits were taken, by all contenders together.
        limit: the limit in the directory, or None if it holds none.
        version: the version of the directory's data if the data may hold the limit, so that a change of the
            limit is noticed.
    """

    taken: int
    limit: int | None
    version: int | None


@final
class PermitPool(NamedTuple):
    """The directory with the permits of one semaphore.

    Each child of the directory is a taken permit, as for kazoo and Curator.
    """

    client: Client
    directory: str
    queue: LockQueue
    layout: SemaphoreLayout
    acl: Sequence[ACL] | None

    async def agree_on_limit(self, limit: int | None) -> int | None:
        """Return the limit in the directory; write `limit` first if the directory holds no limit.

        Data that are not a number stay unchanged, and the result is `limit`, as in kazoo.

        Args:
            limit: None to write nothing; then the result is None if the directory holds no limit.
        """
        read = partial(self.client.get, self.directory)
        while True:
            try:
                data, stat = await self.retry(read)
                if data or limit is None:
                    found = parse_limit(data)
                    return limit if found is None else found
                version = stat.version
            except NoNodeError:
                if limit is None:
                    return None
                await self.create_directory(limit)
                continue
            with suppress(NoNodeError, BadVersionError):  # another contender was faster: read again
                await self.retry(partial(self.client.set, self.directory, b"%d" % limit, version=version))

    async def set_limit(self, limit: int) -> None:
        """Write the limit into the directory."""
        while True:
            try:
                await self.retry(partial(self.client.set, self.directory, b"%d" % limit))
            except NoNodeError:
                await self.create_directory(limit)
            else:
                return

    async def create_directory(self, limit: int) -> None:
        """Create the directory if it is missing.

        A directory that stores the limit is not a container, because the server would remove the limit with
        the container. The queue's directory beside it is not a container either, because kazoo's clients do
        not create it again.
        """
        # other contenders create and remove it as well
        with suppress(NodeExistsError, NoNodeError):
            await self.retry(partial(self._try_to_create_directory, limit))

    async def _try_to_create_directory(self, limit: int) -> None:
        if not self.layout.has_limit:
            await make_directory(self.client, self.directory)
            return
        await self.client.ensure_path(self.queue.directory)
        await self.client.ensure_path(parent_of(self.directory))
        await self.client.create(self.directory, b"%d" % limit)

    async def remove_leftovers(self) -> None:
        """Remove the permits that an earlier client left in a session that this client has resumed."""
        api, is_permit = recipe_api(self.client), self.layout.is_permit
        await self.retry(partial(remove_leftovers, api, self.directory, is_permit))

    async def retry(self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a read, or a write that may be applied twice, until its outcome is known."""
        retries = recipe_api(self.client).retries()
        while True:
            try:
                return await request()
            except ZooKeeperError as error:
                await retries.wait_after(error)

    async def read_state(self, changed: ChangedPaths | None = None) -> PoolState:
        """Count the taken permits; if `changed` is given, notify it of later changes.

        Raises:
            NoNodeError: the directory does not exist.
        """
        api = recipe_api(self.client)
        operations, watch = api.operations, changed is not None
        submit = api.submit if changed is None else changed.submit
        names = submit(operations.get_children(self.directory, watch=watch))
        if not self.layout.has_limit:
            return PoolState(self._count(await names.wait()), None, None)
        node = submit(operations.get(self.directory, watch=watch))
        taken = self._count(await names.wait())
        data, stat = await node.wait()
        return PoolState(taken, parse_limit(data), stat.version)

    def _count(self, names: list[str]) -> int:
        unexpected = [name for name in names if not self.layout.is_permit(name)]
        if unexpected:
            log_miscounted_children(self.client, self.directory, unexpected)
        return len(names)


def parse_limit(data: bytes | None) -> int | None:
    """Return the number that the data holds, or None if it does not hold one."""
    try:
        return int((data or b"").decode("ascii"))
    except ValueError:
        return None


@final
class Permits:
    """Permits of one contender, from the transaction that creates their znodes to their removal.

    Attributes:
        paths: the paths of their znodes, once these exist.
        token: the zxid of the transaction that created them.
        session: the session that owns them.
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

    async def take(self, node: QueueNode, state: PoolState) -> bool:
        """Take the permits if the pool has not changed; return False if it has, or if `node` does not exist.

        Args:
            node: the contender's znode, which is first in the queue; the same transaction removes it.
            state: the state of the pool, which has enough free permits.

        Raises:
            ConnectionLossError: the connection was lost repeatedly, and the number of permits is large.
            ZooKeeperError: the permits cannot be created, or the client has ended.

        Cancellation: the permits may exist; call `leave`.
        """
        pool = self._pool
        if node.session is not self._api.session:
            # Permits created now would belong to the next session, and outlive the contender's znode.
            return False
        self._guids = [uuid4().hex for _ in range(self._count)]
        self.session = node.session
        try:
            async with pool.client.transaction() as transaction:
                transaction.delete(node.path)
                if state.version is not None:
                    transaction.check(pool.directory, version=state.version)
                created = [
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
                await Backoff().wait()
            return await self._settle(node, error)
        self.paths, self.token = [each.result() for each in created], created[0].zxid
        node.mark_removed()
        return True

    async def leave(self) -> NoAuthError | None:
        """Remove the znodes if they exist or may exist.

        The wait is shielded and bounded, as in `QueueNode.leave`.

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

    async def _settle(self, node: QueueNode, error: ZooKeeperError) -> bool:
        """Return whether the permits were created, after an error that does not show it."""
        is_taken = await self._adopt(node)
        if not is_taken and isinstance(error, ConnectionLossError):
            self._losses += 1
            if is_write_too_large(self._count * (len(self._data) + _PERMIT_OVERHEAD), self._losses):
                raise error
        return is_taken

    async def _adopt(self, node: QueueNode) -> bool:
        """Look for the permits, of which the transaction created all or none; return whether they exist."""
        pool, api = self._pool, self._api
        prefixes = tuple(map(pool.layout.prefix, self._guids))
        names = await pool.retry(partial(api.read_caught_up, api.operations.get_children(pool.directory)))
        paths = [join(pool.directory, name) for name in names if name.startswith(prefixes)]
        is_whole = len(paths) == self._count
        stat = await pool.retry(partial(pool.client.exists, paths[0])) if is_whole else None
        is_current = self.session is api.session
        if is_current and stat is not None and stat.ephemeral_owner == self.session.id:
            self.paths, self.token = paths, stat.czxid
            node.mark_removed()
            return True
        # their session is over, or another client has removed one of them already
        self.paths = paths
        await self.leave()
        return False
