"""A cut network notifies neither end, and after it is healed new connections work."""

from __future__ import annotations

import anyio
import pytest

import zkrecipes as zk
from zkrecipes.cli.demo.severable_network import SeverableNetwork
from zkrecipes.net.transport.network import Stream

pytestmark = pytest.mark.anyio


async def test_nothing_gets_through_a_cut_and_new_connections_after_it() -> None:
    heard: list[bytes] = []

    async def echo(stream: Stream) -> None:
        try:
            while data := await stream.receive():
                heard.append(data)
                await stream.send(data)
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    network = SeverableNetwork()
    async with network.serve("127.0.0.1", 0, echo) as address:
        (resolved,) = await network.resolve("127.0.0.1", address.port)
        stream = await network.connect(*resolved)
        assert stream.peer == address
        await stream.send(b"one")
        assert await stream.receive() == b"one"

        await stream.send(b"two")
        network.cut()
        network.cut()
        await stream.send(b"three")
        with anyio.move_on_after(0.05) as waited:
            await stream.receive()
        assert waited.cancelled_caught
        with anyio.move_on_after(0.05) as waited:
            await network.connect(*resolved)
        assert waited.cancelled_caught

        network.heal()
        assert not network.is_cut
        await stream.send(b"four")
        second = await network.connect(*resolved)
        await second.send(b"five")
        assert await second.receive() == b"five"
        await second.aclose()
        await stream.aclose()
    assert b"".join(heard) == b"onetwofive"


async def test_a_client_that_is_cut_off_loses_its_session_and_gets_a_new_one() -> None:
    network = SeverableNetwork()
    async with (
        zk.DevServer(tick_time=0.1) as server,
        zk.connect(server.connect_string, session_timeout=0.5, network=network) as client,
    ):
        session = client.session
        network.cut()
        await session.wait_closed()
        network.heal()
        await client.sync()
        assert client.session.id != session.id
