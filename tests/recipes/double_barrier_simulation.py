"""Simulates a double barrier under faults that a seed chooses, and checks the history.

Members enter again and again. They are slow, they fail, they are cancelled, they are cut off, they crash and
are restarted under the same name or another; their sessions expire, their znodes are deleted; requests are
lost, applied without a reply, or refused. It runs on a dev server, or on a simulated ensemble whose servers
fail. In the end everything is healthy: then no member may be stuck, and no znode may be left.

`python -m tests.recipes.double_barrier_simulation` runs many seeds; `make histories` calls it.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Protocol
from unittest.mock import patch
from uuid import UUID

import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.recipes.double_barrier_checker import Member, Violation, check
from tests.recipes.double_barrier_recorder import Recorder
from tests.recipes.fault_sweep import TIMEOUT, World, world
from zkrecipes.client import connect as connect_module
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.processor import Reply
from zkrecipes.enums import OpCode
from zkrecipes.recipes import double_barrier_member
from zkrecipes.recipes.double_barrier_directory import is_member
from zkrecipes.testing import SimulatedEnsemble

PATH: Final = "/steps"
_MEMBERS: Final = 4
_REFUSED: Final = (
    OpCode.CREATE,
    OpCode.MULTI,
    OpCode.DELETE,
    OpCode.EXISTS,
    OpCode.GET_DATA,
    OpCode.GET_CHILDREN,
)
_CODES: Final = (
    zk.ThrottledError.code,
    zk.OperationTimeoutError.code,
    zk.RequestTimeoutError.code,
    zk.NotReadOnlyError.code,
)


class Environment(Protocol):
    """The servers and the network of a simulation."""

    def connect(self, source: str) -> AbstractAsyncContextManager[zk.Client]:
        """Connect a client that `cut` can cut off."""

    def cut(self, source: str) -> None:
        """Cut a client off."""

    def heal(self, source: str) -> None:
        """Let a client reach the servers again."""

    def expire(self, session_id: int) -> None:
        """End a session."""

    def inject_fault(self, client: zk.Client, rng: random.Random) -> None:
        """Inject a fault into a request of a client."""

    async def fail(self, rng: random.Random) -> None:
        """Let a server fail."""

    async def recover(self) -> None:
        """Make everything work again."""


class MemberProcess:
    """One process of a member, from its start to its end or its crash."""

    def __init__(self, scenario: Scenario, name: str, number: int) -> None:
        self.source = f"{name}-{number}"
        self.client: zk.Client | None = None
        self.is_dead = False
        self._scenario = scenario
        self._name = name
        self._rng = random.Random(f"{scenario.seed} {self.source}")
        self._member: Member
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        scenario = self._scenario
        with self._scope:
            async with scenario.environment.connect(self.source) as self.client:
                self._member = scenario.recorder.register(self._name, self.client)
                while not scenario.is_over:
                    await self._call()
                    await trio.sleep(self._rng.choice([0, 0.01, 1]))
                await scenario.may_end.wait()

    async def _call(self) -> None:
        assert self.client is not None
        scenario, rng = self._scenario, self._rng
        barrier = zk.DoubleBarrier(self.client, PATH, parties=scenario.parties, identifier=self._name)
        wait_limit = rng.choice([0.1, 3, 2 * TIMEOUT]) if rng.random() < 0.15 else float("inf")
        with (
            trio.move_on_after(wait_limit),
            scenario.recorder.call(self._member),
            suppress(_BlockError, zk.BrokenBarrierError),
        ):
            async with barrier:
                with scenario.recorder.block(self._member):
                    await self._work()
            scenario.completed += 1

    async def _work(self) -> None:
        await trio.sleep(self._rng.choice([0, 0.05, 1, TIMEOUT / 2]))
        if self._rng.random() < 0.05:
            raise _BlockError

    def crash(self) -> None:
        self.is_dead = True
        self._scenario.environment.cut(self.source)
        if self.client is not None:
            self._scenario.recorder.crashed(self._member)
        self._scope.cancel()


class _BlockError(Exception):
    """An error that a block raises."""


class Scenario:
    """The members, and the faults that happen to them."""

    def __init__(
        self, environment: Environment, recorder: Recorder, nursery: trio.Nursery, seed: int
    ) -> None:
        self.environment = environment
        self.recorder = recorder
        self.seed = seed
        self.is_over = False
        self.may_end = trio.Event()
        self.completed = 0
        self.rng = random.Random(seed)
        self.parties = self.rng.choice([1, 2, 2, 3, 3, 4])
        self._nursery = nursery
        self._processes: list[MemberProcess] = []
        self._starts = 0
        for number in range(_MEMBERS):
            self._start(f"member-{number}")

    def _start(self, name: str) -> None:
        self._starts += 1
        process = MemberProcess(self, name, self._starts)
        self._processes.append(process)
        self._nursery.start_soon(process.run)

    async def run(self, seconds: float) -> None:
        """Inject faults for a while."""
        with trio.move_on_after(seconds):
            while True:
                await trio.sleep(self.rng.choice([0.001, 0.05, 0.5, 3, TIMEOUT / 2]))
                await self._disturb()

    async def end(self) -> None:
        """Make everything healthy, and wait until nothing more happens."""
        await self.environment.recover()
        for process in self._processes:
            if not process.is_dead:
                self.environment.heal(process.source)
        await trio.sleep(TIMEOUT / 2)
        self.is_over = True
        await trio.sleep(3 * TIMEOUT)
        self.recorder.settled()
        self.may_end.set()
        self._nursery.cancel_scope.cancel()

    async def _disturb(self) -> None:
        rng = self.rng
        alive = [process for process in self._processes if not process.is_dead]
        if not alive:
            return
        process = rng.choice(alive)
        client = process.client
        match rng.randrange(10):
            case 0 | 1:
                process.crash()
                self._nursery.start_soon(self._start_later, process, rng.choice([0, 0.1, 3, TIMEOUT * 1.5]))
            case 2 if client is not None:
                self.environment.expire(client.session.id)
            case 3 | 4 | 5 if client is not None:
                self.environment.inject_fault(client, rng)
            case 6:
                self.environment.cut(process.source)
                self._nursery.start_soon(
                    self._heal_later, process, rng.choice([0.5, TIMEOUT / 2, TIMEOUT * 1.5])
                )
            case 7 | 8:
                await self.environment.fail(rng)

    async def _start_later(self, process: MemberProcess, seconds: float) -> None:
        await trio.sleep(seconds)
        name = process.source.rpartition("-")[0]
        self._start(name if self.rng.random() < 0.7 else f"{name}'")

    async def _heal_later(self, process: MemberProcess, seconds: float) -> None:
        await trio.sleep(seconds)
        if not process.is_dead:
            self.environment.heal(process.source)


# --- one server ----------------------------------------------------------------------------------------


class OneServer:
    """A dev server with faults in requests."""

    def __init__(self, there: World, administrator: zk.Client) -> None:
        self._there = there
        self._administrator = administrator
        self._refused: dict[int, tuple[int, int, bool]] = {}
        processor = there.server.processor
        apply = processor.process

        def refusing(client: Any, opcode: int, request: Any, time: Any) -> Any:
            session_id = 0 if client.session is None else client.session.id
            code, left, is_applied = self._refused.get(session_id, (0, 0, False))
            if opcode not in _REFUSED or not left:
                return apply(client, opcode, request, time)
            self._refused[session_id] = (code, left - 1, is_applied)
            if is_applied:
                apply(client, opcode, request, time)
            return Reply(processor.zxid, code)

        processor.process = refusing  # type: ignore[method-assign]

    def connect(self, source: str) -> AbstractAsyncContextManager[zk.Client]:
        client: AbstractAsyncContextManager[zk.Client] = self._there.connect(source, connect_timeout=None)
        return client

    def cut(self, source: str) -> None:
        self._there.network.cut(source=source)
        self._there.network.reset(source=source)

    def heal(self, source: str) -> None:
        self._there.network.heal(source=source)

    def expire(self, session_id: int) -> None:
        with suppress(KeyError):  # it has ended already
            self._there.server.expire(session_id)

    def inject_fault(self, client: zk.Client, rng: random.Random) -> None:
        if rng.random() < 0.4:
            code = rng.choice(_CODES)
            # some of these codes do not state whether the request was applied
            is_applied = code in (-7, -122) and rng.random() < 0.5
            self._refused[client.session.id] = (code, rng.randint(1, 3), is_applied)
        else:
            kind = rng.choice(list(FaultKind))
            self._there.server.faults.inject(rng.randint(1, 8), kind, session_id=client.session.id)

    async def fail(self, rng: random.Random) -> None:
        if rng.random() < 0.3:
            await self._there.server.restart(downtime=rng.choice([0, 1, TIMEOUT]))
        else:
            await self._delete_a_znode(rng)

    async def _delete_a_znode(self, rng: random.Random) -> None:
        """Delete a member's znode, as an administrator may."""
        members = sorted(path for path in self._there.znodes() if is_member(path.rpartition("/")[2]))
        if members:
            with suppress(zk.ZooKeeperError):
                await self._administrator.delete(rng.choice(members))

    async def recover(self) -> None:
        await self._there.server.restart()  # a restart may have been cancelled while the server was down
        self._refused.clear()
        self._there.server.faults.clear()


