"""Semaphore: a limited number of permits, given in order of arrival, across processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import check_client
from zkrecipes.errors import NoNodeError
from zkrecipes.paths import check_path
from zkrecipes.recipes.locking.acquisition import Acquisition, EnteredDirectly
from zkrecipes.recipes.locking.contenders import (
    Contender,
    check_contender,
    check_identifier,
    list_contenders,
    read_contenders,
)
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.lock_layouts import SEMAPHORES, LockLayoutName, choose_layout
from zkrecipes.recipes.locking.permits import PermitPool
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.queue_order import QueuedName
from zkrecipes.recipes.locking.semaphore_limit import LimitState, check_count
from zkrecipes.recipes.locking.semaphore_use import SemaphoreUse
from zkrecipes.recipes.locking.wait_limit import takes_wait

__all__ = ["Semaphore"]


@final
class Semaphore(EnteredDirectly[Hold]):
    """At most `limit` permits at a time, first come first served, across processes and machines.

        semaphore = zk.Semaphore(client, "/limits/api", limit=3)
        async with semaphore as hold:
            ...  # cancelled if the permit can no longer be proven; leaving raises LockLostError then

    Creating the object does no I/O, and tasks may share it. A contender that asks for several permits gets
    them together. Later contenders wait until then, so that it does not starve. Ask for all permits that you
    need together: two contenders that each have one permit and want another wait for each other. A task that
    has permits and asks for more gets a `RuntimeError`.

    The contenders agree on the limit through the semaphore's znode, as kazoo's contenders do: the first
    contender writes it there, and a contender with another limit is refused. `set_limit` changes it for all
    contenders, including those that wait. A lower limit evicts no holder; no contender enters until enough
    permits are free. Curator's layout stores no limit: give each contender the same one.

    With `limit=None` the semaphore takes the stored limit when it is first entered.

    Args:
        client: the client whose session holds the permits.
        path: a directory for this semaphore alone; no other data belongs there, because each child counts as
            a permit.
        limit: how many permits there are; None (in kazoo's layout) for the stored limit.
        identifier: the contender's name in `holders` and `contenders`; host and process id by default.
        layout: the names of the znodes: those of kazoo's `Semaphore` (`"kazoo"`, the default) or of Curator's
            `InterProcessSemaphoreV2` (`"curator"`). All contenders on a path must use the same layout.
        acl: the ACL of the contenders' znodes; it must give their owner READ. None: the client's default.

    Attributes:
        path: the same as the argument.
        identifier: the contender's name.

    Raises:
        ValueError: the path, the limit, the identifier, the layout or the ACL is not valid.
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
        chosen = choose_layout(layout, SEMAPHORES)
        if path == "/" and chosen.has_limit:
            # the queue's directory would be a child of the permits' directory, and always count as a permit
            raise ValueError(
                "path must not be '/' in kazoo's layout, which needs a second directory beside it"
            )
        top = "" if path == "/" else path
        acl = check_contender(client, path, self.identifier.encode(), acl)
        queue = LockQueue(client, top + chosen.queue_suffix, chosen.queue_layout, acl)
        self._pool = PermitPool(client, top + chosen.permits_suffix, queue, chosen, acl)
        self._limit_state = LimitState(self._pool, limit, self.__repr__)

    @property
    def limit(self) -> int | None:
        """The number of permits, as last seen by this object; None before that."""
        return self._limit_state.limit

    @takes_wait
    def acquire(self, *, permits: int = 1, wait: float | None = None) -> Acquisition:
        """Enter the result to hold permits: `async with semaphore.acquire(permits=2) as hold`.

        For one permit `async with semaphore as hold` is the same.

        `hold` is like a mutex's, except that its fencing token only orders the entries: other holders, with
        lower and with higher tokens, are inside at the same time. The loss of one permit is the loss of all.

        Args:
            permits: how many to take: all of them or none.
            wait: the maximal wait in seconds for the turn and for enough free permits; the block is not
                limited. With 0 it is one try, which also fails while another contender is just entering.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative; or `permits` is below 1, or above the limit. After the contenders
                have agreed on a limit, entering compares it with `permits`.

        Entering raises:
            AcquireTimeoutError: `wait` seconds were not enough.
            ValueError: the contenders have agreed on another limit, or on a new one that is below `permits`;
                or no limit is stored, with `limit=None`.
            RuntimeError: this task already has permits of this semaphore, through this or another object of
                the client: it must ask for all of them together.
            NoAuthError: an ACL lacks a permission that this client needs.
            PacketTooLargeError: there are too many children to be listed.
            ConnectionLossError: the connection was lost repeatedly, and there are hundreds of permits:
                usually more than the server accepts in one transaction.
            ZooKeeperError: the client has ended.

        Leaving raises:
            LockLostError: a permit was lost while the block ran; the block was cancelled.

        Cancellation: no znode is left behind at any point; the removal continues in the background.
        """
        check_count("permits", permits)
        if not (self._limit_state.has_agreed and self._pool.layout.has_limit):
            self._limit_state.check(permits)
        return Acquisition(self._new_use(permits, wait))

    def _new_use(self, permits: int = 1, wait: float | None = None) -> SemaphoreUse:
        return SemaphoreUse(
            self.path,
            self._pool,
            self._limit_state,
            permits,
            self.identifier.encode(),
            wait=wait,
            what=repr(self),
        )

    async def set_limit(self, limit: int) -> None:
        """Change the limit for all contenders, including those that wait. A lower limit evicts no holder.

        Raises:
            ValueError: `limit` is below 1; or the layout is Curator's, which stores no limit.
            NoAuthError: the znode's ACL does not permit WRITE.
        """
        check_count("limit", limit)
        if not self._pool.layout.has_limit:
            raise ValueError("Curator's layout stores no limit: give each semaphore object the same one")
        await self._limit_state.change(limit)

    async def holders(self) -> list[Contender]:
        """Return the holders in order of entry: one entry for each permit."""
        try:
            names = await self._pool.client.get_children(self._pool.directory)
        except NoNodeError:
            return []
        permits = [QueuedName(name, 0, "") for name in names]
        found = await read_contenders(self._pool.queue._replace(directory=self._pool.directory), permits)
        return sorted(found, key=lambda each: (each.fencing_token, each.path))

    async def contenders(self) -> list[Contender]:
        """Return the holders, one entry for each permit, and then the contenders that wait, in order.

        The token of a contender that waits is that of its znode in the queue, and lower than that of its
        later hold.
        """
        waiting = await list_contenders(self._pool.queue)
        holders = await self.holders()
        inside = {each.path for each in holders}
        return holders + [each for each in waiting if each.path not in inside]

    def __repr__(self) -> str:
        return f"<Semaphore {self.path} limit={self.limit} {self.identifier}>"
