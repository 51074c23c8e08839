"""Many processes go through the rounds of one double barrier on a real ensemble, and some are killed.

A killed process is restarted immediately. `python -m tests.apache.double_barrier_rounds` runs 100 rounds of
16 processes, as `make rounds` does; the exit code is 1 if two rounds overlapped.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.apache import double_barrier_program
from tests.conftest import JAVA_OPTIONS, PROPERTIES, SETTINGS
from zkrecipes.ensemble import ApacheEnsemble

SESSION_TIMEOUT = 8.0
"""In seconds. Sixteen processes on few cores can delay each other for seconds."""
_LINE_LENGTH_MAX = 1000


@dataclass
class Stay:
    """One block: from its first statement to its end, or to the death of its process."""

    round: int
    """Its fencing token."""
    began: float
    ended: float | None = None


@dataclass
class Result:
    """The result of a run.

    Attributes:
        kills: the number of killed processes; `inside` of them were in their blocks.
    """

    stays: list[Stay] = field(default_factory=list)
    kills: int = 0
    inside: int = 0

    @property
    def rounds(self) -> dict[int, list[Stay]]:
        """The stays of each round, in the order of the rounds."""
        rounds = defaultdict(list)
        for stay in self.stays:
            rounds[stay.round].append(stay)
        return dict(sorted(rounds.items()))

    def overlaps(self) -> list[tuple[int, int]]:
        """Return the pairs of rounds that overlapped."""
        rounds = list(self.rounds.items())
        return [
            (one, other)
            for (one, stays), (other, next_stays) in pairwise(rounds)
            if max(stay.ended or stay.began for stay in stays) > min(stay.began for stay in next_stays)
        ]


class Members:
    """The processes of the members."""

    def __init__(
        self, connect_string: str, path: str, *, number: int, session_timeout: float, seed: int
    ) -> None:
        self.result = Result()
        self._arguments = connect_string, path, str(number), str(session_timeout)
        self._number = number
        self._rng = random.Random(seed)
        self._processes: dict[str, anyio.abc.Process] = {}
        self._inside: dict[str, Stay] = {}

    async def run(self, rounds: int, kill_every: float) -> None:
        """Run until this many rounds have begun."""
        async with anyio.create_task_group() as tasks:
            try:
                for number in range(self._number):
                    await self._start(f"member-{number}", tasks)
                tasks.start_soon(self._kill_sometimes, kill_every, tasks)
                while len(self.result.rounds) < rounds:  # noqa: ASYNC110 - other processes report it
                    await anyio.sleep(0.1)
                tasks.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    for process in self._processes.values():
                        process.kill()
                        await process.aclose()

    async def _start(self, name: str, tasks: anyio.abc.TaskGroup) -> None:
        process = self._processes[name] = await anyio.open_process(
            [sys.executable, "-m", double_barrier_program.__name__, *self._arguments, name],
            stdin=None,
            stderr=None,
            cwd=Path(__file__).parents[2],
        )
        tasks.start_soon(self._listen, name, process)

    async def _listen(self, name: str, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)
        while True:
            try:
                line = await lines.receive_until(b"\n", _LINE_LENGTH_MAX)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError):
                return
            what, token, now = line.split()
            if what == b"in":
                stay = self._inside[name] = Stay(int(token), float(now))
                self.result.stays.append(stay)
            else:
                self._inside.pop(name).ended = float(now)

    async def _kill_sometimes(self, seconds: float, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.sleep(self._rng.uniform(0.5, 1.5) * seconds)
            name = self._rng.choice(sorted(self._inside) or sorted(self._processes))
            process = self._processes[name]
            process.kill()
            await process.wait()
            died = time.monotonic()
            await anyio.sleep(0.05)  # until its last lines are read
            self.result.kills += 1
            stay = self._inside.pop(name, None)
            if stay is not None:
                stay.ended = died
                self.result.inside += 1
            await self._start(name, tasks)


async def _run(processes: int, rounds: int, kill_every: float, seed: int) -> Result:
    ensemble = ApacheEnsemble(size=3, settings=SETTINGS, properties=PROPERTIES, java_options=JAVA_OPTIONS)
    async with ensemble:
        path = f"/rounds-{uuid.uuid4().hex[:8]}"
        members = Members(
            ensemble.connect_string, path, number=processes, session_timeout=SESSION_TIMEOUT, seed=seed
        )
        await members.run(rounds, kill_every)
    return members.result


def main() -> int:
    """Run many rounds, and report whether two of them overlapped."""
    parser = argparse.ArgumentParser(prog="make rounds", description=__doc__)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--kill-every", type=float, default=10.0, help="seconds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    result = anyio.run(_run, options.processes, options.rounds, options.kill_every, options.seed)
    overlaps = result.overlaps()
    print(  # noqa: T201
        f"seed {options.seed}: {len(result.rounds)} rounds, {len(result.stays)} stays, {result.kills} kills "
        f"({result.inside} inside), {len(overlaps)} overlaps {overlaps or ''}, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if overlaps else 0


if __name__ == "__main__":
    sys.exit(main())