# --- an ensemble ---------------------------------------------------------------------------------------


class Ensemble:
    """A simulated ensemble whose servers lag, are partitioned, stopped and killed."""

    def __init__(self, ensemble: SimulatedEnsemble) -> None:
        self._ensemble = ensemble

    def connect(self, source: str) -> AbstractAsyncContextManager[zk.Client]:
        return zk.connect(
            self._ensemble.connect_string,
            network=self._ensemble.network.view(source),
            session_timeout=TIMEOUT / 2,
            connect_timeout=None,
        )

    def cut(self, source: str) -> None:
        self._ensemble.network.cut(source=source)
        self._ensemble.network.reset(source=source)

    def heal(self, source: str) -> None:
        self._ensemble.network.heal(source=source)

    def expire(self, session_id: int) -> None:
        pass  # other faults make sessions expire here

    def inject_fault(self, client: zk.Client, rng: random.Random) -> None:
        """Kill the server that a client is attached to, perhaps with a request in flight."""
        attached = self._ensemble.attached_to(client.session.id)
        if attached and len(self._ensemble.numbers) > 2:
            self._ensemble.crash(attached[0])
            self._ensemble.restart(attached[0])

    async def fail(self, rng: random.Random) -> None:
        ensemble = self._ensemble
        one, other = rng.sample(ensemble.numbers, 2)
        match rng.randrange(6):
            case 0:
                ensemble.crash(one)
                await trio.sleep(rng.uniform(0, 3))
                ensemble.restart(one)
            case 1:
                ensemble.cut(one, other)
            case 2:
                ensemble.isolate(one)
            case 3:
                ensemble.pause(one)
                await trio.sleep(rng.uniform(0, TIMEOUT))
                ensemble.resume(one)
            case 4:
                ensemble.move_leader(one)
            case _:
                ensemble.lag(one, rng.uniform(0, 2))
        if rng.random() < 0.5:
            ensemble.heal()

    async def recover(self) -> None:
        ensemble = self._ensemble
        ensemble.heal()
        for number in ensemble.numbers:
            ensemble.lag(number, 0)
            ensemble.resume(number)
        await ensemble.serving()


