"""The znodes of a double barrier: reads them, and begins and ends rounds in transactions.

The comment at the head of `double_barrier` has the table of znodes and steps.
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
# takes its path and 17 bytes; this limit leaves more than enough space for the rest of the transaction.
_REQUEST_SIZE_MAX: Final = 1_000_000
_CHECK_SIZE: Final = 17
_NAME_SIZE: Final = 36


class BarrierRecord(NamedTuple):
    """The newest beginning or end of a round, read from the directory's data."""

    version: int
    """The version of the directory's data; a transaction that names it fails after the next record."""
    zxid: int = 0
    """The transaction that wrote the record; 0 without a record."""
    is_open: bool = False
    """True if a round began then; False if it ended."""


class BarrierView(NamedTuple):
    """The directory as a member has read it."""

    record: BarrierRecord
    ready: Stat | None
    members: list[str]


def is_member(name: str) -> bool:
    """Whether a child of the directory is a member: its name is a UUID with dashes, as in Curator."""
    return _MEMBER.fullmatch(name) is not None


def record_of(node: Node) -> BarrierRecord:
    """Return the record in a directory's data; a record without a round if another program wrote the data."""
    data, stat = node.data or b"", node.stat
    match = _RECORD.fullmatch(data)
    if match is None or int(match[1]) != stat.version:
        return BarrierRecord(stat.version)
    return BarrierRecord(stat.version, stat.mzxid, match[2] == b"open")


def parties_max(full_path: str) -> int:
    """Return the largest number of members that one transaction can check below a directory.

    Args:
        full_path: the directory's path on the server.
    """
    return _REQUEST_SIZE_MAX // (_CHECK_SIZE + len(full_path.encode()) + 1 + _NAME_SIZE)


@final
class BarrierDirectory(NamedTuple):
    """The directory of one double barrier, as one client uses it.

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
        """Return the path of a member's znode."""
        return join(self.path, name)

    async def look(self, changed: ChangedPaths | None = None, *, is_synced: bool = False) -> BarrierView:
        """Read the directory in one round trip: `ready` first, then the record, then the members.

        The order matters: a round that begins after the record was read makes the watch of `ready` fire.

        Args:
            changed: the owner of the watch to set on `ready`; None sets no watch.
            is_synced: whether the server must first catch up with its leader. The server of a new session may
                lag behind the server of the old one.
        """
        api = recipe_api(self.client)
        operations = api.operations
        submit_watched = api.submit if changed is None else changed.submit
        if is_synced:
            api.submit(operations.sync(self.path))
        ready = submit_watched(operations.exists(self.ready, watch=changed is not None))
        node = api.submit(operations.get(self.path))
        children = api.submit(operations.get_children(self.path))
        found = await ready.wait()
        try:
            record, names = record_of(await node.wait()), await children.wait()
        except NoNodeError:
            return BarrierView(BarrierRecord(0), None, [])
        self._log_unexpected(names)
        return BarrierView(record, found, [name for name in names if is_member(name)])

    async def czxids(self, members: Iterable[str]) -> dict[str, int]:
        """Return the czxid of each member's znode that still exists."""
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
            record: the record that the client has read.
            members: the members whose znodes the transaction checks.
            make_ready: whether to create `ready`; False if a member that runs Curator's recipe has begun the
                round.

        Returns:
            The new record; None if nothing was applied, and the caller must look again.

        Raises:
            NoAuthError: the directory does not permit WRITE, or a member's znode does not permit READ.
        """
        begun = None

        def fill(tx: Transaction) -> None:
            nonlocal begun
            for name in members:
                tx.check(self.path_of(name))
            begun = self._write_record(tx, record, "open")
            if make_ready:
                tx.create(self.ready)

        if not await self._apply(fill) or begun is None:
            return None
        stat = begun.result()
        return BarrierRecord(stat.version, stat.mzxid, is_open=True)

    async def end_round(self, record: BarrierRecord, *, own: str | None = None) -> bool:
        """End the round, and delete `ready`, unless a round has begun or ended since `record`.

        Args:
            record: the record that the client has read.
            own: the name of the caller's own znode, which the same transaction deletes.

        Returns:
            Whether the transaction was applied; if not, the caller must look again.
        """

        def fill(tx: Transaction) -> None:
            self._write_record(tx, record, "closed")
            if own is not None:
                tx.delete(self.path_of(own))
            tx.delete(self.ready)

        return await self._apply(fill)

    async def end_abandoned_round(self) -> None:
        """End a round that has no member left; do nothing if no such round runs."""
        while True:
            view = await self.look(is_synced=True)
            if view.ready is None or view.members or await self.end_round(view.record):
                return

    def _write_record(self, tx: Transaction, record: BarrierRecord, state: str) -> Pending[Stat]:
        data = b"%d %s" % (record.version + 1, state.encode())
        return tx.set(self.path, data, version=record.version)

    async def _apply(self, fill: Callable[[Transaction], None]) -> bool:
        """Apply a transaction; return False if the znodes have changed since they were read."""
        try:
            async with self.client.transaction() as tx:
                fill(tx)
        except TransactionError as error:
            if isinstance(error.error, (BadVersionError, NoNodeError, NodeExistsError)):
                return False
            raise error.error from None
        return True

    def _log_unexpected(self, children: Iterable[str]) -> None:
        """Log unexpected children once: they may be the reason why no round begins."""
        others = sorted(name for name in children if name != READY and not is_member(name))
        log_once(
            self.client,
            self.path,
            others,
            "has unexpected children (not members of a double barrier, and not counted)",
        )
