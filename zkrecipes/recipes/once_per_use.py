"""One run of a job: from the queue to the record of its start, and from its end to the record of that."""

# The problem: a run must be recorded as started before its block begins, and as ended after the block has
# ended, although each reply may be lost, and although a client that stands still may have lost the lock.
#
# The trick: both writes are transactions that fail unless the znode of the lock exists, and that name the
# version of the record which this client has read. The first one checks the znode of the lock, the second
# one deletes it: a run ends and the lock is free in the same moment, or neither happens.
#
# The consequences: no client writes the record after its lock is lost. A lost reply is settled by reading
# the record: it names the znode of the lock, whose name is never used again. A record that says "running"
# while this client holds the lock is of a run that died.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import anyio

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import Node, RecipeApi, Session, as_transaction, recipe_api
from zkrecipes.errors import (
    BadVersionError,
    HoldLostError,
    LockLostError,
    NoAuthError,
    NoNodeError,
    NotDueError,
    RunTimeoutError,
    TransactionError,
    ZooKeeperError,
)
from zkrecipes.paths import name_of
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.locking.lock_layouts import MUTEXES
from zkrecipes.recipes.locking.lock_use import LockUse
from zkrecipes.recipes.locking.queue import LockQueue
from zkrecipes.recipes.locking.single_use import SingleUse
from zkrecipes.recipes.once_per_record import JobRecord, RunOutcome, RunRecord, Schedule, read_record

__all__ = ["Job", "Run", "RunUse"]


@final
@dataclass(frozen=True)
class Job:
    """The facts about a job that each of its runs needs; `what` is its name in messages."""

    client: Client
    path: str
    identifier: str
    schedule: Schedule
    at_most_for: float | None
    acl: Sequence[ACL] | None
    what: str

    @property
    def queue(self) -> LockQueue:
        """The queue of the job's lock, in the directory whose data are the record."""
        return LockQueue(self.client, self.path, MUTEXES["kazoo"], self.acl)


@final
class Run:
    """A run of a job, for the block that is the run.

    Attributes:
        hold: the hold on the job's lock: `hold.check`, `hold.fencing_token`, `hold.transaction`.
        started_at: the time of the recorded start: seconds since 1970 by the ensemble's clock.
        previous: the last run before this one, or None.
        missed: the number of periods without a run since the last run that used up its period. A job that
            catches up does their work in this run.
    """

    def __init__(self, hold: Hold, record: JobRecord) -> None:
        assert record.run is not None
        self.hold = hold
        self.started_at: float = record.run.started_at
        self.previous: RunRecord | None = record.before
        self.missed: int = record.run.missed

    def __repr__(self) -> str:
        return f"<Run started_at={self.started_at:.3f} {self.hold!r}>"


@final
class RunUse(SingleUse[Run]):
    """One use of a `OncePer`, around the use of its lock.

    Args:
        job: the job.
        wait: the limit of the wait for the lock, as `WaitLimit`.
    """

    def __init__(self, job: Job, wait: float | None) -> None:
        super().__init__(job.what)
        self._job = job
        self._api: RecipeApi = recipe_api(job.client)
        self._data = job.identifier.encode()
        self._lock = LockUse(
            job.queue, self._data, lost=LockLostError, wait=wait, what=job.what, recipe=object()
        )
        self._scope: anyio.CancelScope
        self._session: Session
        self._started: tuple[JobRecord, int] | None = None  # the record of the start, and its version

    # --- the start -----------------------------------------------------------------------------------------

    async def _enter(self) -> Run:
        hold = await self._lock.enter()
        self._session = self._api.session  # no checkpoint since the proof: it owns the hold's znode
        try:
            record = await self._start(hold)
        except BaseException as error:
            outcome = await self._lock.leave(error)
            if outcome is None or outcome is error:
                raise
            raise outcome from outcome.__cause__
        self._scope = self._lock.block.guard.scope
        if self._job.at_most_for is not None:
            self._scope.deadline = anyio.current_time() + self._job.at_most_for
        return Run(hold, record)

    async def _start(self, hold: Hold) -> JobRecord:
        """Record the start of the run, if it is due, and return the record.

        Raises:
            NotDueError: it is not due.
            LockLostError: the lock was lost before. The start may be recorded.
        """
        retries = self._api.retries()
        while True:
            try:
                return await self._try_to_start(hold)
            except TransactionError as error:
                # With another version the record was written since it was read: read it again.
                if not isinstance(error.error, BadVersionError):
                    await retries.wait_after(error.error)
            except ZooKeeperError as error:
                await retries.wait_after(error)

    async def _try_to_start(self, hold: Hold) -> JobRecord:
        """Read the record, and write the start unless an earlier try has written it."""
        job, node_name = self._job, name_of(hold.path)
        node, now = await self._read(hold)
        record = read_record(job.path, node)
        if record.run is not None and record.run.node == node_name:
            self._started = record, node.stat.version
            return record  # an earlier try has written it, and its reply was lost
        due_at = job.schedule.due_at(record.run)
        if due_at > now:
            raise self._not_due(record.run, due_at, now)
        data = record.started(job.identifier, node_name, job.schedule.missed(record.run, now))
        async with hold.transaction() as transaction:
            written = transaction.set(job.path, data, version=node.stat.version)
        stat = written.result()
        started = read_record(job.path, Node(data, stat))
        self._started = started, stat.version
        return started

    async def _read(self, hold: Hold) -> tuple[Node, float]:
        """Read the record and the ensemble's time, in one round trip.

        The time is the `mtime` that a write gives to the hold's znode. The read follows that write, so it
        sees every change that was committed before.
        """
        api = self._api
        touch = api.submit(api.operations.set(hold.path, self._data), is_idempotent=True)
        reading = api.submit(api.operations.get(self._job.path))
        try:
            stat = await touch.wait()
        except NoNodeError as error:
            raise LockLostError(hold.path, reason="its znode was deleted") from error
        return await reading.wait(), stat.mtime / 1000

    def _not_due(self, last: RunRecord | None, due_at: float, now: float) -> NotDueError:
        assert last is not None  # a job without a run is due
        return NotDueError(
            self.what,
            path=self._job.path,
            due_in=due_at - now,
            engine=last.engine,
            outcome="died" if last.outcome == "running" else last.outcome,
            ago=now - last.started_at,
        )

    # --- the end -------------------------------------------------------------------------------------------

    def end_block(self, error: BaseException | None) -> BaseException | None:
        """End the block, and report it if `at_most_for` has cancelled it."""
        outcome = self._lock.end_block(error)
        if outcome is None and error is not None and self._scope.cancelled_caught:
            assert self._job.at_most_for is not None
            limit = self._job.at_most_for
            return RunTimeoutError(self.what, path=self._job.path, at_most_for=limit)
        return outcome

    async def release(self, outcome: BaseException | None) -> NoAuthError | None:
        """Give the lock back."""
        return await self._lock.release(outcome)

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """End the block, record the end of the run, and give the lock back."""
        outcome = self.end_block(error)
        ending = _Ending(self._job, self._lock, self._session, self._started, _describe(outcome))
        if self._api.is_over:
            return ending.problem if outcome is None else outcome
        await self._api.clean_up(ending.run)
        if outcome is None:
            await ending.done.wait()  # the caller relies on the record of a run that has finished
            return ending.problem
        return outcome


