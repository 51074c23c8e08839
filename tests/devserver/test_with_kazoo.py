"""kazoo's client, an independent implementation, against the dev server over TCP, on both loops."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import anyio
import pytest
from anyio.from_thread import BlockingPortal
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    NotReadOnlyCallError,
    RolledBackError,
)
from kazoo.protocol.states import EventType, KeeperState, WatchedEvent
from kazoo.security import make_digest_acl

from zkrecipes.devserver import DevServer


class Running(NamedTuple):
    """A server in a separate thread, and a way to call it there."""

    server: DevServer
    portal: BlockingPortal


@pytest.fixture(params=["trio", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    ready: queue.Queue[Running] = queue.Queue()

    async def serve() -> None:
        async with BlockingPortal() as portal, DevServer() as server:
            ready.put(Running(server, portal))
            await portal.sleep_until_stopped()

    thread = threading.Thread(target=anyio.run, args=(serve,), kwargs={"backend": request.param})
    thread.start()
    found = ready.get(timeout=10)
    try:
        yield found
    finally:
        found.portal.call(found.portal.stop)
        thread.join()


@pytest.fixture
def server(running: Running) -> DevServer:
    return running.server


@pytest.fixture
def client(server: DevServer) -> Iterator[KazooClient]:
    yield from _client(server)


@pytest.fixture
def other(server: DevServer) -> Iterator[KazooClient]:
    yield from _client(server)


def _client(server: DevServer) -> Iterator[KazooClient]:
    client = KazooClient(server.connect_string)
    client.start(timeout=10)
    yield client
    client.stop()
    client.close()


def test_znodes_are_added_and_removed(client: KazooClient) -> None:
    assert client.create("/a", b"1") == "/a"
    data, stat = client.get("/a")
    assert (data, stat.version, stat.dataLength) == (b"1", 0, 1)
    assert client.set("/a", b"22", version=0).version == 1
    client.ensure_path("/a/b/c")
    assert sorted(client.get_children("/a")) == ["b"]
    assert client.exists("/a/b").numChildren == 1
    assert client.create("/a/s-", sequence=True, ephemeral=True) == "/a/s-0000000001"
    assert client.create("/x/y", makepath=True, include_data=True)[1].version == 0
    client.delete("/a", recursive=True)
    assert client.exists("/a") is None
    assert client.server_version()[:2] == (3, 9)


def test_errors_have_kazoos_classes(client: KazooClient) -> None:
    client.create("/a/b", makepath=True)
    for error, call in (
        (NodeExistsError, lambda: client.create("/a")),
        (NoNodeError, lambda: client.create("/none/x")),
        (NoNodeError, lambda: client.get("/none")),
        (NotEmptyError, lambda: client.delete("/a")),
        (BadVersionError, lambda: client.set("/a", b"", version=7)),
    ):
        with pytest.raises(error):
            call()  # type: ignore[no-untyped-call]  # kazoo has no types


def test_watches_fire(client: KazooClient, other: KazooClient) -> None:
    events: queue.Queue[WatchedEvent] = queue.Queue()
    assert client.exists("/a", watch=events.put) is None
    other.create("/a")
    assert events.get(timeout=5)[::2] == (EventType.CREATED, "/a")
    client.get_children("/a", watch=events.put)
    other.create("/a/b")
    assert events.get(timeout=5)[::2] == (EventType.CHILD, "/a")
    values: queue.Queue[bytes | None] = queue.Queue()
    client.DataWatch("/a/b", lambda data, _: values.put(data))
    assert values.get(timeout=5) == b""
    other.set("/a/b", b"new")
    assert values.get(timeout=5) == b"new"
    other.delete("/a/b")
    assert values.get(timeout=5) is None


def test_transactions_are_all_or_nothing(client: KazooClient) -> None:
    transaction = client.transaction()
    transaction.create("/t", b"")
    transaction.set_data("/t", b"x")
    transaction.check("/t", version=1)
    results = transaction.commit()
    assert results[0] == "/t"
    assert results[1].version == 1
    transaction = client.transaction()
    transaction.create("/u")
    transaction.check("/t", version=7)
    failed = transaction.commit()
    assert [type(each) for each in failed] == [RolledBackError, BadVersionError]
    assert client.exists("/u") is None


def test_acls_are_kept(client: KazooClient, other: KazooClient) -> None:
    client.add_auth("digest", "alice:secret")
    client.create("/secret", b"x", acl=[make_digest_acl("alice", "secret", all=True)])
    with pytest.raises(NoAuthError):
        other.get("/secret")
    other.add_auth("digest", "alice:secret")
    assert other.get("/secret")[0] == b"x"


def test_a_lock_excludes_and_is_handed_on(client: KazooClient, other: KazooClient) -> None:
    first = client.Lock("/lock", "one")
    second = other.Lock("/lock", "two")
    assert first.acquire(timeout=5)
    assert not second.acquire(blocking=False)
    got: queue.Queue[bool] = queue.Queue()
    thread = threading.Thread(target=lambda: got.put(second.acquire(timeout=10)))
    thread.start()
    while client.Lock("/lock").contenders() != ["one", "two"]:
        pass
    first.release()
    assert got.get(timeout=5)
    thread.join()
    second.release()


def test_ephemerals_go_with_their_session(client: KazooClient, other: KazooClient) -> None:
    gone = threading.Event()
    other.create("/e", ephemeral=True)
    assert client.exists("/e", watch=lambda _: gone.set())
    other.stop()
    assert gone.wait(5)


@pytest.mark.parametrize("keep", [True, False])
def test_a_client_reconnects_after_a_restart(client: KazooClient, running: Running, keep: bool) -> None:
    states: queue.Queue[str] = queue.Queue()
    client.add_listener(states.put)
    client.create("/e", ephemeral=True)
    session_id = client.client_id[0]
    running.portal.call(partial(running.server.restart, keep=keep))
    seen = [states.get(timeout=10)]
    while seen[-1] != KazooState.CONNECTED:
        seen.append(states.get(timeout=10))
    assert seen == [KazooState.SUSPENDED, *([] if keep else [KazooState.LOST]), KazooState.CONNECTED]
    assert (client.client_id[0] == session_id) is keep
    assert (client.exists("/e") is not None) is keep


def test_a_read_only_server_serves_clients_that_accept_one(client: KazooClient, running: Running) -> None:
    client.create("/a", b"1")
    session_id = client.client_id[0]
    running.portal.call(running.server.become_read_only)
    reader = KazooClient(running.server.connect_string, read_only=True)
    reader.start(timeout=10)
    assert reader.client_state == KeeperState.CONNECTED_RO
    assert reader.command(b"isro") == "ro"
    assert reader.get("/a")[0] == b"1"
    with pytest.raises(NotReadOnlyCallError):
        reader.set("/a", b"2")
    running.portal.call(running.server.become_writable)
    assert client.retry(client.get, "/a")[0] == b"1"
    assert client.client_id[0] == session_id
    reader.stop()
    reader.close()
