"""A world in memory and in virtual time, in which a fault of each kind hits each request of a recipe.

`inject_into_each_request` runs an act (an acquire, a join, an update …) repeatedly and injects a fault into
its first request, its second, and so on, until a run ends without a fault; `cancel_at_each_pass` cancels it
after one pass of the scheduler, after two, and so on. After each run nothing may be left: no znode, no task,
no watch, no outstanding request. Each test checks what its act has done.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

import zkrecipes as zk
from tests.net.peers import QUESTIONS
from zkrecipes.client import connect as connect_module
from zkrecipes.devserver import FaultKind
from zkrecipes.devserver.processor import Reply
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address, Handler, Stream
from zkrecipes.testing import MemoryNetwork

TIMEOUT = 16.0
"""The session timeout of every client, so that a sixteenth is a second."""


# --- virtual time --------------------------------------------------------------------------------------


class JumpingLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose clock stands still while anything can run, and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("every task waits, and no timer is set: this test would never end")
        if not ready and timeout:
            # The loop rounds: without the remainder it would be here again a nanosecond too early.
            self._loop.now += timeout + 1e-9
        return ready


def jumping_backend(name: str) -> tuple[str, dict[str, Any]]:
    """Return an `anyio_backend` in virtual time: trio's `MockClock`, or `JumpingLoop`."""
    if name == "trio":
        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return name, {"loop_factory": JumpingLoop}


def virtual_time() -> Any:
    """Return a fixture that runs a module's tests on both loops: `anyio_backend = virtual_time()`."""

    @pytest.fixture(params=["trio", "asyncio"])
    def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        return jumping_backend(request.param)

    return anyio_backend


asyncio_only = pytest.mark.parametrize("anyio_backend", [jumping_backend("asyncio")], ids=["asyncio"])
"""Marks a test of behaviour that only asyncio has."""


real_time = pytest.mark.parametrize("anyio_backend", ["trio", "asyncio"])
"""Marks a test in real time on both loops, for threads and sockets."""


def block_the_loop(seconds: float) -> None:
    """Let time pass without a checkpoint, as code that blocks the loop or a machine that sleeps does."""
    if _is_trio():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        loop.now += seconds


def _is_trio() -> bool:
    return trio.lowlevel.in_trio_run()


# --- a world -------------------------------------------------------------------------------------------


class ReceivedRequest(NamedTuple):
    """A request that the server has received."""

    at: float
    session_id: int
    opcode: int
    request: Any


@dataclass
class World:
    """A dev server in memory, and the network to it.

    Attributes:
        requests: every request, oldest first, except pings and the client's questions about the version.
        before_request: called with each request just before it is applied; a `ServerError` that it raises is
            the answer, and nothing is applied.
    """

    server: zk.DevServer
    network: MemoryNetwork
    requests: list[ReceivedRequest] = field(default_factory=list)
    before_request: Callable[[ReceivedRequest], None] = lambda _: None

    def record(self) -> None:
        """Record the requests that the server receives from now on."""
        processor = self.server.processor
        process = processor.process

        def recorded(client: Any, opcode: int, request: Any, time: Any) -> Any:
            if opcode != OpCode.PING and request not in QUESTIONS:
                session_id = 0 if client.session is None else client.session.id
                seen = ReceivedRequest(anyio.current_time(), session_id, opcode, request)
                self.requests.append(seen)
                try:
                    self.before_request(seen)
                except zk.ServerError as error:
                    return Reply(processor.zxid, error.code)
            return process(client, opcode, request, time)

        processor.process = recorded  # type: ignore[method-assign]

    def count(self, *opcodes: OpCode, session_id: int | None = None) -> int:
        """Count the received requests with one of these opcodes."""
        return sum(seen.opcode in opcodes and session_id in (None, seen.session_id) for seen in self.requests)

    def connect(self, name: str, **options: Any) -> Any:
        """Return `zk.connect` from a host with that name; the network can cut the host off by its name."""
        options.setdefault("session_timeout", TIMEOUT)
        options.setdefault("network", self.network.view(name))
        return zk.connect(self.server.connect_string, **options)

    def znodes(self) -> set[str]:
        """Return every path on the server, except those that each server has."""
        return set(self._below("/"))

    def _below(self, path: str) -> Iterator[str]:
        for name in self.server.processor.tree.get(path).children or ():
            child = f"{path.rstrip('/')}/{name}"
            if child != "/zookeeper":
                yield child
                yield from self._below(child)


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    """A server at `zk:2181`; the arguments are those of `DevServer`.

    The pauses between the clients' tries are always the same, so that a failure is repeatable.
    """
    network = MemoryNetwork()
    options = {"seed": 1, "start_time": 1e9} | options
    with patch.object(connect_module, "_RNG", random.Random(1)):
        async with zk.DevServer(network=network, host="zk", port=2181, **options) as server:
            there = World(server, network)
            there.record()
            yield there


