"""Four-letter words: sent on a separate connection, with the answer read to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from zkrecipes.net.four_letter import ask
from zkrecipes.net.transport.network import Address, Stream
from zkrecipes.testing import MemoryNetwork

pytestmark = pytest.mark.trio
ADDRESS = Address("zk", 2181)


@asynccontextmanager
async def _answering(*pieces: bytes, closes: bool = True) -> AsyncIterator[tuple[MemoryNetwork, list[bytes]]]:
    network = MemoryNetwork()
    heard: list[bytes] = []

    async def answer(stream: Stream) -> None:
        heard.append(await stream.receive())
        for piece in pieces:
            await stream.send(piece)
            await trio.sleep(0.1)
        if not closes:
            heard.append(await stream.receive())
        await stream.aclose()

    async with network.serve("zk", 2181, answer):
        yield network, heard


async def test_a_long_answer_is_read_to_its_end(autojump_clock: object) -> None:
    async with _answering(*[bytes(10_000)] * 100) as (network, heard):
        assert len(await ask(network, ADDRESS, b"wchp", size_max=2**20)) == 1_000_000
        assert heard == [b"wchp"]


async def test_an_endless_answer_is_not(autojump_clock: object) -> None:
    async with _answering(*[bytes(10_000)] * 100) as (network, _):
        assert 50_000 <= len(await ask(network, ADDRESS, b"wchp", size_max=50_000)) <= 120_000


async def test_an_answer_may_do_before_its_end_and_then_the_connection_is_closed(
    autojump_clock: object,
) -> None:
    async with _answering(b"im", b"ok", closes=False) as (network, heard):
        with trio.fail_after(1):
            assert await ask(network, ADDRESS, b"ruok", is_enough=lambda answer: b"ok" in answer) == b"imok"
        await trio.sleep(1)
        assert heard == [b"ruok", b""]


async def test_a_server_that_is_not_there_is_an_os_error(autojump_clock: object) -> None:
    with pytest.raises(ConnectionRefusedError):
        await ask(MemoryNetwork(), ADDRESS, b"ruok")
