"""The demo's znodes: the jobs, the ledger of holders, the lock and the election, all under one path.

A job's znode has version 0 until it is marked done, and the mark is guarded by that version, so that no job
can be marked twice. The ledger has one line for each begin and each end of a job. Both are written only in
transactions that apply only while the writer still holds the lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, final

from zkrecipes.client.client import Client
from zkrecipes.client.transaction import Transaction
from zkrecipes.errors import ConnectionLossError, TransactionError
from zkrecipes.paths import join
from zkrecipes.recipes.locking.hold import Hold

__all__ = ["DemoZnodes", "LedgerLine", "Mark"]


@final
class Mark(NamedTuple):
    """The content of a job's znode."""

    job: int
    times: int
    """The number of times that the job was marked done."""
    token: int | None
    """The fencing token of the hold that marked the job; None if it is not marked."""


@final
class LedgerLine(NamedTuple):
    """One line of the ledger: `begin` or `end`, with token and job."""

    action: str
    token: int
    job: int


@final
class DemoZnodes:
    """The demo's part of the server's tree.

    Args:
        client: the client that reads and writes.
        root: the path of all the demo's znodes.
    """

    def __init__(self, client: Client, root: str) -> None:
        self.lock_path: str = join(root, "lock")
        self.election_path: str = join(root, "leader")
        self._client = client
        self._demo_path = root
        self._jobs = join(root, "jobs")
        self._ledger = join(root, "ledger")

    async def set_up(self, jobs: int) -> None:
        """Create all znodes but those of the lock and the election, in one transaction.

        Raises:
            TransactionError: the chroot does not exist, or its ACL forbids it.
        """
        async with self._client.transaction() as tx:
            tx.create(self._demo_path)
            tx.create(self._ledger)
            tx.create(self._jobs)
            for job in range(1, jobs + 1):
                tx.create(self._job_path(job))

    async def marks(self) -> list[Mark]:
        """Return the content of each job's znode, in order of number.

        A holder never reads stale marks, because a write through the same server proved its hold.
        """
        names = sorted(await self._client.get_children(self._jobs))
        async with self._client.pipeline() as pipe:
            nodes = [pipe.get(join(self._jobs, name)) for name in names]
        return [
            Mark(int(name), node.result().stat.version, _number(node.result().data))
            for name, node in zip(names, nodes, strict=True)
        ]

    async def ledger(self) -> list[LedgerLine]:
        """Return the lines of the ledger, oldest first."""
        data, _ = await self._client.get(self._ledger)
        fields = [line.split() for line in (data or b"").decode().splitlines()]
        return [LedgerLine(action, int(token), int(job)) for action, token, job in fields]

    async def record_begin(self, hold: Hold, job: int) -> None:
        """Write into the ledger that the holder starts a job.

        Raises:
            LockLostError: the hold was lost; nothing was written.
        """
        await self._write(hold, LedgerLine("begin", hold.fencing_token, job))

    async def mark_done(self, hold: Hold, job: int) -> None:
        """Mark a job done, and write that into the ledger.

        Raises:
            LockLostError: the hold was lost; nothing was written.
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

        await _write_once(write, is_written)

    def _job_path(self, job: int) -> str:
        return join(self._jobs, f"{job:02}")


async def _write_once(
    write: Callable[[], Awaitable[None]], is_written: Callable[[], Awaitable[bool]]
) -> None:
    """Write once, even if the connection is lost and the outcome is unknown.

    A version guards `write`, so a first attempt that arrives late cannot apply in addition to the second.
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


def _number(data: bytes | None) -> int | None:
    return int(data) if data else None