class AliasNetwork:
    """A network with several hosts that all lead to the same server.

    So a client can change the "server", and `network.cut(source="zk1")` cuts off one host name.

    Args:
        there: the world with the server.

    Attributes:
        opened: each opened connection: its host and its time.
    """

    def __init__(self, there: World) -> None:
        self._network = there.network
        self.opened: list[tuple[float, str]] = []

    async def resolve(self, host: str, port: int) -> list[Address]:
        await anyio.lowlevel.checkpoint()
        return [Address(host, port)]

    async def connect(self, host: str, port: int) -> Stream:
        stream = await self._network.connect_from(host, "zk", port)
        self.opened.append((anyio.current_time(), host))
        return stream

    def serve(self, host: str, port: int, handler: Handler) -> AbstractAsyncContextManager[Address]:
        raise NotImplementedError


@dataclass
class ClientLeftovers:
    """The things besides znodes that a client may leave behind."""

    tasks: int
    outstanding: int
    watches: int
    watches_on_server: int
    has_holds: bool

    @classmethod
    def of(cls, there: World, client: zk.Client) -> ClientLeftovers:
        engine = client._engine  # noqa: SLF001 - what waits inside a client has no public name
        return cls(
            tasks=_tasks_alive(),
            outstanding=engine.outstanding,
            watches=len(engine.watches),
            watches_on_server=len(there.server.processor.watches),
            has_holds=bool(engine.holds),
        )


def _tasks_alive() -> int:
    """Count all tasks except the one that starts with a client's first hold, checks its holds, and stays."""
    names = _trio_tasks() if _is_trio() else (task.get_name() for task in asyncio.all_tasks())
    return sum(not name.endswith("Holds._watch_alarm") for name in names)


def _trio_tasks() -> Iterator[str]:
    tasks = [trio.lowlevel.current_root_task()]
    while tasks:
        task = tasks.pop()
        assert task is not None
        yield task.name
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


# --- answers that are an error --------------------------------------------------------------------------


class Refusal(NamedTuple):
    """An error code that the server sends instead of the right answer."""

    code: int
    is_applied: bool
    """Whether the server nevertheless applies the request."""


_NOT_REFUSED = frozenset(
    {OpCode.PING, OpCode.CREATE_SESSION, OpCode.CLOSE_SESSION, OpCode.SET_WATCHES, OpCode.SET_WATCHES2}
)


@contextmanager
def refusing(
    there: World, session_id: int, choose: Callable[[ReceivedRequest], Refusal | None]
) -> Iterator[None]:
    """Let the server answer requests of one session with an error.

    Args:
        there: the world with the server.
        session_id: the session that sends the requests.
        choose: called with each request; it returns None for the right answer.
    """
    processor = there.server.processor
    process = processor.process

    def refuse(client: Any, opcode: int, request: Any, time: Any) -> Any:
        refusal: Refusal | None = None
        if opcode not in _NOT_REFUSED and client.session is not None and client.session.id == session_id:
            refusal = choose(ReceivedRequest(anyio.current_time(), session_id, opcode, request))
        if refusal is None:
            return process(client, opcode, request, time)
        processor.sessions.touch(client.session, time.now)  # as a real server does for any request
        if refusal.is_applied:
            with suppress(zk.ZooKeeperError):
                process(client, opcode, request, time)
        return Reply(processor.zxid, refusal.code)

    setattr(processor, "process", refuse)  # noqa: B010 - a checker wants the same names of arguments
    try:
        yield
    finally:
        setattr(processor, "process", process)  # noqa: B010


