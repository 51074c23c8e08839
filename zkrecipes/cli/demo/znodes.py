"""The demo's znodes: the jobs, the ledger of holders, the lock and the election, all under one path.

A job's znode has version 0 until it is marked done, and the mark is guarded by that version, so that no job
can be marked twice. The ledger has one line for each begin and each end of a job. Both are written only in
transactions that apply only while the writer still holds the lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, final

from zkrecipes.client.client import Client
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import ConnectionLossError, NoNodeError, NotEmptyError, TransactionError
from zkrecipes.paths import join
from zkrecipes.recipes.locking.hold import Hold

__all__ = ["DemoZnodes", "LedgerLine", "Mark", "remove_tree"]


@final
class Mark(NamedTuple):
    """What a job's znode says."""

    job: int
    times: int
    """How often it was marked done."""
    token: int | None
    """Of the hold that marked it; None while nobody has."""


@final
class LedgerLine(NamedTuple):
    """One line of the ledger: `begin` or `end`, and whose."""

    what: str
    token: int
    job: int


@final
class DemoZnodes:
    """The demo's part of the server's tree.

    Args:
        client: who reads and writes.
        root: the one path under which everything is.
    """

    def __init__(self, client: Client, root: str) -> None:
        self.lock_path: str = join(root, "lock")
        self.election_path: str = join(root, "leader")
        self._client = client
        self._root = root
        self._jobs = join(root, "jobs")
        self._ledger = join(root, "ledger")

    async def set_up(self, jobs: int) -> None:
        """Make all znodes but those of the lock, in one transaction.

        Raises:
            TransactionError: the chroot is missing, or its ACL forbids it.
        """
        async with self._client.transaction() as tx:
            tx.create(self._root)
            tx.create(self._ledger)
            tx.create(self._jobs)
            for job in range(1, jobs + 1):
                tx.create(self._job_path(job))

    async def marks(self) -> list[Mark]:
        """What each job's znode says, in order of number.

        For a holder this is never old news: its hold was proven by a write that went through the same server.
        """
        names = sorted(await self._client.get_children(self._jobs))
        async with self._client.pipeline() as pipe:
            nodes = [pipe.get(join(self._jobs, name)) for name in names]
        return [
            Mark(int(name), node.result().stat.version, _number(node.result().data))
            for name, node in zip(names, nodes, strict=True)
        ]

    async def ledger(self) -> list[LedgerLine]:
        """The lines of the ledger, oldest first."""
        data, _ = await self._client.get(self._ledger)
        fields = [line.split() for line in (data or b"").decode().splitlines()]
        return [LedgerLine(what, int(token), int(job)) for what, token, job in fields]

    async def begin(self, hold: Hold, job: int) -> None:
        """Write into the ledger that the holder begins a job.

        Raises:
            LockLostError: it holds the lock no longer; nothing was written.
        """
        await self._write(hold, LedgerLine("begin", hold.fencing_token, job))

    async def mark_done(self, hold: Hold, job: int) -> None:
        """Mark a job done, and write that into the ledger.

        Raises:
            LockLostError: it holds the lock no longer; nothing was written.
        """

        def mark(tx: Transaction) -> None:
            tx.set(self._job_path(job), b"%d" % hold.fencing_token, version=0)

        await self._write(hold, LedgerLine("end", hold.fencing_token, job), mark)

    async def _write(
        self, hold: Hold, line: LedgerLine, also: Callable[[Transaction], None] = lambda _: None
    ) -> None:
        data, stat = await self._client.get(self._ledger)
        longer = (data or b"") + " ".join(map(str, line)).encode() + b"\n"

        async def write() -> None:
            async with hold.transaction() as tx:
                tx.set(self._ledger, longer, version=stat.version)
                also(tx)

        async def is_written() -> bool:
            await self._client.sync(self._ledger)
            return line in await self.ledger()

        await _settled(write, is_written)

    def _job_path(self, job: int) -> str:
        return join(self._jobs, f"{job:02}")


async def _settled(write: Callable[[], Awaitable[None]], is_written: Callable[[], Awaitable[bool]]) -> None:
    """Write once, even if a connection is lost and leaves open whether it was written.

    `write` is guarded by a version, so that a first try that arrives late cannot apply beside the second.
    """
    while True:
        try:
            await write()
        except (ConnectionLossError, TransactionError) as error:
            if await is_written():
                return
            if isinstance(error, TransactionError):
                raise
        else:
            return


async def remove_tree(client: Client, path: str) -> None:
    """Remove a znode and all below it, though others may still add to it or remove from it."""
    while True:
        try:
            names: Sequence[str] = await client.get_children(path)
            for name in names:
                await remove_tree(client, join(path, name))
            await client.delete(path)
        except (NotEmptyError, ConnectionLossError):
            continue
        except NoNodeError:
            pass
        return


def _number(data: bytes | None) -> int | None:
    return int(data) if data else None
