"""A place in a queue of ephemeral sequential znodes.

Each contender makes a znode whose name holds a GUID of its own, fresh for each try. Whoever has the lowest
number goes first; everybody else watches the one directly before, so that each departure wakes one (the
herd-free lock of ZooKeeper's recipes page). The GUID settles what a lost connection leaves open: whether the
znode was made.
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
from zkrecipes.recipes.locking.layouts import LockLayout
from zkrecipes.recipes.locking.queue_listing import list_in_order, share_list
from zkrecipes.recipes.locking.queue_order import QueueOrder
from zkrecipes.recipes.znodes.clean_up import is_leaving, remove
from zkrecipes.recipes.znodes.delete_permission import probing
from zkrecipes.recipes.znodes.directories import make_directory
from zkrecipes.recipes.znodes.leftovers import remove_leftovers
from zkrecipes.recipes.znodes.unexpected_children import log_unexpected_children

__all__ = ["LockQueue", "QueueNode", "is_too_much"]

_SHORT: Final = 64
"""Contenders. In a queue that is no longer a list is asked for although it may not be needed."""
_READ: Final = int(Perms.READ)
"""As a number: flags are joined by Python functions."""
_SURELY_TAKEN: Final = 2**16
"""Bytes that no server's `jute.maxbuffer` refuses."""


def is_too_much(size: int, losses: int) -> bool:
    """Whether so many lost connections in a row are due to the size of a write, and not to the network.

    A server that is sent more than it takes says nothing, and closes the connection.
    """
    return losses >= BREAKS_MAX and size > _SURELY_TAKEN


@final
class LockQueue(NamedTuple):
    """Where contenders stand in line.

    `directory` is made when it is missing, as the layout wants it; the levels above it are persistent. `acl`
    is that of the contenders' znodes.
    """

    client: Client
    directory: str
    layout: LockLayout
    acl: Sequence[ACL] | None


