"""The properties file of a manual, with its trailing comment, connects to a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

import zkrecipes as zk
from tests.apache.loops import every_loop
from zkrecipes.ensemble import ApacheServer

pytestmark = [pytest.mark.anyio, pytest.mark.apache]
anyio_backend = every_loop()


async def test_a_lock_is_taken_with_the_settings_of_a_file(
    apache_server: ApacheServer, tmp_path: Path, fresh_path: str
) -> None:
    path = tmp_path / "application.properties"
    path.write_text(
        "zookeeper.enabled=true\r\n"
        f"zookeeper.connection-string= {apache_server.connect_string} , # comma separated list of servers\r\n"
        "zookeeper.chroot=/engines\r\n"
        "zookeeper.create-chroot=true\r\n"
        "zookeeper.session-timeout=6000 ms\r\n"
        "zookeeper.auth=digest:engine:pa#ss\r\n"
        "zookeeper.default-acl=creator\r\n",
        "utf-8",
    )
    settings = zk.read_settings(path)
    assert settings.enabled
    async with zk.connect_from(settings) as client:
        assert client.session.timeout == 6
        async with zk.Mutex(client, fresh_path):
            acl, _ = await client.get_acl(fresh_path)
            assert [entry.id for entry in acl] == [zk.digest_id("engine", "pa#ss")]
