"""Semaphore: so many at a time, in order of arrival, across processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import check_client
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import check_path
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
    read_contenders,
)
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.layouts import SEMAPHORES, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.permits import PermitPool
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.queue_order import QueuedName
from zkrecipes.recipes.locking.semaphore_acquisition import SemaphoreAcquisition
from zkrecipes.recipes.locking.semaphore_limit import LimitState, check_count
from zkrecipes.recipes.locking.single_use import EnteredDirectly
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["Semaphore"]


@final
class Semaphore(EnteredDirectly[Hold]):
    """At most `limit` permits are out at a time, first come first served, across processes and machines.

        semaphore = zk.Semaphore(client, "/limits/api", limit=3)
        async with semaphore as hold:
            ...  # cancelled if the permit can no longer be proven; leaving raises LockLostError then

    Building it does no I/O, and tasks may share it. Whoever asks for several permits gets them together;
    those who came later wait meanwhile, so that it is not passed over for ever. Ask for all permits that you
    need together: two contenders that each have one permit and want another wait for each other. A task that
    has permits and asks for more gets a `RuntimeError`.

    The contenders agree on the limit through the semaphore's znode, as kazoo's do: the first one writes it
    there, and who begins with another limit is refused. `set_limit` changes it for everybody, those who wait
    included. When it is lowered nobody is evicted, and nobody enters until fewer are out. In Curator's layout
    the limit is nowhere written: every contender must be given the same.

    With `limit=None` the semaphore takes the limit that is stored already, from its first entry on.

    Args:
        client: whose session holds the permits.
        path: a directory of its own; no other data belongs there, as each child counts as a permit.
        limit: how many permits there are; None (in kazoo's layout) for the number that is stored already.
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
        limit: int | None,
        identifier: str | None = None,
        layout: LockLayoutName = "kazoo",
        acl: Sequence[ACL] | None = None,
    ) -> None:
        super().__init__()
        check_client(client)
        self.path: str = check_path(path)
        self.identifier: str = check_identifier(identifier)
        names = choose_layout(layout, SEMAPHORES)
        if path == "/" and names.has_limit:
            # the queue beside it would lie in it, and count as a permit for ever
            raise ValueError("a semaphore in kazoo's layout needs a directory beside its own: not the path /")
        top = "" if path == "/" else path
        acl = check_contender(client, path, self.identifier.encode(), acl)
        queue = LockQueue(client, top + names.queue, names.lock, acl)
        self._pool = PermitPool(client, top + names.permits, queue, names, acl)
        self._terms = LimitState(self._pool, limit, self.__repr__)

    @property
    def limit(self) -> int | None:
        """How many permits there are, as far as this object has seen; None if it has not seen it yet."""
        return self._terms.limit

    @takes_wait
    def acquire(self, *, permits: int = 1, wait: float | None = None) -> SemaphoreAcquisition:
        """Enter the result to have permits: `async with semaphore.acquire(permits=2) as hold`.

        For one permit `async with semaphore as hold` is the same.

        `hold` is as a mutex's. Its fencing token orders the entries and does not exclude: others are inside
        at the same time, with lower tokens and higher ones. The loss of one permit is the loss of all.

        Args:
            permits: how many, all or none.
            wait: how many seconds to wait at most for the turn and for enough free permits; the block is not
                limited. With 0 it is one try, which fails also while another contender is just entering.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative; or `permits` is below 1, or above the limit. Once the contenders
                have agreed on a limit, that is found out when it is entered.

        Entering raises:
            AcquireTimeoutError: the permits could not be had within `wait` seconds.
            ValueError: the contenders have agreed on another limit, or on a new one that is below `permits`;
                or no limit is stored, with `limit=None`.
            RuntimeError: this task has permits of this semaphore already, through whichever object: it must
                ask for all of them together.
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
            self.path,
            self._pool,
            self._terms,
            permits,
            self.identifier.encode(),
            wait=wait,
            what=repr(self),
        )

    def _new_use(self) -> SemaphoreAcquisition:
        return self.acquire()

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
        entries = [QueuedName(name, 0, "") for name in names]
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
