"""Engines that run one job, and fail in each way, from a seed; the history goes to `once_per_checker`.

The recorder reads the job's record and the lock's znodes on the server after each transaction. It knows the
znode layout, and nothing else about the recipe.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, NamedTuple, final

import anyio

import zkrecipes as zk
from tests.recipes.fault_sweep import World, world
from tests.recipes.once_per_checker import (
    BlockBegan,
    BlockEnded,
    Event,
    Left,
    Promises,
    Refused,
    RunEnded,
    RunStarted,
    ZnodeDeleted,
)
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.data_tree import DataTree
from zkrecipes.enums import OpCode
from zkrecipes.errors import ThrottledError
from zkrecipes.paths import name_of
from zkrecipes.testing import SimulatedEnsemble
from zkrecipes.testing.simulated.history import CommittedTransaction

PATH = "/jobs/report"
TIMEOUT = 6.0
PERIOD = 20.0
AT_MOST_FOR = 8.0
CLEAN_UP = 1.0
ENGINES = 3
SECONDS = 150.0

_FAULT_KINDS = (FaultKind.BEFORE_SEND, FaultKind.AFTER_SEND, FaultKind.AFTER_COMMIT, FaultKind.CORRUPT)
_REFUSABLE = (OpCode.MULTI, OpCode.CREATE, OpCode.SET_DATA, OpCode.GET_DATA, OpCode.GET_CHILDREN)

Connect = Callable[[str], AbstractAsyncContextManager[zk.Client]]


class History(NamedTuple):
    """The events, and whether a run has finished after everything was healed."""

    events: list[Event]
    is_alive: bool


class WorkError(Exception):
    """The error of a run that fails."""


def promises(on_crash: zk.OnCrash) -> Promises:
    """Return the promises of the jobs that these engines run."""
    return Promises(PERIOD, on_crash, AT_MOST_FOR, CLEAN_UP + 0.1)


@final
class Recorder:
    """The history of one job: the server's transactions, and the reports of the engines.

    Attributes:
        events: the history so far.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._offset = 0.0
        self._record: tuple[int, Any] = (0, None)
        self._children: set[str] = set()
        self._over: set[str] = set()
        self._inside: dict[str, int] = {}

    # --- the engines' reports ------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the server's time, as of its clock at the last write of the record."""
        return anyio.current_time() + self._offset

    def block_began(self, node: str, session_id: int) -> None:
        self._inside[node] = session_id
        self.events.append(BlockBegan(self.now(), node))

    def block_ended(self, node: str, *, is_ok: bool) -> None:
        self._inside.pop(node, None)
        if node not in self._over:
            self._over.add(node)
            self.events.append(BlockEnded(self.now(), node, is_ok))

    def session_ends_unforeseen(self, session_id: int) -> None:
        """Report that the test ends a session, or its process: no block of it counts from now on."""
        for node in [node for node, owner in self._inside.items() if owner == session_id]:
            self.block_ended(node, is_ok=False)

    # --- the server's transactions -------------------------------------------------------------------------

    def follow_server(self, server: zk.DevServer) -> None:
        """Record the transactions of a dev server from now on."""
        processor = server.processor
        process, expire = processor.process, processor.expire

        def processed(client: Any, opcode: int, request: Any, time: Any) -> Any:
            reply = process(client, opcode, request, time)
            self._look(processor.tree, is_session_end=opcode == OpCode.CLOSE_SESSION)
            return reply

        def expired(session: Any, time: Any) -> None:
            expire(session, time)
            self._look(processor.tree, is_session_end=True)

        processor.process = processed  # type: ignore[method-assign]
        processor.expire = expired  # type: ignore[method-assign]

    def follow_ensemble(self, ensemble: SimulatedEnsemble) -> None:
        """Record the transactions of a simulated ensemble when a quorum commits them."""

        def record(transaction: CommittedTransaction) -> None:
            self._look(transaction.tree, is_session_end=transaction.is_session_end)

        ensemble.follow_commits(record)

    def _look(self, tree: DataTree, *, is_session_end: bool) -> None:
        node = tree.find(PATH)
        if node is None:
            return
        at, (mzxid, before) = node.mtime / 1000, self._record
        if node.mzxid != mzxid and node.data:
            self._offset = at - anyio.current_time()
            run = json.loads(node.data)["run"]
            self._record = node.mzxid, run
            if run["outcome"] == "running":
                self.events.append(RunStarted(at, run["node"]))
            elif run != before:
                self.events.append(RunEnded(at, run["node"], run["outcome"]))
        children = set(node.children or ())
        for name in self._children - children:
            self.events.append(ZnodeDeleted(self.now(), name, is_session_end))
        self._children = children


