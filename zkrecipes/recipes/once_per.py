"""OncePer: a job that several engines try to run, and that runs once in each period."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from zkrecipes.acl import ACL
from zkrecipes.client.client import Client
from zkrecipes.client.recipe_api import check_client, recipe_api
from zkrecipes.errors import NoNodeError, ZooKeeperError
from zkrecipes.paths import check_path, join
from zkrecipes.recipes.locking.acquisition import AcquisitionHandle, EnteredDirectly
from zkrecipes.recipes.locking.contenders import check_contender, check_identifier
from zkrecipes.recipes.locking.wait_limit import takes_wait
from zkrecipes.recipes.once_per_record import OnCrash, OnFailure, RunRecord, Schedule, read_record
from zkrecipes.recipes.once_per_use import Job, Run, RunUse

__all__ = ["JobStatus", "OncePer", "RunAcquisition"]

_CHOICES: Final = ("retry", "leave")
_IDENTIFIER_MAX: Final = 1000
"""Characters: the record holds the identifiers of two engines, and must fit into a znode."""


@final
@dataclass(frozen=True, slots=True)
class JobStatus:
    """The state of a job when it was read.

    Attributes:
        running: the current run: `running.engine` runs it since `running.started_at`. None if no engine does.
        last: the last run that is over: `last.outcome` and `last.error` show how it ended. None if there was
            no such run.
    """

    running: RunRecord | None
    last: RunRecord | None


@final
class RunAcquisition(AcquisitionHandle[Run]):
    """One try to run a job: enter it with `async with`, once. Entering gives a `Run`."""


@final
class OncePer(EnteredDirectly[Run]):
    """A job that several engines try to run, and that runs once in each period.

        job = zk.OncePer(client, "/jobs/report", period=3600)
        try:
            async with job.acquire(wait=0) as run:
                ...  # this engine runs the job; leaving records how it ended
        except zk.NotDueError as error:
            ...  # this hour has had its run: the next one is due in error.due_in seconds
        except zk.AcquireTimeoutError:
            ...  # another engine is running it

    Two runs of one job never overlap. With `on_crash="leave"` a run is *started* at most once per period.
    With `on_crash="retry"` it is *finished* at most once: the job of a dead engine is started again by
    exactly one other engine, and may have run in part. Start and end are recorded in transactions that apply
    only while the lock is held. A run belongs to the period in which its start was recorded.

    Times and periods are the ensemble's, never an engine's: the `mtime` of what was written. Jumps of the
    servers' clocks are not covered; a clock that goes back only delays the next run.

    Building it does no I/O, and tasks may share it.

    Args:
        client: the client whose session holds the job's lock.
        path: a znode for this job alone, created if it is missing. Its data are the job's record.
        period: the length of a period in seconds, at least 0.001; `math.inf` for a job that runs once ever.
        aligned: True (the default): periods begin at multiples of `period` since 1970 (UTC), so that an hour
            is an hour of the clock. False: a period begins with the start of a run, so that the starts of
            two runs are at least `period` apart.
        offset: shifts aligned periods, in seconds: `period=86400, offset=7200` begins each day at 02:00 UTC.
        on_crash: for a run that died or was cancelled, `"retry"` (the default) lets an engine start the job
            again in the same period; `"leave"` waits for the next period.
        on_failure: the same for a run that raised or timed out. The default is `"leave"`.
        at_least_for: the minimal time between the starts of two runs, in seconds, including retries.
        at_most_for: the maximal length of a run, in seconds by this engine's monotonic clock. Then the block
            is cancelled. The lock stays until the block has ended. None: no limit.
        identifier: the engine's name in the record, at most 1,000 characters; host and process id by default.
        acl: the ACL of the znodes that hold the lock; it must give their owner READ and WRITE. None: the
            client's default.

    Attributes:
        path: the same as the argument.
        identifier: the engine's name.

    Raises:
        TypeError: a number is not a number, `aligned` is not a bool, or `identifier` is not a string.
        ValueError: the path, a number, a choice, the identifier or the ACL is not valid.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        period: float,
        aligned: bool = True,
        offset: float = 0.0,
        on_crash: OnCrash = "retry",
        on_failure: OnFailure = "leave",
        at_least_for: float = 0.0,
        at_most_for: float | None = None,
        identifier: str | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        super().__init__()
        check_client(client)
        self.path: str = check_path(path)
        self.identifier: str = check_identifier(identifier)
        acl = check_contender(client, path, self.identifier.encode(), acl)
        if len(self.identifier) > _IDENTIFIER_MAX:
            raise ValueError(
                f"identifier must have at most {_IDENTIFIER_MAX} characters, not {len(self.identifier)}"
            )
        _check_number("period", period, at_least=0.001, infinite=True)
        if not isinstance(aligned, bool):
            raise TypeError(f"aligned must be True or False, not {aligned!r}")
        _check_number("offset", offset)
        _check_number("at_least_for", at_least_for, at_least=0)
        if at_most_for is not None:
            _check_number("at_most_for", at_most_for, above=0)
        _check_choices(on_crash, on_failure)
        schedule = Schedule(period, offset, aligned, on_crash, on_failure, at_least_for)
        self._job = Job(client, path, self.identifier, schedule, at_most_for, acl, repr(self))

    @takes_wait
    def acquire(self, *, wait: float | None = None) -> RunAcquisition:
        """Enter the result to run the job: `async with job.acquire(wait=0) as run`.

        Without a limit of the wait, `async with job as run` is the same. The block runs only if the job is
        due: entering raises if it is not, so that no caller takes a skipped run for a run.

        Args:
            wait: the maximal wait in seconds for an engine that runs the job now. With 0 the job is skipped
                if another engine runs it, or if there is no connection. None: no limit. Reading and writing
                the record follows, and is bounded by the session timeout.

        Raises:
            TypeError: `wait` is not a number.
            ValueError: `wait` is negative.

        Entering raises:
            NotDueError: the period has had its run, or `at_least_for` has not passed; it states when the
                next run is due.
            AcquireTimeoutError: `wait` seconds were not enough; it names the engine in front.
            JobRecordError: the znode holds data that are not a record. Nothing was changed.
            LockLostError: the lock was lost before the block began. The start may be recorded; `on_crash`
                decides about such a run.
            RuntimeError: this task runs the job already, or waits for it.
            ZooKeeperError: the server refused, or the client is over.

        Leaving raises:
            RunTimeoutError: the run was cancelled after `at_most_for` seconds.
            LockLostError: the lock was lost while the block ran, which was cancelled; or before the end of
                the run was recorded, although the block has ended. `on_crash` decides about such a run.
            BadVersionError: another program wrote the record during the run, whose end is not recorded.
            The block's own error, bare. It is recorded if the lock is still held.

        After a block without an error, leaving waits until the end of the run is recorded, or certainly will
        not be: at the longest until the client has a session again.

        Cancellation: a run that is cancelled is recorded as cancelled. The record is written, and the lock
        released, in the background. Before the block, no znode is left behind, but a start may be recorded.
        """
        return RunAcquisition(self._new_use(wait))

    def _new_use(self, wait: float | None = None) -> RunUse:
        return RunUse(self._job, wait)

    async def status(self) -> JobStatus:
        """Read which engine runs the job now, since when, and how the last run ended.

        It shows all changes that were confirmed to any client before this call.

        Raises:
            JobRecordError: the znode holds data that are not a record.
            ZooKeeperError: the server refused, or the client is over.

        Cancellation: nothing has changed.
        """
        retries = recipe_api(self._job.client).retries()
        while True:
            try:
                status = await self._read_status()
            except NoNodeError:
                return JobStatus(None, None)
            except ZooKeeperError as error:
                await retries.wait_after(error)
            else:
                if status is not None:
                    return status

    async def _read_status(self) -> JobStatus | None:
        """Read the status; return None if a run ended between two reads."""
        client, path = self._job.client, self.path
        api = recipe_api(client)
        node = await api.read_caught_up(api.operations.get(path))
        record = read_record(path, node)
        run = record.run
        if run is None or run.outcome != "running":
            return JobStatus(None, run)
        if await client.exists(join(path, run.node)) is not None:
            return JobStatus(run, record.before)
        # It has died, unless its end was recorded since: that deletes the same znode.
        is_same = (await client.get(path)).stat.version == node.stat.version
        return JobStatus(None, run.ended("died")) if is_same else None

    def __repr__(self) -> str:
        return f"<OncePer {self.path} {self.identifier}>"


def _check_number(
    name: str,
    value: float,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    infinite: bool = False,
) -> None:
    """Check one number of seconds.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{name} must be at most {sys.float_info.max:g} seconds, not {value!r}") from None
    if not value >= at_least:
        raise ValueError(f"{name} must be at least {at_least:g} seconds, not {value!r}")
    if not value > above and not math.isinf(above):
        raise ValueError(f"{name} must be above {above:g} seconds, not {value!r}")
    if math.isinf(value) and not infinite:
        raise ValueError(f"{name} must be finite, not {value!r}")


def _check_choices(on_crash: str, on_failure: str) -> None:
    """Check that the two choices are known and agree.

    Raises:
        ValueError: they are not or do not.
    """
    for name, value in (("on_crash", on_crash), ("on_failure", on_failure)):
        if value not in _CHOICES:
            raise ValueError(f"{name} must be one of {', '.join(_CHOICES)}, not {value!r}")
    if on_crash == "leave" and on_failure == "retry":
        raise ValueError(
            "on_failure must be 'leave' with on_crash='leave', not 'retry': a run must start at most once"
        )