async def refuse_nth_request(
    act: Act, nth: int, refusal: Refusal, *, may_remain: set[str], **options: Any
) -> tuple[Outcome, ReceivedRequest | None, set[str]]:
    """Let the server answer one request of an act with an error.

    Returns:
        The outcome of the act, the refused request (None if the act sent fewer requests), and the znodes that
        were left while the client lived.
    """
    refused: list[ReceivedRequest] = []
    number = 0

    def choose(seen: ReceivedRequest) -> Refusal | None:
        nonlocal number
        number += 1
        if number != nth:
            return None
        refused.append(seen)
        return refusal

    outcome = Outcome(None, nth)
    async with world() as there, there.connect("refused", **options) as client:
        with refusing(there, client.session.id, choose):
            try:
                with anyio.fail_after(20 * TIMEOUT):
                    outcome.result = await act(there, client)
            except Exception as error:  # noqa: BLE001 - it is judged
                outcome.error = error
        await anyio.sleep(TIMEOUT / 2)
        left = there.znodes() - may_remain
    return outcome, refused[0] if refused else None, left


# --- faults --------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """The end of an act.

    Attributes:
        fault_kind: the kind of the injected fault; None for a cancellation.
        nth: the number of the request that the fault hit, or of passes before the cancellation, from 1.
        result: the act's result.
        error: the act's error.
    """

    fault_kind: FaultKind | None
    nth: int
    result: Any = None
    error: BaseException | None = None

    def __str__(self) -> str:
        kind = self.fault_kind
        cause = "cancelled after pass" if kind is None else f"fault ({kind.value}) in request"
        return f"{cause} {self.nth}: {self.result!r} {self.error!r}"


Act = Callable[[World, zk.Client], Awaitable[Any]]
Native = Literal["cancel", "timeout", "wait_for"]
"""Asyncio's ways to cancel: `Task.cancel` (also for Ctrl-C), `asyncio.timeout`, `asyncio.wait_for`."""
Judge = Callable[[Outcome], None]
OtherClients = Callable[[World], Any]
"""A context manager around an act, in which other clients do something."""

_RUNS_MAX = 200


@asynccontextmanager
async def no_other_clients(_: World) -> AsyncIterator[None]:
    """No other client does anything."""
    yield


async def inject_into_each_request(
    act: Act,
    judge: Judge,
    fault_kind: FaultKind,
    *,
    may_remain: set[str],
    other_clients: OtherClients = no_other_clients,
    **options: Any,
) -> int:
    """Inject a fault into each request of an act, each in a separate world.

    Args:
        act: the code under test.
        judge: asserts that the outcome is right.
        fault_kind: the kind of fault.
        may_remain: the znodes that may remain afterwards.
        other_clients: a context manager around the act, in which other clients do something.
        options: the options of the client.

    Returns:
        The number of requests that a fault hit.
    """
    for nth in range(1, _RUNS_MAX):
        async with _fresh_world(may_remain, other_clients, options) as (there, client):
            fault = there.server.faults.inject(nth, fault_kind, session_id=client.session.id)
            outcome = Outcome(fault_kind, nth)
            try:
                outcome.result = await act(there, client)
            except Exception as error:  # noqa: BLE001 - it is judged
                outcome.error = error
            is_hit = fault.is_spent
            fault.remove()
            _judge_outcome(judge, outcome)
        if not is_hit:
            return nth - 1
    raise AssertionError("the act never stops sending requests")


