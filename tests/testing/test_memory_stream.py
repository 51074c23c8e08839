"""Streams in memory under a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from zkrecipes.net.transport.network import Address
from zkrecipes.testing.memory_link import Connection


def _connection() -> Connection:
    return Connection("", Address("127.0.0.1", 1), Address("server", 2181), chunk_size=None, record=False)


@pytest.mark.trio
async def test_every_call_is_a_checkpoint_and_takes_no_time(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    connection = _connection()
    for call in (
        lambda: connection.client_end.send(b"x"),
        connection.server_end.receive,
        connection.client_end.aclose,
        connection.server_end.receive,
        connection.server_end.aclose,
    ):
        with trio.testing.assert_checkpoints():
            await call()
    assert trio.current_time() == start


@pytest.mark.trio
async def test_a_sender_whose_buffer_stays_full_keeps_waiting() -> None:
    connection = _connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.client_end.send, bytes(1_000_000))
        await trio.testing.wait_all_tasks_blocked()
        full = len(connection.to_server)
        connection.to_server.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert len(connection.to_server) == full
        nursery.cancel_scope.cancel()