@final
class Engine:
    """One engine: it runs the job whenever it may, and starts anew after a crash.

    Args:
        recorder: of the history.
        connect: connects a host with the given name.
        name: the engine's name; each process of it has another host.
        on_crash: the job's option.
        seed: of its choices.
    """

    def __init__(
        self, recorder: Recorder, connect: Connect, name: str, on_crash: zk.OnCrash, seed: int
    ) -> None:
        self.name = name
        self.is_over = False
        self.processes = 0
        self.client: zk.Client | None = None
        self._recorder = recorder
        self._connect = connect
        self._on_crash = on_crash
        self._rng = random.Random(seed)
        self._scope = anyio.CancelScope()

    @property
    def host(self) -> str:
        """The host of the current process."""
        return f"{self.name}-{self.processes}"

    async def run(self) -> None:
        """Run the job until the end of the simulation."""
        while not self.is_over:
            self._scope = anyio.CancelScope()
            with self._scope:
                async with self._connect(self.host) as self.client:
                    await self._work(self.client)
            self.client = None
            self.processes += 1
            await anyio.sleep(self._rng.choice([0, 3]))

    def crash(self) -> None:
        """End the current process; cut its host off first, because a dead process sends nothing."""
        if self.client is not None:
            self._recorder.session_ends_unforeseen(self.client.session.id)
            self._scope.cancel()

    async def _work(self, client: zk.Client) -> None:
        rng = self._rng
        job = zk.OncePer(
            client,
            PATH,
            period=PERIOD,
            on_crash=self._on_crash,
            at_most_for=AT_MOST_FOR,
            identifier=self.name,
        )
        while not self.is_over:
            called_at = self._recorder.now()
            try:
                await self._call(job, client, rng.choice([None, 0, 1.0]))
            except zk.NotDueError as error:
                self._recorder.events.append(Refused(self._recorder.now(), "", called_at))
                await anyio.sleep(rng.choice([0, error.due_in, error.due_in]))
            except (zk.AcquireTimeoutError, zk.HoldLostError, zk.RunTimeoutError, WorkError):
                pass
            await anyio.sleep(rng.choice([0.1, 1, 4]))

    async def _call(self, job: zk.OncePer, client: zk.Client, wait: float | None) -> None:
        rng, recorder = self._rng, self._recorder
        async with job.acquire(wait=wait) as run:
            node = name_of(run.hold.path)
            recorder.block_began(node, client.session.id)
            is_ok = False
            try:
                await anyio.sleep(rng.choice([0, 0.5, 3, 2 * AT_MOST_FOR]))
                if rng.random() < 0.2:
                    raise WorkError("this run fails")
                is_ok = True
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(rng.choice([0, min(CLEAN_UP, TIMEOUT / 16)]))
                raise
            finally:
                recorder.block_ended(node, is_ok=is_ok)
        recorder.events.append(Left(recorder.now(), node, is_ok=True))


async def simulate(seed: int, on_crash: zk.OnCrash) -> History:
    """Run engines on a dev server with faults, and return the history.

    In the end everything is healed, so that another run finishes.
    """
    rng = random.Random(seed)
    recorder = Recorder()
    async with world() as there:
        recorder.follow_server(there.server)

        def connect(host: str) -> AbstractAsyncContextManager[zk.Client]:
            connected: AbstractAsyncContextManager[zk.Client] = there.connect(
                host, session_timeout=TIMEOUT, connect_timeout=None
            )
            return connected

        engines = [
            Engine(recorder, connect, f"engine-{number}", on_crash, 100 * seed + number)
            for number in range(ENGINES)
        ]
        async with anyio.create_task_group() as tasks:
            for engine in engines:
                tasks.start_soon(engine.run)
            await _fail(there, recorder, engines, rng)
            there.before_request = lambda _: None
            there.server.faults.clear()
            for engine in engines:
                there.network.heal(source=engine.host)
            is_alive = await _finishes_once_more(recorder)
            for engine in engines:
                engine.is_over = True
    return History(recorder.events, is_alive)


