"""Look-ups in separate threads: joined, cancelled, and never waited for at the end of a program."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from zkrecipes.net.transport.lookups import look_up
from zkrecipes.net.transport.network import Address, TcpNetwork

pytestmark = pytest.mark.anyio


class Resolver:
    """A resolver that answers on command.

    Attributes:
        asked: the number of requests for each name.
        may_answer: set it to answer all requests.
    """

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.may_answer = threading.Event()
        self.error: Exception | None = None
        self.addresses = ["10.0.0.1"]

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        self.asked[host] = self.asked.get(host, 0) + 1
        assert self.may_answer.wait(20)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.addresses]

    def wait_asked(self, count: int) -> None:
        """Wait, in a thread, until this many names were requested."""
        ends_at = time.monotonic() + 10
        while len(self.asked) < count:
            assert time.monotonic() < ends_at
            time.sleep(0.001)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.may_answer.set()
    while any(thread.name.startswith("zkrecipes resolving") for thread in threading.enumerate()):
        time.sleep(0.001)


async def test_all_that_ask_for_one_name_share_one_look_up(resolver: Resolver) -> None:
    found: list[object] = []

    async def ask() -> None:
        found.append(await look_up("zk", 2181))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        names = [each.name for each in threading.enumerate()]
        assert names.count("zkrecipes resolving zk") == 1
        resolver.may_answer.set()
    assert found == [[("10.0.0.1", 2181)]] * 5
    assert resolver.asked == {"zk": 1}
    resolver.addresses = ["10.0.0.2"]
    assert await look_up("zk", 2181) == [("10.0.0.2", 2181)], "it is remembered"


async def test_a_later_caller_joins_the_look_up_that_an_earlier_one_has_given_up(resolver: Resolver) -> None:
    for _ in range(3):
        with anyio.move_on_after(0.01):
            await look_up("zk", 2181)
    resolver.may_answer.set()
    assert await look_up("zk", 2181) == [("10.0.0.1", 2181)]
    assert resolver.asked["zk"] <= 2


async def test_callers_in_other_loops_join_as_well(resolver: Resolver) -> None:
    found: list[object] = []

    def ask(backend: str) -> None:
        found.append(anyio.run(look_up, "zk", 2181, backend=backend))

    threads = [threading.Thread(target=ask, args=(backend,)) for backend in ("trio", "asyncio")]
    for thread in threads:
        thread.start()
    with anyio.move_on_after(0.05):
        await look_up("zk", 2181)
    resolver.may_answer.set()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert found == [[("10.0.0.1", 2181)]] * 2
    assert resolver.asked["zk"] == 1


async def test_each_caller_has_its_own_error(resolver: Resolver) -> None:
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    errors: list[OSError] = []

    async def ask() -> None:
        with pytest.raises(socket.gaierror, match="Temporary failure") as caught:
            await look_up("zk", 2181)
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        resolver.may_answer.set()
    assert errors[0] is not errors[1]
    assert errors[0].errno == socket.EAI_AGAIN


async def test_names_do_not_wait_for_one_another(resolver: Resolver) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_up, "hangs", 2181)
        tasks.start_soon(look_up, "hangs too", 2181)
        await anyio.to_thread.run_sync(resolver.wait_asked, 2)
        resolver.may_answer.set()


async def test_an_address_needs_no_thread(resolver: Resolver) -> None:
    assert await TcpNetwork().resolve("127.0.0.1", 2181) == [Address("127.0.0.1", 2181)]
    assert resolver.asked == {}


async def test_without_threads_a_look_up_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread for looking up 'localhost': can't start new thread"):
            await look_up("localhost", 2181)
    assert await look_up("localhost", 2181)


async def test_a_forked_child_does_not_join_a_look_up_of_its_parent(resolver: Resolver) -> None:
    program = """
import os, socket, threading, anyio
from zkrecipes.net.transport.lookups import look_up
hang = threading.Event()
socket.getaddrinfo = lambda *_, **__: hang.wait(20)
async def give_up():
    with anyio.move_on_after(0.05): await look_up("zk", 1)
anyio.run(give_up)
pid = os.fork()
if pid == 0:
    socket.getaddrinfo = lambda host, port, **_: [(2, 1, 6, "", ("10.0.0.1", port))]
    os._exit(0 if anyio.run(look_up, "zk", 1) == [("10.0.0.1", 1)] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    await anyio.run_process([sys.executable, "-W", "ignore", "-c", program])


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_program_ends_although_a_resolver_hangs(backend: str) -> None:
    program = f"""
import socket, threading, anyio, zkrecipes as zk
hang = threading.Event()
socket.getaddrinfo = lambda *_, **__: hang.wait(60)
async def main():
    try:
        async with zk.connect("zk1,zk2,zk3", session_timeout=2, connect_timeout=0.5): pass
    except zk.ConnectTimeoutError as error:
        assert set(error.reasons.values()) == {{"resolving", "not tried yet"}}, error
    await anyio.to_thread.run_sync(lambda: None)  # the program's own pool is free
anyio.run(main, backend={backend!r})
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert time.monotonic() - began < 20
