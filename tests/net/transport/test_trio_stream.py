"""A stream on trio, where the system and others that use its socket are at odds."""

from __future__ import annotations

import socket

import pytest
import trio

from zkrecipes.net.transport.address import Address
from zkrecipes.net.transport.trio_stream import TrioStream

pytestmark = pytest.mark.trio


async def test_a_socket_that_is_not_readable_after_all_is_waited_for_again() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        stream = TrioStream(ours, Address("peer", 1))
        received = []

        async def receive() -> None:
            received.append(await stream.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"taken by somebody else")
            ours.recv(100)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not received
            theirs.send(b"ours")
        assert received == [b"ours"]
        await stream.aclose()


async def test_a_send_to_a_closed_peer_is_an_error_of_the_system() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = TrioStream(ours, Address("peer", 1))
    theirs.close()
    with pytest.raises(BrokenPipeError):
        await stream.send(b"x")
    await stream.aclose()


async def test_a_send_that_waits_fails_when_its_peer_closes() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = TrioStream(ours, Address("peer", 1))

    async def send() -> None:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await stream.send(bytes(2**24))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        theirs.close()
    await stream.aclose()
