"""A server with a data directory: a change that a client knows of survives every kind of end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

import zkrecipes as zk
from tests.cli.commands import DEV_SERVER, ZKRECIPES, run_command, running_server
from tests.devserver.raw_client import OPEN, ClosedError, RawClient
from zkrecipes.cli.exit_codes import ExitCode
from zkrecipes.codec.messages import CreateRequest, ExistsRequest, GetChildrenRequest, SetDataRequest
from zkrecipes.devserver import DevServer
from zkrecipes.devserver.storage.data_dir import FILE_NAME, DataDir, DataDirError
from zkrecipes.devserver.storage.rows import ChangedRows
from zkrecipes.enums import EventType
from zkrecipes.testing import MemoryNetwork

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def _create(path: str, flags: int = 0) -> CreateRequest:
    return CreateRequest(path, b"data of " + path.encode(), OPEN, flags)


def _server(directory: Path, network: MemoryNetwork, **options: Any) -> DevServer:
    return DevServer(network=network, host="zk", port=2181, data_dir=directory, tick_time=0.5, **options)


class Gate:
    """A gate that all writes to a data directory pass, unless it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.saves = 0
        """The number of writes that have started."""
        self.error: DataDirError | None = None
        self._is_open = threading.Event()
        self._is_open.set()
        self._waiting = threading.Semaphore(0)
        real_save = DataDir.save

        def save(store: DataDir, changes: ChangedRows) -> None:
            self.saves += 1
            if not self._is_open.is_set():
                self._waiting.release()
                self._is_open.wait()
            if self.error is not None:
                raise self.error
            real_save(store, changes)

        monkeypatch.setattr(DataDir, "save", save)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Stop all writes while the block runs."""
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    async def wait_waiting(self) -> None:
        """Wait until a write waits at the gate."""
        await anyio.to_thread.run_sync(self._waiting.acquire)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


# --- no client learns of an unsaved change -----------------------------------------------------------------


@pytest.mark.anyio
async def test_replies_events_and_reads_wait_for_the_disk_in_order(tmp_path: Path, gate: Gate) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        writer, _ = await RawClient.greet(server, network)
        watcher, _ = await RawClient.greet(server, network)
        await writer.ok(_create("/a"))
        await watcher.ok(ExistsRequest("/a", True))
        received: list[str] = []

        async def reply() -> None:
            await writer.ok(SetDataRequest("/a", b"new", 0))
            received.append("reply")

        async def event_and_read() -> None:
            await watcher.send(ExistsRequest("/a", False))
            read = await watcher.receive()
            assert watcher.events == [(read.zxid, EventType.DATA_CHANGED, "/a")]
            assert read.record.stat.version == 1
            received.append("event and read")

        async with anyio.create_task_group() as tasks:
            with gate.shut():
                tasks.start_soon(reply)
                await gate.wait_waiting()
                tasks.start_soon(event_and_read)
                await anyio.wait_all_tasks_blocked()
                assert received == []
        assert sorted(received) == ["event and read", "reply"]


@pytest.mark.anyio
async def test_writers_during_a_save_share_the_next_one(tmp_path: Path, gate: Gate) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        clients = [(await RawClient.greet(server, network))[0] for _ in range(10)]
        await clients[0].ok(_create("/a"))
        before = gate.saves
        async with anyio.create_task_group() as tasks:
            with gate.shut():
                for number, client in enumerate(clients):
                    tasks.start_soon(client.ok, _create(f"/a/{number}"))
                await gate.wait_waiting()
                await anyio.wait_all_tasks_blocked()
        assert gate.saves <= before + 2
        assert len((await clients[0].ok(GetChildrenRequest("/a", False))).children) == 10


@pytest.mark.anyio
async def test_a_failing_disk_ends_the_server_without_a_reply(tmp_path: Path, gate: Gate) -> None:
    network = MemoryNetwork()

    async def serve_until_it_fails() -> None:
        async with _server(tmp_path, network) as server:
            client, _ = await RawClient.greet(server, network)
            await client.ok(_create("/a"))
            gate.error = DataDirError(tmp_path, "cannot be written: the disk is full")
            await client.send(_create("/b"))
            try:
                await client.receive()
            except ClosedError:
                await anyio.sleep_forever()

    with pytest.raises(DataDirError, match="the disk is full"):
        await serve_until_it_fails()
    gate.error = None
    async with _server(tmp_path, network) as server:
        client, _ = await RawClient.greet(server, network)
        children = (await client.ok(GetChildrenRequest("/", False))).children
        assert "a" in children
        assert "b" not in children


# --- the restored state ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_ephemerals_stay_until_their_sessions_timeout_after_a_restart(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        stays, stays_hello = await RawClient.greet(server, network, session_timeout=2.0)
        goes, _ = await RawClient.greet(server, network, session_timeout=2.0)
        await stays.ok(_create("/stays", 1))
        made = await goes.call(_create("/goes", 1))
    async with _server(tmp_path, network) as server:
        assert server.processor.zxid >= made.zxid
        other, other_hello = await RawClient.greet(server, network, zxid=made.zxid)
        assert other_hello.session_id not in (0, stays_hello.session_id)
        assert {"stays", "goes"} <= set((await other.ok(GetChildrenRequest("/", False))).children)
        stays, hello = await RawClient.greet(
            server,
            network,
            session_timeout=2.0,
            session_id=stays_hello.session_id,
            password=stays_hello.password or b"",
            zxid=made.zxid,
        )
        assert hello.session_id == stays_hello.session_id
        server.jump(1.5)
        await stays.ping()
        await other.ping()
        server.jump(1.5)
        await anyio.wait_all_tasks_blocked()
        children = set((await other.ok(GetChildrenRequest("/", False))).children)
        assert "stays" in children
        assert "goes" not in children


@pytest.mark.anyio
async def test_an_ended_session_is_not_restored(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        client, hello = await RawClient.greet(server, network)
        await client.ok(_create("/e", 1))
        server.expire(hello.session_id)
    async with _server(tmp_path, network) as server:
        assert "/e" not in server.processor.tree
        _, again = await RawClient.greet(
            server, network, session_id=hello.session_id, password=hello.password or b""
        )
        assert again.session_id == 0


@pytest.mark.anyio
async def test_a_restart_that_keeps_nothing_keeps_nothing_on_disk(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        client, _ = await RawClient.greet(server, network)
        before = await client.call(_create("/a"))
        await server.restart(keep=False)
        client, _ = await RawClient.greet(server, network)
        await client.ok(_create("/b"))
    async with _server(tmp_path, network) as server:
        assert "/a" not in server.processor.tree
        assert "/b" in server.processor.tree
        assert server.processor.zxid > before.zxid


@pytest.mark.anyio
async def test_the_zxid_of_a_refused_write_is_on_disk(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with _server(tmp_path, network) as server:
        client, _ = await RawClient.greet(server, network)
        refused = await client.call(_create("/a/b"))
        assert refused.err != 0
        zxid = server.processor.zxid
    async with _server(tmp_path, network) as server:
        assert server.processor.zxid >= max(zxid, refused.zxid)


# --- processes that are killed -----------------------------------------------------------------------------


WRITERS = 8


@posix_only
@pytest.mark.timeout(60)
def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    random = Random(20)
    acknowledged: dict[str, bytes] = {}

    async def live() -> dict[str, bytes | None]:
        with ExitStack() as lives:
            process, hosts = lives.enter_context(_serving(tmp_path, "0"))
            # One client for all rounds, because closing it without a server would take long.
            async with zk.connect(hosts) as client:
                for life in range(4):
                    killed_after = len(acknowledged) + random.randint(30, 300)
                    await _write_until_killed(client, process, f"life{life}", acknowledged, killed_after)
                    process.wait(10)
                    process, _ = lives.enter_context(_serving(tmp_path, hosts.rpartition(":")[2]))
                return await _everything(client)

    found = trio.run(live)
    # A write without a reply may have been applied or not.
    lost = [path for path, data in acknowledged.items() if found.get(path) != data]
    assert not lost
    assert len(acknowledged) >= 4 * 30
    # There were enough writes for SQLite to move the log to the tables in between; otherwise this tests
    # nothing.
    assert (tmp_path / FILE_NAME).stat().st_size > 1024 * 1024


def _serving(directory: Path, port: str) -> AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    return running_server(*DEV_SERVER, "--port", port, "--data-dir", str(directory))


async def _write_until_killed(
    client: zk.Client,
    process: subprocess.Popen[str],
    life: str,
    acknowledged: dict[str, bytes],
    killed_after: int,
) -> None:
    async def write(writer: int) -> None:
        for number in range(killed_after):
            data = f"{writer} {number} ".encode() * (number % 7 * 1000)
            acknowledged[await client.create(f"/w{writer}/{life}-{number}", data)] = data
            if len(acknowledged) == killed_after:
                process.kill()
                writers.cancel_scope.cancel()

    async with trio.open_nursery() as writers:
        for writer in range(WRITERS):
            await client.ensure_path(f"/w{writer}")
            writers.start_soon(write, writer)


async def _everything(client: zk.Client) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for writer in range(WRITERS):
        paths = [f"/w{writer}/{name}" for name in await client.get_children(f"/w{writer}")]
        async with client.pipeline() as pipe:
            nodes = {path: pipe.get(path) for path in paths}
        found |= {path: node.result().data for path, node in nodes.items()}
    return found


@posix_only
def test_a_client_keeps_its_session_and_its_lock_while_the_server_is_killed_and_started(
    tmp_path: Path,
) -> None:
    async def live_on() -> None:
        with ExitStack() as lives:
            first, hosts = lives.enter_context(_serving(tmp_path, "0"))
            async with zk.connect(hosts, session_timeout=10.0) as client:
                session = client.session.id
                await client.create("/e", b"", ephemeral=True)
                made = await client.exists("/e")
                first.kill()
                first.wait(10)
                lives.enter_context(_serving(tmp_path, hosts.rpartition(":")[2]))
                assert await client.exists("/e") == made
                assert client.session.id == session

    trio.run(live_on)


# --- one line and an exit code -----------------------------------------------------------------------------


def _refused(*arguments: str) -> str:
    done = run_command("serve", "--port", "0", *arguments)
    assert done.returncode == ExitCode.BAD_DATA
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("zkrecipes: data directory ")
    return line


def test_a_directory_that_is_in_use_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    with running_server(*ZKRECIPES, "serve", "--port", "0", "--data-dir", str(tmp_path)) as (_, hosts):
        assert _refused("--data-dir", str(tmp_path)).endswith(f"{tmp_path} is in use by another server")
        assert trio.run(_make, hosts) == "/a"


def test_a_damaged_database_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"garbage" * 1000)
    assert "is damaged: " in _refused("--data-dir", str(tmp_path))
    assert (tmp_path / FILE_NAME).read_bytes() == b"garbage" * 1000


def test_a_directory_that_cannot_be_made_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = _refused("--data-dir", str(tmp_path / "file" / "data"))
    assert line.endswith("cannot be used: Not a directory")


@pytest.mark.parametrize("command", [(*ZKRECIPES, "serve"), DEV_SERVER], ids=["zkrecipes", "python -m"])
def test_a_directory_that_cannot_be_looked_into_is_one_line_and_its_own_code(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    # Even root cannot open a folder below a file, although root may read any folder.
    name = str(tmp_path / ("x" * 300))
    done = subprocess.run(
        [*command, "--port", "0", "--data-dir", name], check=False, capture_output=True, text=True, timeout=15
    )
    assert done.returncode == ExitCode.BAD_DATA
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"data directory {name} cannot be used: File name too long")


@posix_only
@pytest.mark.timeout(60)
def test_a_disk_that_is_full_is_one_line_its_own_code_and_no_loss(tmp_path: Path) -> None:
    limited = ["/bin/sh", "-c", 'ulimit -f 400; exec "$@"', "sh", *ZKRECIPES, "serve", "--port", "0"]
    acknowledged = []

    async def fill(hosts: str) -> None:
        with trio.CancelScope() as scope:
            async with zk.connect(hosts, session_timeout=4.0) as client:
                for number in range(1000):
                    with trio.move_on_after(10) as too_long:
                        acknowledged.append(await client.create(f"/{number}", bytes(10_000)))
                    if too_long.cancelled_caught:
                        scope.cancel()
                        await trio.lowlevel.checkpoint()

    async def children(hosts: str) -> set[str]:
        async with zk.connect(hosts) as client:
            return {f"/{name}" for name in await client.get_children("/")}

    with running_server(*limited, "--data-dir", str(tmp_path)) as (process, hosts):
        with suppress(zk.ZooKeeperError):  # the reply to its last create is lost
            trio.run(fill, hosts)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == ExitCode.BAD_DATA
    (line,) = errors.splitlines()
    assert line.startswith(f"zkrecipes: data directory {tmp_path} cannot be written: ")
    assert acknowledged
    with running_server(*ZKRECIPES, "serve", "--port", "0", "--data-dir", str(tmp_path)) as (process, hosts):
        assert set(acknowledged) <= trio.run(children, hosts)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == ExitCode.OK


async def _make(hosts: str) -> str:
    async with zk.connect(hosts) as client:
        return await client.create("/a")