# --- one history ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The result of one simulation.

    Attributes:
        completed: the number of calls that entered and left without an error.
        left: the znodes that are left in the directory after all members have ended.
    """

    violations: list[Violation]
    completed: int
    left: set[str]


def simulate_on_a_server(seed: int, seconds: float) -> Outcome:
    """Simulate a seed on a dev server.

    Args:
        seed: chooses the faults.
        seconds: the duration of the faults, in virtual time.
    """
    return _run(_simulate_on_a_server, seed, seconds)


def simulate_on_an_ensemble(seed: int, seconds: float) -> Outcome:
    """Simulate a seed on a simulated ensemble; the arguments are those of `simulate_on_a_server`."""
    return _run(_simulate_on_an_ensemble, seed, seconds)


def _run(simulate: Any, seed: int, seconds: float) -> Outcome:
    with _deterministic(seed):
        outcome: Outcome = trio.run(simulate, seed, seconds, clock=MockClock(autojump_threshold=0))
    return outcome


async def _simulate_on_a_server(seed: int, seconds: float) -> Outcome:
    recorder = Recorder(PATH)
    async with world() as there, there.connect("administrator") as administrator:
        recorder.follow_server(there.server)
        scenario = await _simulate(OneServer(there, administrator), recorder, seed, seconds)
        await trio.sleep(2 * TIMEOUT)
        left = there.znodes() - {PATH}
    return Outcome(
        violations=check(recorder.events, scenario.parties), completed=scenario.completed, left=left
    )


async def _simulate_on_an_ensemble(seed: int, seconds: float) -> Outcome:
    recorder = Recorder(PATH)
    async with SimulatedEnsemble(3, tick_time=1, sync_limit=3, seed=seed) as ensemble:
        recorder.follow_ensemble(ensemble)
        scenario = await _simulate(Ensemble(ensemble), recorder, seed, seconds)
        await trio.sleep(2 * TIMEOUT)
        assert ensemble.leader is not None
        directory = ensemble.tree(ensemble.leader).find(PATH)
        left = set() if directory is None else set(directory.children or ())
    return Outcome(
        violations=check(recorder.events, scenario.parties), completed=scenario.completed, left=left
    )


async def _simulate(environment: Environment, recorder: Recorder, seed: int, seconds: float) -> Scenario:
    async with trio.open_nursery() as nursery:
        scenario = Scenario(environment, recorder, nursery, seed)
        await scenario.run(seconds)
        await scenario.end()
    return scenario


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Make a history depend only on its seed: fix names, pauses and the order of tasks."""
    names = random.Random(seed)
    with (
        patch.object(connect_module, "_RNG", random.Random(seed)),
        patch.object(double_barrier_member, "uuid4", lambda: UUID(int=names.getrandbits(128), version=4)),
        patch("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", new=True),
        patch("trio._core._run._r", SimpleNamespace(shuffle=lambda batch: None)),
    ):
        yield


# --- many histories --------------------------------------------------------------------------------------


def main() -> int:
    """Simulate many seeds, and report each one that breaks a promise."""
    parser = argparse.ArgumentParser(prog="make histories", description=main.__doc__)
    parser.add_argument(
        "--seeds", type=int, default=4000, help="number of seeds, half of them on an ensemble"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=40, help="duration of the faults in each history")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    completed = failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        simulate = simulate_on_an_ensemble if seed % 2 else simulate_on_a_server
        outcome = simulate(seed, arguments.seconds)
        completed += outcome.completed
        if seed % 500 == 499:
            print(f"{seed + 1 - arguments.first} histories", flush=True)  # noqa: T201
        if outcome.violations or outcome.left:
            failed += 1
            print(f"seed {seed} ({simulate.__name__}): left {sorted(outcome.left)}")  # noqa: T201
            for violation in outcome.violations:
                print(f"  {violation}")  # noqa: T201
    print(f"{arguments.seeds} histories, {completed} completed calls, {failed} with a violation")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
