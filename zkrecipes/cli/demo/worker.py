"""The process of one worker: it takes the lock, does one job and releases the lock, until all jobs are done.

    python -m zkrecipes.cli.demo.worker HOSTS ROOT NAME SESSION_TIMEOUT JOB_TIME

When it loses the lock, its work is cancelled, and it waits for the lock again; it needs to do nothing else.
At the end it leads once.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import final

import trio

from zkrecipes.cli.demo.events import EventKind, Instruction
from zkrecipes.cli.demo.reporter import Reporter
from zkrecipes.cli.demo.severable_network import SeverableNetwork
from zkrecipes.cli.demo.znodes import DemoZnodes
from zkrecipes.client.client import Client
from zkrecipes.client.connect import connect
from zkrecipes.errors import LeadershipLostError, LockLostError
from zkrecipes.net.transport.network import bare_errors
from zkrecipes.recipes.election import Election
from zkrecipes.recipes.locking.hold import Hold
from zkrecipes.recipes.mutex import Mutex

__all__ = ["main"]


def main() -> None:
    """Run a worker with the arguments of the process."""
    hosts, root, name, session_timeout, job_time = sys.argv[1:]
    # Ctrl-C reaches every process of the terminal, but the demo itself ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_run_worker, hosts, root, name, float(session_timeout), float(job_time))


async def _run_worker(hosts: str, root: str, name: str, session_timeout: float, job_time: float) -> None:
    reporter = Reporter(name)
    with bare_errors():  # the demo shows the last line of a traceback
        async with trio.open_nursery() as nursery:

            async def end_with_the_demo() -> None:
                await reporter.receive_instructions()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with_the_demo)
            network = SeverableNetwork()
            async with connect(
                hosts, session_timeout=session_timeout, connect_timeout=None, network=network
            ) as client:
                reporter.report(EventKind.JOINED)
                znodes = DemoZnodes(client, root)
                mutex = Mutex(client, znodes.lock_path, identifier=name)
                await _Worker(client, znodes, mutex, network, reporter, job_time).work()
                election = Election(client, znodes.election_path, identifier=name)
                await _lead_once(election, reporter, job_time)
            reporter.report(EventKind.FINISHED)
            nursery.cancel_scope.cancel()


@final
@dataclass
class _Worker:
    client: Client
    znodes: DemoZnodes
    mutex: Mutex
    network: SeverableNetwork
    reporter: Reporter
    job_time: float
    token: int | None = None
    """The fencing token of its newest hold."""

    async def work(self) -> None:
        """Take the lock and do a job, until there is no job left."""
        is_more = True
        while is_more:
            try:
                async with self.mutex as hold:
                    is_more = await self._take_turn(hold)
            except LockLostError as error:
                await self.reporter.report_and_wait(EventKind.LOST, token=self.token, detail=str(error))
                if self.network.is_cut:
                    # The answer to LOST arrived after another worker got the lock, so the old session is
                    # over.
                    self.network.heal()
                    await self.client.sync()  # waits until there is a new session
                    self.reporter.report(EventKind.BACK)

    async def _take_turn(self, hold: Hold) -> bool:
        """Do one job; return False if no job is left."""
        reporter, token, entered_at = self.reporter, hold.fencing_token, time.monotonic()
        self.token = token
        job = next((mark.job for mark in await self.znodes.marks() if mark.times == 0), None)
        reporter.report(EventKind.BEGAN, at=entered_at, token=token, job=job)
        if job is None:
            await reporter.report_and_wait(EventKind.IDLE, token=token)
            return False
        try:
            await self._do_job(hold, job)
        except trio.Cancelled:
            reporter.report(EventKind.CANCELLED, token=token, job=job)
            raise
        await reporter.report_and_wait(EventKind.DONE, token=token, job=job)
        return True

    async def _do_job(self, hold: Hold, job: int) -> None:
        await self.znodes.record_begin(hold, job)
        await trio.sleep(self.job_time / 2)
        instruction = await self.reporter.report_and_wait(
            EventKind.HALFWAY, token=hold.fencing_token, job=job
        )
        if instruction is Instruction.CUT:
            self.network.cut()
            self.reporter.report(EventKind.CUT_OFF, token=hold.fencing_token, job=job)
            await trio.sleep_forever()  # work without end; the loss of the lock cancels it
        await trio.sleep(self.job_time / 2)
        await self.znodes.mark_done(hold, job)


async def _lead_once(election: Election, reporter: Reporter, seconds: float) -> None:
    """Lead once, and step down for the next worker."""
    while True:
        try:
            async with election.lead() as leadership:
                token = leadership.fencing_token
                reporter.report(EventKind.LEADS, token=token)
                try:
                    await trio.sleep(seconds)
                finally:
                    reporter.report(EventKind.STEPPED_DOWN, token=token)
        except LeadershipLostError:
            continue
        return


if __name__ == "__main__":
    main()
