"""One real server: it is started, asked for its status, broken, restarted and ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from zkrecipes.ensemble import ApacheServer, Installation, ServerStartError, ask
from zkrecipes.ensemble.zoo_cfg_writer import Peer

NOTHING = Installation(java=Path("/bin/false"), class_path=())


@pytest.mark.anyio
@pytest.mark.apache
async def test_it_serves_within_its_block_and_leaves_nothing() -> None:
    async with ApacheServer() as server:
        status = await server.status()
        assert status is not None
        assert status.mode == "standalone"
        assert (await server.metrics())["zk_server_state"] == "standalone"
        pid, directory = server.pid, server.directory
        assert pid is not None
        assert directory.exists()
        assert server.connect_string == f"127.0.0.1:{server.port}"
    assert not server.is_running
    assert await server.status() is None
    assert await server.metrics() == {}
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.anyio
async def test_a_killed_server_restarts_with_its_port(apache_server: ApacheServer) -> None:
    pid, port = apache_server.pid, apache_server.port
    apache_server.kill()
    assert not apache_server.is_running
    assert await apache_server.status() is None
    await apache_server.start()
    assert apache_server.port == port
    assert apache_server.pid not in {None, pid}
    assert await apache_server.status() is not None


@pytest.mark.anyio
async def test_restart_stops_and_starts(apache_server: ApacheServer) -> None:
    pid = apache_server.pid
    await apache_server.restart()
    assert apache_server.pid not in {None, pid}
    await apache_server.stop()
    assert not apache_server.is_running
    await apache_server.restart()
    assert await apache_server.status() is not None


@pytest.mark.anyio
async def test_a_paused_server_does_not_answer_until_it_is_resumed(apache_server: ApacheServer) -> None:
    apache_server.pause()
    with anyio.fail_after(20):
        while await apache_server.status() is not None:
            pass  # a thread of the server still ran when the signal arrived
    assert apache_server.is_running
    apache_server.resume()
    assert await apache_server.status() is not None


@pytest.mark.anyio
async def test_a_paused_server_can_be_stopped(apache_server: ApacheServer) -> None:
    apache_server.pause()
    began = time.monotonic()
    await apache_server.stop()
    assert time.monotonic() - began < 9, "the server had to be killed"
    assert not apache_server.is_running


def test_the_next_test_gets_a_repaired_server(apache_server: ApacheServer) -> None:
    assert apache_server.is_running
    assert anyio.run(apache_server.status) is not None


def test_it_cannot_be_started_twice(apache_server: ApacheServer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        apache_server.launch()
    with pytest.raises(RuntimeError, match="open already"):
        apache_server.open()


@pytest.mark.anyio
@pytest.mark.apache
async def test_a_given_folder_stays(tmp_path: Path) -> None:
    async with ApacheServer(directory=tmp_path):
        pass
    assert (tmp_path / "zoo.cfg").exists()
    assert any((tmp_path / "data").iterdir())


@pytest.mark.anyio
@pytest.mark.apache
async def test_settings_and_properties_reach_the_server() -> None:
    async with ApacheServer(
        settings={"tickTime": 123},
        properties={"zookeeper.nio.numWorkerThreads": 0, "readonlymode.enabled": True},
        java_options=["-XX:+UseSerialGC"],
    ) as server:
        assert "tickTime=123\n" in await ask(server.host, server.port, "conf")
        assert "no worker threads" in (server.directory / "server.log").read_text()


@pytest.mark.anyio
@pytest.mark.apache
async def test_a_server_that_refuses_its_settings_shows_its_log() -> None:
    server = ApacheServer(settings={"tickTime": "soon"})
    with pytest.raises(ServerStartError, match="ended with status") as caught:
        async with server:
            pytest.fail("the server started")
    assert 'For input string: "soon"' in caught.value.log_tail
    with pytest.raises(RuntimeError, match="inside its `async with` block"):
        _ = server.directory


@pytest.mark.anyio
async def test_a_server_that_ends_at_once_is_reported_with_its_status() -> None:
    with pytest.raises(ServerStartError, match="ended with status 1"):
        async with ApacheServer(installation=NOTHING):
            pytest.fail("the server started")


@pytest.mark.anyio
@pytest.mark.apache
async def test_a_cancelled_start_leaves_nothing() -> None:
    absent_peers = {1: Peer("127.0.0.1", 1, 2), 2: Peer("127.0.0.1", 3, 4), 3: Peer("127.0.0.1", 5, 6)}
    server = ApacheServer(peers=absent_peers)  # alone, it has no quorum and never serves
    with anyio.move_on_after(0.3) as scope:
        async with server:
            pytest.fail("the server started")
    assert scope.cancelled_caught
    assert not server.is_running
    assert server.pid is None


@pytest.mark.anyio
@pytest.mark.apache
async def test_the_error_of_the_body_is_raised_bare_and_nothing_is_left() -> None:
    server = ApacheServer()
    with pytest.raises(KeyError):
        async with server:
            raise KeyError
    assert not server.is_running


@pytest.mark.anyio
async def test_outside_its_block_its_use_is_an_error() -> None:
    server = ApacheServer(installation=NOTHING)
    assert "not running" in repr(server)
    for call in (server.kill, server.pause, server.resume, server.launch):
        with pytest.raises(RuntimeError, match="inside its `async with` block"):
            call()
    with pytest.raises(RuntimeError, match="inside its `async with` block"):
        await server.stop()


def test_a_bad_setting_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"settings must not contain .clientPort"):
        ApacheServer(installation=NOTHING, settings={"clientPort": 2181})
