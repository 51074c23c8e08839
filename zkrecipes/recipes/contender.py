"""A place in a queue of ephemeral sequential znodes, and the pure question of who goes first.

Each contender makes a znode whose name holds a GUID of its own, fresh for each try. Whoever has the lowest
number goes first; everybody else watches the one directly before, so that each departure wakes one (the
herd-free lock of ZooKeeper's recipes page). The GUID settles what a lost connection leaves open: whether the
znode was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key, lru_cache
from operator import itemgetter
from typing import Final, NamedTuple, final
from uuid import uuid4

from zkrecipes.acl import ACL, ANYONE
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, Pauses, Pending, RecipeApi, Session, recipe_api
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
from zkrecipes.recipes.clean_up import is_leaving, remove
from zkrecipes.recipes.delete_permission import probing
from zkrecipes.recipes.directories import make_directory
from zkrecipes.recipes.layouts import LockLayout
from zkrecipes.recipes.strangers import name_strangers

__all__ = ["Entry", "Place", "Queue", "in_order", "is_too_much", "who_goes_before"]

_HALF_CIRCLE: Final = 2**31
_CIRCLE: Final = 2**32
_BY_NUMBER: Final = itemgetter(1, 0)
_LOSSES_MAX: Final = 5
_SURELY_TAKEN: Final = 2**16
"""Bytes that no server's `jute.maxbuffer` refuses."""


class Entry(NamedTuple):
    """A contender's znode among the children of the queue's directory."""

    name: str
    sequence: int
    tag: str


def in_order(children: Iterable[str], layout: LockLayout) -> list[Entry]:
    """The contenders among `children`, first come first; names that are no contender's are left out.

    Those that another library has made stand among them: their numbers are of the same counter.
    """
    entries = [entry for name in children if (entry := _entry(name, layout)) is not None]
    numbers = [entry.sequence for entry in entries]
    if not numbers or max(numbers) - min(numbers) < _HALF_CIRCLE or max(map(abs, numbers)) > _HALF_CIRCLE:
        # none has wrapped; longer numbers than the 32 bits of today (ZOOKEEPER-4706) do not
        return sorted(entries, key=_BY_NUMBER)
    return sorted(entries, key=cmp_to_key(_compare))


@lru_cache(maxsize=4096)  # a name is listed again and again while its contender waits
def _entry(name: str, layout: LockLayout) -> Entry | None:
    found = layout.tag_and_sequence_of(name)
    if found is not None:
        return Entry(name, found[1], found[0])
    other = layout.other_family_and_sequence_of(name)
    return None if other is None else Entry(name, other[1], other[0].tag)


def _is_of(layout: LockLayout, name: str) -> bool:
    entry = _entry(name, layout)
    return entry is not None and entry.tag in layout.seen


def _compare(one: Entry, other: Entry) -> int:
    """Serial number arithmetic (RFC 1982): the counter wraps; the living are never half a circle apart."""
    ahead = (other.sequence - one.sequence) % _CIRCLE
    if ahead == 0:
        return -1 if one.name < other.name else int(one.name > other.name)
    return -1 if ahead < _HALF_CIRCLE else 1


def who_goes_before(children: Iterable[str], own_name: str, layout: LockLayout) -> str | None:
    """The name of the last contender before `own_name` that blocks it, or None if that may go.

    Raises:
        LookupError: `own_name` is not among them.
    """
    before: str | None = None
    for entry in in_order(children, layout):
        if entry.name == own_name:
            return before
        if entry.tag in layout.blocked_by:
            before = entry.name
    raise LookupError(own_name)


def is_too_much(size: int, losses: int) -> bool:
    """Whether so many lost connections in a row are due to the size of a write, and not to the network.

    A server that is sent more than it takes says nothing, and closes the connection.
    """
    return losses >= _LOSSES_MAX and size > _SURELY_TAKEN


