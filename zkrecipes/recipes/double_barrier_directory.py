"""The znodes of a double barrier: what a member reads there, and the transactions that begin and end rounds.

`docs/recipes/barrier.md` explains the design. In short: the data of the barrier's directory are the *record*
of its rounds. Each transaction that begins or ends a round writes the record and names the version that it
saw, so two clients never begin or end a round at the same time, and none acts on what it saw too long ago.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import ChangedPaths, Node, Pending, Stat, recipe_api
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import BadVersionError, NodeExistsError, NoNodeError, TransactionError
from zkrecipes.paths import join
from zkrecipes.recipes.znodes.unexpected_children import log_once

__all__ = [
    "READY",
    "BarrierDirectory",
    "BarrierRecord",
    "BarrierView",
    "is_member",
    "parties_max",
    "record_of",
]

READY: Final = "ready"
_MEMBER: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RECORD: Final = re.compile(rb"([0-9]+) (open|closed)")

# Servers refuse requests above `jute.maxbuffer`, 1 MiB by default (`BinaryInputArchive`, 3.4 to 3.9). A check
# takes its path and 17 bytes; the rest of the transaction is far smaller than what is left free here.
_REQUEST_SIZE_MAX: Final = 1_000_000
_CHECK_SIZE: Final = 17
_NAME_SIZE: Final = 36


class BarrierRecord(NamedTuple):
    """The newest beginning or end of a round, as the directory's data tell it."""

    version: int
    """Of the directory's data: a transaction that names it fails if a round has begun or ended since."""
    zxid: int = 0
    """The transaction that wrote the record; 0 if there is none."""
    is_open: bool = False
    """Whether a round began then, rather than ended."""


class BarrierView(NamedTuple):
    """What a member sees in the directory."""

    record: BarrierRecord
    ready: Stat | None
    members: list[str]


def is_member(name: str) -> bool:
    """Whether a child of the directory is a member: a UUID with dashes, as Curator's are."""
    return _MEMBER.fullmatch(name) is not None


def record_of(node: Node) -> BarrierRecord:
    """Return the record in a directory's data. Data that another program has written are not a record."""
    data, stat = node.data or b"", node.stat
    match = _RECORD.fullmatch(data)
    if match is None or int(match[1]) != stat.version:
        return BarrierRecord(stat.version)
    return BarrierRecord(stat.version, stat.mzxid, match[2] == b"open")


def parties_max(full_path: str) -> int:
    """Return how many members one transaction can check below a directory.

    Args:
        full_path: the directory's path on the server.
    """
    return _REQUEST_SIZE_MAX // (_CHECK_SIZE + len(full_path.encode()) + 1 + _NAME_SIZE)


@final
class BarrierDirectory(NamedTuple):
    """One double barrier's directory, through one client.

    `data` and `acl` are those of the members' znodes.
    """

    client: Client
    path: str
    parties: int
    data: bytes
    acl: Sequence[ACL] | None

    @property
    def ready(self) -> str:
        """The path of the znode that exists while a round runs."""
        return join(self.path, READY)

    def path_of(self, name: str) -> str:
        """The path of a member's znode."""
        return join(self.path, name)

    async def look(self, changed: ChangedPaths | None = None, *, is_synced: bool = False) -> BarrierView:
        """Read the directory in one round trip: `ready` first, then the record, then the members.

        So a round whose beginning the record does not show yet makes a watch of `ready` fire.

        Args:
            changed: the owner of a watch that is set on `ready`; None: set no watch.
            is_synced: let the server catch up with its leader first. The server of a new session may show
                less than the one before it did.
        """
        api = recipe_api(self.client)
        operations = api.operations
        if is_synced:
            api.submit(operations.sync(self.path))
        ready = api.submit(operations.exists(self.ready, watch=changed is not None), watcher=changed)
        node = api.submit(operations.get(self.path))
        children = api.submit(operations.get_children(self.path))
        found = await ready.wait()
        try:
            record, names = record_of(await node.wait()), await children.wait()
        except NoNodeError:
            return BarrierView(BarrierRecord(0), None, [])
        self._log_unexpected(names)
        return BarrierView(record, found, [name for name in names if is_member(name)])

    async def ages(self, members: Iterable[str]) -> dict[str, int]:
        """Return the zxid of each member's creation, without the members that have gone."""
        names = list(members)
        async with self.client.pipeline() as pipe:
            stats = [pipe.exists(self.path_of(name)) for name in names]
        found = zip(names, (stat.result() for stat in stats), strict=True)
        return {name: stat.czxid for name, stat in found if stat is not None}

    async def begin_round(
        self, record: BarrierRecord, members: Iterable[str], *, make_ready: bool = True
    ) -> BarrierRecord | None:
        """Begin a round if these members are alive, and no round has begun or ended since `record`.

        Args:
            record: as it was seen.
            members: whom to check.
            make_ready: whether to create `ready`; False for a round that a member of Curator's has begun.

        Returns:
            The new record, or None: look again.

        Raises:
            NoAuthError: the directory does not permit WRITE, or a member's znode does not permit READ.
        """
        begun = None

        def fill(tx: Transaction) -> None:
            nonlocal begun
            for name in members:
                tx.check(self.path_of(name))
            begun = self._write(tx, record, "open")
            if make_ready:
                tx.create(self.ready)

        if not await self._apply(fill) or begun is None:
            return None
        stat = begun.result()
        return BarrierRecord(stat.version, stat.mzxid, is_open=True)

    async def end_round(self, record: BarrierRecord, *, own: str | None = None) -> bool:
        """Remove `ready` unless a round has begun or ended since `record`; False: look again.

        Args:
            record: as it was seen.
            own: the caller's own znode, to be deleted in the same transaction.
        """

        def fill(tx: Transaction) -> None:
            self._write(tx, record, "closed")
            if own is not None:
                tx.delete(self.path_of(own))
            tx.delete(self.ready)

        return await self._apply(fill)

    async def end_abandoned_round(self) -> None:
        """Remove a `ready` whose round has no member any longer. Does nothing if there is none."""
        while True:
            view = await self.look(is_synced=True)
            if view.ready is None or view.members or await self.end_round(view.record):
                return

    def _write(self, tx: Transaction, record: BarrierRecord, state: str) -> Pending[Stat]:
        data = b"%d %s" % (record.version + 1, state.encode())
        return tx.set(self.path, data, version=record.version)

    async def _apply(self, fill: Callable[[Transaction], None]) -> bool:
        """Whether the transaction was applied; False if what it rests on has changed."""
        try:
            async with self.client.transaction() as tx:
                fill(tx)
        except TransactionError as error:
            if isinstance(error.error, (BadVersionError, NoNodeError, NodeExistsError)):
                return False
            raise error.error from None
        return True

    def _log_unexpected(self, children: Iterable[str]) -> None:
        """Log other children once, for users who wonder why no round begins."""
        strangers = sorted(name for name in children if name != READY and not is_member(name))
        log_once(self.client, self.path, strangers, "no member of a double barrier, and not counted")
