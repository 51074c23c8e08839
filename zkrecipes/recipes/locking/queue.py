"""One contender's znode in a queue of ephemeral sequential znodes.

The problem: if the reply to a create is lost, the client does not know whether its znode exists, and a znode
that no client knows of would block the queue for as long as the session lives. The trick: each try creates a
znode with a fresh GUID in its name, so a later list of the directory settles the question, and a delete by
that name can never hit another contender's znode. The consequences: `enqueue` may be repeated until its
outcome is known, and `leave` may be called even if it is unknown whether the znode exists.

The contender with the lowest sequence number goes first; each other one watches the last one before it that
blocks it (`queue_order.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, final
from uuid import uuid4

from zkrecipes.acl import ACL, ANYONE_ID
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import BREAKS_MAX, Node, Pending, RecipeApi, Session, recipe_api
from zkrecipes.enums import Perms
from zkrecipes.errors import (
    ConnectionLossError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
    ZooKeeperError,
)
from zkrecipes.paths import join, name_of
from zkrecipes.recipes.locking.lock_layouts import LockLayout
from zkrecipes.recipes.locking.queue_listing import list_in_order, share_list
from zkrecipes.recipes.locking.queue_order import QueueOrder
from zkrecipes.recipes.znodes.clean_up import is_leaving, remove
from zkrecipes.recipes.znodes.delete_permission import probing
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import remove_leftovers
from zkrecipes.recipes.znodes.unexpected_children import log_unexpected_children

__all__ = ["LockQueue", "QueueNode", "is_write_too_large"]

_SHORT_QUEUE: Final = 64
"""The number of contenders up to which a list is requested even if it may not be needed."""
_READ: Final = int(Perms.READ)
"""An int, because operators of flags are Python functions and therefore slower."""
_ALWAYS_ACCEPTED: Final = 2**16
"""A number of bytes; no server's `jute.maxbuffer` refuses a request of this size."""


def is_write_too_large(size: int, losses: int) -> bool:
    """Whether the size of a write, and not the network, explains this many lost connections in a row.

    A server that receives more than it accepts does not answer: it closes the connection.
    """
    return losses >= BREAKS_MAX and size > _ALWAYS_ACCEPTED


@final
class LockQueue(NamedTuple):
    """A directory in which contenders queue up.

    `directory` is created if it is missing, as the layout requires; the levels above it are persistent. `acl`
    is the ACL of the contenders' znodes.
    """

    client: Client
    directory: str
    layout: LockLayout
    acl: Sequence[ACL] | None