async def _fail(there: World, recorder: Recorder, engines: list[Engine], rng: random.Random) -> None:
    """Let one thing after another fail, and end with a server that runs."""

    def refuse(seen: Any) -> None:
        if seen.opcode == OpCode.SET_DATA and rng.random() < 0.2:
            # the engine reads the time: it reads the record next, and then it writes the start
            there.server.faults.inject(2, rng.choice(_FAULT_KINDS), session_id=seen.session_id)
        if seen.opcode in _REFUSABLE and rng.random() < 0.01:
            raise ThrottledError

    there.before_request = refuse
    end = anyio.current_time() + SECONDS
    while anyio.current_time() < end:
        await anyio.sleep(rng.uniform(0, 3))
        engine = rng.choice(engines)
        session_id = None if engine.client is None else engine.client.session.id
        match rng.randrange(7):
            case 0 | 1:
                there.server.faults.inject(rng.randint(1, 4), rng.choice(_FAULT_KINDS), session_id=session_id)
            case 2 if session_id is not None:
                recorder.session_ends_unforeseen(session_id)
                with suppress(KeyError):
                    there.server.expire(session_id)
            case 3 if session_id is not None:
                there.network.cut(source=engine.host)
                engine.crash()
            case 4:
                there.network.cut(source=engine.host)
                await anyio.sleep(rng.choice([0.5, 2, 2 * TIMEOUT]))
                there.network.heal(source=engine.host)
            case 5:
                await there.server.restart(downtime=rng.choice([0, 1, TIMEOUT]))


async def _finishes_once_more(recorder: Recorder) -> bool:
    """Wait until a run has finished; some runs fail. Return False if none does."""
    before = len(recorder.events)
    for _ in range(round(20 * PERIOD)):
        await anyio.sleep(1)
        if any(isinstance(event, Left) for event in recorder.events[before:]):
            return True
    return False


async def simulate_ensemble(seed: int, on_crash: zk.OnCrash) -> History:
    """Run engines on a simulated ensemble whose servers fail, and return the history."""
    rng = random.Random(seed)
    recorder = Recorder()
    async with SimulatedEnsemble(3, tick_time=1, sync_limit=3, seed=seed) as ensemble:
        recorder.follow_ensemble(ensemble)

        def connect(host: str) -> AbstractAsyncContextManager[zk.Client]:
            network = ensemble.network.view(host)
            return zk.connect(
                ensemble.connect_string, network=network, session_timeout=TIMEOUT, connect_timeout=None
            )

        engines = [
            Engine(recorder, connect, f"engine-{number}", on_crash, 100 * seed + number)
            for number in range(ENGINES)
        ]
        async with anyio.create_task_group() as tasks:
            for engine in engines:
                tasks.start_soon(engine.run)
            await _fail_ensemble(ensemble, engines, rng)
            for engine in engines:
                ensemble.network.heal(source=engine.host)
            is_alive = await _finishes_once_more(recorder)
            for engine in engines:
                engine.is_over = True
    return History(recorder.events, is_alive)


async def _fail_ensemble(ensemble: SimulatedEnsemble, engines: list[Engine], rng: random.Random) -> None:
    """Let one server or engine after another fail, and end with an ensemble that serves."""
    end = anyio.current_time() + SECONDS
    while anyio.current_time() < end:
        await anyio.sleep(rng.uniform(0, 4))
        one, other = rng.sample(ensemble.numbers, 2)
        match rng.randrange(6):
            case 0:
                ensemble.crash(one)
                await anyio.sleep(rng.uniform(0, 3))
                ensemble.restart(one)
            case 1:
                ensemble.cut(one, other)
            case 2:
                ensemble.isolate(one)
            case 3:
                # briefly: no hold is proven at a server that lags by more than an eighth of a timeout
                ensemble.lag(one, rng.uniform(0, 2))
                await anyio.sleep(rng.uniform(0, 3))
                ensemble.lag(one, 0)
            case 4:
                ensemble.move_leader(one)
            case _:
                engine = rng.choice(engines)
                if engine.client is not None:
                    ensemble.network.cut(source=engine.host)
                    engine.crash()
        if rng.random() < 0.5:
            ensemble.heal()
    ensemble.heal()
    await ensemble.serving()