@final
class QueueNode:
    """One contender's place in the queue, from its znode's creation to its removal.

    Attributes:
        path: of its znode, once there is one.
        token: the zxid of the transaction that made the znode: it grows from place to place.
        session: the session that owns it.
        made: its creation, where that can serve to prove the hold.
        first: the path of the first contender in the queue, as last seen; empty before a list was seen.
        watched: the last contender that was watched, its path and what was read.
        is_blocked: whether another contender was before this place and blocked it, in the one try.

    Args:
        queue: where to stand.
        data: of its znode.
        is_one_try: it will not wait for its turn.
    """

    def __init__(self, queue: LockQueue, data: bytes, *, is_one_try: bool = False) -> None:
        self._queue = queue
        self._api: RecipeApi = recipe_api(queue.client)
        self._data = data
        self._guid = ""
        self.path: str = ""
        self.token: int = 0
        self.made: Pending[str] | None = None
        self.session: Session = self._api.session
        self._moved_from = ""  # after a move, the znode that stood for it
        self.first: str = ""
        self.watched: tuple[str, Node] | None = None
        self._before = ""  # the name of the contender that this one waits for
        self._is_in_queue = False
        self._is_queue_short = False
        self.is_blocked: bool = False
        self._is_one_try = is_one_try
        self._second = ""  # while it moves, the znode that will stand for it

    async def take(self) -> None:
        """Make the znode, and look at the queue as of then or later.

        Answers that are transient are not the end: it tries again, after a pause.

        Raises:
            ConnectionLossError: the connection was lost again and again, and there is much data.
            ZooKeeperError: it cannot be made, or the client is over.

        Cancellation: the znode may exist; call `leave`.
        """
        losses = 0
        retries = self._api.retries()
        while True:
            try:
                is_taken = await self._try_to_take()
            except ConnectionLossError as error:
                losses += 1
                if is_too_much(len(self._data), losses):
                    error.path = error.path or self._queue.directory
                    raise
            except ZooKeeperError as error:
                await retries.wait_after(error)
            else:
                if is_taken:
                    return

    async def wait_turn(self) -> bool:
        """Wait until nobody before this place blocks it; False if its znode has gone meanwhile.

        While it waits it remembers the one name that it waits for: lists would take memory for each waiter.
        """
        retries = self._api.retries(pause_after_loss=True)
        while self._is_in_queue:
            if not self._before:
                return True
            try:
                await self._look_after_it_left(self._before)
            except NoNodeError:
                return False  # the directory
            except ZooKeeperError as error:
                await retries.wait_after(error)
            if self.session.state.is_final:
                return False  # what was read is of the next session, and our znode has gone with the last
        return False

    async def _look_after_it_left(self, before: str) -> None:
        """Wait until `before` has left or has changed, and look at the queue as of later."""
        queue, api = self._queue, self._api
        async with api.ask_when_changed(partial(share_list, api, queue.directory, queue.layout)) as news:
            path = join(queue.directory, before)
            watch = api.submit(api.operations.get(path, watch=True), watcher=news)
            # Whoever goes first may have left already: the list comes with the answer that says so.
            listing = self._ask_for_list() if path == self.first and self._is_queue_short else None
            try:
                self.watched = (path, await watch.wait())
            except NoNodeError:
                self._look(await (listing or self._ask_for_list()).wait())
                return
            del listing  # it would be kept while this waits
            if not self.session.state.is_final:  # or the watch, of the next session, is not for our turn
                self._look(await news.wait())

    def _ask_for_list(self) -> Pending[QueueOrder]:
        return self._api.submit(list_in_order(self._api, self._queue.directory, self._queue.layout))

    def _look(self, order: QueueOrder) -> None:
        """Remember what of the queue's order concerns this place."""
        queue, own_name = self._queue, name_of(self.path)
        self._is_queue_short = len(order) <= _SHORT
        first = order.first()
        self.first = "" if first is None else join(queue.directory, first)
        try:
            self._before = order.before(own_name, queue.layout) or ""
        except LookupError:
            self._is_in_queue, self._before = False, ""
        else:
            self._is_in_queue = True

    def read_first(self) -> Pending[Node] | None:
        """Ask for the first contender in the queue, if there is another one and a connection."""
        if not self.first or self.first == self.path or not self._api.is_connected:
            return None
        return self._api.submit(self._api.operations.get(self.first))

    async def move_to(self, queue: LockQueue, moved: Callable[[], None]) -> bool:
        """Stand at the same place under another layout's name: with the same number, which is not made anew.

        Both znodes exist for a moment, so that nobody gets in between (Curator's `InterProcessReadWriteLock`
        does it the same way).

        Args:
            queue: the same directory, with the other layout.
            moved: called when the new znode stands for the place, before the old one goes.

        Returns:
            False if the place is lost: its session is over, or its directory is gone.

        Cancellation: it has moved, or it has not; `leave` removes whatever there is.
        """
        number = name_of(self.path).removeprefix(self._queue.layout.prefix(self._guid))
        self._second = join(queue.directory, queue.layout.prefix(self._guid) + number)
        if not await self._create_second(queue):
            return False
        self._moved_from, self.path, self._second = self.path, self._second, ""
        self._queue = queue
        moved()
        # if that is refused, it is tried again with the end of the block, which reports it
        if await self._remove(self._moved_from) is None:
            self._moved_from = ""
        return True

    async def leave(self) -> NoAuthError | None:
        """Remove the znode, whatever is known of it. Shielded and bounded; goes on in the client's own time.

        Returns:
            The server's refusal, if the directory does not permit it: the znode stays until its session ends.
            Raise it unless there is another error already; the log has it.

        Cancellation: the removal goes on until it is done or the session, and the znode with it, is over.
        """
        if not self._guid:
            return None
        prefix = self._queue.layout.prefix(self._guid)
        paths = [path for path in (self._moved_from, self._second, self.path) if path]
        is_unknown = not self.path
        self.is_left()
        return await self._remove(*paths, prefixes=[prefix] if is_unknown else [])

    @property
    def may_exist(self) -> bool:
        """Whether there is, or may be, a znode to leave."""
        return bool(self._guid)

    def is_left(self) -> None:
        """Its znode was removed by a transaction of the recipe's: there is nothing to leave any longer."""
        self._guid = self.path = self._moved_from = self._second = ""

    async def _try_to_take(self) -> bool:
        """One step towards a place in a queue that was looked at. False: it left nothing behind, try again.

        Each error leaves a place of which it is known what it lacks: the next step begins there.
        """
        if self.session is not self._api.session:
            self.is_left()  # the znode, if there was one, goes with its session
        try:
            if self.path:
                self._look_first(await self._ask_for_list().wait())
                return True
            if self._guid:
                return await self._adopt()
            await remove_leftovers(self._api, self._queue.directory, self._is_contender)
            # A fresh GUID each time: what an earlier try left behind must not be taken for this one's.
            self._guid = uuid4().hex
            self.made = None
            self.session = self._api.session
            await self._create_and_look()
            return True
        except NoNodeError:
            queue = self._queue
            self.is_left()
            await make_directory(queue.client, queue.directory, container=queue.layout.is_container)
        return False

    async def _create_and_look(self) -> None:
        """One round trip: a server answers one session in order, so the list holds the new znode."""
        queue, api = self._queue, self._api
        path = join(queue.directory, queue.layout.prefix(self._guid))
        operation = api.operations.create(path, self._data, ephemeral=True, sequential=True, acl=queue.acl)
        create = api.submit(probing(api, queue.directory, operation, queue.acl), proves_hold=True)
        listing = self._ask_for_list()
        try:
            made = await create.wait()
        except NoAuthError:
            self.is_left()  # decided before anything is created; after any other error it may be there
            raise
        self.path, self.token = made, create.zxid
        self.made = create if self._is_surely_readable() else None
        self._look_first(await listing.wait())

    def _look_first(self, order: QueueOrder) -> None:
        queue = self._queue
        self._look(order)
        if self._before and self._is_one_try:
            self._look_past_leaving(order)
        log_unexpected_children(queue.client, queue.directory, order.unexpected, queue.layout)

    def _look_past_leaving(self, order: QueueOrder) -> None:
        """Overlook contenders of this client's that have left, and whose znodes are still being removed.

        They block no other for long.
        """
        queue = self._queue

        def is_gone(name: str) -> bool:
            return is_leaving(self._api, join(queue.directory, name))

        first = order.first(is_gone)
        self.first = "" if first is None else join(queue.directory, first)
        self.is_blocked = order.before(name_of(self.path), queue.layout, is_gone) is not None

    def _is_surely_readable(self) -> bool:
        """Whether everybody may read the znode: any other ACL is tried by a check before it is relied on."""
        acl = self._api.operations.default_acl if self._queue.acl is None else self._queue.acl
        return any(entry.id == ANYONE_ID and int(entry.perms) & _READ for entry in acl)

    def _is_contender(self, name: str) -> bool:
        return self._queue.layout.tag_and_sequence_of(name) is not None

    async def _adopt(self) -> bool:
        """After a lost reply: look at the queue if our znode is in it and is ours."""
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
                self._look_first(QueueOrder(children, queue.layout))
                return True
            # It should go with its session. As the name is ours alone, nobody is harmed if it goes now.
            await remove(api, api.session, queue.directory, names=[name])
        self.is_left()
        return False

    async def _create_second(self, queue: LockQueue) -> bool:
        operation = self._api.operations.create(self._second, self._data, ephemeral=True, acl=queue.acl)
        retries = self._api.retries()
        # A request that is made now belongs to the current session: in another it would outlive the place.
        while self.session is self._api.session and not self.session.state.is_final:
            try:
                await self._api.submit(operation).wait()
            except NodeExistsError:
                return True  # made by an earlier try whose end was not seen: the GUID is ours alone
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