def _describe(outcome: BaseException | None) -> tuple[RunOutcome, str]:
    """Return the outcome of a run, and the text of its error, after a block with this outcome."""
    if outcome is None:
        return "finished", ""
    text = _text_of(outcome)
    if isinstance(outcome, RunTimeoutError):
        return "timed out", text
    if isinstance(outcome, HoldLostError) or not isinstance(outcome, Exception):
        return "cancelled", text
    return "failed", text


def _text_of(error: BaseException) -> str:
    """Return the type and the text of an error. Its own `__str__` may raise."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as broken:  # noqa: BLE001 - the end of the run must be recorded
        return f"{name}: its text is unknown, because __str__ raised {type(broken).__name__}"


@final
class _Ending:
    """The end of one run, recorded in a task of the client, whatever happens to the caller.

    Attributes:
        done: set when the end is recorded, or cannot be.
        problem: the reason why the end is not recorded, or may not be; None when it is.
    """

    def __init__(
        self,
        job: Job,
        lock: LockUse,
        session: Session,
        started: tuple[JobRecord, int] | None,
        outcome: tuple[RunOutcome, str],
    ) -> None:
        assert started is not None
        self._job = job
        self._lock = lock
        self._session = session
        self._api = recipe_api(job.client)
        self._record, self._version = started
        self._data = self._record.ended(*outcome)
        self._outcome = outcome[0]
        self._node_path = lock.hold.path
        self.done = anyio.Event()
        self.problem: ZooKeeperError | None = LockLostError(
            self._node_path, reason="the client ended before it knew that the end of the run was recorded"
        )

    async def run(self) -> None:
        """Record the end and give the lock back."""
        try:
            self.problem = await self._record_end()
            await self._lock.release(None)
        except ZooKeeperError as error:
            self.problem = error
            await self._lock.release(None)
        finally:
            self.done.set()

    async def _record_end(self) -> ZooKeeperError | None:
        api, job = self._api, self._job
        ending = as_transaction(
            [
                api.operations.delete(self._node_path),
                api.operations.set(job.path, self._data, version=self._version),
            ]
        )
        retries = api.retries()
        while self._session is api.session:  # a clean-up never runs in another session
            try:
                await api.submit(ending).wait()
            except TransactionError as error:
                if isinstance(error.error, NoNodeError):
                    return await self._settle()
                if not error.error.is_transient:
                    return error.error
                await retries.wait_after(error.error)
            except ZooKeeperError as error:
                await retries.wait_after(error)
            else:
                self._lock.mark_removed()
                return None
        return await self._settle()

    async def _settle(self) -> ZooKeeperError | None:
        """Find out whether an earlier try has recorded the end: no later one can."""
        api, job = self._api, self._job
        retries = api.retries()
        while True:
            try:
                record = read_record(job.path, await api.read_caught_up(api.operations.get(job.path)))
            except NoNodeError:
                record = JobRecord()  # another program has deleted it
            except ZooKeeperError as error:
                await retries.wait_after(error)
                continue
            run = record.find(name_of(self._node_path))
            if run is not None and run.outcome == self._outcome:
                self._lock.mark_removed()
                return None
            reason = "it was released before the end of the run was recorded"
            if run is None:  # two later runs have started, or another program has written
                reason = "the record no longer shows whether the end of the run was recorded"
            return LockLostError(self._node_path, reason=reason)
