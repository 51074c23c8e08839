"""Clients that send garbage, incomplete data or nothing: the server drops and logs them in bounded memory."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock

import zkrecipes as zk
from tests.cli.commands import ZKRECIPES, running_server
from tests.devserver.raw_client import OPEN, RawClient, ask_word
from zkrecipes.codec.messages import (
    AddWatchRequest,
    CloseSessionRequest,
    ConnectRequest,
    CreateRequest,
    ExistsRequest,
    GetDataRequest,
    SetDataRequest,
)
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.connections import CLOSING_TIME_MAX, GREETING_TIME_MAX
from zkrecipes.ensemble.four_letter import ask, parse_mntr
from zkrecipes.net.transport.network import Stream
from zkrecipes.testing import MemoryNetwork

GREETING = ConnectRequest(0, 0, 4000, 0, bytes(16), False).encode()
TWO_GIBIBYTES = struct.pack("!i", 2**31 - 1)

# The bytes that a client sends, and the text in the log.
BAD: dict[str, tuple[bytes, str]] = {
    "garbage": (b"\xde\xad\xbe\xef" * 1000, "negative length"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: zk\r\n\r\n", "larger than the limit"),
    "a frame of 2 GiB": (TWO_GIBIBYTES + bytes(1000), "a frame of 2147483647 bytes"),
    "a greeting of a megabyte": (struct.pack("!i", 0xFFFFF) + bytes(60_000), "a frame of 1048575 bytes"),
    "a malformed greeting": (
        struct.pack("!i24xi", 44, 1000) + bytes(16),  # the password would extend beyond the end of the frame
        "closing its connection",
    ),
    "a greeting and a frame of 2 GiB": (
        struct.pack("!i", len(GREETING)) + GREETING + TWO_GIBIBYTES + bytes(1000),
        "a frame of 2147483647 bytes",
    ),
    "half a greeting": (struct.pack("!i", 44) + bytes(20), "within 10 seconds"),
    "half a length": (b"\0\0", "within 10 seconds"),
    "nothing": (b"", "within 10 seconds"),
}


async def _until_closed(stream: Stream) -> None:
    try:
        while await stream.receive():
            pass
    except ConnectionError:
        pass
    await stream.aclose()


@pytest.mark.trio
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_client_is_cut_off_with_a_line_in_the_log(
    kind: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    data, why = BAD[kind]
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181):
        stream = await network.connect("zk", 2181)
        if data:
            await stream.send(data)
        with trio.fail_after(GREETING_TIME_MAX + 1):
            await _until_closed(stream)
    (line,) = (each for each in caplog.records if each.levelno == logging.WARNING)
    assert why in line.getMessage()
    assert line.name == "zkrecipes.devserver"


@pytest.mark.trio
async def test_a_thousand_bad_clients_beside_an_honest_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network, kinds = MemoryNetwork(), list(BAD.values())

    async def misbehave(number: int) -> None:
        data, _ = kinds[number % len(kinds)]
        stream = await network.connect("zk", 2181)
        # byte by byte at first, so that the server must keep the pieces
        for piece in (data[:1], data[1:7], data[7:]):
            if piece:
                try:
                    await stream.send(piece)
                except ConnectionError:
                    break
        await _until_closed(stream)

    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=20.0)
        await honest.ok(CreateRequest("/a", b"0", OPEN, 0))
        tracemalloc.start()
        try:
            async with trio.open_nursery() as crowd:
                for number in range(1000):
                    crowd.start_soon(misbehave, number)
                for _ in range(100):
                    assert (await honest.ok(GetDataRequest("/a", False))).data == b"0"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (await honest.ok(GetDataRequest("/a", False))).data == b"0"
        assert len(server.processor.attached) == 1
    assert sum(each.levelno == logging.WARNING for each in caplog.records) == 1000
    # both ends of a thousand connections and the log records, but no frames that were only announced
    assert peak < 100 * 1024 * 1024


@pytest.mark.trio
async def test_a_client_that_does_not_read_the_answer_to_a_word_is_dropped(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=40.0)
        for number in range(100):  # so that the answer is larger than the wire
            await honest.send(ExistsRequest(f"/{number:03000}", True))
            await honest.receive()
        stream = await network.connect("zk", 2181)
        await stream.send(b"wchp")
        await trio.sleep(CLOSING_TIME_MAX + 1)
        # The remaining connections are those of the honest client and of this question.
        assert "zk_num_alive_connections\t2\n" in await ask_word(server, network, "mntr")
        await stream.aclose()


@pytest.mark.trio
async def test_a_client_that_does_not_read_events_is_dropped_when_its_session_expires(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=40.0)
        slow, _ = await RawClient.greet(server, network, session_timeout=4.0)
        path = f"/{'a' * 3000}"  # so that a hundred events fill the wire
        await honest.ok(CreateRequest(path, b"", OPEN, 0))
        await slow.ok(AddWatchRequest(path, 0))
        for number in range(100):
            await honest.ok(SetDataRequest(path, b"", number))
        assert len(server.processor.attached) == 2
        await trio.sleep(6 + CLOSING_TIME_MAX + 1)
        assert "zk_num_alive_connections\t2\n" in await ask_word(server, network, "mntr")
        await slow.stream.aclose()


@pytest.mark.trio
async def test_a_closing_client_that_does_not_read_the_replies_is_dropped(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await honest.ok(CreateRequest("/a", bytes(500_000), OPEN, 0))
        slow, _ = await RawClient.greet(server, network, session_timeout=4.0)
        await slow.send(GetDataRequest("/a", False), CloseSessionRequest())
        await trio.sleep(CLOSING_TIME_MAX + 1)
        assert "zk_num_alive_connections\t2\n" in await ask_word(server, network, "mntr")
        await slow.stream.aclose()


@pytest.mark.trio
async def test_a_closing_client_that_does_not_read_the_events_is_dropped(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=40.0)
        slow, _ = await RawClient.greet(server, network, session_timeout=4.0)
        path = f"/{'a' * 3000}"  # so that a hundred events fill the wire
        await honest.ok(CreateRequest(path, b"", OPEN, 0))
        await slow.ok(AddWatchRequest(path, 0))
        for number in range(100):
            await honest.ok(SetDataRequest(path, b"", number))
        await slow.send(CloseSessionRequest())
        await trio.sleep(CLOSING_TIME_MAX + 1)
        assert "zk_num_alive_connections\t2\n" in await ask_word(server, network, "mntr")
        await slow.stream.aclose()


@pytest.mark.trio
async def test_a_client_that_leaves_during_a_reply_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with DevServer(network=network, host="zk", port=2181) as server:
        honest, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await honest.ok(CreateRequest("/a", bytes(500_000), OPEN, 0))
        slow, _ = await RawClient.greet(server, network, session_timeout=40.0)
        await slow.ok(AddWatchRequest("/a", 0))
        await slow.send(GetDataRequest("/a", False))
        await trio.testing.wait_all_tasks_blocked()
        await honest.ok(SetDataRequest("/a", b"", -1))  # an event, behind the reply
        await slow.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert "zk_num_alive_connections\t2\n" in await ask_word(server, network, "mntr")


def test_bad_input_on_a_real_port() -> None:
    with running_server(*ZKRECIPES, "serve", "--port", "0") as (process, hosts):
        host, _, port = hosts.rpartition(":")
        silent = socket.create_connection((host, int(port)))
        for data, _ in list(BAD.values())[:6]:
            with socket.create_connection((host, int(port)), timeout=10) as stream:
                stream.sendall(data)
                _read_to_the_end(stream.recv)
        metrics = parse_mntr(trio.run(ask, host, int(port), "mntr"))
        assert metrics["zk_num_alive_connections"] == "2"
        silent.close()
        process.terminate()
        _, errors = process.communicate(timeout=10)
    lines = errors.splitlines()
    assert len(lines) == 6
    assert all(
        line.startswith("zkrecipes: session 0x") and "closing its connection" in line for line in lines
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_more_connections_than_there_are_file_descriptors_for_are_one_line_and_no_harm() -> None:
    limited = ["/bin/sh", "-c", 'ulimit -n 60; exec "$@"', "sh", *ZKRECIPES, "serve", "--port", "0"]

    async def crowd(host: str, port: int, read_line: Callable[[], str]) -> None:
        async with zk.connect(f"{host}:{port}") as honest:
            with ExitStack() as crowd:
                for _ in range(100):  # the system completes them, whether or not they are ever accepted
                    crowd.enter_context(socket.create_connection((host, port)))
                line = await trio.to_thread.run_sync(read_line)
                assert line == "zkrecipes: cannot accept connections: Too many open files (retrying)\n"
                await honest.create("/a", b"")
            assert (await ask(host, port, "ruok")) == "imok"

    with running_server(*limited) as (process, hosts):
        assert process.stderr is not None
        host, _, port = hosts.rpartition(":")
        trio.run(crowd, host, int(port), process.stderr.readline)
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert len(errors.splitlines()) < 10  # a few more, because some connections end while others start


def _read_to_the_end(receive: Callable[[int], bytes]) -> None:
    try:
        while receive(1000):
            pass
    except ConnectionError:
        pass
