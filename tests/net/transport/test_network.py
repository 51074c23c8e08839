"""Streams over TCP: the data, the errors of a break, and listening."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from zkrecipes.net.transport.network import Address, Stream, TcpNetwork, bare_errors

pytestmark = pytest.mark.anyio


async def _echo(stream: Stream) -> None:
    try:
        while data := await stream.receive():
            await stream.send(data)
    finally:
        await stream.aclose()


async def _read_exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = await stream.receive()
        assert received, "the stream ended early"
        data += received
    return data


async def test_bytes_go_there_and_back() -> None:
    network = TcpNetwork()
    async with network.serve("127.0.0.1", 0, _echo) as (host, port):
        stream = await network.connect(host, port)
        await stream.send(b"hello")
        assert await _read_exactly(stream, 5) == b"hello"
        await stream.aclose()


async def test_a_receive_is_bounded_and_large_sends_arrive_whole() -> None:
    network = TcpNetwork()
    sizes = []
    async with network.serve("127.0.0.1", 0, _echo) as (host, port):
        stream = await network.connect(host, port)
        sent = bytes(range(256)) * 4096
        received = bytearray()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, sent)
            while len(received) < len(sent):
                chunk = await stream.receive()
                sizes.append(len(chunk))
                received += chunk
        assert bytes(received) == sent
        assert max(sizes) <= 256 * 1024
        await stream.aclose()


async def test_a_close_is_the_end_of_the_stream_for_the_peer() -> None:
    async def close(stream: Stream) -> None:
        await stream.aclose()

    network = TcpNetwork()
    async with network.serve("127.0.0.1", 0, close) as (host, port):
        stream = await network.connect(host, port)
        assert await stream.receive() == b""
        await stream.aclose()
        await stream.aclose()


async def test_a_stream_that_was_closed_here_raises_os_error() -> None:
    network = TcpNetwork()
    async with network.serve("127.0.0.1", 0, _echo) as (host, port):
        stream = await network.connect(host, port)
        await stream.aclose()
        with pytest.raises(ConnectionAbortedError):
            await stream.send(b"x")
        with pytest.raises(ConnectionAbortedError):
            await stream.receive()


async def test_a_close_ends_the_receive_and_the_send_that_wait() -> None:
    async def take_nothing(stream: Stream) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await stream.aclose()

    network = TcpNetwork()
    ended = []

    async def expect_abort(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionAbortedError, match="closed here"):
            await call()
        ended.append(call)

    async with network.serve("127.0.0.1", 0, take_nothing) as (host, port):
        stream = await network.connect(host, port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect_abort, stream.receive)
            tasks.start_soon(expect_abort, partial(stream.send, bytes(64 * 2**20)))
            await anyio.wait_all_tasks_blocked()
            assert ended == []
            await stream.aclose()
    assert len(ended) == 2


async def test_a_cancelled_receive_loses_nothing() -> None:
    network = TcpNetwork()
    async with network.serve("127.0.0.1", 0, _echo) as (host, port):
        stream = await network.connect(host, port)
        for number in range(200):
            sent = b"%5d" % number
            received = b""
            with anyio.CancelScope() as scope:
                await stream.send(sent)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_in_a_moment, scope, number % 20)
                    received = await stream.receive()
                    tasks.cancel_scope.cancel()
            received += await _read_exactly(stream, len(sent) - len(received))
            assert received == sent
        await stream.aclose()


async def _cancel_in_a_moment(scope: anyio.CancelScope, passes: int) -> None:
    for _ in range(passes):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_reset_by_the_peer_is_a_connection_error() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    stream = await TcpNetwork().connect(host, port)
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    with pytest.raises(ConnectionResetError):
        await stream.receive()
    await stream.aclose()
    listener.close()


async def test_peers_that_reset_at_once_end_nothing_but_their_own_streams() -> None:
    """Such a stream has lost its peer address by the time it is accepted."""

    async def handle(stream: Stream) -> None:
        try:
            await stream.receive()
        except OSError:
            pass
        finally:
            await stream.aclose()

    async with TcpNetwork().serve("127.0.0.1", 0, handle) as address:
        for _ in range(200):
            with socket.create_connection(address) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream = await TcpNetwork().connect(*address)
        await stream.send(b"x")
        assert await stream.receive() == b""
        await stream.aclose()


async def test_a_refused_connect_is_reported_as_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        await TcpNetwork().connect("127.0.0.1", port)


async def test_a_port_in_use_is_an_os_error() -> None:
    network = TcpNetwork()
    async with network.serve("127.0.0.1", 0, _echo) as (host, port):
        with pytest.raises(OSError, match="in use"):
            async with network.serve(host, port, _echo):
                raise AssertionError("unreachable")


async def test_an_address_can_be_listened_on_again_at_once() -> None:
    network = TcpNetwork()
    port = 0
    for _ in range(2):
        async with network.serve("127.0.0.1", port, _echo) as (host, port):
            stream = await network.connect(host, port)
            await stream.send(b"x")
            assert await stream.receive() == b"x"
            await stream.aclose()


async def test_leaving_cancels_the_handlers_and_stops_listening() -> None:
    ended = []

    started = anyio.Event()

    async def wait(stream: Stream) -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            ended.append(True)
            await stream.aclose()

    network = TcpNetwork()
    async with AsyncExitStack() as stack:
        host, port = await stack.enter_async_context(network.serve("127.0.0.1", 0, wait))
        stream = await network.connect(host, port)
        await started.wait()
        await stack.aclose()
    assert ended == [True]
    assert await stream.receive() == b""
    await stream.aclose()
    with pytest.raises(ConnectionRefusedError):
        await network.connect(host, port)


async def test_an_error_of_the_block_stays_bare() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with TcpNetwork().serve("127.0.0.1", 0, _echo):
            raise KeyError("mine")


async def test_addresses_resolve_to_themselves_and_names_to_addresses() -> None:
    network = TcpNetwork()
    assert await network.resolve("127.0.0.1", 2181) == [Address("127.0.0.1", 2181)]
    assert await network.resolve("::1", 2181) == [Address("::1", 2181)]
    found = await network.resolve("localhost", 2181)
    assert found
    assert len(set(found)) == len(found)
    assert {address.port for address in found} == {2181}


async def test_a_link_local_address_keeps_the_interface_that_it_is_behind() -> None:
    assert await TcpNetwork().resolve("fe80::1%lo", 2181) == [Address("fe80::1%lo", 2181)]
    # a name instead, from the system's table of hosts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", _find_link_local)
        assert await TcpNetwork().resolve("zk", 2181) == [Address("fe80::1%3", 2181)]


def _find_link_local(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
    return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 3))]


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 64 + ".example", "a..b"])
async def test_a_name_that_does_not_resolve_is_an_os_error(name: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await TcpNetwork().resolve(name, 2181)


async def test_bare_errors_takes_a_lone_error_out_of_its_group() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, bare_errors():
        raise BaseExceptionGroup("group", [error])
    assert caught.value is error
    assert error.__context__ is None


async def test_bare_errors_leaves_a_group_of_several() -> None:
    with pytest.raises(ExceptionGroup), bare_errors():
        raise ExceptionGroup("group", [ValueError("one"), ValueError("two")])


async def test_bare_errors_opens_one_group_only() -> None:
    inner = ExceptionGroup("the user's", [ValueError("mine")])
    with pytest.raises(ExceptionGroup) as caught, bare_errors():
        raise ExceptionGroup("ours", [inner])
    assert caught.value is inner


async def test_bare_errors_prefers_an_error_to_a_cancellation_beside_it() -> None:
    async def fail_while_cancelled(outer: anyio.CancelScope) -> None:
        with bare_errors():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                outer.cancel()
                raise ValueError("mine")

    with anyio.CancelScope() as outer, pytest.raises(ValueError, match="mine"):
        await fail_while_cancelled(outer)