@final
class Queue(NamedTuple):
    """Where contenders stand in line.

    `directory` is made when it is missing, as the layout wants it; the levels above it are persistent. `acl`
    is that of the contenders' znodes.
    """

    client: Client
    directory: str
    layout: LockLayout
    acl: Sequence[ACL] | None


@final
class Place:
    """One contender's place in the queue, from its znode's creation to its removal.

    Attributes:
        path: of its znode, once there is one.
        token: the zxid of the transaction that made the znode: it grows from place to place.
        session: the session that owns it.
        made: its creation, where that can serve to prove the hold.
        first: the path of the first contender in the queue, as last seen; empty before a list was seen.
        watched: the last contender that was watched, its path and what was read.
    """

    def __init__(self, queue: Queue, data: bytes) -> None:
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
        self._second = ""  # while it moves, the znode that will stand for it

    async def take(self) -> list[str]:
        """Make the znode, and return the names in the directory as of then or later.

        Answers that are transient are not the end: it tries again, after a pause.

        Raises:
            ConnectionLossError: the connection was lost again and again, and there is much data.
            ZooKeeperError: it cannot be made, or the client is over.

        Cancellation: the znode may exist; call `leave`.
        """
        losses = 0
        pauses = Pauses()
        while True:
            try:
                children = await self._try_to_take()
            except ConnectionLossError as error:
                losses += 1
                # a list that is too large would be too large again
                if not error.is_transient or is_too_much(len(self._data), losses):
                    error.path = error.path or self._queue.directory
                    raise
            except SessionExpiredError:
                if self._api.is_over:
                    raise
            except ZooKeeperError as error:
                if not error.is_transient:
                    raise
                await pauses.wait()
            else:
                if children is not None:
                    self._name_strangers(children)
                    return children

    async def wait_turn(self, children: list[str]) -> bool:
        """Wait until nobody before this place blocks it; False if its znode has gone meanwhile.

        Args:
            children: as `take` returned them.
        """
        pauses = Pauses()
        while True:
            try:
                before = self._look(children)
                if before is None:
                    return True
                children = await self._list_after_it_left(before, children)
            except LookupError:
                return False
            except NoNodeError:
                return False  # the directory
            except SessionExpiredError:
                if self._api.is_over:
                    raise
                return False
            except ZooKeeperError as error:
                if not error.is_transient:
                    raise
                await pauses.wait()
            if self.session.state.is_final:
                return False  # what was read is of the next session, and our znode has gone with the last

    async def _list_after_it_left(self, before: str, children: list[str]) -> list[str]:
        """Wait until `before` has left or has changed, and return the names in the directory as of later."""
        queue, api = self._queue, self._api
        list_all = api.operations.get_children(queue.directory)
        async with api.ask_when_changed(list_all) as news:
            path = join(queue.directory, before)
            watch = api.submit(api.operations.get(path, watch=True), watcher=news)
            # Whoever goes first may have left already: the list comes with the answer that says so.
            listing = api.submit(list_all) if path == self.first else None
            try:
                self.watched = (path, await watch.wait())
            except NoNodeError:
                return await (listing or api.submit(list_all)).wait()
            if self.session.state.is_final:
                return children  # the watch is of the next session: what it waits for is not our turn
            return await news.wait()

    def _look(self, children: list[str]) -> str | None:
        """The name of the last contender before this place that blocks it, or None.

        Raises:
            LookupError: this place is not among them.
        """
        queue = self._queue
        first = in_order(children, queue.layout)[:1]
        self.first = join(queue.directory, first[0].name) if first else ""
        return who_goes_before(children, name_of(self.path), queue.layout)

    def is_blocked(self, children: list[str]) -> bool:
        """Whether another contender before this place blocks it.

        A contender that is not in the queue any longer is not blocked; and one of this client's that has
        left, and whose znode is still being removed, blocks no other for long.
        """
        directory = self._queue.directory
        here = [name for name in children if not is_leaving(self._api, join(directory, name))]
        try:
            return self._look(here) is not None
        except LookupError:
            return False

    def read_first(self) -> Pending[Node] | None:
        """Ask for the first contender in the queue, if there is another one and a connection."""
        if not self.first or self.first == self.path or not self._api.is_connected:
            return None
        return self._api.submit(self._api.operations.get(self.first))

    async def move_to(self, queue: Queue, moved: Callable[[], None]) -> bool:
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

    def is_left(self) -> None:
        """Its znode was removed by a transaction of the recipe's: there is nothing to leave any longer."""
        self._guid = self.path = self._moved_from = self._second = ""

    async def _try_to_take(self) -> list[str] | None:
        """One step towards a place whose names were listed. None: it left nothing behind, try again.

        Each error leaves a place of which it is known what it lacks: the next step begins there.
        """
        if self.session is not self._api.session:
            self.is_left()  # the znode, if there was one, goes with its session
        try:
            if self.path:
                return await self._list()
            if self._guid:
                return await self._adopt()
            # A fresh GUID each time: what an earlier try left behind must not be taken for this one's.
            self._guid = uuid4().hex
            self.made = None
            self.session = self._api.session
            return await self._create_and_list()
        except NoNodeError:
            queue = self._queue
            self.is_left()
            await make_directory(queue.client, queue.directory, container=queue.layout.is_container)
        return None

    async def _create_and_list(self) -> list[str]:
        """One round trip: a server answers one session in order, so the list holds the new znode."""
        queue, api = self._queue, self._api
        path = join(queue.directory, queue.layout.prefix(self._guid))
        operation = api.operations.create(path, self._data, ephemeral=True, sequential=True, acl=queue.acl)
        create = api.submit(probing(api, queue.directory, operation, queue.acl), is_evidence=True)
        listing = api.submit(api.operations.get_children(queue.directory))
        try:
            made = await create.wait()
        except NoAuthError:
            self.is_left()  # decided before anything is created; after any other error it may be there
            raise
        self.path, self.token = made, create.zxid
        self.made = create if self._is_surely_readable() else None
        return await listing.wait()

    def _name_strangers(self, children: list[str]) -> None:
        queue = self._queue
        strange = [name for name in children if not _is_of(queue.layout, name)]
        name_strangers(queue.client, queue.directory, strange, queue.layout)

    def _is_surely_readable(self) -> bool:
        """Whether everybody may read the znode: any other ACL is tried by a check before it is relied on."""
        acl = self._api.operations.default_acl if self._queue.acl is None else self._queue.acl
        return any(entry.id == ANYONE and entry.perms & Perms.READ for entry in acl)

    async def _list(self) -> list[str]:
        return await self._api.submit(self._api.operations.get_children(self._queue.directory)).wait()

    async def _adopt(self) -> list[str] | None:
        """After a lost reply: the names in the directory if our znode is among them and is ours."""
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
                return children
            # It should go with its session. As the name is ours alone, nobody is harmed if it goes now.
            await remove(api, api.session, queue.directory, names=[name])
        self.is_left()
        return None

    async def _create_second(self, queue: Queue) -> bool:
        operation = self._api.operations.create(self._second, self._data, ephemeral=True, acl=queue.acl)
        pauses = Pauses()
        # A request that is made now belongs to the current session: in another it would outlive the place.
        while self.session is self._api.session and not self.session.state.is_final:
            try:
                await self._api.submit(operation).wait()
            except NodeExistsError:
                return True  # made by an earlier try whose end was not seen: the GUID is ours alone
            except (NoNodeError, SessionExpiredError):
                return False
            except ZooKeeperError as error:
                if not error.is_transient:
                    raise
                if not isinstance(error, ConnectionLossError):
                    await pauses.wait()
            else:
                return True
        return False

    async def _remove(self, *paths: str, prefixes: Iterable[str] = ()) -> NoAuthError | None:
        names = [name_of(path) for path in paths]
        return await remove(self._api, self.session, self._queue.directory, names=names, prefixes=prefixes)
