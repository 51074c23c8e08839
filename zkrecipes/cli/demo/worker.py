"""One worker, in a process of its own: takes the lock, does one job, gives the lock back, until all are done.

    python -m zkrecipes.cli.demo.worker HOSTS ROOT NAME SESSION_TIMEOUT JOB_TIME

When the lock is lost its work is cancelled, and it queues up again; that is all that it has to do about it.
In the end it leads once.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import final

import trio

from zkrecipes.cli.demo.control import Control
from zkrecipes.cli.demo.events import EventKind, Order
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
    """Be a worker, as the arguments of the process say."""
    hosts, root, name, session_timeout, job_time = sys.argv[1:]
    # Ctrl-C reaches every process of the terminal; the demo ends its workers by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_work_until_told, hosts, root, name, float(session_timeout), float(job_time))


async def _work_until_told(hosts: str, root: str, name: str, session_timeout: float, job_time: float) -> None:
    control = Control(name)
    with bare_errors():  # the demo shows the last line of a traceback
        async with trio.open_nursery() as nursery:

            async def end_with_the_demo() -> None:
                await control.listen()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with_the_demo)
            network = SeverableNetwork()
            async with connect(
                hosts, session_timeout=session_timeout, connect_timeout=None, network=network
            ) as client:
                control.say(EventKind.JOINED)
                board = DemoZnodes(client, root)
                mutex = Mutex(client, board.lock_path, identifier=name)
                await _Worker(client, board, mutex, network, control, job_time).work()
                election = Election(client, board.election_path, identifier=name)
                await _lead_for_a_moment(election, control, job_time)
            control.say(EventKind.FINISHED)
            nursery.cancel_scope.cancel()


@final
@dataclass
class _Worker:
    client: Client
    board: DemoZnodes
    mutex: Mutex
    network: SeverableNetwork
    control: Control
    job_time: float
    token: int | None = None
    """Of its newest hold."""

    async def work(self) -> None:
        """Take turns until there is no job left."""
        is_more = True
        while is_more:
            try:
                async with self.mutex as hold:
                    is_more = await self._take_turn(hold)
            except LockLostError as error:
                await self.control.ask(EventKind.LOST, token=self.token, detail=str(error))
                if self.network.is_cut:
                    # The answer to LOST came when another had the lock, so the old session is over.
                    self.network.heal()
                    await self.client.sync()  # waits until there is a new session
                    self.control.say(EventKind.BACK)

    async def _take_turn(self, hold: Hold) -> bool:
        """Do one job; False if there was none."""
        control, token, entered_at = self.control, hold.fencing_token, time.monotonic()
        self.token = token
        job = next((mark.job for mark in await self.board.marks() if mark.times == 0), None)
        control.say(EventKind.BEGAN, at=entered_at, token=token, job=job)
        if job is None:
            await control.ask(EventKind.IDLE, token=token)
            return False
        try:
            await self._do(hold, job)
        except trio.Cancelled:
            control.say(EventKind.CANCELLED, token=token, job=job)
            raise
        await control.ask(EventKind.DONE, token=token, job=job)
        return True

    async def _do(self, hold: Hold, job: int) -> None:
        await self.board.begin(hold, job)
        await trio.sleep(self.job_time / 2)
        order = await self.control.ask(EventKind.HALFWAY, token=hold.fencing_token, job=job)
        if order is Order.CUT:
            self.network.cut()
            self.control.say(EventKind.CUT_OFF, token=hold.fencing_token, job=job)
            await trio.sleep_forever()  # it would work on and on; the lock's loss ends it
        await trio.sleep(self.job_time / 2)
        await self.board.mark_done(hold, job)


async def _lead_for_a_moment(election: Election, control: Control, seconds: float) -> None:
    """Lead once, and step down for the next one."""
    while True:
        try:
            async with election.lead() as leadership:
                token = leadership.fencing_token
                control.say(EventKind.LEADS, token=token)
                try:
                    await trio.sleep(seconds)
                finally:
                    control.say(EventKind.STEPPED_DOWN, token=token)
        except LeadershipLostError:
            continue
        return


if __name__ == "__main__":
    main()
