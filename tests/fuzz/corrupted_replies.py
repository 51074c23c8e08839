"""A whole client whose replies are corrupted, in memory and virtual time: `run_world(number)` is one world.

The client speaks to a dev server through a relay that mutates some replies. The number seeds all random
choices, so a world that fails can be reproduced: `python -m tests.fuzz --world NUMBER`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import Any, final
from unittest.mock import patch

import anyio
import trio
import trio.testing

import zkrecipes as zk
from tests.fuzz.cases import CaseError
from tests.fuzz.hangs import interrupt_hangs
from tests.fuzz.mutations import Frames, mutate
from tests.recipes.fault_sweep import TIMEOUT, ClientLeftovers, World, world
from zkrecipes.net.transport.network import Stream

CORRUPTIONS_MAX = 20
"""The number of chunks that a world mutates."""
PATIENCE = 10 * TIMEOUT
"""The virtual seconds that a call may take: each session that ends costs a timeout."""


def run_world(number: int) -> Counter[str]:
    """Corrupt the replies to a client for a while, then stop, and check that the client recovers.

    Returns:
        The number of calls by their outcome: "result", or the name of the error.

    Raises:
        CaseError: the client did not recover; the error names the world.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    outcomes: Counter[str] = Counter()
    try:
        with interrupt_hangs(), _chance_from(number):
            trio.run(_live_through, number, outcomes, clock=clock)
    except Exception as error:
        raise CaseError(f"--world {number}", error) from error
    return outcomes


async def _live_through(number: int, outcomes: Counter[str]) -> None:
    async with world() as there:
        relay = Relay(there, Random(number))
        async with there.network.serve("relay", 2181, relay.carry), there.connect("other") as other:
            await other.create("/truth", b"0")
            try:
                async with zk.connect("relay:2181", session_timeout=TIMEOUT, network=there.network) as client:
                    await _call_until_clear(client, relay, outcomes)
                    await _check_recovery(there, client, other)
            except zk.AuthFailedError:
                outcomes["the client ended"] += 1  # the code of a reply can become a refusal


async def _call_until_clear(client: zk.Client, relay: Relay, outcomes: Counter[str]) -> None:
    """Make calls until the relay has changed enough. No call waits for the previous one.

    So the reply to the next call reveals a lost reply, because it is out of order.
    """
    calls: list[Callable[[zk.Client], Awaitable[Any]]] = [
        _create,
        _read,
        _list,
        _pipeline,
        _transaction,
        _watch,
    ]
    relay.is_clear = False

    async def call_once(call: Callable[[zk.Client], Awaitable[Any]]) -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await call(client)
        except zk.ZooKeeperError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["result"] += 1

    async with anyio.create_task_group() as tasks:
        turn = 0
        while not relay.is_clear:
            tasks.start_soon(call_once, calls[turn % len(calls)])
            turn += 1
            await anyio.sleep(0.1)
        tasks.start_soon(call_once, _read)


async def _check_recovery(there: World, client: zk.Client, other: zk.Client) -> None:
    with anyio.fail_after(PATIENCE):
        await client.exists("/truth")
        await other.set("/truth", b"1")
        await client.sync("/truth")
        assert (await client.get("/truth")).data == b"1"
        async with client.watch("/truth") as events:
            await client.get("/truth")
            await other.set("/truth", b"2")
            await anext(aiter(events))
    await anyio.sleep(TIMEOUT)
    traces = ClientLeftovers.of(there, client)
    assert (traces.outstanding, traces.watches, traces.has_holds) == (0, 0, False), f"left behind: {traces}"


# --- calls ---------------------------------------------------------------------------------------------


async def _create(client: zk.Client) -> None:
    await client.create("/n-", b"data", ephemeral=True, sequential=True)


async def _read(client: zk.Client) -> None:
    await client.get("/truth")


async def _list(client: zk.Client) -> None:
    await client.get_children_with_stat("/")


async def _pipeline(client: zk.Client) -> None:
    async with client.pipeline() as pipe:
        for _ in range(4):
            pipe.exists("/truth")
        pipe.get_acl("/truth")


async def _transaction(client: zk.Client) -> None:
    async with client.transaction() as tx:
        tx.check("/truth")
        tx.create("/t-", ephemeral=True, sequential=True)


async def _watch(client: zk.Client) -> None:
    async with client.watch("/", recursive=True) as events:
        await client.create("/w-", ephemeral=True, sequential=True)
        with anyio.move_on_after(1):
            await anext(aiter(events))


# --- the relay -----------------------------------------------------------------------------------------


@final
class Relay:
    """A relay between client and server, which changes some of the server's bytes.

    Attributes:
        is_clear: whether the relay changes nothing.
    """

    def __init__(self, there: World, rng: Random) -> None:
        self.is_clear = True
        self._network = there.network
        self._rng = rng
        self._left = CORRUPTIONS_MAX

    async def carry(self, client: Stream) -> None:
        """Relay one connection until it ends."""
        async with (
            _closing(client),
            _closing(await self._network.connect("zk", 2181)) as server,
            anyio.create_task_group() as tasks,
        ):

            async def pass_on(source: Stream, sink: Stream, change: Callable[[bytes], bytes]) -> None:
                with suppress(OSError):  # one end has closed
                    while data := await source.receive():
                        await sink.send(change(data))
                tasks.cancel_scope.cancel()

            greeted = False

            def change(data: bytes) -> bytes:
                nonlocal greeted
                received = self._change(data)
                if not greeted:
                    received = _with_sane_timeout(received)
                greeted = True
                return received

            tasks.start_soon(pass_on, client, server, bytes)
            tasks.start_soon(pass_on, server, client, change)

    def _change(self, data: bytes) -> bytes:
        """Return the bytes that the client receives instead of `data`: mostly the same."""
        if self.is_clear or self._rng.random() > 0.2:
            return data
        self._left -= 1
        self.is_clear = self._left == 0
        frames = _frames(data)
        mutate(frames, self._rng, _frames(data))
        return b"".join(frames) or b"\0"  # no bytes would be the end of the stream


def _with_sane_timeout(greeting: bytes) -> bytes:
    """Return the greeting with a reasonable session timeout.

    A client must accept the server's timeout. If it has also received a corrupted zxid that is too new, every
    server refuses it until its session has ended. With a timeout of a millisecond it pings 3000 times a
    second.
    """
    asked = int(TIMEOUT * 1000)
    received = int.from_bytes(greeting[8:12], "big", signed=True)
    if received <= 0 or asked // 16 <= received <= asked:
        return greeting
    return greeting[:8] + asked.to_bytes(4, "big") + greeting[12:]


@asynccontextmanager
async def _closing(stream: Stream) -> AsyncIterator[Stream]:
    try:
        yield stream
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()


def _frames(data: bytes) -> Frames:
    """Split a chunk into frames; a dev server sends whole ones."""
    frames = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        frames.append(bytearray(data[:end]))
        data = data[end:]
    return frames


# --- chance --------------------------------------------------------------------------------------------


@contextmanager
def _chance_from(number: int) -> Iterator[None]:
    """Seed the order in which trio runs its tasks, and the lengths of the client's pauses."""
    # trio has no public seed; its plugin for hypothesis does the same
    trio_rng = trio._core._run._r  # noqa: SLF001
    before = trio_rng.getstate()
    trio_rng.seed(number)
    seeded = Random(number)
    try:
        with (
            patch.object(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),  # noqa: SLF001
            patch.object(random, "Random", lambda *_: seeded),
        ):
            yield
    finally:
        trio_rng.setstate(before)