async def cancel_at_each_pass(
    act: Act,
    judge: Judge,
    *,
    may_remain: set[str],
    other_clients: OtherClients = no_other_clients,
    native: bool | Native = False,
    again_after: int | None = None,
    every: int = 1,
    **options: Any,
) -> int:
    """Cancel an act after each number of scheduler passes, each in a separate world.

    Args:
        act: the code to cancel. It must not wait for time to pass, because the clock stands still.
        judge: asserts that the outcome is right; `error` is the cancellation if the act raised it.
        may_remain: the znodes that may remain afterwards.
        other_clients: a context manager around the act, in which other clients do something.
        native: cancel in one of asyncio's own ways, and not by a scope.
        again_after: cancel natively once more, this many passes later.
        every: try one of this many passes.
        options: the options of the client.

    Returns:
        The number of passes after which the act ended without a cancellation.
    """
    for nth in range(1, _RUNS_MAX, every):
        async with _fresh_world(may_remain, other_clients, options) as (there, client):
            outcome = Outcome(None, nth)
            run: Any = _cancelled_by_scope
            if native:
                run = partial(_cancelled_natively, "cancel" if native is True else native)
            is_over = await run(partial(act, there, client), outcome, again_after)
            _judge_outcome(judge, outcome)
        if is_over:
            return nth
    raise AssertionError("the act never ends")


async def _cancelled_by_scope(act: Callable[[], Awaitable[Any]], outcome: Outcome, _: int | None) -> bool:
    scope = anyio.CancelScope()

    async def run() -> None:
        with scope:
            try:
                outcome.result = await act()
            except BaseException as error:
                outcome.error = error
                if not isinstance(error, Exception):
                    raise
            outcome_is_in.set()
        outcome_is_in.set()

    outcome_is_in = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _pass in range(outcome.nth):
            await anyio.lowlevel.checkpoint()
        is_over = outcome_is_in.is_set()
        scope.cancel()
    return is_over


async def _cancelled_natively(
    how: Native, act: Callable[[], Awaitable[Any]], outcome: Outcome, again_after: int | None
) -> bool:
    limits: list[asyncio.Timeout] = []

    async def limited() -> Any:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            return await act()

    if how == "timeout":
        task = asyncio.ensure_future(limited())
    elif how == "wait_for":  # up to Python 3.11 it runs the act in a separate task
        task = asyncio.ensure_future(asyncio.wait_for(act(), 1e6))
    else:
        task = asyncio.ensure_future(act())
    for _pass in range(outcome.nth):
        await asyncio.sleep(0)
    is_over = task.done()
    if limits and not is_over:
        limits[0].reschedule(asyncio.get_running_loop().time())
    else:
        task.cancel()
    if again_after is not None:
        for _pass in range(again_after):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if task.cancelled() or (limits and isinstance(task.exception(), TimeoutError)):
        outcome.error = asyncio.CancelledError()
    else:
        outcome.error = task.exception()
        outcome.result = task.result() if outcome.error is None else None
    return is_over


@asynccontextmanager
async def _fresh_world(
    may_remain: set[str], other_clients: OtherClients, options: dict[str, Any]
) -> AsyncIterator[tuple[World, zk.Client]]:
    """A fresh world with a client. The act must leave the world as it was."""
    async with world() as there, there.connect("faulty", **options) as client:
        before = ClientLeftovers.of(there, client)
        async with other_clients(there):
            yield there, client
        # Time for background work, but less than a session lives, so that znodes left behind are still there.
        await anyio.sleep(TIMEOUT / 2)
        assert there.znodes() <= may_remain, f"left behind: {there.znodes() - may_remain}"
        assert ClientLeftovers.of(there, client) == before


def _judge_outcome(judge: Judge, outcome: Outcome) -> None:
    try:
        judge(outcome)
    except AssertionError as error:
        raise AssertionError(f"{outcome}: {error}") from (outcome.error or error)
