"""The dev server in a thread: every fault from synchronous code, with kazoo and with our client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import isfunction, signature

import anyio
import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionLoss

import zkrecipes as zk
from zkrecipes.devserver import DevServer, FaultKind, Faults
from zkrecipes.devserver.data_tree import ZNodeKind
from zkrecipes.enums import OpCode
from zkrecipes.net.transport.network import Address
from zkrecipes.testing import ThreadedDevServer, ThreadedFaults


@pytest.fixture
def server() -> Iterator[ThreadedDevServer]:
    with ThreadedDevServer() as server:
        yield server


@pytest.fixture
def kazoo(server: ThreadedDevServer) -> Iterator[KazooClient]:
    client = KazooClient(server.connect_string, timeout=4)
    client.start()
    yield client
    client.stop()
    client.close()


def test_it_runs_in_a_separate_thread_while_the_block_runs() -> None:
    server = ThreadedDevServer(DevServer(start_zxid=77))
    with pytest.raises(RuntimeError, match="only inside its `with` block"):
        server.expire()
    with server:
        assert server.run(threading.get_ident) != threading.get_ident()
        assert server.address == Address("127.0.0.1", server.server.port)
        assert server.connect_string == str(server.address)
        assert server.server.processor.zxid == 77
    with pytest.raises(RuntimeError, match="only inside its `with` block"):
        server.expire()


def test_a_taken_address_is_reported(server: ThreadedDevServer) -> None:
    taken = ThreadedDevServer(DevServer(port=server.address.port))
    with pytest.raises(OSError, match="in use"):
        taken.__enter__()


def test_two_run_side_by_side(server: ThreadedDevServer) -> None:
    with ThreadedDevServer() as other:
        assert other.address != server.address


def test_it_has_every_method_of_the_server() -> None:
    for there, here in ((DevServer, ThreadedDevServer), (Faults, ThreadedFaults)):
        own = {"host", "port", "connect_string", "network", "processor"}
        names = {name for name in vars(there) if not name.startswith("_")} - own
        assert names <= set(vars(here))
        for name in names & _methods(there):
            # A call from another thread blocks that thread, so `restart` returns at once.
            taken = [each for each in signature(getattr(there, name)).parameters if each != "downtime"]
            assert list(signature(getattr(here, name)).parameters) == taken, name


def _methods(owner: type) -> set[str]:
    return {name for name, value in vars(owner).items() if isfunction(value)}


def test_kazoo_reconnects_after_its_connection_was_dropped(
    server: ThreadedDevServer, kazoo: KazooClient
) -> None:
    kazoo.create("/a", b"1", ephemeral=True)
    server.drop_connections()
    assert kazoo.retry(kazoo.get, "/a")[0] == b"1"


def test_the_reply_to_a_create_that_was_applied_is_lost(
    server: ThreadedDevServer, kazoo: KazooClient
) -> None:
    fault = server.faults.lose_reply(OpCode.CREATE)
    with pytest.raises(ConnectionLoss):
        kazoo.create("/a")
    fault.wait_used()
    assert (fault.times_used, fault.is_spent) == (1, True)
    assert kazoo.retry(kazoo.exists, "/a")


def test_a_request_is_dropped_and_a_reply_is_garbage(server: ThreadedDevServer, kazoo: KazooClient) -> None:
    fault = server.faults.drop_request(OpCode.CREATE)
    with pytest.raises(ConnectionLoss):
        kazoo.create("/a")
    assert fault.is_spent
    assert not kazoo.retry(kazoo.exists, "/a")
    fault = server.faults.inject(1, FaultKind.AFTER_COMMIT, session_id=kazoo.client_id[0])
    with pytest.raises(ConnectionLoss):
        kazoo.create("/a")
    assert fault.is_spent


def test_replies_wait_until_they_are_released(server: ThreadedDevServer, kazoo: KazooClient) -> None:
    held = server.faults.hold_replies()
    created = kazoo.create_async("/a")
    server.run(anyio.sleep, 0.01)
    assert not created.ready()
    held.release()
    assert created.get(timeout=10) == "/a"
    server.faults.hold_replies()
    server.faults.clear()
    kazoo.delete("/a")


def test_a_fault_that_was_removed_hits_nothing(server: ThreadedDevServer, kazoo: KazooClient) -> None:
    fault = server.faults.drop_request()
    fault.remove()
    with pytest.raises(TimeoutError):
        fault.wait_used(timeout=0.01)
    kazoo.create("/a")
    assert fault.times_used == 0


@pytest.mark.anyio
async def test_faults_are_called_from_async_code_on_either_loop(server: ThreadedDevServer) -> None:
    async with zk.connect(server.connect_string) as client:
        server.faults.delay_reply(0.01, path="/a")
        await client.create("/a", b"", ephemeral=True)
        fault = server.faults.corrupt_reply(OpCode.GET_DATA)
        await client.get("/a")
        assert fault.is_spent
        server.pause()
        with anyio.move_on_after(0.01) as scope:
            await client.get("/a")
        assert scope.cancelled_caught
        server.resume()
        server.refuse()
        server.drop_connections()
        server.accept()
        await client.get("/a")


def test_the_server_restarts_and_loses_all_on_request(server: ThreadedDevServer, kazoo: KazooClient) -> None:
    kazoo.create("/a")
    server.restart()
    assert kazoo.retry(kazoo.exists, "/a")
    server.restart(keep=False)
    assert server.run(lambda: "/a" in server.server.processor.tree) is False


def test_time_passes_on_the_server_alone(server: ThreadedDevServer) -> None:
    def create(path: str, ttl: float) -> None:
        kind, now, ttl_ms = ZNodeKind.TTL, int(time.time() * 1000), int(ttl * 1000)
        server.server.processor.tree.add(path, b"", (), zxid=1, time_ms=now, kind=kind, ttl_ms=ttl_ms)

    server.run(create, "/short", 300)
    server.run(create, "/long", 900)
    server.jump(600)
    server.reap()
    left = server.run(lambda: [path in server.server.processor.tree for path in ("/short", "/long")])
    assert left == [False, True]


def test_it_can_become_read_only_and_writable_again(server: ThreadedDevServer) -> None:
    def word() -> bytes:
        with socket.create_connection(server.address) as connection:
            connection.sendall(b"isro")
            return connection.recv(100)

    server.become_read_only()
    assert word() == b"ro"
    server.become_writable()
    assert word() == b"rw"


@pytest.mark.parametrize("which", ["one", "all"])
def test_a_session_is_expired(server: ThreadedDevServer, kazoo: KazooClient, which: str) -> None:
    lost = threading.Event()
    kazoo.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
    kazoo.create("/a", ephemeral=True)
    server.expire(kazoo.client_id[0] if which == "one" else None)
    assert lost.wait(10)
    assert not kazoo.retry(kazoo.exists, "/a")


def test_one_thread_may_wait_for_a_fault_while_another_works(
    server: ThreadedDevServer, kazoo: KazooClient
) -> None:
    fault = server.faults.delay_reply(0.01, times=2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(fault.wait_used, 2)
        kazoo.create("/a")
        kazoo.delete("/a")
        waiting.result()
    assert fault.is_spent