@final
class QueueNode:
    """One contender's znode in the queue, from its creation to its removal.

    Attributes:
        path: the znode's path; empty before it is known to exist.
        token: the zxid of the transaction that created the znode: it grows from one znode to the next.
        session: the session that owns the znode.
        creation: the request that created the znode, if its reply can help to prove the hold.
        first: the path of the first contender in the queue, as last seen; empty before the first list.
        watched: the contender that was watched last: its path and the result of the read.
        is_blocked: for one try, whether another contender came first and blocks this one.

    Args:
        queue: where to queue up.
        data: the data of the znode.
        is_one_try: whether the contender gives up if it is blocked.
    """

    def __init__(self, queue: LockQueue, data: bytes, *, is_one_try: bool = False) -> None:
        self._queue = queue
        self._api: RecipeApi = recipe_api(queue.client)
        self._data = data
        self._guid = ""
        self.path: str = ""
        self.token: int = 0
        self.creation: Pending[str] | None = None
        self.session: Session = self._api.session
        self.first: str = ""
        self.watched: tuple[str, Node] | None = None
        self.is_blocked: bool = False
        self._predecessor = ""  # the name of the contender that this one waits for
        self._is_in_queue = False
        self._is_queue_short = False
        self._is_one_try = is_one_try
        self._replacement = ""  # during `switch_to`: the path of the new znode
        self._replaced = ""  # after `switch_to`: the path of the old znode, if it may still exist

    async def enqueue(self) -> None:
        """Create the znode, and read the queue as of its creation or later.

        It tries again, after a pause, if the answer is transient.

        Raises:
            ConnectionLossError: the connection was lost repeatedly, and the data is large.
            ZooKeeperError: the znode cannot be created, or the client has ended.

        Cancellation: the znode may exist; call `leave`.
        """
        losses = 0
        retries = self._api.retries()
        while True:
            try:
                is_enqueued = await self._try_to_enqueue()
            except ConnectionLossError as error:
                losses += 1
                if is_write_too_large(len(self._data), losses):
                    error.path = error.path or self._queue.directory
                    raise
            except ZooKeeperError as error:
                await retries.wait_after(error)
            else:
                if is_enqueued:
                    return

    async def wait_turn(self) -> bool:
        """Wait until no contender blocks this one; return False if the znode no longer exists.

        A waiter keeps one name, that of the contender it waits for: a whole list would take much memory for
        each waiter.
        """
        retries = self._api.retries(pause_after_loss=True)
        while self._is_in_queue:
            if not self._predecessor:
                return True
            try:
                await self._wait_for_departure(self._predecessor)
            except NoNodeError:
                return False  # the directory does not exist
            except ZooKeeperError as error:
                await retries.wait_after(error)
            if self.session.state.is_final:
                return False  # the read was in the next session; our znode ended with the previous one
        return False

    async def _wait_for_departure(self, predecessor: str) -> None:
        """Wait until `predecessor` has left or changed, and read the queue as of then or later."""
        queue, api = self._queue, self._api
        async with api.read_when_changed(partial(share_list, api, queue.directory, queue.layout)) as listed:
            path = join(queue.directory, predecessor)
            watch = listed.submit(api.operations.get(path, watch=True))
            # The first contender may have left already; then this list arrives with the answer that reports
            # it.
            listing = self._submit_list() if path == self.first and self._is_queue_short else None
            try:
                self.watched = (path, await watch.wait())
            except NoNodeError:
                self._note_order(await (listing or self._submit_list()).wait())
                return
            del listing  # free its memory before the long wait
            if not self.session.state.is_final:  # otherwise the watch belongs to the next session
                self._note_order(await listed.wait())

    def _submit_list(self) -> Pending[QueueOrder]:
        return self._api.submit(list_in_order(self._api, self._queue.directory, self._queue.layout))

    def _note_order(self, order: QueueOrder) -> None:
        """Keep the parts of the queue's order that this contender needs."""
        queue, own_name = self._queue, name_of(self.path)
        self._is_queue_short = len(order) <= _SHORT_QUEUE
        first = order.first()
        self.first = "" if first is None else join(queue.directory, first)
        try:
            self._predecessor = order.before(own_name, queue.layout) or ""
        except LookupError:
            self._is_in_queue, self._predecessor = False, ""
        else:
            self._is_in_queue = True

    def read_first(self) -> Pending[Node] | None:
        """Submit a read of the first contender, if that is another one and the client is connected."""
        if not self.first or self.first == self.path or not self._api.is_connected:
            return None
        return self._api.submit(self._api.operations.get(self.first))

    async def switch_to(self, queue: LockQueue, on_switched: Callable[[], None]) -> bool:
        """Replace the znode by one of another layout with the same sequence number.

        Both znodes exist for a moment, so that no contender gets in between (Curator's
        `InterProcessReadWriteLock` uses the same method).

        Args:
            queue: the same directory, with the other layout.
            on_switched: called when the new znode has replaced the old one, before the old one is removed.

        Returns:
            False if the place in the queue is lost, because the session is over or the directory does not
            exist.

        Cancellation: the znode may have been replaced or not; `leave` removes both znodes.
        """
        sequence = name_of(self.path).removeprefix(self._queue.layout.prefix(self._guid))
        self._replacement = join(queue.directory, queue.layout.prefix(self._guid) + sequence)
        if not await self._create_replacement(queue):
            return False
        self._replaced, self.path, self._replacement = self.path, self._replacement, ""
        self._queue = queue
        on_switched()
        # If the removal is refused, `leave` tries again at the end of the block, and reports the refusal.
        if await self._remove(self._replaced) is None:
            self._replaced = ""
        return True

    async def leave(self) -> NoAuthError | None:
        """Remove the znode if it exists or may exist.

        The wait is shielded and bounded; the removal continues in the background.

        Returns:
            The server's refusal, if the directory does not permit DELETE: the znode stays until its session
            ends. The caller raises it unless there is another error already; it is logged.

        Cancellation: the removal continues until it is done, or until the session ends and the znode with it.
        """
        if not self._guid:
            return None
        prefix = self._queue.layout.prefix(self._guid)
        paths = [path for path in (self._replaced, self._replacement, self.path) if path]
        is_unknown = not self.path
        self.mark_removed()
        return await self._remove(*paths, prefixes=[prefix] if is_unknown else [])

    @property
    def may_exist(self) -> bool:
        """Whether there is, or may be, a znode to remove."""
        return bool(self._guid)

    def mark_removed(self) -> None:
        """Record that the znode was removed, so that `leave` does nothing."""
        self._guid = self.path = self._replaced = self._replacement = ""

    async def _try_to_enqueue(self) -> bool:
        """Take one step towards a znode in a queue that was read; return False if there is no znode yet.

        After an error, the next call continues with the step that failed.
        """
        if self.session is not self._api.session:
            self.mark_removed()  # the znode, if it existed, ended with its session
        try:
            if self.path:
                self._note_first_order(await self._submit_list().wait())
                return True
            if self._guid:
                return await self._adopt()
            await remove_leftovers(self._api, self._queue.directory, self._is_contender)
            # A fresh GUID for each try: a znode of an earlier try must not be taken for this one's.
            self._guid = uuid4().hex
            self.creation = None
            self.session = self._api.session
            await self._create_and_list()
            return True
        except NoNodeError:
            queue = self._queue
            self.mark_removed()
            await make_directory(queue.client, queue.directory, container=queue.layout.is_container)
        return False

    async def _create_and_list(self) -> None:
        """Create the znode and list the directory in one round trip.

        A server answers the requests of one session in order, so the list contains the new znode.
        """
        queue, api = self._queue, self._api
        path = join(queue.directory, queue.layout.prefix(self._guid))
        operation = api.operations.create(path, self._data, ephemeral=True, sequential=True, acl=queue.acl)
        create = api.submit(probing(api, queue.directory, operation, queue.acl), proves_hold=True)
        listing = self._submit_list()
        try:
            created = await create.wait()
        except NoAuthError:
            self.mark_removed()  # refused before the create; after other errors the znode may exist
            raise
        self.path, self.token = created, create.zxid
        self.creation = create if self._is_readable_by_anyone() else None
        self._note_first_order(await listing.wait())

    def _note_first_order(self, order: QueueOrder) -> None:
        queue = self._queue
        self._note_order(order)
        if self._predecessor and self._is_one_try:
            self._ignore_leaving(order)
        log_unexpected_children(queue.client, queue.directory, order.unexpected, queue.layout)

    def _ignore_leaving(self, order: QueueOrder) -> None:
        """Ignore contenders of this client that have left and whose znodes are still being removed.

        They block other contenders only for a short time.
        """
        queue = self._queue

        def is_ignored(name: str) -> bool:
            return is_leaving(self._api, join(queue.directory, name))

        first = order.first(is_ignored)
        self.first = "" if first is None else join(queue.directory, first)
        self.is_blocked = order.before(name_of(self.path), queue.layout, is_ignored) is not None

    def _is_readable_by_anyone(self) -> bool:
        """Whether every client may read the znode. With another ACL the hold needs a first check."""
        acl = self._api.default_acl if self._queue.acl is None else self._queue.acl
        return any(entry.id == ANYONE_ID and int(entry.perms) & _READ for entry in acl)

    def _is_contender(self, name: str) -> bool:
        return self._queue.layout.tag_and_sequence_of(name) is not None

    async def _adopt(self) -> bool:
        """After a lost reply, look for our znode and read the queue; return False if it does not exist."""
        api, queue = self._api, self._queue
        try:
            children = await api.read_caught_up(api.operations.get_children(queue.directory))
        except NoNodeError:
            children = []
        prefix = queue.layout.prefix(self._guid)
        for name in children:
            if not name.startswith(prefix):
                continue
            path = join(queue.directory, name)
            stat = await queue.client.exists(path)
            is_current = self.session is api.session
            if is_current and stat is not None and stat.ephemeral_owner == self.session.id:
                self.path, self.token = path, stat.czxid
                self._note_first_order(QueueOrder(children, queue.layout))
                return True
            # It ends with its session. No other client uses its name, so removing it now harms no other
            # client.
            await remove(api, api.session, queue.directory, names=[name])
        self.mark_removed()
        return False

    async def _create_replacement(self, queue: LockQueue) -> bool:
        operation = self._api.operations.create(self._replacement, self._data, ephemeral=True, acl=queue.acl)
        retries = self._api.retries()
        # A request belongs to the current session: in another session the znode would outlive the hold.
        while self.session is self._api.session and not self.session.state.is_final:
            try:
                await self._api.submit(operation).wait()
            except NodeExistsError:
                return True  # created by an earlier try whose reply was lost: the GUID is ours
            except (NoNodeError, SessionExpiredError):
                return False
            except ZooKeeperError as error:
                await retries.wait_after(error)
            else:
                return True
        return False

    async def _remove(self, *paths: str, prefixes: Iterable[str] = ()) -> NoAuthError | None:
        names = [name_of(path) for path in paths]
        return await remove(self._api, self.session, self._queue.directory, names=names, prefixes=prefixes)
